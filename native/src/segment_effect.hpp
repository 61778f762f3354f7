// SPDX-License-Identifier: Apache-2.0
//
// The reuse within a stretch of the stream, and what is left of it for a reuse stack. See
// segments.hpp.
#pragma once

#include "sgxlens/reuse_stack.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sgxlens::detail {

/// Accesses of one class at one distance to one block, each time a stretch runs.
struct InnerReuse {
    std::uint32_t count;
    std::uint16_t slot; ///< index of the block's touch, or its group; 0 where none are told apart
    std::uint16_t kind; ///< bin << 3 | class
};

/// Such accesses, in less than half the memory: there are many, and they are seldom looked at.
class InnerReuses {
  public:
    void add(const InnerReuse &reuse);
    void done() { bytes_.shrink_to_fit(); }
    template <typename Take> void each(Take take) const;
    std::size_t memory_bytes() const { return bytes_.capacity(); }

  private:
    void add_number(std::uint32_t number);
    static std::uint32_t take_number(const std::uint8_t *&at);

    /// Of each: the way from the slot before (twice its length, and 1 where it is back) and the
    /// count, each in sevens of bits from the lowest; the kind in two bytes between them.
    std::vector<std::uint8_t> bytes_;
    std::uint16_t last_slot_ = 0;
};

constexpr std::uint16_t reuse_kind(std::size_t bin, std::uint8_t access_class) {
    return static_cast<std::uint16_t>(bin << 3 | access_class);
}

/// What is `offset` blocks after a base: where the touches of an effect are told from.
struct Anchor {
    std::uint64_t offset;
    std::uint32_t base;
};

/// What a stretch does to a reuse stack.
struct Effect {
    std::vector<SegmentTouch> touches;
    std::vector<Anchor> anchors;
    InnerReuses reuses;
    /// Of each touch, the group of its block. So far the blocks of a group have always been of one
    /// region; the inner reuses are told by group. Empty: by block.
    std::vector<std::uint8_t> groups;
    /// Of the groups, or of the blocks, in the uncounted uses; empty: all are 0.
    std::vector<RegionNumber> regions;
    std::uint64_t uncounted = 0; ///< how often the inner reuses are to be counted yet
    bool has_reuses = true;      ///< else they are to be made

    static constexpr std::size_t kGroupsMax = 16;

    /// Gives the touches to the stack; the inner reuses are then to be counted once more. Where
    /// these must be made first, or anew as a group is no longer of one region, returns the regions
    /// of the blocks, until the stack is used again; else null.
    const RegionNumber *apply(ReuseStack &stack, const std::uint64_t *bases);
    /// Whether the inner reuses can be counted where the blocks are of these regions.
    bool suits(const RegionNumber *block_regions) const;
    /// Makes groups of one region each out of those that there are, or of all blocks where nothing
    /// is told yet. Each block is told by itself where these are too many, or `by_block`.
    void split_groups(const RegionNumber *block_regions, bool by_block);
    void count_reuses(ReuseStack &stack);
    std::size_t memory_bytes() const;

  private:
    bool are_of(const RegionNumber *group_regions, const RegionNumber *block_regions) const;
};

/// A reuse stack for one stretch.
class LocalStack {
  public:
    /// An effect has at most one anchor for each so many blocks between the first and the last one,
    /// and one more.
    static constexpr std::uint64_t kAnchorLinesMin = 0x8000;
    /// How many blocks after its anchor a touch may be.
    static constexpr std::uint64_t kAnchorReach = 2 * kAnchorLinesMin - 1;

    /// `by_block`: inner reuses are told by block; else all as of slot 0.
    void start(std::size_t access_count_max, bool by_block);
    /// An access to a block, which is `offset` blocks after a base; `number` tells blocks apart.
    struct Access {
        std::uint64_t number;
        std::uint64_t offset;
        std::uint16_t base;
        std::uint16_t rank;       ///< among those given together: the order of the last accesses
        std::uint16_t start_rank; ///< as of a SegmentTouch
        std::uint8_t access_class;
        std::uint8_t classes; ///< bit set of AccessClass, of all accesses that it stands for
    };
    /// Takes accesses one after the other (touches of an inner stretch). At most as many in all as
    /// start() was told. Returns the slots of their blocks.
    const std::vector<std::uint16_t> &access(const Access *accesses, std::size_t count);
    /// Adds the inner reuses of a stretch whose touches are of these slots.
    void add_reuses(const InnerReuses &reuses, const std::uint16_t *slots);
    /// What it did, without inner reuses; none where the blocks lie in too many places. No access
    /// after it.
    std::optional<Effect> effect();
    /// Inner reuses, by these groups of blocks (see Effect).
    InnerReuses reuses(const std::vector<std::uint8_t> &groups);

  private:
    std::size_t times_after(std::uint32_t time) const;
    void forget_time(std::uint32_t time);
    InnerReuses reuses_by_block();

    struct Block {
        Access first; ///< with the classes of all
        std::uint32_t first_time;
        std::uint32_t time;
    };
    std::vector<Block> blocks_;               ///< in the order of first accesses
    std::vector<std::uint32_t> slots_;        ///< hash table of 1 + index into blocks_
    std::vector<std::uint64_t> times_;        ///< bit vector
    std::vector<std::uint8_t> word_counts_;   ///< bits set in each word of it
    std::vector<std::uint32_t> group_counts_; ///< in each kGroupWords words
    std::vector<InnerReuse> reuses_;          ///< several may be alike
    std::vector<std::uint32_t> counts_;       ///< scratch, all 0
    std::vector<std::uint32_t> places_;       ///< scratch: hash table of 1 + index into reuses_
    std::vector<std::uint16_t> last_slots_;   ///< of the last accesses
    bool by_block_ = false;
    std::uint32_t now_ = 0;
};

template <typename Take> void InnerReuses::each(Take take) const {
    const std::uint8_t *at = bytes_.data();
    const std::uint8_t *const end = at + bytes_.size();
    std::uint16_t slot = 0;
    while (at < end) {
        const std::uint32_t way = take_number(at);
        slot = static_cast<std::uint16_t>(way % 2 == 0 ? slot + way / 2 : slot - way / 2);
        const auto kind = static_cast<std::uint16_t>(at[0] | at[1] << 8);
        at += 2;
        take(InnerReuse{take_number(at), slot, kind});
    }
}

inline std::uint32_t InnerReuses::take_number(const std::uint8_t *&at) {
    std::uint32_t number = 0;
    for (unsigned shift = 0;; shift += 7) {
        const std::uint8_t byte = *at++;
        number |= std::uint32_t{byte & 127u} << shift;
        if (byte < 128)
            return number;
    }
}

} // namespace sgxlens::detail
