// SPDX-License-Identifier: Apache-2.0
//
// Work for a reuse stack, done in order by a thread of its own. The stacks of lines and pages are
// independent of each other and of decoding, so that the three go on at the same time.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sgxlens {

class ReuseStack;

class StackQueue {
  public:
    /// Does a piece of work. What it needs is in the words.
    using Work = void (*)(ReuseStack &stack, const std::uint64_t *words, std::size_t word_count);

    /// The stack must outlive it. Without a thread, or where there can be none, work is done where
    /// it is asked for.
    StackQueue(ReuseStack &stack, bool has_thread);
    /// Work that is not done yet is dropped.
    ~StackQueue();
    StackQueue(const StackQueue &) = delete;
    StackQueue &operator=(const StackQueue &) = delete;

    // Each of these may raise what went wrong with earlier work.

    /// As ReuseStack::access. `position`: line accesses of the process before.
    void access(const std::uint64_t *entries, std::size_t count, std::uint64_t position);

    /// Adds a piece of work: the words returned are to be filled, then end() is due. What they
    /// point to must stay until drain().
    std::uint64_t *begin(Work work, std::size_t word_count, std::uint64_t position);
    void end() {
        if (!thread_.joinable())
            do_at_once();
    }

    /// Of what never changes only, unless drained.
    const ReuseStack &stack() const { return stack_; }

    /// Waits until all is done: due before the stack, or what its observer looks at, is used
    /// otherwise.
    void drain();

    /// The position given with the work that is done now: for the observer of the stack.
    std::uint64_t position() const { return position_; }
    std::size_t memory_bytes() const;

  private:
    // A batch is about what fits a processor's own cache; several smooth out who is ahead.
    static constexpr std::size_t kBatchWords = std::size_t{1} << 14;
    static constexpr std::size_t kBatchCount = 8;

    void publish();
    void do_at_once();
    void run();
    void do_all(const std::vector<std::uint64_t> &batch);

    ReuseStack &stack_;
    std::uint64_t position_ = 0;
    std::array<std::vector<std::uint64_t>, kBatchCount> batches_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t published_ = 0; ///< batches, of which number i is batches_[i % kBatchCount]
    std::size_t done_ = 0;
    bool is_stopping_ = false;
    std::exception_ptr failure_;
    std::thread thread_;
};

} // namespace sgxlens
