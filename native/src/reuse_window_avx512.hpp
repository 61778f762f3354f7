// SPDX-License-Identifier: Apache-2.0
//
// The window for AVX-512, where most accesses find their block. A part of reuse_kernel.hpp.

namespace sgxlens::detail {
namespace {

// For each age, which of the 128 accesses before are not as old.
struct YoungerMasks {
    std::uint64_t masks[129][2];
    constexpr YoungerMasks() : masks() {
        for (unsigned age = 0; age <= 128; ++age)
            for (unsigned back = 1; back < age; ++back)
                masks[age][back > 64] |= std::uint64_t{1} << ((128 - back) & 63);
    }
};
alignas(64) constexpr YoungerMasks kYounger;

// Counts the distances of runs within one word of times, the first of which is `now`, and marks
// their times in the window. Bins are those of the runs (see RegionCounts). Returns the number of
// s.far_accesses.
//
// No access has to wait for the one before it: the distance of an access of age a (a accesses since
// the previous one to its block) is the number of accesses between whose own previous access was
// not between: those b < a back with an age of at least a - b. 64 of them are compared at once.
[[gnu::noinline]] std::size_t count_near(ReuseState &s, const std::uint32_t *bins,
                                         const std::uint32_t *times, std::size_t length,
                                         std::uint32_t now) {
    const std::uint32_t first = now & 63;
    const std::uint32_t window_start = now - first - 64;
    alignas(64) std::uint8_t ages[64]; // of accesses before the window: as if at its start
    alignas(64) std::uint8_t alive[128 + 64];
    alignas(64) std::uint32_t near_bins[64];
    std::uint64_t *const near = s.counts.near;
    alignas(64) std::uint8_t marks[64];
    std::uint8_t *const history = s.ages.data() + 128 + first;
    std::uint32_t *const far_accesses = s.far_accesses.data();
    std::size_t far_count = 0;
    const __m512i iota = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (std::size_t k = 0; k < length; k += 16) {
        const std::size_t rest = length - k;
        const __mmask16 valid = static_cast<__mmask16>(rest >= 16 ? 0xffff : (1u << rest) - 1);
        const __m512i number = _mm512_add_epi32(iota, _mm512_set1_epi32(static_cast<int>(k)));
        // Distance in time from the start of the window.
        const __m512i position =
            _mm512_add_epi32(number, _mm512_set1_epi32(static_cast<int>(first + 64)));
        const __m512i offset = _mm512_sub_epi32(_mm512_loadu_si512(times + k),
                                                _mm512_set1_epi32(static_cast<int>(window_start)));
        const __mmask16 is_far = _mm512_cmpge_epu32_mask(offset, _mm512_set1_epi32(128));
        const __m512i age = _mm512_mask_add_epi32(_mm512_sub_epi32(position, offset), is_far,
                                                  position, _mm512_set1_epi32(1));
        _mm_store_si128(reinterpret_cast<__m128i *>(ages + k), _mm512_cvtepi32_epi8(age));
        _mm_storeu_si128(
            reinterpret_cast<__m128i *>(history + k),
            _mm512_cvtepi32_epi8(_mm512_mask_mov_epi32(age, is_far, _mm512_set1_epi32(255))));
        _mm_store_si128(
            reinterpret_cast<__m128i *>(marks + k),
            _mm512_cvtepi32_epi8(_mm512_mask_mov_epi32(offset, is_far, _mm512_set1_epi32(128))));
        _mm512_store_si512(near_bins + k,
                           _mm512_mask_mov_epi32(_mm512_loadu_si512(bins + k), is_far,
                                                 _mm512_set1_epi32(static_cast<int>(kNoBin))));
        const __mmask16 far_valid = static_cast<__mmask16>(is_far & valid);
        _mm512_storeu_si512(far_accesses + far_count,
                            _mm512_maskz_compress_epi32(far_valid, number));
        far_count += count_bits(far_valid);
    }
    _mm512_store_si512(alive, _mm512_movm_epi8(s.window_old));
    _mm512_store_si512(alive + 64, _mm512_set1_epi8(-1));
    std::uint8_t back_less_64[64];
    for (unsigned lane = 0; lane < 64; ++lane)
        back_less_64[lane] = static_cast<std::uint8_t>(lane - 64);
    const __m512i lanes = _mm512_loadu_si512(back_less_64);
    const __m512i older_lanes = _mm512_sub_epi8(lanes, _mm512_set1_epi8(64));
    for (std::size_t k = 0; k < length; ++k) {
        const std::uint8_t age = ages[k];
        const __m512i wide = _mm512_set1_epi8(static_cast<char>(age));
        const std::uint64_t *const younger = kYounger.masks[age];
        const std::uint64_t recent = _mm512_mask_cmpge_epu8_mask(
            younger[0], _mm512_loadu_si512(history + k - 64), _mm512_add_epi8(wide, lanes));
        const std::uint64_t older = _mm512_mask_cmpge_epu8_mask(
            younger[1], _mm512_loadu_si512(history + k - 128), _mm512_add_epi8(wide, older_lanes));
        const std::size_t distance = count_bits(recent) + count_bits(older);
        s.window_counts[k] = static_cast<std::uint8_t>(distance);
        ++near[near_bins[k] + distance];
        alive[marks[k]] = 0;
    }
    s.window_old = _mm512_movepi8_mask(_mm512_load_si512(alive));
    const std::uint64_t made =
        length == 64 ? ~std::uint64_t{0} : ((std::uint64_t{1} << length) - 1) << first;
    s.window_new = (s.window_new | made) &
                   static_cast<std::uint64_t>(_mm512_movepi8_mask(_mm512_load_si512(alive + 64)));
    return far_count;
}

} // namespace
} // namespace sgxlens::detail
