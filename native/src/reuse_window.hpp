// SPDX-License-Identifier: Apache-2.0
//
// The window, where most accesses find their block. A part of reuse_kernel.hpp.

namespace sgxlens::detail {
namespace {

// `a` where `condition` holds, else `b`, without a branch: compilers make branches of ?: even where
// it is hard to foretell.
inline std::uint64_t select(bool condition, std::uint64_t a, std::uint64_t b) {
    return b ^ ((a ^ b) & (std::uint64_t{0} - static_cast<std::uint64_t>(condition)));
}

// Counts the distances of runs within one word of times, the first of which is `now`, and marks
// their times in the window. Bins are those of the runs (see RegionCounts). Returns the number of
// s.far_accesses. Not inline: it needs all registers for itself.
[[gnu::noinline]] std::size_t count_near(ReuseState &s, const std::uint32_t *bins,
                                         const std::uint32_t *times, std::size_t length,
                                         std::uint32_t now) {
    std::uint64_t window_old = s.window_old;
    std::uint64_t window_new = s.window_new;
    std::uint64_t new_count = count_bits(window_new);
    std::uint64_t count = new_count + count_bits(window_old);
    const std::uint32_t window_start = (now & ~63u) - 64;
    std::uint64_t now_bit = std::uint64_t{1} << (now & 63);
    std::uint64_t *const near = s.counts.near;
    std::uint32_t *const far_accesses = s.far_accesses.data();
    std::size_t far_count = 0;
    for (std::size_t k = 0; k < length; ++k) {
        const std::uint32_t time = times[k];
        // 0 to 63: in the older word; 64 to 127: in the newest; others: not in the window.
        const std::uint32_t offset = time - window_start;
        const bool newest = offset - 64 < 64;
        const bool is_far = offset >= 128;
        const std::uint64_t word = select(newest, window_new, window_old);
        // Of a far access this is nothing of meaning: -1 to 127.
        const std::uint64_t distance =
            std::uint64_t{count_bits(word >> (time & 63))} - 1 + select(newest, 0, new_count);
        ++near[select(is_far, kNoBin, bins[k]) + distance];
        s.window_counts[k] = static_cast<std::uint8_t>(count);
        far_accesses[far_count] = static_cast<std::uint32_t>(k);
        far_count += is_far;
        count += is_far;
        new_count += !newest;
        window_old &= ~(static_cast<std::uint64_t>(offset < 64) << (time & 63));
        window_new &= ~(static_cast<std::uint64_t>(newest) << (time & 63));
        window_new |= now_bit;
        now_bit <<= 1;
    }
    s.window_old = window_old;
    s.window_new = window_new;
    return far_count;
}

} // namespace
} // namespace sgxlens::detail
