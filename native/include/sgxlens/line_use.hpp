// SPDX-License-Identifier: Apache-2.0
//
// Which bytes of lines each context accesses. All lines would cost too much: some are followed, and
// of them every access.
#pragma once

#include "sgxlens/attribution.hpp"
#include "sgxlens/page_use.hpp"
#include "sgxlens/row_log.hpp"
#include "sgxlens/use_rows.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace sgxlens {

/// Which lines are followed: one of each group of `interval` lines that follow each other, at a
/// place that depends on the number of the group and on nothing else. So each region of memory is
/// followed in proportion to its size, and lines at a regular distance are met as any others are.
class LineSample {
  public:
    static constexpr unsigned kIntervalMax = 64;

    /// Throws std::invalid_argument where `interval` is no power of two up to kIntervalMax.
    explicit LineSample(unsigned interval)
        : shift_(static_cast<unsigned>(std::countr_zero(interval))), mask_(interval - 1) {
        if (!std::has_single_bit(interval) || interval > kIntervalMax)
            throw std::invalid_argument("the interval of lines must be a power of two up to 64");
    }
    unsigned interval() const { return static_cast<unsigned>(mask_ + 1); }
    bool holds(std::uint64_t line) const {
        return ((line ^ place_of(line >> shift_)) & mask_) == 0;
    }
    /// Calls `take` with the lines followed of those from `first` to `last`.
    template <typename Take> void each(std::uint64_t first, std::uint64_t last, Take take) const {
        for (std::uint64_t group = first >> shift_; group <= last >> shift_; ++group) {
            const std::uint64_t line = group << shift_ | (place_of(group) & mask_);
            if (line - first <= last - first)
                take(line);
        }
    }
    /// Two rounds, so that groups at a regular distance have their lines at any place. Of 32 bits,
    /// which all processors multiply by the vector.
    static std::uint64_t place_of(std::uint64_t group) {
        std::uint64_t h = (group & 0xffffffffu) * kPlaceFirst;
        h = ((h ^ h >> kPlaceFold) & 0xffffffffu) * kPlaceSecond;
        return h >> kPlaceShift;
    }
    static constexpr std::uint32_t kPlaceFirst = 0x9e3779b1u;
    static constexpr std::uint32_t kPlaceSecond = 0x85ebca6bu;
    static constexpr unsigned kPlaceFold = 29;
    static constexpr unsigned kPlaceShift = 26;
    unsigned shift() const { return shift_; }
    std::uint64_t mask() const { return mask_; }

  private:
    unsigned shift_;
    std::uint64_t mask_;
};

/// One line in one context; bit i of a set is byte i of the line.
struct LineUse {
    std::uint64_t line;
    std::uint64_t bytes;
    std::uint64_t written_bytes;
    ContextNumber context;
};

/// The bytes of a line from one to another, both included.
constexpr std::uint64_t bytes_of_line(std::uint64_t first_byte, std::uint64_t last_byte) {
    return ~std::uint64_t{0} << first_byte & ~std::uint64_t{0} >> (63 - last_byte);
}

/// Gathers the use of the lines followed; spans and contexts as in UseRows.
class LineUses {
  public:
    explicit LineUses(LineSample sample) : sample_(sample) {}

    const LineSample &sample() const { return sample_; }
    void begin_span() { rows_.begin_span(); }
    void begin_context(ContextNumber context) { rows_.begin_context(context); }
    /// Bytes of a line that is followed.
    void note(std::uint64_t line, std::uint64_t bytes, std::uint64_t written_bytes) {
        LineUse &row = rows_.at(line);
        row.bytes |= bytes;
        row.written_bytes |= written_bytes;
    }

    const RowLog<LineUse> &rows() const { return rows_.rows(); }
    std::size_t memory_bytes() const { return rows_.memory_bytes(); }

  private:
    LineSample sample_;
    UseRows<LineUse, &LineUse::line> rows_;
};

} // namespace sgxlens
