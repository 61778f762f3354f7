// SPDX-License-Identifier: Apache-2.0
//
// Zeroed memory straight from the kernel, on huge pages where it is large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include <sys/mman.h>

namespace sgxlens::detail {

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// `T` must be trivial and valid when all its bytes are zero.
template <typename T> class MappedArray {
  public:
    MappedArray() = default;

    // Throws std::bad_alloc.
    explicit MappedArray(std::size_t count) : bytes_(count * sizeof(T)) {
        // Room for aligning the start, which huge pages need; untouched it costs no memory.
        mapped_bytes_ = bytes_ < kHugePageBytes ? bytes_ : bytes_ + kHugePageBytes;
        if (mapped_bytes_ == 0)
            return;
        mapping_ = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapping_ == MAP_FAILED) {
            mapping_ = nullptr;
            throw std::bad_alloc();
        }
        auto address = reinterpret_cast<std::uintptr_t>(mapping_);
        if (bytes_ >= kHugePageBytes) {
            address = (address + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
            // Only advice: without huge pages everything works, more slowly.
            ::madvise(reinterpret_cast<void *>(address), bytes_, MADV_HUGEPAGE);
        }
        data_ = reinterpret_cast<T *>(address);
    }

    ~MappedArray() { release(); }

    MappedArray(MappedArray &&other) noexcept { swap(other); }

    MappedArray &operator=(MappedArray &&other) noexcept {
        MappedArray old(std::move(other));
        swap(old);
        return *this;
    }

    T *data() const { return data_; }
    std::size_t bytes() const { return bytes_; }

    // Gives back the memory of the whole huge pages within the first `bytes` bytes, whose content
    // is lost.
    void discard_front(std::size_t bytes) {
        ::madvise(data_, bytes & ~(kHugePageBytes - 1), MADV_DONTNEED);
    }

    void release() {
        if (mapping_ != nullptr)
            ::munmap(mapping_, mapped_bytes_);
        mapping_ = nullptr;
        data_ = nullptr;
        bytes_ = mapped_bytes_ = 0;
    }

  private:
    void swap(MappedArray &other) noexcept {
        std::swap(mapping_, other.mapping_);
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        std::swap(mapped_bytes_, other.mapped_bytes_);
    }

    void *mapping_ = nullptr;
    T *data_ = nullptr;
    std::size_t bytes_ = 0;
    std::size_t mapped_bytes_ = 0;
};

} // namespace sgxlens::detail
