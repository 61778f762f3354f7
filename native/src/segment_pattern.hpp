// SPDX-License-Identifier: Apache-2.0
//
// What two stretches of a stream have in common that differ in their base addresses only, and the
// reuse within them, which is then the same. See segments.hpp.
#pragma once

#include "sgxlens/reuse_stack.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sgxlens::detail {

inline constexpr std::uint64_t kLineNumberMask = (std::uint64_t{1} << kLineNumberBits) - 1;
inline constexpr unsigned kPageLineBits = 6;
inline constexpr std::size_t kBasesMax = 64; ///< of a pattern, the absolute one included

/// Accesses of one class at one distance to one block, each time a segment runs.
struct InnerReuse {
    std::uint32_t count;
    std::uint16_t slot; ///< index of the block's touch, or of that which stands for it; or 0
    std::uint16_t kind; ///< bin << 3 | class
};

constexpr std::uint16_t reuse_kind(std::size_t bin, std::uint8_t access_class) {
    return static_cast<std::uint16_t>(bin << 3 | access_class);
}

/// What is `offset` blocks after a base: where the touches of an effect are told from.
struct Anchor {
    std::uint64_t offset;
    std::uint32_t base;
};

/// What a segment does to a reuse stack.
struct Effect {
    std::vector<SegmentTouch> touches;
    std::vector<Anchor> anchors;
    std::vector<InnerReuse> reuses;
    /// Of each touch, which one stands for it in the inner reuses: so far they have always been of
    /// one region. Empty: each stands for itself.
    std::vector<std::uint16_t> groups;
    std::vector<RegionNumber> regions; ///< of the blocks in its uncounted uses; empty: 0
    std::uint64_t uncounted = 0;       ///< how often the inner reuses are to be counted yet

    /// Gives the touches to the stack; the inner reuses are then to be counted once more. False
    /// where a group must be split and the inner reuses be made anew first.
    bool apply(ReuseStack &stack, const std::uint64_t *bases);
    void split_groups();
    void count_reuses(ReuseStack &stack);
    std::size_t memory_bytes() const;
};

/// A reuse stack for one segment.
class LocalStack {
  public:
    /// `by_block`: inner reuses are told by block; else all as of slot 0.
    void start(std::size_t access_count_max, bool by_block);
    /// An access to a block, which is `offset` blocks after a base; `number` tells blocks apart.
    struct Access {
        std::uint64_t number;
        std::uint64_t offset;
        std::uint16_t base;
        std::uint16_t rank; ///< among those given together: the order of the last accesses
        std::uint8_t access_class;
        std::uint8_t classes; ///< bit set of AccessClass, of all accesses that it stands for
    };
    /// Takes accesses one after the other (touches of an inner segment). At most as many in all as
    /// start() was told.
    void access(const Access *accesses, std::size_t count);
    /// Adds the inner reuses of the segment that made the last accesses.
    void add_reuses(const std::vector<InnerReuse> &reuses);
    /// What it did, without inner reuses; none where the blocks lie in too many places. No access
    /// after it.
    std::optional<Effect> effect();
    /// Inner reuses, by these groups of blocks (see Effect).
    std::vector<InnerReuse> reuses(const std::vector<std::uint16_t> &groups);

  private:
    void add_reuse(std::uint64_t slot, std::uint64_t kind, std::uint32_t count);

    struct Block {
        Access first; ///< with the classes of all
        std::uint32_t first_time;
        std::uint32_t time;
    };
    std::vector<Block> blocks_;             ///< in the order of first accesses
    std::vector<std::uint32_t> slots_;      ///< hash table of 1 + index into blocks_
    std::vector<std::uint64_t> times_;      ///< bit vector
    std::vector<std::uint64_t> reuses_;     ///< slot << 48 | kind << 32 | count
    std::vector<std::uint32_t> counts_;     ///< scratch, all 0
    std::vector<std::uint16_t> last_slots_; ///< of the last accesses
    bool by_block_ = false;
    std::uint32_t now_ = 0;
};

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

    std::size_t word_count() const { return differences_.size(); }
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

    std::vector<std::uint64_t> differences_; ///< of each word from its base
    std::vector<std::uint8_t> bases_;        ///< of each word
    std::vector<Leader> leaders_;            ///< by base
    std::vector<Interval> intervals_;        ///< in the order in which they lay in memory last
    std::uint64_t low_mask_ = 0;
    unsigned value_shift_ = 0;
    unsigned apart_shift_ = 0;
};

} // namespace sgxlens::detail
