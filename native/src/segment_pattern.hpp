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

    /// The words whose bases start from these lines. Of values, only the
    /// bits that tell their lines and places in them are as they were.
    std::vector<std::uint64_t> words(const std::uint64_t *base_lines) const;

    std::size_t word_count() const { return bases_.size(); }
    std::size_t base_count() const { return leaders_.size(); }
    /// The base of the value in a word; of a head 0.
    unsigned base_of(std::size_t word) const { return bases_[word]; }
    /// All lines that are touched lie in these; of each base, no two overlap.
    const std::vector<Interval> &intervals() const { return intervals_; }
    /// Adds what is touched in all, where the values of the bases but the first are in the words
    /// from `word` on.
    void add_extents(std::uint32_t word, std::vector<Extent> &extents) const;
    std::size_t memory_bytes() const;

  private:
    struct Leader {
        std::uint64_t lowest; ///< line of its base, from the leader's line
        std::uint32_t word;
        std::uint32_t low_bits; ///< of the leader: what lines its accesses touch depends on them
    };
    bool share_bases(const Source &source);
    bool join_overlapping(const Source &source);
    void take_intervals(const Source &source);
    bool are_apart(const std::uint64_t *base_lines);
    bool reorder(const std::uint64_t *base_lines);

    /// Of each word from its base: in one of the two, the second where all are small.
    std::vector<std::uint64_t> differences_;
    std::vector<std::int32_t> small_differences_;
    std::vector<std::uint8_t> bases_; ///< of each word
    std::vector<Leader> leaders_;     ///< by base
    std::vector<Interval> intervals_; ///< in the order in which they lay in memory last
    std::uint64_t low_mask_ = 0;
    unsigned value_shift_ = 0;
    unsigned apart_shift_ = 0;
};

} // namespace sgxlens::detail
