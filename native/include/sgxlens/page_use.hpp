// SPDX-License-Identifier: Apache-2.0
//
// Which pages, and which of their lines, each context accesses.
#pragma once

#include "sgxlens/attribution.hpp"
#include "sgxlens/histogram.hpp"
#include "sgxlens/row_log.hpp"
#include "sgxlens/use_rows.hpp"

#include <cstddef>
#include <cstdint>

namespace sgxlens {

/// One page in one context; bit i of a set is line i of the page.
struct PageUse {
    std::uint64_t page;
    std::uint64_t lines;
    std::uint64_t written_lines;
    std::uint64_t fetched_lines;
    ContextNumber context;
};

/// Bit sets of AccessClass.
inline constexpr unsigned kFetchClasses = 1u << static_cast<unsigned>(AccessClass::fetch);
inline constexpr unsigned kWriteClasses = 1u << static_cast<unsigned>(AccessClass::store) |
                                          1u << static_cast<unsigned>(AccessClass::kernel_write);

/// Gathers the use of pages; spans and contexts as in UseRows.
class PageUses {
  public:
    void begin_span() { rows_.begin_span(); }
    void begin_context(ContextNumber context) { rows_.begin_context(context); }
    void note(std::uint64_t line, unsigned classes) {
        PageUse &row = rows_.at(line >> 6);
        const std::uint64_t bit = std::uint64_t{1} << (line & 63);
        row.lines |= bit;
        row.written_lines |= (classes & kWriteClasses) != 0 ? bit : 0;
        row.fetched_lines |= (classes & kFetchClasses) != 0 ? bit : 0;
    }

    const RowLog<PageUse> &rows() const { return rows_.rows(); }
    std::size_t memory_bytes() const { return rows_.memory_bytes(); }

  private:
    UseRows<PageUse, &PageUse::page> rows_;
};

} // namespace sgxlens
