// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/ring.hpp"

#include "sgxlens/error.hpp"
#include "sgxlens/stream.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sgxlens {
namespace {

static_assert(sizeof(struct sgxlens_ring) == SGXLENS_RING_CONTROL_BYTES);

/// How long a reader sleeps before it looks whether the writer is gone.
constexpr long kPatienceNanoseconds = 20'000'000;

std::uint32_t load(const unsigned int &word) {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

std::size_t bytes_of(std::uint32_t chunk_count, std::uint32_t chunk_words) {
    return SGXLENS_RING_CONTROL_BYTES +
           static_cast<std::size_t>(chunk_count) * chunk_words * sizeof(std::uint64_t);
}

} // namespace

Ring::Ring(const std::string &path) {
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0)
        throw StreamError("cannot open the ring " + path + ": " + std::strerror(errno));
    struct stat status{};
    if (fstat(fd, &status) != 0 || status.st_size < SGXLENS_RING_CONTROL_BYTES) {
        close(fd);
        throw StreamError(path + " is not a ring: too small");
    }
    mapped_bytes_ = static_cast<std::size_t>(status.st_size);
    void *const mapped = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        throw StreamError("cannot map the ring " + path + ": " + std::strerror(errno));
    ring_ = static_cast<sgxlens_ring *>(mapped);
    const char *wrong = nullptr;
    chunk_count_ = ring_->chunk_count;
    chunk_words_ = ring_->chunk_words;
    pid_ = ring_->pid;
    if (ring_->magic != SGXLENS_STREAM_MAGIC)
        wrong = "it does not start like one";
    else if (ring_->version != SGXLENS_STREAM_VERSION)
        wrong = "the tracer is of another version";
    else if (chunk_count_ == 0 || chunk_count_ > SGXLENS_CHUNKS_MAX ||
             (chunk_count_ & (chunk_count_ - 1)) != 0 || chunk_words_ == 0 ||
             bytes_of(chunk_count_, chunk_words_) > mapped_bytes_)
        wrong = "its size does not fit its chunks";
    if (wrong != nullptr) {
        munmap(mapped, mapped_bytes_);
        throw StreamError(path + " is not a ring: " + wrong);
    }
}

Ring::~Ring() {
    munmap(ring_, mapped_bytes_);
}

void Ring::wait(std::uint32_t published) {
    const timespec patience{0, kPatienceNanoseconds};
    syscall(SYS_futex, &ring_->published, FUTEX_WAIT, published, &patience, nullptr, 0);
}

bool Ring::drain(const Consumer &consume) {
    const auto *const chunks = reinterpret_cast<const std::uint64_t *>(
        reinterpret_cast<const char *>(ring_) + SGXLENS_RING_CONTROL_BYTES);
    while (true) {
        // In this order: what is published after the writer was seen gone is the last.
        const bool gone = writer_gone_.load(std::memory_order_acquire);
        const bool closed = load(ring_->state) == SGXLENS_RING_CLOSED;
        const std::uint32_t published = load(ring_->published);
        const std::uint32_t consumed = ring_->consumed;
        const std::uint64_t *const chunk =
            chunks + static_cast<std::size_t>(consumed % chunk_count_) * chunk_words_;
        if (published != consumed) {
            const std::uint32_t used = ring_->used_words[consumed % chunk_count_];
            if (used > chunk_words_ || published - consumed > chunk_count_)
                throw StreamError("the ring is damaged");
            consume(chunk, used);
            __atomic_store_n(&ring_->consumed, consumed + 1, __ATOMIC_RELEASE);
            syscall(SYS_futex, &ring_->consumed, FUTEX_WAKE, 1, nullptr, nullptr, 0);
        } else if (closed) {
            return true;
        } else if (gone) {
            // Killed: the chunk it was filling holds what it did last.
            const std::uint32_t partial = load(ring_->partial_words);
            if (partial > chunk_words_)
                throw StreamError("the ring is damaged");
            consume(chunk, partial);
            return false;
        } else {
            wait(published);
        }
    }
}

} // namespace sgxlens
