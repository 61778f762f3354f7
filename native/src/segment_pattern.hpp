// SPDX-License-Identifier: Apache-2.0
//
// What two stretches of a stream have in common that differ in their base addresses only. See
// segments.hpp.
#pragma once

#include "segment_distances.hpp"
#include "sgxlens/reuse_stack.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens::detail {

inline constexpr std::uint64_t kLineNumberMask = (std::uint64_t{1} << kLineNumberBits) - 1;
inline constexpr unsigned kPageLineBits = 6;

/// The words of a segment, its heads and its values. Heads are compared as they are. Values that
/// are near each other share a base, the first of them, from which they must keep their distance.
/// Base 0 is the absolute one: heads and addresses that depend on no value.
class Pattern {
  public:
    /// Lines that are touched: `first` to `last`, counted from the line of the value in `word`;
    /// from line 0 where the word is 0 (which is a head).
    struct Extent {
        std::uint64_t first;
        std::uint64_t last;
        std::uint32_t word;
    };
    /// Lines of one base without a wide gap, counted from the lowest of the base.
    struct Interval {
        std::uint64_t first;
        std::uint64_t last;
        std::uint32_t base;
    };
    /// The first value of a base. All values of the base keep their distance from it.
    struct Leader {
        std::uint64_t
            offset; ///< of the value, from the start of the line that its base starts from
        std::uint32_t word;

        std::uint64_t base_line(std::uint64_t value, unsigned value_shift) const {
            return (value - offset) >> value_shift & kLineNumberMask;
        }
    };
    struct Source {
        const std::uint64_t *words = nullptr;
        std::vector<bool> is_value; ///< by word
        std::vector<Extent> extents;
        unsigned value_shift = 0; ///< from a value to its line
        unsigned apart_shift = 0; ///< no two bases may touch the same line >> apart_shift
        std::uint64_t near = 0;   ///< how far apart values may share a base, in their unit
    };

    /// False where there are too many bases.
    bool build(const Source &source);

    /// Whether the words, word_count() of them, are of this pattern. Then also says what
    /// line each base starts from: the lowest that it touches.
    bool matches(const std::uint64_t *words, std::uint64_t *base_lines);

    /// Whether the words, word_count() of them, are of this pattern, and its bases where they are
    /// in that part of a row which starts with word `part` of it. `row_values`: of the words that
    /// lead the bases of the row; 0 of the absolute one. Its bases may touch the same lines.
    bool matches_part(const std::uint64_t *words, const Pattern &row, std::size_t part,
                      const std::uint64_t *row_values) const;
    /// Says what line each base starts from, where the words that lead the bases have these values.
    /// Returns whether no two bases touch the same lines there.
    bool locate(const std::uint64_t *values, std::uint64_t *base_lines);
    /// Returns whether no two bases touch the same lines where they start from these.
    bool are_apart(const std::uint64_t *base_lines);

    /// The words whose bases start from these lines. Of values, only the
    /// bits that tell their lines and places in them are as they were.
    std::vector<std::uint64_t> words(const std::uint64_t *base_lines) const;

    std::size_t word_count() const { return bases_.size(); }
    std::size_t base_count() const { return leaders_.size(); }
    /// By base; of no meaning of the absolute one.
    const std::vector<Leader> &leaders() const { return leaders_; }
    /// The base of the value in a word; of a head 0.
    unsigned base_of(std::size_t word) const { return bases_[word]; }
    /// All lines that are touched lie in these; of each base, no two overlap.
    const std::vector<Interval> &intervals() const { return intervals_; }
    /// Adds what is touched in all, where the values of the bases but the first are in the words
    /// from `word` on.
    void add_extents(std::uint32_t word, std::vector<Extent> &extents) const;
    std::size_t memory_bytes() const;

  private:
    bool share_bases(const Source &source);
    bool join_overlapping(const Source &source);
    void take_intervals(const Source &source);
    std::uint64_t difference(std::size_t word) const {
        return differences_.empty() ? wide(small_differences_[word]) : differences_[word];
    }
    bool keeps_distances(const std::uint64_t *words, const std::uint64_t *values) const;
    bool reorder(const std::uint64_t *base_lines);

    /// Of each word from its base: in one of the two, the second where all are small.
    std::vector<std::uint64_t> differences_;
    std::vector<std::int32_t> small_differences_;
    std::vector<std::uint8_t> bases_; ///< of each word
    std::vector<Leader> leaders_;     ///< by base
    std::vector<Interval> intervals_; ///< in the order in which they lay in memory last
    std::uint64_t low_mask_ = 0;      ///< of values: what lines are touched depends on these bits
    unsigned value_shift_ = 0;
    unsigned apart_shift_ = 0;
};

} // namespace sgxlens::detail
