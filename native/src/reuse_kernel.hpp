// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of a ReuseStack. Included by one source file for each InstructionSet, after the
// pragma that selects it; no include guard. Everything here has internal linkage: a function
// compiled for AVX-512 must never be merged with its namesake for other processors.

namespace sgxlens::detail {
namespace {

using Counts16 [[gnu::vector_size(64), gnu::may_alias]] = std::uint16_t;
using Counts32 [[gnu::vector_size(64), gnu::may_alias]] = std::uint32_t;
using Counts16Anywhere [[gnu::vector_size(64), gnu::may_alias, gnu::aligned(2)]] = std::uint16_t;
using Counts32Anywhere [[gnu::vector_size(64), gnu::may_alias, gnu::aligned(4)]] = std::uint32_t;

// The vector at offset 31 - i (15 - i) is 1 in the lanes after lane i and 0 in the others.
alignas(64) constexpr std::uint16_t kAfter16[64] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
alignas(64) constexpr std::uint32_t kAfter32[32] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

inline unsigned count_bits(std::uint64_t word) {
    return static_cast<unsigned>(__builtin_popcountll(word));
}

// Takes 1 from the counts after `index` within its group of lanes.
inline void decrement_after(std::uint16_t *counts, std::uint64_t index) {
    auto *group = reinterpret_cast<Counts16 *>(counts + (index & ~std::uint64_t{31}));
    *group -= *reinterpret_cast<const Counts16Anywhere *>(kAfter16 + 31 - (index & 31));
}

inline void decrement_after(std::uint32_t *counts, std::uint64_t index) {
    auto *group = reinterpret_cast<Counts32 *>(counts + (index & ~std::uint64_t{15}));
    *group -= *reinterpret_cast<const Counts32Anywhere *>(kAfter32 + 15 - (index & 15));
}

// Bits set before word `w`.
inline std::uint64_t count_before(const Timeline &t, std::uint64_t w) {
    std::uint64_t count = std::uint64_t{t.p0[w]} + t.p1[w >> 5] + t.p2[w >> 10];
    if (t.level_count > 3) {
        count += t.p3[w >> 14];
        if (t.level_count > 4) {
            count += t.p4[w >> 18];
            if (t.level_count > 5)
                count += t.p5[w >> 22];
        }
    }
    return count;
}

inline void clear_bit(Timeline &t, std::uint64_t w, std::uint64_t bit) {
    t.words[w] &= ~bit;
    --t.bit_count;
    decrement_after(t.p0, w);
    decrement_after(t.p1, w >> 5);
    decrement_after(t.p2, w >> 10);
    if (t.level_count > 3) {
        decrement_after(t.p3, w >> 14);
        if (t.level_count > 4) {
            decrement_after(t.p4, w >> 18);
            if (t.level_count > 5)
                decrement_after(t.p5, w >> 22);
        }
    }
}

void append(Timeline &t, std::uint64_t word) {
    const std::uint64_t w = t.word_count++;
    t.words[w] = word;
    t.bit_count += count_bits(word);
    if (w == 0) {
        t.p0[0] = t.p1[0] = 0;
        t.p2[0] = 0;
        if (t.level_count > 3)
            t.p3[0] = 0;
        if (t.level_count > 4)
            t.p4[0] = 0;
        if (t.level_count > 5)
            t.p5[0] = 0;
        return;
    }
    // The count of the word before; where a group of a level is full, its count goes on into the
    // next level.
    std::uint64_t count = t.p0[w - 1] + count_bits(t.words[w - 1]);
    if (w & 31) {
        t.p0[w] = static_cast<std::uint16_t>(count);
        return;
    }
    t.p0[w] = 0;
    const std::uint64_t w1 = w >> 5;
    count += t.p1[w1 - 1];
    if (w1 & 31) {
        t.p1[w1] = static_cast<std::uint16_t>(count);
        return;
    }
    t.p1[w1] = 0;
    std::uint32_t *const levels[] = {t.p2, t.p3, t.p4, t.p5};
    for (unsigned level = 2; level < t.level_count; ++level) {
        std::uint32_t *const counts = levels[level - 2];
        const std::uint64_t i = w >> Timeline::kShifts[level];
        count += counts[i - 1];
        if ((i & 15) || level + 1 == t.level_count) {
            counts[i] = static_cast<std::uint32_t>(count);
            return;
        }
        counts[i] = 0;
    }
}

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
}

// Adds the classes of a run to its block, and to the footprints what is new in them.
[[gnu::noinline]] void add_classes(ReuseState &s, Cell &cell, std::uint64_t run,
                                   bool first_in_phase) {
    std::uint64_t key = cell.key;
    if (first_in_phase) {
        ++s.phase_any;
        key &= ~kPhaseClasses;
    }
    const std::uint64_t missing = run & ~key & kRunClasses;
    for (std::size_t i = 0; i < kClassSlots; ++i) {
        s.whole_by_class[i] += missing >> i & 1;
        s.phase_by_class[i] += missing >> (i + 8) & 1;
    }
    cell.key = key | missing;
}

inline Cell *find(const ReuseState &s, std::uint64_t run, std::uint64_t home) {
    Cell *cell = s.cells + home;
    while (((cell->key ^ run) & kKeyMask) != 0 && cell->key != 0) [[unlikely]] {
        home = (home + kProbeStep) & s.cell_mask;
        cell = s.cells + home;
    }
    return cell;
}

// Gathers accesses into runs of one block: s.runs[1] and following; s.runs[0] is what continues
// the last run of the batch before. Returns the number of the last.
template <bool kPages, bool kSampled>
inline std::size_t gather_runs(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    constexpr unsigned kCountBits = 12; // a batch is shorter than 2^12
    static_assert(kBatchMax < std::size_t{1} << kCountBits);
    const auto counter = [](std::uint64_t access) { return access * kCountBits & 63; };
    std::uint64_t zeros = 0;     // accesses that continue a run, by class
    std::uint64_t unsampled = 0; // accesses to blocks that are not followed, by class
    std::uint64_t run = s.last_run & ~kRunClasses;
    std::uint64_t *const runs = s.runs.data();
    std::size_t last = 0;
    runs[0] = run;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t entry = entries[i];
        const std::uint64_t access = entry & kEntryClassMask;
        std::uint64_t block = entry >> kEntryLineShift;
        if constexpr (kPages) {
            block >>= 6;
            if constexpr (kSampled) {
                if (entry & kEntryContinuation)
                    continue;
            }
        }
        if constexpr (kSampled) {
            if (sampling_hash(block) >= s.sampling_threshold) {
                unsampled += std::uint64_t{1} << counter(access);
                continue;
            }
        }
        const std::uint64_t classes = std::uint64_t{0x101} << access;
        const std::uint64_t fresh =
            block << kRunBlockShift | access << kRunClassShift | kRunPresent | classes;
        const bool same = (run ^ fresh) >> kRunBlockShift == 0;
        if constexpr (kPages && !kSampled) {
            const bool counts = (entry & kEntryContinuation) == 0;
            run = counts ? (same ? run | classes : fresh) : run;
            last += static_cast<std::size_t>(counts && !same);
            zeros += static_cast<std::uint64_t>(counts && same) << counter(access);
        } else {
            run = same ? run | classes : fresh;
            last += static_cast<std::size_t>(!same);
            zeros += static_cast<std::uint64_t>(same) << counter(access);
        }
        runs[last] = run;
    }
    s.last_run = run;
    constexpr std::uint64_t kCounterMask = (std::uint64_t{1} << kCountBits) - 1;
    for (std::size_t i = 0; i < kAccessClassCount; ++i) {
        s.near[i][0] += zeros >> (i * kCountBits) & kCounterMask;
        s.unsampled[i] += unsampled >> (i * kCountBits) & kCounterMask;
    }
    return last;
}

