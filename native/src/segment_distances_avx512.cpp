// SPDX-License-Identifier: Apache-2.0

// The intrinsics of g++ 11 to 13 start from a value left undefined on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "segment_distances.hpp"

#include <immintrin.h>

// Not a flag of the file: the functions of the headers above must stay baseline.
#pragma GCC target("avx2,bmi,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")

namespace sgxlens::detail {
namespace {

__m512i load(__mmask8 valid, const std::uint64_t *differences) {
    return _mm512_maskz_loadu_epi64(valid, differences);
}
__m512i load(__mmask8 valid, const std::int32_t *differences) {
    return _mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(valid, differences));
}

// As in segment_distances_baseline.cpp, eight words at a time. Few bases are the rule: their values
// then stay in two registers.
template <typename Difference>
bool are_kept(const std::uint64_t *words, const Difference *differences, const std::uint8_t *bases,
              const std::uint64_t *values, std::size_t count) {
    constexpr unsigned kInRegisters = 16;
    const __m512i low = _mm512_loadu_si512(values);
    const __m512i high = _mm512_loadu_si512(values + 8);
    for (std::size_t i = 0; i < count; i += 8) {
        const auto valid = static_cast<__mmask8>(count - i >= 8 ? 255 : (1u << (count - i)) - 1);
        const __m128i narrow = _mm_maskz_loadu_epi8(valid, bases + i);
        const __m512i base = _mm512_cvtepu8_epi64(narrow);
        const bool in_registers = _mm_cmpge_epu8_mask(narrow, _mm_set1_epi8(kInRegisters)) == 0;
        const __m512i from = in_registers ? _mm512_permutex2var_epi64(low, base, high)
                                          : _mm512_i64gather_epi64(base, values, 8);
        const __m512i away = _mm512_sub_epi64(_mm512_maskz_loadu_epi64(valid, words + i), from);
        if (_mm512_mask_cmpneq_epi64_mask(valid, away, load(valid, differences + i)) != 0)
            return false;
    }
    return true;
}

} // namespace

const Distances kDistancesAvx512 = {are_kept<std::uint64_t>, are_kept<std::int32_t>};

} // namespace sgxlens::detail
