// SPDX-License-Identifier: Apache-2.0
//
// The reader's side of the ring that a traced process writes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct sgxlens_ring;

namespace sgxlens {

class Ring {
  public:
    using Consumer = std::function<void(const std::uint64_t *words, std::size_t count)>;

    /// Maps the ring in that file. Raises StreamError where it is none or of another version.
    explicit Ring(const std::string &path);
    ~Ring();
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;

    /// Hands each chunk to `consume` until the process closes the stream, or until
    /// writer_is_gone() was called and nothing is left. Returns whether it was closed in
    /// order. What `consume` raises ends it.
    bool drain(const Consumer &consume);
    /// Says that the process has ended, in whatever way. Callable from any thread.
    void writer_is_gone() { writer_gone_.store(true, std::memory_order_release); }

    std::int32_t pid() const { return pid_; }

  private:
    void wait(std::uint32_t published);

    sgxlens_ring *ring_ = nullptr;
    std::size_t mapped_bytes_ = 0;
    std::uint32_t chunk_count_ = 0;
    std::uint32_t chunk_words_ = 0;
    std::int32_t pid_ = 0;
    std::atomic<bool> writer_gone_{false};
};

} // namespace sgxlens
