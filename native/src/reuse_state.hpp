// SPDX-License-Identifier: Apache-2.0
//
// The data behind a ReuseStack, shared by its interface and its kernels.
//
// Every access that starts a run of accesses to one block has a time; a block's time is that of
// its last run. The distance of an access is the number of blocks whose time is later than the
// time of its own block. The times that are the time of a block are bits set in a bit vector, so
// that a distance is a number of set bits:
//  - the two newest words (the window) are kept apart, in registers. Most accesses find
//    their block there and need nothing else;
//  - of the older ones (the timeline), prefix counts are kept on up to six levels, so that counting
//    takes a few loads and clearing a bit a few vector additions.
// When the times run out, blocks are renumbered by the rank of their times (compaction).
//
// Where accesses are attributed (reuse_attribution.hpp), a cell also says in which context its
// block was accessed last, its region, and what the observer has been told. All that is to be done
// at the first access to a block in a context is done off the main path. The window is emptied
// where a context begins: so whatever is found in it is of this context and a known region.
#pragma once

#include "mapped_array.hpp"
#include "reuse_counts.hpp"
#include "sgxlens/attribution.hpp"
#include "sgxlens/reuse_stack.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens::detail {

// The key of a cell:
//     block << 20 | 1 << 16 | classes of the phase << 8 | classes
// The lower set is the classes that ever accessed the block, the upper those that did in the phase
// of its last access. 0 is an empty cell.
inline constexpr unsigned kKeyBlockShift = 20;
inline constexpr std::uint64_t kKeyPresent = 0x10000;
inline constexpr std::uint64_t kKeyClasses = 0xffff;
inline constexpr std::uint64_t kPhaseClasses = 0xff00;
inline constexpr std::uint64_t kKeyMask = ~std::uint64_t{0xffff};

struct Cell {
    std::uint64_t key;
    std::uint32_t time;
    std::uint32_t tag; // where accesses are attributed, see below
};
static_assert(sizeof(Cell) == 16);

// The tag of a cell:
//     context of the last access << 15 | region << 5 | classes
// The classes are those that the observer was told of in this context (in this visit). Valid from
// the first access of the context on.
inline constexpr unsigned kTagRegionShift = kAccessClassCount;
inline constexpr unsigned kTagContextShift = kTagRegionShift + kRegionBits;
static_assert(kTagContextShift + kContextBits == 32);
inline constexpr std::uint32_t kTagClasses = (std::uint32_t{1} << kTagRegionShift) - 1;

inline std::uint32_t region_of_tag(std::uint32_t tag) {
    return tag >> kTagRegionShift & (kRegionsMax - 1);
}

// Four blocks that follow each other have their cells side by side, in one cache line.
inline constexpr unsigned kGroupBits = 2;
inline constexpr std::uint64_t kGroupCells = std::uint64_t{1} << kGroupBits;

// From one cell to try to the next: another group, and another place in it, so that blocks with
// the same lowest bits do not fill a quarter of the cells only.
inline constexpr std::uint64_t kProbeStep = kGroupCells + 1;

inline constexpr std::size_t kBatchMax = 512;

inline constexpr std::size_t kNoRun = ~std::size_t{0};

// Differs from every entry in its block.
inline constexpr std::uint64_t kNoEntry = ~std::uint64_t{0};

// In place of the time of a block that had none: so far above all times that it is outside the
// window, and also outside one that starts at -64.
inline constexpr std::uint64_t kTimeCountMax = (std::uint64_t{1} << 32) - 256;
inline constexpr std::uint32_t kNever = static_cast<std::uint32_t>(kTimeCountMax + 128);

// The timeline. p0[w]: bits set before word w within its 32 words; p1: before these 32 words
// within 32 such; p2 to p5: likewise, by sixteens. Values after the newest word are arbitrary.
struct Timeline {
    static constexpr unsigned kLevelCount = 6;
    static constexpr std::array<unsigned, kLevelCount> kShifts = {0, 5, 10, 14, 18, 22};

    std::uint64_t *words = nullptr;
    std::uint16_t *p0 = nullptr;
    std::uint16_t *p1 = nullptr;
    std::uint32_t *p2 = nullptr;
    std::uint32_t *p3 = nullptr;
    std::uint32_t *p4 = nullptr;
    std::uint32_t *p5 = nullptr;
    unsigned level_count = 3;     // levels in use
    std::uint64_t word_count = 0; // words appended so far
    std::uint64_t bit_count = 0;  // bits set in them
};

// A processor holds a load back for an earlier store where the lowest 12 bits of their addresses
// are alike. What counting distances in the window loads and stores lies apart in these bits from
// what it counts: each 1024 bytes of RegionCounts::near begin with the shortest distances, which
// are far the most, and the arrays of NearScratch lie in the second half of such a block.
// Elsewhere, as chance would have it, all that is taken access by access took a quarter more time.
inline constexpr std::size_t kNearBlockBytes = kWindowDistances * sizeof(std::uint64_t);

struct alignas(kNearBlockBytes) NearScratch {
    std::array<std::uint8_t, kNearBlockBytes / 2> unused;
    // For AVX-512: accesses since the one before to the same block, of the accesses in the window,
    // 255 where that is outside; the newest word's from 128.
    alignas(64) std::array<std::uint8_t, 192 + 64> ages{};
    std::array<std::uint8_t, 64> window_counts{}; // blocks in the window at each run
};

