// SPDX-License-Identifier: Apache-2.0
//
// Rows of a table, in the order in which they are added.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace sgxlens {

/// A row stays where it is: none is copied as more are added. A vector would have most of its
/// memory be given by the kernel, and cleared, twice.
template <typename Row> class RowLog {
  public:
    RowLog() = default;
    RowLog(const RowLog &) = delete;
    RowLog &operator=(const RowLog &) = delete;

    /// Throws std::bad_alloc.
    Row &push_back(const Row &row) {
        if (size_ % kChunkRows == 0)
            chunks_.push_back(std::make_unique_for_overwrite<Row[]>(kChunkRows));
        Row &added = chunks_.back()[size_++ % kChunkRows];
        added = row;
        return added;
    }
    Row &operator[](std::size_t index) { return chunks_[index / kChunkRows][index % kChunkRows]; }
    const Row &operator[](std::size_t index) const {
        return chunks_[index / kChunkRows][index % kChunkRows];
    }
    std::size_t size() const { return size_; }

    class Iterator {
      public:
        Iterator(const RowLog &log, std::size_t index) : log_(&log), index_(index) {}
        const Row &operator*() const { return (*log_)[index_]; }
        Iterator &operator++() {
            ++index_;
            return *this;
        }
        bool operator==(const Iterator &other) const { return index_ == other.index_; }

      private:
        const RowLog *log_;
        std::size_t index_;
    };
    Iterator begin() const { return {*this, 0}; }
    Iterator end() const { return {*this, size_}; }

    std::size_t memory_bytes() const {
        return chunks_.size() * kChunkRows * sizeof(Row) + chunks_.capacity() * sizeof chunks_[0];
    }

  private:
    static constexpr std::size_t kChunkRows = 4096;
    std::vector<std::unique_ptr<Row[]>> chunks_;
    std::size_t size_ = 0;
};

} // namespace sgxlens
