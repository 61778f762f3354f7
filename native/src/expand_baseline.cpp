// SPDX-License-Identifier: Apache-2.0
#include "expand.hpp"

#include <emmintrin.h>

namespace sgxlens::detail {

std::uint64_t *expand_baseline(const Operation *operation, std::size_t count,
                               const std::uint64_t *record, std::size_t /*word_count*/,
                               std::uint64_t *out) {
    for (const Operation *const end = operation + count; operation < end; ++operation) {
        const std::uint64_t address = operation->address(record);
        const std::uint64_t first = (address & kAddressMask) >> kLineShift;
        const std::uint64_t last_address = address + operation->size_bytes - 1;
        const std::uint64_t last = (last_address & kAddressMask) >> kLineShift;
        const std::uint64_t last_byte = last_address % SGXLENS_LINE_BYTES;
        // The second entry is written always and kept only where there is one: no branch.
        const auto access_class = static_cast<AccessClass>(operation->access_class);
        out[0] = make_entry(first, false, access_class) |
                 bytes_of_entry(address % SGXLENS_LINE_BYTES,
                                last != first ? SGXLENS_LINE_BYTES - 1 : last_byte);
        out[1] =
            make_entry(last, last % kLinesInPage != 0, access_class) | bytes_of_entry(0, last_byte);
        out += 1 + (last != first);
    }
    return out;
}

std::size_t follow_baseline(const LineSample &sample, std::uint64_t *entries, std::size_t count,
                            std::uint64_t *found) {
    // As LineSample::holds, two at a time.
    const __m128i plain = _mm_set1_epi64x(static_cast<long long>(kPlainEntry));
    const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(sample.shift() + kEntryLineShift));
    const __m128i mask = _mm_set1_epi64x(static_cast<long long>(sample.mask()));
    const __m128i first = _mm_set1_epi64x(LineSample::kPlaceFirst);
    const __m128i second = _mm_set1_epi64x(LineSample::kPlaceSecond);
    std::uint64_t *const start = found;
    for (std::size_t i = 0; i < count; i += 2) {
        auto *const two = reinterpret_cast<__m128i *>(entries + i);
        const __m128i with_bytes = _mm_loadu_si128(two);
        const __m128i entry = _mm_and_si128(with_bytes, plain);
        const __m128i lines = _mm_srli_epi64(entry, kEntryLineShift);
        __m128i h = _mm_mul_epu32(_mm_srl_epi64(entry, shift), first);
        h = _mm_xor_si128(h, _mm_srli_epi64(h, LineSample::kPlaceFold));
        h = _mm_srli_epi64(_mm_mul_epu32(h, second), LineSample::kPlaceShift);
        const __m128i differences = _mm_and_si128(_mm_xor_si128(lines, h), mask);
        // The upper halves of the differences are 0.
        const int held = _mm_movemask_epi8(_mm_cmpeq_epi32(differences, _mm_setzero_si128()));
        if ((held & 0x0f0f) != 0) [[unlikely]] {
            if ((held & 0x000f) != 0)
                *found++ = entries[i];
            if ((held & 0x0f00) != 0 && i + 1 < count)
                *found++ = entries[i + 1];
        }
        _mm_storeu_si128(two, entry);
    }
    return static_cast<std::size_t>(found - start);
}

} // namespace sgxlens::detail
