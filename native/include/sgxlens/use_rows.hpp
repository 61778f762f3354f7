// SPDX-License-Identifier: Apache-2.0
//
// Rows of a table by context and block.
#pragma once

#include "sgxlens/attribution.hpp"
#include "sgxlens/row_log.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace sgxlens {

/// One row for each block that a context uses; `kBlock` is the row's block. The contexts of a span
/// take turns; a span that is over does not come back.
template <typename Row, std::uint64_t Row::*kBlock> class UseRows {
  public:
    void begin_span() {
        // A table that one large span needed is cleared in every later one.
        if (rows_.size() - span_start_ < slots_.size() / 16 && slots_.size() > 256)
            slots_.resize(slots_.size() / 2);
        std::fill(slots_.begin(), slots_.end(), 0);
        span_start_ = rows_.size();
        latest_.fill({});
    }
    void begin_context(ContextNumber context) {
        context_ = context;
        latest_.fill({});
    }
    /// The row of the block in the context that runs; a new one says nothing else. Throws
    /// std::bad_alloc.
    Row &at(std::uint64_t block) {
        Latest &latest = latest_[block % kLatestCount];
        if (latest.block != block)
            latest = {block, &row_of(block)};
        return *latest.row;
    }

    /// In the order of the first access of their context to them; contexts of one span mix.
    const RowLog<Row> &rows() const { return rows_; }
    std::size_t memory_bytes() const {
        return rows_.memory_bytes() + slots_.capacity() * sizeof slots_[0];
    }

  private:
    /// Blocks used lately, by their lowest bits: a few are mostly used in turns.
    static constexpr std::size_t kLatestCount = 16;
    struct Latest {
        std::uint64_t block = ~std::uint64_t{0}; ///< no block's number
        Row *row = nullptr;
    };

    std::size_t slot_of(std::uint64_t block, ContextNumber context) const {
        std::uint64_t h = (block ^ (std::uint64_t{context} << 40)) * 0x9e3779b97f4a7c15u;
        return (h ^ (h >> 32)) & (slots_.size() - 1);
    }

    Row &row_of(std::uint64_t block) {
        std::size_t slot = slot_of(block, context_);
        for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
            Row &row = rows_[slots_[slot] - 1];
            if (row.*kBlock == block && row.context == context_)
                return row;
        }
        if (rows_.size() >= 0xfffffffe)
            throw std::bad_alloc();
        Row &row = rows_.push_back({});
        row.*kBlock = block;
        row.context = context_;
        slots_[slot] = static_cast<std::uint32_t>(rows_.size());
        if ((rows_.size() - span_start_) * 2 > slots_.size())
            grow();
        return row;
    }

    void grow() {
        slots_.assign(slots_.size() * 2, 0);
        for (std::size_t row = span_start_; row < rows_.size(); ++row) {
            std::size_t slot = slot_of(rows_[row].*kBlock, rows_[row].context);
            while (slots_[slot] != 0)
                slot = (slot + 1) & (slots_.size() - 1);
            slots_[slot] = static_cast<std::uint32_t>(row + 1);
        }
    }

    RowLog<Row> rows_;
    std::size_t span_start_ = 0; ///< first row of the span
    std::array<Latest, kLatestCount> latest_;
    ContextNumber context_ = 0;
    /// Rows of the span by block and context: open addressing, 0 is empty, else 1 + the row.
    std::vector<std::uint32_t> slots_ = std::vector<std::uint32_t>(256);
};

} // namespace sgxlens
