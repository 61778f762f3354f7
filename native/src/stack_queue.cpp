// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/stack_queue.hpp"

#include "sgxlens/background.hpp"
#include "sgxlens/reuse_stack.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

namespace sgxlens {

namespace {

// In a batch, a piece of work is: what to do, the position, the number of words, and these.
constexpr std::size_t kHeadWords = 3;

void access_stack(ReuseStack &stack, const std::uint64_t *words, std::size_t word_count) {
    stack.access(words, word_count);
}

} // namespace

StackQueue::StackQueue(ReuseStack &stack, bool has_thread) : stack_(stack) {
    if (!has_thread)
        return;
    for (std::vector<std::uint64_t> &batch : batches_)
        batch.reserve(kBatchWords);
    try {
        thread_ = std::thread([this]() { run(); });
    } catch (const std::system_error &) {
        // The user may have no further thread: it is slower without.
    }
}

StackQueue::~StackQueue() {
    if (!thread_.joinable())
        return;
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

/// Gives the batch away, and waits until the next one is free.
void StackQueue::publish() {
    std::unique_lock lock(mutex_);
    ++published_;
    changed_.notify_all();
    changed_.wait(lock, [this]() { return published_ - done_ < kBatchCount; });
    if (failure_ != nullptr)
        std::rethrow_exception(failure_);
}

void StackQueue::drain() {
    if (!thread_.joinable())
        return;
    std::unique_lock lock(mutex_);
    if (!batches_[published_ % kBatchCount].empty()) {
        ++published_;
        changed_.notify_all();
    }
    changed_.wait(lock, [this]() { return published_ == done_; });
    if (failure_ != nullptr)
        std::rethrow_exception(failure_);
}

void StackQueue::access(const std::uint64_t *entries, std::size_t count, std::uint64_t position) {
    if (count == 0)
        return;
    if (thread_.joinable()) {
        std::copy_n(entries, count, begin(access_stack, count, position));
        return;
    }
    position_ = position;
    stack_.access(entries, count);
}

std::uint64_t *StackQueue::begin(Work work, std::size_t word_count, std::uint64_t position) {
    const std::size_t needed = kHeadWords + word_count;
    // Only this thread changes published_: no lock to read it.
    std::vector<std::uint64_t> *batch = &batches_[published_ % kBatchCount];
    if (!batch->empty() && batch->size() + needed > kBatchWords) {
        publish();
        batch = &batches_[published_ % kBatchCount];
    }
    const std::size_t at = batch->size();
    batch->resize(at + needed);
    std::uint64_t *const words = batch->data() + at;
    words[0] = reinterpret_cast<std::uintptr_t>(work);
    words[1] = position;
    words[2] = word_count;
    return words + kHeadWords;
}

void StackQueue::do_at_once() {
    std::vector<std::uint64_t> &batch = batches_[0];
    do_all(batch);
    batch.clear();
}

void StackQueue::do_all(const std::vector<std::uint64_t> &batch) {
    const std::uint64_t *at = batch.data();
    const std::uint64_t *const end = at + batch.size();
    while (at < end) {
        const auto work = reinterpret_cast<Work>(static_cast<std::uintptr_t>(at[0]));
        position_ = at[1];
        const std::size_t word_count = at[2];
        at += kHeadWords;
        work(stack_, at, word_count);
        at += word_count;
    }
}

void StackQueue::run() {
    wait_for_its_turn();
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this]() { return is_stopping_ || published_ != done_; });
        if (is_stopping_)
            return;
        std::vector<std::uint64_t> &batch = batches_[done_ % kBatchCount];
        if (failure_ == nullptr) {
            lock.unlock();
            std::exception_ptr failure;
            try {
                do_all(batch);
            } catch (...) {
                failure = std::current_exception();
            }
            lock.lock();
            failure_ = std::move(failure);
        }
        batch.clear();
        ++done_;
        changed_.notify_all();
    }
}

std::size_t StackQueue::memory_bytes() const {
    return thread_.joinable() ? kBatchCount * kBatchWords * sizeof(std::uint64_t) : 0;
}

} // namespace sgxlens
