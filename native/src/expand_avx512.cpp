// SPDX-License-Identifier: Apache-2.0
//
// Eight operations at a time.

// The intrinsics of g++ 11 to 13 start from a value left undefined on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "expand.hpp"

#include <cstddef>
#include <immintrin.h>

// Not a flag of the file: the functions of the headers above must stay baseline.
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")

namespace sgxlens::detail {
namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kWordsMax = 2 * kLanes; // of a record that is held in two registers

// An operation's second word, as this file takes it apart.
static_assert(offsetof(Operation, size_bytes) == 8 && offsetof(Operation, base_word) == 10 &&
              offsetof(Operation, access_class) == 13);
constexpr unsigned kBaseShift = 16;
constexpr unsigned kClassShift = 40;
constexpr long long k16Bits = 0xffff;

// A line number at its place in an entry, taken from an address shifted by two.
constexpr unsigned kEntryShift = kLineShift - kEntryLineShift;
constexpr long long kLineBytesMask = SGXLENS_LINE_BYTES - 1;
constexpr long long kEntryLines =
    static_cast<long long>(kAddressMask >> kLineShift << kEntryLineShift);
constexpr long long kEntryLineInPage =
    static_cast<long long>((kLinesInPage - 1) << kEntryLineShift);

} // namespace

std::uint64_t *expand_avx512(const Operation *operations, std::size_t count,
                             const std::uint64_t *record, std::size_t word_count,
                             std::uint64_t *out) {
    if (word_count > kWordsMax)
        return expand_baseline(operations, count, record, word_count, out);
    // The head's place holds 0, which is what an operation without base starts from.
    const unsigned present = (1u << word_count) - 2;
    const __m512i low_words = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(present), record);
    const __m512i high_words =
        _mm512_maskz_loadu_epi64(static_cast<__mmask8>(present >> kLanes), record + kLanes);
    const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
    const __m512i first_pairs = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    const __m512i last_pairs = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
    const __m512i one = _mm512_set1_epi64(1);
    const __m512i lines = _mm512_set1_epi64(kEntryLines);

    for (std::size_t i = 0; i < count; i += kLanes) {
        const std::size_t left = count - i;
        const unsigned valid = left >= kLanes ? 0xffu : (1u << left) - 1;
        // Of a whole operation both words are loaded: two bits each.
        const unsigned both = _pdep_u32(valid, 0x5555) * 3;
        const void *const from = operations + i;
        const __m512i four = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(both), from);
        const __m512i next_four = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(both >> kLanes),
                                                           operations + i + kLanes / 2);
        const __m512i offsets = _mm512_permutex2var_epi64(four, even, next_four);
        const __m512i kinds = _mm512_permutex2var_epi64(four, odd, next_four);

        const __m512i bases =
            _mm512_permutex2var_epi64(low_words, _mm512_srli_epi64(kinds, kBaseShift), high_words);
        const __m512i sizes = _mm512_and_si512(kinds, _mm512_set1_epi64(k16Bits));
        const __m512i classes =
            _mm512_and_si512(_mm512_srli_epi64(kinds, kClassShift), _mm512_set1_epi64(0xff));
        const __m512i address = _mm512_add_epi64(offsets, bases);
        const __m512i last = _mm512_add_epi64(address, _mm512_sub_epi64(sizes, one));
        const __m512i first_line = _mm512_and_si512(_mm512_srli_epi64(address, kEntryShift), lines);
        const __m512i last_line = _mm512_and_si512(_mm512_srli_epi64(last, kEntryShift), lines);
        const __m512i in_line = _mm512_set1_epi64(kLineBytesMask);
        const __m512i last_byte =
            _mm512_slli_epi64(_mm512_and_si512(last, in_line), kLastByteShift);
        const __m512i first_byte =
            _mm512_slli_epi64(_mm512_and_si512(address, in_line), kFirstByteShift);
        const __m512i entries = _mm512_or_si512(_mm512_or_si512(first_line, classes),
                                                _mm512_or_si512(first_byte, last_byte));
        const unsigned crossing =
            _mm512_mask_cmpneq_epi64_mask(static_cast<__mmask8>(valid), first_line, last_line);
        if (crossing == 0) [[likely]] {
            _mm512_storeu_si512(out, entries);
            out += left >= kLanes ? kLanes : left;
            continue;
        }
        const __mmask8 within_page =
            _mm512_test_epi64_mask(last_line, _mm512_set1_epi64(kEntryLineInPage));
        const __m512i more = _mm512_or_si512(
            _mm512_or_si512(_mm512_or_si512(last_line, last_byte), classes),
            _mm512_maskz_set1_epi64(within_page, static_cast<long long>(kEntryContinuation)));
        // Each entry, and behind it the one that follows where it crosses.
        const unsigned kept = _pdep_u32(valid, 0x5555) | _pdep_u32(crossing, 0xaaaa);
        // What crosses goes to the end of its first line.
        const __m512i ended = _mm512_mask_or_epi64(
            entries, static_cast<__mmask8>(crossing), entries,
            _mm512_set1_epi64(static_cast<long long>(bytes_of_entry(0, kLineBytesMask))));
        const __m512i pairs = _mm512_permutex2var_epi64(ended, first_pairs, more);
        const __m512i next_pairs = _mm512_permutex2var_epi64(ended, last_pairs, more);
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi64(static_cast<__mmask8>(kept), pairs));
        out += __builtin_popcount(kept & 0xff);
        _mm512_storeu_si512(
            out, _mm512_maskz_compress_epi64(static_cast<__mmask8>(kept >> kLanes), next_pairs));
        out += __builtin_popcount(kept >> kLanes);
    }
    return out;
}

std::size_t follow_avx512(const LineSample &sample, std::uint64_t *entries, std::size_t count,
                          std::uint64_t *found) {
    // As LineSample::holds.
    const __m512i plain = _mm512_set1_epi64(static_cast<long long>(kPlainEntry));
    const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(sample.shift() + kEntryLineShift));
    const __m512i mask = _mm512_set1_epi64(static_cast<long long>(sample.mask()));
    const __m512i first = _mm512_set1_epi64(LineSample::kPlaceFirst);
    const __m512i second = _mm512_set1_epi64(LineSample::kPlaceSecond);
    std::uint64_t *const start = found;
    for (std::size_t i = 0; i < count; i += kLanes) {
        const unsigned valid = count - i >= kLanes ? 0xffu : (1u << (count - i)) - 1;
        const __m512i with_bytes = _mm512_loadu_si512(entries + i);
        const __m512i entry = _mm512_and_si512(with_bytes, plain);
        const __m512i lines = _mm512_srli_epi64(entry, kEntryLineShift);
        __m512i h = _mm512_mul_epu32(_mm512_srl_epi64(entry, shift), first);
        h = _mm512_xor_si512(h, _mm512_srli_epi64(h, LineSample::kPlaceFold));
        h = _mm512_srli_epi64(_mm512_mul_epu32(h, second), LineSample::kPlaceShift);
        const unsigned held =
            valid &
            static_cast<unsigned>(_mm512_testn_epi64_mask(_mm512_xor_si512(lines, h), mask));
        _mm512_storeu_si512(found,
                            _mm512_maskz_compress_epi64(static_cast<__mmask8>(held), with_bytes));
        found += __builtin_popcount(held);
        _mm512_storeu_si512(entries + i, entry);
    }
    return static_cast<std::size_t>(found - start);
}

} // namespace sgxlens::detail