struct ReuseState : NearScratch {
    // The table of blocks: open addressing.
    Cell *cells = nullptr;
    unsigned hash_shift = 0; // 64 - log2(groups)
    std::uint64_t cell_mask = 0;
    std::uint64_t block_count = 0;

    Timeline timeline;
    std::uint32_t now = 0;
    std::uint32_t phase_start = 0;
    std::uint64_t window_old = 0; // bits of the full word before the newest
    std::uint64_t window_new = 0; // bits of the newest word

    std::uint64_t last_entry = kNoEntry; // accesses to the same block continue its run
    std::uint32_t sampling_threshold = 0;

    RegionCounts counts; // of the context
    SourceCounts sources;

    // Where accesses are attributed. Contexts begin at empty windows.
    BlockObserver *observer = nullptr;
    std::uint64_t visit_distance = ReuseStack::kNoVisits;
    std::uint32_t context_tag = 0;
    std::uint32_t context_start = 0;
    std::uint32_t last_row = 0; // of the block of last_entry: its bin without its class

    // Counts of the phase.
    std::array<Histogram, kAccessClassCount> distances{};
    std::array<std::uint64_t, kClassSlots> cold{};
    std::array<std::uint64_t, kClassSlots> unsampled{};
    std::uint64_t phase_any = 0;
    std::array<std::uint64_t, kClassSlots> phase_by_class{};
    std::array<std::uint64_t, kClassSlots> whole_by_class{};

    // Scratch of a batch, with room for whole vectors.
    alignas(64) std::array<std::uint64_t, kBatchMax + 8> kept{};
    alignas(64) std::array<std::uint64_t, kBatchMax + 16> runs{};
    alignas(64) std::array<std::uint64_t, kBatchMax + 8> changes{};
    alignas(64) std::array<std::uint64_t, kBatchMax + 8> keys{};
    alignas(64) std::array<std::uint64_t, kBatchMax + 8> homes{};
    alignas(64) std::array<std::uint32_t, kBatchMax + 16> times{}; // the blocks' times before
    alignas(64) std::array<std::uint32_t, kBatchMax + 16> bins{};  // see RegionCounts
    std::array<std::uint32_t, 64 + 16> far_accesses{}; // numbers of runs not in the window

    // The same where accesses are attributed.
    std::array<std::uint64_t, kBatchMax / 64 + 1> starts{}; // bits: entries that start a run
    std::array<std::uint64_t, kBatchMax / 64 + 1> turns{};  // that are of another class
    std::array<std::uint32_t, kBatchMax> firsts{};          // sources of the bins with kFirstBin
    std::array<std::uint32_t, kBatchMax> first_runs{};      // and their runs
    std::size_t first_count = 0;
    std::size_t first_next = 0;
    std::array<std::uint32_t, kBatchMax> visits{}; // numbers of runs that start a visit
    std::size_t visit_count = 0;
    bool is_untold = false;       // there are classes to tell of
    std::uint32_t told_start = 0; // time of the first run of the batch being told
    std::size_t told_run = kNoRun;
    std::uint64_t told_block = 0; // of a segment, at a time from 1 on; else that is 0
    std::uint64_t told_time = 0;
    std::vector<RegionNumber> touched_regions; // of the blocks of a segment

    // What the above lies in, and how it grows.
    Granularity granularity = Granularity::line;
    InstructionSet instruction_set = InstructionSet::baseline;
    std::size_t batch = kBatchMax;
    std::uint64_t time_count = 0; // times before compaction
    std::uint64_t block_limit = 0;
    std::size_t peak_bytes = 0;
    MappedArray<Cell> cell_storage;
    MappedArray<unsigned char> timeline_storage;
};

// Where a block's cell is looked for first. Of the hash, the upper bits are used; two rounds, so
// that no stride of blocks maps to few groups.
inline constexpr std::uint64_t kHashFirst = 0x9e3779b97f4a7c15u;
inline constexpr std::uint64_t kHashSecond = 0xd6e8feb86659fd93u;

inline std::uint64_t home_of(std::uint64_t block, unsigned hash_shift) {
    std::uint64_t h = (block >> kGroupBits) * kHashFirst;
    h = (h ^ (h >> 32)) * kHashSecond;
    return h >> hash_shift << kGroupBits | (block & (kGroupCells - 1));
}

// Times as ReuseStack::last_time tells them: of the last access to a block; and of an access, given
// how many last accesses are before it.
inline std::uint64_t last_time_value(std::uint64_t time) {
    return 2 * time + 3;
}
inline std::uint64_t start_time_value(std::uint64_t time) {
    return 2 * time + 2;
}

// One implementation for each InstructionSet.
struct Kernel {
    // Takes at most kBatchMax entries; there must be room in the table and the timeline.
    void (*process)(ReuseState &, const std::uint64_t *entries, std::size_t count);
    // Takes a segment; there must be room for all its blocks in the table and the timeline.
    void (*touch)(ReuseState &, const SegmentTouch *touches, std::size_t count,
                  const std::uint64_t *anchors);
    // Replaces the time of each block, phase_start and context_start by its rank. The window must
    // have been appended to the timeline.
    void (*rank_times)(ReuseState &);
    // Appends a word to the timeline.
    void (*append)(Timeline &, std::uint64_t word);
};
extern const Kernel kKernelBaseline;
extern const Kernel kKernelAvx2;
extern const Kernel kKernelAvx512;

} // namespace sgxlens::detail
