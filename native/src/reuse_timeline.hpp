// SPDX-License-Identifier: Apache-2.0
//
// Counting in and changing a Timeline. A part of reuse_kernel.hpp.

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

} // namespace
} // namespace sgxlens::detail