template <bool kPages, bool kSampled>
void process_batch(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    const std::size_t last = gather_runs<kPages, kSampled>(s, entries, count);
    if (s.runs[0] & kRunClasses) {
        Cell *const cell = find(s, s.runs[0], home_of(s.runs[0] >> kRunBlockShift, s.hash_shift));
        if (s.runs[0] & ~cell->key & kRunClasses)
            add_classes(s, *cell, s.runs[0], false);
    }
    for (std::size_t i = 1; i <= last; ++i) {
        s.homes[i] = home_of(s.runs[i] >> kRunBlockShift, s.hash_shift);
        __builtin_prefetch(s.cells + s.homes[i], 1);
    }

    std::uint64_t window_old = s.window_old;
    std::uint64_t window_new = s.window_new;
    std::uint32_t now = s.now;
    const std::uint32_t phase_start = s.phase_start;
    for (std::size_t i = 1; i <= last; ++i) {
        if ((now & 63) == 0) [[unlikely]] {
            if (now >= 128)
                append(s.timeline, window_old);
            window_old = window_new;
            window_new = 0;
        }
        const std::uint64_t run = s.runs[i];
        const std::uint64_t access = run >> kRunClassShift & 7;
        Cell *const cell = find(s, run, s.homes[i]);
        const std::uint32_t time = cell->time;
        cell->time = now;
        if (cell->key == 0) [[unlikely]] {
            cell->key = (run & kKeyMask) | kRunPresent;
            ++s.block_count;
            ++s.cold[access];
            add_classes(s, *cell, run, true);
        } else {
            if ((run & ~cell->key & kRunClasses) != 0 || time < phase_start) [[unlikely]]
                add_classes(s, *cell, run, time < phase_start);
            // Times count from the start of the window's older word.
            const std::int64_t offset =
                static_cast<std::int64_t>(time) - static_cast<std::int64_t>((now & ~63u)) + 64;
            const std::uint64_t bit = std::uint64_t{1} << (time & 63);
            if (offset >= 0) {
                const bool newest = offset >= 64;
                const std::uint64_t word = newest ? window_new : window_old;
                const unsigned later = newest ? 0 : count_bits(window_new);
                ++s.near[access][count_bits(word >> (time & 63)) - 1 + later];
                const std::uint64_t cleared = word & ~bit;
                window_old = newest ? window_old : cleared;
                window_new = newest ? cleared : window_new;
            } else {
                Timeline &t = s.timeline;
                const std::uint64_t w = time >> 6;
                const std::uint64_t up_to =
                    count_before(t, w) + count_bits(t.words[w] << (63 - (time & 63)));
                const std::uint64_t distance =
                    t.bit_count - up_to + count_bits(window_old) + count_bits(window_new);
                clear_bit(t, w, bit);
                if constexpr (kSampled) {
                    const std::uint64_t half = s.sampling_threshold / 2;
                    ++s.far[access]
                           [bin_of(((distance << kSamplingBits) + half) / s.sampling_threshold)];
                } else {
                    ++s.far[access][bin_of(distance)];
                }
            }
        }
        window_new |= std::uint64_t{1} << (now & 63);
        ++now;
    }
    s.window_old = window_old;
    s.window_new = window_new;
    s.now = now;
}

void process(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    const bool pages = s.granularity == Granularity::page;
    if (s.sampling_threshold == std::uint32_t{1} << kSamplingBits) {
        if (pages)
            process_batch<true, false>(s, entries, count);
        else
            process_batch<false, false>(s, entries, count);
    } else {
        if (pages)
            process_batch<true, true>(s, entries, count);
        else
            process_batch<false, true>(s, entries, count);
    }
}

} // namespace
} // namespace sgxlens::detail
