// SPDX-License-Identifier: Apache-2.0
//
// Exact LRU reuse distances of a stream of block accesses, counted by phase and access class, and
// if wanted by region, context and context of the previous access.
#pragma once

#include "sgxlens/attribution.hpp"
#include "sgxlens/histogram.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sgxlens {

// An access to one line as the stack takes it:
//     line << 4 | continuation << 3 | access class
// `line` is the address divided by 64, below 2^41. `continuation` marks the second and later line
// of an access that crosses line boundaries within one page: it is no access of its own to the
// page.
inline constexpr unsigned kEntryLineShift = 4;
inline constexpr std::uint64_t kEntryContinuation = 8;
inline constexpr std::uint64_t kEntryClassMask = 7;
inline constexpr unsigned kLineNumberBits = 41;

constexpr std::uint64_t make_entry(std::uint64_t line, bool continuation, AccessClass access) {
    return line << kEntryLineShift | (continuation ? kEntryContinuation : 0) |
           static_cast<std::uint64_t>(access);
}

enum class Granularity : std::uint8_t { line, page };

// Which code path runs; all give the same results.
enum class InstructionSet : std::uint8_t { baseline, avx2, avx512 };

// The best path this CPU has, or a lesser one named by the environment variable
// SGXLENS_INSTRUCTION_SET (baseline, avx2, avx512).
InstructionSet best_instruction_set();

struct ReuseStackOptions {
    Granularity granularity = Granularity::line;
    // Share of the blocks that is followed, in (0, 1]. 1: all, exact.
    double sampling_rate = 1.0;
    // First size of the tables, which grow as needed. Small values are for tests.
    std::size_t initial_block_count = std::size_t{1} << 16;
    InstructionSet instruction_set = best_instruction_set();
};

// Numbers of distinct blocks accessed: by any access, and by accesses of each class.
struct Footprint {
    std::uint64_t any = 0;
    std::array<std::uint64_t, kAccessClassCount> by_class{};
};

struct ClassCounts {
    // All accesses of the class, also those to blocks that are not sampled.
    std::uint64_t access_count = 0;
    // Accesses to sampled blocks = cold + sum of the histogram. Equals access_count at rate 1.
    std::uint64_t sampled_count = 0;
    // Accesses to a block that has not been accessed before in this recording.
    std::uint64_t cold_count = 0;
    // Distances, scaled by 1 / sampling rate; counts are of sampled accesses, not scaled.
    Histogram distances{};
};

// What happened in one phase. Block counts are of sampled blocks, not scaled.
struct PhaseCounts {
    // The share of blocks really sampled (the rate asked for, rounded to a multiple of 2^-24).
    double sampling_rate = 1.0;
    std::array<ClassCounts, kAccessClassCount> classes{};
    Footprint footprint;
    // Blocks accessed here and never before.
    std::uint64_t first_touch_count = 0;

    // SHARDS-adj: sampled accesses expected less those seen. To be added to the count at
    // distance 0 (it may be negative); 0 at rate 1.
    double sampling_adjustment(AccessClass access) const {
        const ClassCounts &counts = classes[static_cast<std::size_t>(access)];
        return static_cast<double>(counts.access_count) * sampling_rate -
               static_cast<double>(counts.sampled_count);
    }
};

// Whether a block is followed when `threshold` of 2^kSamplingBits blocks are. Mixes all bits, so
// that strided blocks are sampled as evenly as any.
inline constexpr unsigned kSamplingBits = 24;

constexpr std::uint64_t sampling_hash(std::uint64_t block) {
    std::uint64_t h = block + 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return (h ^ (h >> 31)) >> (64 - kSamplingBits);
}

// What a segment of the accesses does with one block that it touches: the segment's first access to
// the block, the classes of all of them, and when the last one is. Small, as there are many: blocks
// are told by their distance from one of a few anchors.
struct SegmentTouch {
    static constexpr std::size_t kAnchorsMax = 256;

    std::uint16_t offset;     // of the block from its anchor
    std::uint16_t rank;       // number of blocks whose last access is earlier
    std::uint16_t start_rank; // number of blocks whose last access is before the first one to it
    std::uint8_t anchor;      // which one
    std::uint8_t kinds;       // class of the first access << 5 | bit set of those of all accesses

