// SPDX-License-Identifier: Apache-2.0
//
// The bytes of lines that a stretch of the stream accesses: the same each time it recurs, as its
// bases keep their places within their lines.
#pragma once

#include "segment_pattern.hpp"
#include "sgxlens/line_use.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens::detail {

struct ByteSets {
    std::uint64_t bytes;
    std::uint64_t written_bytes;
    bool operator==(const ByteSets &) const = default;
};

class BytePattern {
  public:
    /// Notes the lines that are followed, where the bases lie at these lines.
    void note(const std::uint64_t *base_lines, LineUses &uses) const {
        for (const Interval &interval : intervals_) {
            const std::uint64_t base = base_lines[interval.base];
            uses.sample().each(base + interval.first, base + interval.last,
                               [&](std::uint64_t line) {
                                   const ByteSets &sets =
                                       sets_[kinds_[line - base - interval.first + interval.at]];
                                   if (sets.bytes != 0)
                                       uses.note(line, sets.bytes, sets.written_bytes);
                               });
        }
        for (const Fixed &fixed : fixed_)
            uses.note(fixed.line, fixed.sets.bytes, fixed.sets.written_bytes);
    }
    /// Calls `take` with base, line from there and sets of each line that counts.
    template <typename Take> void each(Take take) const {
        for (const Interval &interval : intervals_)
            for (std::uint64_t line = interval.first; line <= interval.last; ++line)
                if (const ByteSets &sets = sets_[kinds_[line - interval.first + interval.at]];
                    sets.bytes != 0)
                    take(interval.base, line, sets);
        for (const Fixed &fixed : fixed_)
            take(std::uint32_t{0}, fixed.line, fixed.sets);
    }
    std::size_t memory_bytes() const {
        return intervals_.capacity() * sizeof(Interval) + kinds_.capacity() * sizeof kinds_[0] +
               sets_.capacity() * sizeof(ByteSets) + fixed_.capacity() * sizeof(Fixed);
    }

  private:
    friend class ByteCollector;
    /// As in Pattern; its lines start at `at` in kinds_.
    struct Interval {
        std::uint64_t first;
        std::uint64_t last;
        std::uint32_t base;
        std::uint32_t at;
    };
    /// A line of base 0, which is always the same; those that are not followed are left out.
    struct Fixed {
        std::uint64_t line;
        ByteSets sets;
    };
    std::vector<Interval> intervals_;
    std::vector<std::uint16_t> kinds_; ///< of each line, an index into sets_
    std::vector<ByteSets> sets_;
    std::vector<Fixed> fixed_;
};

/// Makes a BytePattern.
class ByteCollector {
  public:
    /// For lines that the pattern touches.
    void start(const Pattern &pattern);
    void add(std::uint32_t base, std::uint64_t line, const ByteSets &sets);
    BytePattern pattern(const LineSample &sample) const;

  private:
    std::vector<BytePattern::Interval> intervals_;
    std::vector<ByteSets> lines_;
    std::size_t last_ = 0; ///< interval of the last line
};

} // namespace sgxlens::detail
