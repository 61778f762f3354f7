// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of a ReuseStack. Included by one source file for each InstructionSet, after the
// pragma that selects it; no include guard. Everything here has internal linkage: a function
// compiled for AVX-512 must never be merged with its namesake for other processors.

// First, as the others use count_bits.
#include "reuse_timeline.hpp"

#include "reuse_runs.hpp"
#ifdef SGXLENS_KERNEL_AVX512
#include "reuse_window_avx512.hpp"
#else
#include "reuse_window.hpp"
#endif

namespace sgxlens::detail {
namespace {

void rank_times(ReuseState &s) {
    const Timeline &t = s.timeline;
    const auto rank = [&t](std::uint64_t time) {
        const std::uint64_t w = time >> 6;
        if (w >= t.word_count)
            return static_cast<std::uint32_t>(t.bit_count);
        const std::uint64_t below = (std::uint64_t{1} << (time & 63)) - 1;
        return static_cast<std::uint32_t>(count_before(t, w) + count_bits(t.words[w] & below));
    };
    // Empty cells have time 0, which stays.
    for (std::uint64_t i = 0; i <= s.cell_mask; ++i)
        s.cells[i].time = rank(s.cells[i].time);
    s.phase_start = rank(s.phase_start);
    s.context_start = rank(s.context_start);
}

inline bool holds(const Cell &cell, std::uint64_t key) {
    return (cell.key ^ key) <= kKeyClasses;
}

// The cell of a block that is not where it is looked for first, or the empty one where it belongs.
[[gnu::noinline]] Cell *find_elsewhere(const ReuseState &s, std::uint64_t key, std::uint64_t home) {
    Cell *const first = s.cells + home;
    Cell *cell = first;
    while (!holds(*cell, key)) {
        if (cell->key == 0)
            return cell;
        home = (home + kProbeStep) & s.cell_mask;
        cell = s.cells + home;
    }
    // Whoever was used last shall be found at once the next time. The other block stays within
    // reach, as no cell between is empty.
    const Cell old = *first;
    *first = *cell;
    *cell = old;
    return first;
}

inline Cell *find(const ReuseState &s, std::uint64_t key, std::uint64_t home) {
    Cell *const cell = s.cells + home;
    if (holds(*cell, key)) [[likely]]
        return cell;
    return find_elsewhere(s, key, home);
}

template <bool kPages> inline std::uint64_t key_of(std::uint64_t entry) {
    if constexpr (kPages)
        entry >>= 6;
    return (entry & ~std::uint64_t{15}) << (kKeyBlockShift - kEntryLineShift) | kKeyPresent;
}

// Sets s.keys (with the class of the access) and s.homes of the runs.
template <bool kPages> inline void locate(ReuseState &s, std::size_t run_count) {
    const unsigned shift = s.hash_shift;
#ifdef SGXLENS_KERNEL_AVX512
    // As below and in home_of, eight at a time; the scratch has room for whole vectors.
    using Words [[gnu::vector_size(64), gnu::may_alias]] = std::uint64_t;
    for (std::size_t i = 0; i < run_count; i += 8) {
        const Words entries = *reinterpret_cast<const Words *>(s.runs.data() + i);
        const Words blocks = entries >> (kEntryLineShift + (kPages ? 6 : 0));
        const Words one = blocks * 0 + 0x101;
        *reinterpret_cast<Words *>(s.keys.data() + i) =
            blocks << kKeyBlockShift | kKeyPresent | one << (entries & kEntryClassMask);
        Words h = (blocks >> kGroupBits) * kHashFirst;
        h = (h ^ (h >> 32)) * kHashSecond;
        *reinterpret_cast<Words *>(s.homes.data() + i) =
            h >> shift << kGroupBits | (blocks & (kGroupCells - 1));
    }
    for (std::size_t i = 0; i < run_count; ++i)
        __builtin_prefetch(s.cells + s.homes[i], 1);
#else
    for (std::size_t i = 0; i < run_count; ++i) {
        const std::uint64_t entry = s.runs[i];
        s.keys[i] = key_of<kPages>(entry) | std::uint64_t{0x101} << (entry & kEntryClassMask);
        s.homes[i] = home_of(s.keys[i] >> kKeyBlockShift, shift);
        __builtin_prefetch(s.cells + s.homes[i], 1);
    }
#endif
}

} // namespace
} // namespace sgxlens::detail

#include "reuse_attribution.hpp"