    static constexpr std::uint8_t kinds_of(std::uint8_t first_class, std::uint8_t classes) {
        return static_cast<std::uint8_t>(first_class << kAccessClassCount | classes);
    }
    std::uint8_t access_class() const {
        return static_cast<std::uint8_t>(kinds >> kAccessClassCount);
    }
    std::uint8_t classes() const {
        return static_cast<std::uint8_t>(kinds & ((1u << kAccessClassCount) - 1));
    }
};
static_assert(sizeof(SegmentTouch) == 8 && kAccessClassCount == 5);

namespace detail {
struct ReuseState;
}

// One LRU stack for the accesses of all classes, at one granularity.
//
// The distance of an access is the number of distinct other blocks accessed since the previous
// access to its block. Memory: at most 50 bytes for each distinct block, also while the
// tables grow, plus a constant.
class ReuseStack {
  public:
    // Throws std::invalid_argument for a sampling rate outside (0, 1] and std::bad_alloc.
    explicit ReuseStack(const ReuseStackOptions &options = {});
    ~ReuseStack();
    ReuseStack(ReuseStack &&) noexcept;
    ReuseStack &operator=(ReuseStack &&) noexcept;

    // Attributes accesses from the first one on, which must not have come yet. The observer must
    // outlive the last access. Accesses at a distance (not scaled) of at least visit_distance are
    // told as visits; kNoVisits for none, else at least kVisitDistanceMin, or
    // std::invalid_argument is thrown.
    static constexpr std::uint64_t kNoVisits = ~std::uint64_t{0};
    static constexpr std::uint64_t kVisitDistanceMin = 128;
    void attribute(BlockObserver &observer, std::uint64_t visit_distance = kNoVisits);
    bool is_attributed() const;
    std::uint64_t visit_distance() const;

    // From here on accesses belong to this context, below kContextsMax. Due before the first access
    // and at the start of each phase. A context that ran before may go on, so that threads take
    // turns; regions are asked anew. Only of a stack that is attributed.
    void begin_context(ContextNumber context);

    // Appends what was counted since the last begin_context or end_context. Accesses that are alike
    // may be in several entries. Due before another context begins and before the phase ends.
    void end_context(std::vector<SourceCount> &counts);

    // For the observer: a time of the block's last access up to that which is being told. Only how
    // times are ordered has a meaning. 0 for a block not accessed yet. While a segment is told, the
    // blocks that it touched before have the times of their last accesses in it.
    std::uint64_t last_time(std::uint64_t block) const;

    // Takes accesses in program order. Throws std::bad_alloc, after which the stack is unusable.
    void access(const std::uint64_t *entries, std::size_t count);

    // Takes a segment by what it does with each block, in the order of the first accesses to them;
    // no block twice. Counts these first accesses; the distances of all others depend on the
    // segment only and are to be counted with count_reuses. Anchors are block numbers; block
    // numbers wrap like those of entries. Only at sampling rate 1, and where blocks are attributed
    // at most visit_distance of them. Returns the region of each block, until the next call; null
    // where they are not attributed, and all are of region 0.
    const RegionNumber *touch(const SegmentTouch *touches, std::size_t count,
                              const std::uint64_t *anchors);
    void count_reuses(RegionNumber region, AccessClass access, std::size_t bin,
                      std::uint64_t count);

    // Counts of the phase that ends here, of all its contexts. The next one starts with its first
    // access.
    PhaseCounts end_phase();

    // Gives the memory of the blocks back. No access and no last_time() after it; what was counted
    // stays.
    void finish();

    // Distinct blocks of the whole recording so far.
    Footprint whole() const;

    // Bytes held by the tables now, and at most since construction.
    std::size_t memory_bytes() const;
    std::size_t peak_memory_bytes() const;

    Granularity granularity() const;
    double sampling_rate() const;
    InstructionSet instruction_set() const;

  private:
    std::unique_ptr<detail::ReuseState> state_;
};

} // namespace sgxlens
