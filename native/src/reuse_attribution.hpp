// SPDX-License-Identifier: Apache-2.0
//
// What is done where accesses are attributed to contexts and regions. A part of reuse_kernel.hpp.

namespace sgxlens::detail {
namespace {

// Adds classes (as in a key) to a block, and to the footprints what is new in them.
[[gnu::noinline, gnu::cold]] void add_classes(ReuseState &s, Cell &cell, std::uint64_t classes,
                                              bool first_in_phase) {
    std::uint64_t key = cell.key;
    if (first_in_phase) {
        ++s.phase_any;
        key &= ~kPhaseClasses;
    }
    const std::uint64_t missing = classes & ~key;
    for (std::size_t i = 0; i < kClassSlots; ++i) {
        s.whole_by_class[i] += missing >> i & 1;
        s.phase_by_class[i] += missing >> (i + 8) & 1;
    }
    cell.key = key | missing;
}

inline std::uint32_t bin_of_tag(std::uint32_t tag, std::uint64_t access_class) {
    return ((tag >> kTagRegionShift & (kRegionsMax - 1)) + 1) << kBinRegionShift |
           static_cast<std::uint32_t>(access_class) << kWindowDistanceBits;
}

// Tells of the classes that the observer does not know yet.
inline void tell(ReuseState &s, Cell &cell, unsigned classes) {
    const std::uint32_t untold = classes & ~cell.tag & kTagClasses;
    if (untold != 0)
        s.observer->note(cell.key >> kKeyBlockShift, untold);
    cell.tag |= untold;
}

// Takes a block that is accessed for the first time in its context, or in a class that the observer
// was not told of in it, at a time before (any if the cell is empty). Classes are those of the
// access as in a key. Returns where the block was accessed before, or kNoSource if in the same
// context.
inline constexpr std::uint32_t kNoSource = ~std::uint32_t{0};

[[gnu::noinline]] std::uint32_t attend(ReuseState &s, Cell &cell, std::uint64_t key,
                                       std::uint64_t classes, std::uint32_t time) {
    std::uint32_t source = kNoSource;
    const bool cold = cell.key == 0;
    if (cold || time < s.context_start) {
        source = cold ? SourceCounts::kCold : cell.tag >> kTagContextShift;
        const std::uint32_t region =
            s.observer->region_of(key >> kKeyBlockShift) & (kRegionsMax - 1);
        cell.tag = s.context_tag | region << kTagRegionShift;
    }
    if (cold) {
        cell.key = key & kKeyMask;
        ++s.block_count;
    }
    if (cold || time < s.phase_start || (classes & ~cell.key) != 0)
        add_classes(s, cell, classes, cold || time < s.phase_start);
    s.counts.use(region_of_tag(cell.tag), classes & kTagClasses);
    return source;
}

// Gives the blocks of the runs their new times and leaves those they had in s.times.
inline void exchange_attributed(ReuseState &s, std::size_t run_count) {
    const std::uint32_t context_start = s.context_start;
    const bool tells = s.visit_distance == ReuseStack::kNoVisits;
    std::uint32_t now = s.now;
    s.first_count = 0;
    s.first_next = 0;
    s.visit_count = 0;
    s.is_untold = false;
    for (std::size_t i = 0; i < run_count; ++i, ++now) {
        const std::uint64_t key = s.keys[i];
        Cell *const cell = find(s, key, s.homes[i]);
        const std::uint32_t time = cell->time;
        const std::uint32_t tag = cell->tag;
        cell->time = now;
        s.times[i] = time;
        s.bins[i] = tag;
        if ((key & ~std::uint64_t{tag} & kTagClasses) != 0 || time < context_start) [[unlikely]] {
            const std::uint32_t source = attend(s, *cell, key, key & kKeyClasses, time);
            s.bins[i] = cell->tag;
            if (source != kNoSource) {
                s.first_runs[s.first_count] = static_cast<std::uint32_t>(i);
                s.firsts[s.first_count++] = source;
            }
            if (source == SourceCounts::kCold) {
                ++s.cold[s.runs[i] & kEntryClassMask];
                s.times[i] = kNever;
            }
            if (tells)
                tell(s, *cell, key & kTagClasses);
            else
                s.is_untold = true;
        }
    }
    // In vectors.
    for (std::size_t i = 0; i < run_count; ++i)
        s.bins[i] = bin_of_tag(s.bins[i], s.runs[i] & kEntryClassMask);
    for (std::size_t i = 0; i < s.first_count; ++i)
        s.bins[s.first_runs[i]] |= kFirstBin;
}

inline std::uint64_t first_bits(std::size_t count) {
    return (std::uint64_t{1} << count) - 1;
}

// Counts the accesses within runs: all but the first of each run, at distance 0.
inline void count_within(ReuseState &s, const std::uint64_t *entries, std::size_t count,
                         std::size_t run_count) {
    const auto row_after = [&s](std::size_t starts) {
        return starts == 0 ? s.last_row : s.bins[starts - 1] & ~(kBinClasses | kFirstBin);
    };
    std::size_t starts_before = 0;
    for (std::size_t w = 0; w * 64 < count; ++w) {
        const std::size_t rest = count - w * 64;
        const std::uint64_t valid = rest >= 64 ? ~std::uint64_t{0} : first_bits(rest);
        const std::uint64_t starts = s.starts[w];
        const std::uint64_t ends = starts | s.turns[w] | ~valid;
        // Where accesses within a run of one class begin: most runs have none.
        std::uint64_t left = ~starts & valid & (starts << 1 | s.turns[w] | 1);
        for (; left != 0; left &= left - 1) {
            const auto first = static_cast<unsigned>(__builtin_ctzll(left));
            const std::uint64_t ends_after = ends >> first >> 1;
            const unsigned length = ends_after != 0
                                        ? static_cast<unsigned>(__builtin_ctzll(ends_after)) + 1
                                        : 64 - first;
            const std::uint32_t row =
                row_after(starts_before + count_bits(starts & first_bits(first)));
            const std::uint64_t access = entries[w * 64 + first] & kEntryClassMask;
            s.counts.near[row | static_cast<std::uint32_t>(access) << kWindowDistanceBits] +=
                length;
        }
        starts_before += count_bits(starts);
    }
    s.last_row = row_after(run_count);
}

// Tells the observer of visits and classes, in the order of the accesses. Runs and s.visits are
// those of the batch, which is counted.
template <bool kPages>
void tell_in_order(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    std::size_t next_run = 0;
    std::size_t next_visit = 0;
    for (std::size_t w = 0; w * 64 < count; ++w) {
        for (std::uint64_t left = s.starts[w] | s.turns[w]; left != 0; left &= left - 1) {
            const auto bit = static_cast<unsigned>(__builtin_ctzll(left));
            const std::uint64_t entry = entries[w * 64 + bit];
            const std::uint64_t access = entry & kEntryClassMask;
            if ((s.starts[w] >> bit & 1) == 0) {
                const std::uint64_t key = key_of<kPages>(entry);
                tell(s, *find(s, key, home_of(key >> kKeyBlockShift, s.hash_shift)), 1u << access);
                continue;
            }
            s.told_run = next_run++;
            const std::uint64_t key = s.keys[s.told_run];
            Cell *const cell = find(s, key, s.homes[s.told_run]);
            if (next_visit < s.visit_count && s.visits[next_visit] == s.told_run) {
                ++next_visit;
                s.observer->visit(key >> kKeyBlockShift, static_cast<unsigned>(access));
                cell->tag &= ~kTagClasses;
            }
            tell(s, *cell, 1u << access);
        }
    }
    s.told_run = kNoRun;
}

// Takes the classes in which blocks are accessed within their runs.
template <bool kPages> inline void take_changes(ReuseState &s, std::size_t change_count) {
    const bool tells = s.visit_distance == ReuseStack::kNoVisits;
    for (std::size_t i = 0; i < change_count; ++i) {
        const std::uint64_t key = key_of<kPages>(s.changes[i]);
        const std::uint64_t access = s.changes[i] & kEntryClassMask;
        Cell *const cell = find(s, key, home_of(key >> kKeyBlockShift, s.hash_shift));
        if ((cell->tag >> access & 1) != 0) [[likely]]
            continue;
        attend(s, *cell, key, std::uint64_t{0x101} << access, cell->time);
        if (tells)
            tell(s, *cell, 1u << access);
        else
            s.is_untold = true;
    }
}

} // namespace
} // namespace sgxlens::detail
