// SPDX-License-Identifier: Apache-2.0
//
// Zeroed memory straight from the kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include <sys/mman.h>

namespace sgxlens::detail {

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

/// What takes memory: all of it, on huge pages where it is large; or the small pages accessed.
enum class PageUse : bool { whole, as_needed };

// `T` must be trivial and valid when all its bytes are zero.
template <typename T> class MappedArray {
  public:
    MappedArray() = default;

    // Throws std::bad_alloc.
    explicit MappedArray(std::size_t count, PageUse use = PageUse::whole)
        : bytes_(count * sizeof(T)) {
        const bool huge = bytes_ >= kHugePageBytes && use == PageUse::whole;
        // Room for aligning the start, which huge pages need; untouched it costs no memory.
        mapped_bytes_ = huge ? bytes_ + kHugePageBytes : bytes_;
        if (mapped_bytes_ == 0)
            return;
        mapping_ = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapping_ == MAP_FAILED) {
            mapping_ = nullptr;
            throw std::bad_alloc();
        }
        auto address = reinterpret_cast<std::uintptr_t>(mapping_);
        if (huge) {
            address = (address + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
            // Only advice: without huge pages everything works, more slowly.
            ::madvise(reinterpret_cast<void *>(address), bytes_, MADV_HUGEPAGE);
        } else if (use == PageUse::as_needed) {
            ::madvise(mapping_, mapped_bytes_, MADV_NOHUGEPAGE);
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
