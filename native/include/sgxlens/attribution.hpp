// SPDX-License-Identifier: Apache-2.0
//
// How a reuse stack attributes accesses: to contexts (who makes an access), to regions (what memory
// it is to) and to the context in which the block was accessed before.
#pragma once

#include <cstdint>

namespace sgxlens {

/// What one thread does between two boundaries: a number, given in the order of first use, so that
/// the contexts of a phase have greater numbers than those of the phases before.
using ContextNumber = std::uint32_t;
using RegionNumber = std::uint16_t;

inline constexpr unsigned kContextBits = 17;
inline constexpr unsigned kRegionBits = 10;
inline constexpr ContextNumber kContextsMax = ContextNumber{1} << kContextBits;
inline constexpr std::uint32_t kRegionsMax = std::uint32_t{1} << kRegionBits;

/// Accesses of one context, alike in all of this.
struct SourceCount {
    std::uint64_t count;
    ContextNumber source; ///< context of the block's previous access; without meaning if cold
    RegionNumber region;
    std::uint16_t bin; ///< kColdBin: cold
    std::uint8_t access_class;
};

/// Whom a stack asks and tells. Where visits are told, they and the notes come in the order of the
/// accesses, but for those that are taken by segments: of a segment, what concerns one block comes
/// together. Regions are asked some accesses ahead. No call may access the stack, except for
/// ReuseStack::last_time.
class BlockObserver {
  public:
    BlockObserver() = default;
    BlockObserver(const BlockObserver &) = delete;
    BlockObserver &operator=(const BlockObserver &) = delete;
    virtual ~BlockObserver() = default;

    /// The region of a block: asked at the first access to it in a context.
    virtual RegionNumber region_of(std::uint64_t block) = 0;
    /// The block is accessed in these classes (a bit set of AccessClass). Told at least once for
    /// each block and class in each context.
    virtual void note(std::uint64_t block, unsigned classes) = 0;
    /// An access at a distance of at least that given to ReuseStack::attribute, or a cold one.
    /// note() is told after it for the same access, and from then on anew for each class.
    virtual void visit(std::uint64_t block, unsigned access_class) = 0;
    /// The times of all blocks are about to change: ReuseStack::last_time still gives the old ones.
    virtual void renumbering() {}
    /// The times of all blocks have changed; their order has not.
    virtual void renumbered() = 0;
};

} // namespace sgxlens