namespace sgxlens::detail {
namespace {

// Gives the blocks of the runs their new times and leaves those they had in s.times.
inline void exchange_times(ReuseState &s, std::size_t run_count) {
    const std::uint32_t phase_start = s.phase_start;
    std::uint32_t now = s.now;
    for (std::size_t i = 0; i < run_count; ++i, ++now) {
        const std::uint64_t key = s.keys[i];
        Cell *const cell = find(s, key, s.homes[i]);
        const std::uint32_t time = cell->time;
        const std::uint64_t missing = key & ~cell->key;
        cell->time = now;
        s.times[i] = time;
        // A new class, or a cold block.
        if (missing != 0 || time < phase_start) [[unlikely]] {
            const std::uint64_t classes = key & kKeyClasses;
            const bool cold = cell->key == 0;
            if (cold) {
                cell->key = key & kKeyMask;
                ++s.block_count;
                ++s.cold[s.runs[i] & kEntryClassMask];
                s.times[i] = kNever;
            }
            add_classes(s, *cell, classes, cold || time < phase_start);
        }
    }
    // In vectors.
    for (std::size_t i = 0; i < run_count; ++i)
        s.bins[i] = kRegionZero | static_cast<std::uint32_t>(s.runs[i] & kEntryClassMask)
                                      << kWindowDistanceBits;
}

// Counts the distances of accesses to blocks that were last accessed before the window, and takes
// their times off the timeline. The runs are those from `first` on.
template <bool kSampled, bool kAttributed>
inline void count_far(ReuseState &s, std::size_t first, std::size_t count) {
    const std::uint32_t *const times = s.times.data() + first;
    const std::uint32_t *const bins = s.bins.data() + first;
    Timeline t = s.timeline;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t far = s.far_accesses[i];
        const std::uint32_t time = times[far];
        const std::uint32_t bin = bins[far];
        if (time == kNever) [[unlikely]] {
            if constexpr (kAttributed) {
                s.sources.add(s.firsts[s.first_next++], bin, kColdBin);
                if (s.visit_distance != ReuseStack::kNoVisits)
                    s.visits[s.visit_count++] = static_cast<std::uint32_t>(first + far);
            }
            continue;
        }
        const std::uint64_t w = time >> 6;
        const unsigned bit = time & 63;
        const std::uint64_t up_to = count_before(t, w) + count_bits(t.words[w] << (63 - bit));
        std::uint64_t distance = t.bit_count - up_to + s.window_counts[far];
        clear_bit(t, w, std::uint64_t{1} << bit);
        if constexpr (kAttributed) {
            if (distance >= s.visit_distance) [[unlikely]]
                s.visits[s.visit_count++] = static_cast<std::uint32_t>(first + far);
        }
        if constexpr (kSampled) {
            const std::uint64_t half = s.sampling_threshold / 2;
            distance = ((distance << kSamplingBits) + half) / s.sampling_threshold;
        }
        if constexpr (kAttributed) {
            if ((bin & kFirstBin) != 0) {
                s.sources.add(s.firsts[s.first_next++], bin, bin_of(distance));
                continue;
            }
        }
        s.counts.add(bin, bin_of(distance), 1);
    }
    s.timeline.bit_count = t.bit_count;
}

// Counts the distances of the runs from s.times, in order, and marks their new times.
template <bool kSampled, bool kAttributed>
inline void count_distances(ReuseState &s, std::size_t run_count) {
    std::size_t i = 0;
    while (i < run_count) {
        const std::uint32_t first = s.now & 63;
        if (first == 0) {
            if (s.now >= 128)
                append(s.timeline, s.window_old);
            s.window_old = s.window_new;
            s.window_new = 0;
            __builtin_memcpy(s.ages.data() + 64, s.ages.data() + 128, 64);
        }
        const std::size_t length = run_count - i < 64 - first ? run_count - i : 64 - first;
        const std::size_t far_count =
            count_near(s, s.bins.data() + i, s.times.data() + i, length, s.now);
        count_far<kSampled, kAttributed>(s, i, far_count);
        i += length;
        s.now += static_cast<std::uint32_t>(length);
    }
}

template <bool kPages, bool kSampled, bool kAttributed>
void process_batch(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    if constexpr (kPages || kSampled) {
        count = keep_own<kPages, kSampled>(s, entries, count);
        entries = s.kept.data();
    }
    const Runs n = split_runs<kPages, kAttributed>(s, entries, count);
    locate<kPages>(s, n.run_count);
    if constexpr (kAttributed) {
        exchange_attributed(s, n.run_count);
        count_within(s, entries, count, n.run_count);
        s.told_start = s.now;
        count_distances<kSampled, true>(s, n.run_count);
        take_changes<kPages>(s, n.change_count);
        if (s.visit_count > 0 || s.is_untold) [[unlikely]]
            tell_in_order<kPages>(s, entries, count);
        return;
    }
    exchange_times(s, n.run_count);
    count_distances<kSampled, false>(s, n.run_count);
    for (std::size_t i = 0; i < n.change_count; ++i) {
        const std::uint64_t key = key_of<kPages>(s.changes[i]);
        const std::uint64_t classes = std::uint64_t{0x101} << (s.changes[i] & kEntryClassMask);
        Cell *const cell = find(s, key, home_of(key >> kKeyBlockShift, s.hash_shift));
        if ((classes & ~cell->key) != 0) [[unlikely]]
            add_classes(s, *cell, classes, false);
    }
}

template <bool kPages>
void process_own(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    if (s.sampling_threshold != std::uint32_t{1} << kSamplingBits) {
        if (s.observer != nullptr)
            process_batch<kPages, true, true>(s, entries, count);
        else
            process_batch<kPages, true, false>(s, entries, count);
    } else {
        if (s.observer != nullptr)
            process_batch<kPages, false, true>(s, entries, count);
        else
            process_batch<kPages, false, false>(s, entries, count);
    }
}

void process(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    if (s.granularity == Granularity::page)
        process_own<true>(s, entries, count);
    else
        process_own<false>(s, entries, count);
}

} // namespace
} // namespace sgxlens::detail
