// SPDX-License-Identifier: Apache-2.0
//
// Which pages, and which of their lines, each context accesses.
#pragma once

#include "sgxlens/attribution.hpp"
#include "sgxlens/histogram.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

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

/// Gathers the use of pages. The contexts of a span take turns; a span that is over does not come
/// back.
class PageUses {
  public:
    void begin_span();
    void begin_context(ContextNumber context);
    void note(std::uint64_t line, unsigned classes) {
        const std::uint64_t page = line >> 6;
        if (rows_.empty() || last_ == kNone || rows_[last_].page != page)
            last_ = row_of(page);
        PageUse &row = rows_[last_];
        const std::uint64_t bit = std::uint64_t{1} << (line & 63);
        row.lines |= bit;
        row.written_lines |= (classes & kWriteClasses) != 0 ? bit : 0;
        row.fetched_lines |= (classes & kFetchClasses) != 0 ? bit : 0;
    }

    /// In the order of the first access of their context to them; contexts of one span mix.
    const std::vector<PageUse> &rows() const { return rows_; }
    std::size_t memory_bytes() const;

  private:
    static constexpr std::size_t kNone = ~std::size_t{0};

    std::size_t row_of(std::uint64_t page);
    void grow();

    std::vector<PageUse> rows_;
    std::size_t span_start_ = 0; ///< first row of the span
    std::size_t last_ = kNone;
    ContextNumber context_ = 0;
    /// Rows of the span by page and context: open addressing, 0 is empty, else 1 + the row.
    std::vector<std::uint32_t> slots_ = std::vector<std::uint32_t>(256);
};

} // namespace sgxlens
