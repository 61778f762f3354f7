// SPDX-License-Identifier: Apache-2.0
//
// Splitting a batch of accesses into runs. A part of reuse_kernel.hpp.

namespace sgxlens::detail {
namespace {

#ifdef SGXLENS_KERNEL_AVX2
// Moves the 64-bit lanes of a mask to the front.
struct Compressions {
    alignas(32) std::uint32_t lanes[16][8];
    constexpr Compressions() : lanes() {
        for (unsigned mask = 0; mask < 16; ++mask) {
            unsigned to = 0;
            for (unsigned lane = 0; lane < 4; ++lane) {
                if ((mask >> lane & 1) == 0)
                    continue;
                lanes[mask][to++] = 2 * lane;
                lanes[mask][to++] = 2 * lane + 1;
            }
        }
    }
};
constexpr Compressions kCompressions;

// Stores the lanes of `mask`, and arbitrary ones after; returns how many these are.
inline std::size_t store_lanes(std::uint64_t *to, __m256i values, unsigned mask) {
    const __m256i order =
        _mm256_load_si256(reinterpret_cast<const __m256i *>(kCompressions.lanes[mask]));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(to),
                        _mm256_permutevar8x32_epi32(values, order));
    return count_bits(mask);
}

inline unsigned zero_lanes(__m256i values) {
    return static_cast<unsigned>(_mm256_movemask_pd(
        _mm256_castsi256_pd(_mm256_cmpeq_epi64(values, _mm256_setzero_si256()))));
}
#endif

// Drops the accesses that are none of the stack's: what continues an access to a page, and blocks
// that are not sampled. Returns how many stay in s.kept.
template <bool kPages, bool kSampled>
inline std::size_t keep_own(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    std::uint64_t *const kept = s.kept.data();
    std::size_t kept_count = 0;
    std::size_t i = 0;
#ifdef SGXLENS_KERNEL_AVX512
    if constexpr (!kSampled) {
        const __m512i continuation = _mm512_set1_epi64(kEntryContinuation);
        for (; i + 8 <= count; i += 8) {
            const __m512i some = _mm512_loadu_si512(entries + i);
            const __mmask8 own = _mm512_testn_epi64_mask(some, continuation);
            _mm512_storeu_si512(kept + kept_count, _mm512_maskz_compress_epi64(own, some));
            kept_count += count_bits(own);
        }
    }
#elif defined(SGXLENS_KERNEL_AVX2)
    if constexpr (!kSampled) {
        const __m256i continuation = _mm256_set1_epi64x(kEntryContinuation);
        for (; i + 4 <= count; i += 4) {
            const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(entries + i));
            kept_count += store_lanes(kept + kept_count, some,
                                      zero_lanes(_mm256_and_si256(some, continuation)));
        }
    }
#endif
    for (; i < count; ++i) {
        const std::uint64_t entry = entries[i];
        bool own = !kPages || (entry & kEntryContinuation) == 0;
        if constexpr (kSampled) {
            const std::uint64_t block = entry >> kEntryLineShift >> (kPages ? 6 : 0);
            const bool sampled = sampling_hash(block) < s.sampling_threshold;
            s.unsampled[entry & kEntryClassMask] += own && !sampled ? 1 : 0;
            own = own && sampled;
        }
        kept[kept_count] = entry;
        kept_count += own ? 1 : 0;
    }
    return kept_count;
}

// Splits accesses into runs to one block. s.runs: the first access of each run; s.changes: those
// within a run that are of another class than the one before. Where accesses are attributed, marks
// both in s.starts and s.turns; else counts the accesses within runs.
struct Runs {
    std::size_t run_count = 0;
    std::size_t change_count = 0;
};

template <bool kPages, bool kAttributed>
inline Runs split_runs(ReuseState &s, const std::uint64_t *entries, std::size_t count) {
    constexpr unsigned kBlockShift = kEntryLineShift + (kPages ? 6 : 0);
    constexpr unsigned kCountBits = 12; // a batch is shorter than 2^12
    static_assert(kBatchMax < std::size_t{1} << kCountBits);
    std::uint64_t *const runs = s.runs.data();
    std::uint64_t *const changes = s.changes.data();
    Runs n;
    if constexpr (kAttributed) {
        s.starts = {};
        s.turns = {};
    }
    [[maybe_unused]] auto *const start_bytes = reinterpret_cast<unsigned char *>(s.starts.data());
    [[maybe_unused]] auto *const turn_bytes = reinterpret_cast<unsigned char *>(s.turns.data());
    std::uint64_t within = 0; // accesses within runs, by class
    std::uint64_t before = s.last_entry;
    std::size_t i = 0;
#ifdef SGXLENS_KERNEL_AVX512
    const __m512i block_bits = _mm512_set1_epi64(std::int64_t{-1} << kBlockShift);
    const __m512i class_bits = _mm512_set1_epi64(kEntryClassMask);
    __m512i within_lanes = _mm512_setzero_si512();
    __m512i earlier = _mm512_set1_epi64(static_cast<std::int64_t>(before));
    for (; i + 8 <= count; i += 8) {
        const __m512i some = _mm512_loadu_si512(entries + i);
        const __m512i changed = _mm512_xor_si512(some, _mm512_alignr_epi64(some, earlier, 7));
        earlier = some;
        const __mmask8 same = _mm512_testn_epi64_mask(changed, block_bits);
        const __mmask8 change = _mm512_mask_test_epi64_mask(same, changed, class_bits);
        const __mmask8 start = static_cast<__mmask8>(~same);
        _mm512_storeu_si512(runs + n.run_count, _mm512_maskz_compress_epi64(start, some));
        n.run_count += count_bits(start);
        _mm512_storeu_si512(changes + n.change_count, _mm512_maskz_compress_epi64(change, some));
        n.change_count += count_bits(change);
        if constexpr (kAttributed) {
            start_bytes[i / 8] = start;
            turn_bytes[i / 8] = change;
            continue;
        }
        const __m512i access = _mm512_and_si512(some, class_bits);
        const __m512i shift =
            _mm512_add_epi64(_mm512_slli_epi64(access, 3), _mm512_slli_epi64(access, 2));
        within_lanes = _mm512_mask_add_epi64(within_lanes, same, within_lanes,
                                             _mm512_sllv_epi64(_mm512_set1_epi64(1), shift));
    }
    within = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(within_lanes));
    if (i > 0)
        before = entries[i - 1];
#elif defined(SGXLENS_KERNEL_AVX2)
    const __m256i class_bits = _mm256_set1_epi64x(kEntryClassMask);
    __m256i within_lanes = _mm256_setzero_si256();
    __m256i earlier = _mm256_set1_epi64x(static_cast<std::int64_t>(before));
    for (; i + 4 <= count; i += 4) {
        const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(entries + i));
        // The lanes of `some`, each after the one before it.
        const __m256i middle = _mm256_permute2x128_si256(earlier, some, 0x21);
        const __m256i changed = _mm256_xor_si256(some, _mm256_alignr_epi8(some, middle, 8));
        earlier = some;
        const __m256i same_lanes =
            _mm256_cmpeq_epi64(_mm256_srli_epi64(changed, kBlockShift), _mm256_setzero_si256());
        const auto same =
            static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(same_lanes)));
        const unsigned change = same & ~zero_lanes(_mm256_and_si256(changed, class_bits));
        n.run_count += store_lanes(runs + n.run_count, some, ~same & 15);
        n.change_count += store_lanes(changes + n.change_count, some, change);
        if constexpr (kAttributed) {
            start_bytes[i / 8] |= static_cast<unsigned char>((~same & 15) << (i & 4));
            turn_bytes[i / 8] |= static_cast<unsigned char>(change << (i & 4));
            continue;
        }
        const __m256i access = _mm256_and_si256(some, class_bits);
        const __m256i shift =
            _mm256_add_epi64(_mm256_slli_epi64(access, 3), _mm256_slli_epi64(access, 2));
        within_lanes = _mm256_add_epi64(
            within_lanes,
            _mm256_and_si256(same_lanes, _mm256_sllv_epi64(_mm256_set1_epi64x(1), shift)));
    }
    alignas(32) std::uint64_t lanes[4];
    _mm256_store_si256(reinterpret_cast<__m256i *>(lanes), within_lanes);
    within = lanes[0] + lanes[1] + lanes[2] + lanes[3];
    if (i > 0)
        before = entries[i - 1];
#endif
    for (; i < count; ++i) {
        const std::uint64_t entry = entries[i];
        const std::uint64_t changed = entry ^ before;
        before = entry;
        const bool same = changed >> kBlockShift == 0;
        const std::uint64_t access = entry & kEntryClassMask;
        runs[n.run_count] = entry;
        n.run_count += same ? 0 : 1;
        changes[n.change_count] = entry;
        const bool turns = same && (changed & kEntryClassMask) != 0;
        n.change_count += turns ? 1 : 0;
        if constexpr (kAttributed) {
            s.starts[i / 64] |= static_cast<std::uint64_t>(!same) << i % 64;
            s.turns[i / 64] |= static_cast<std::uint64_t>(turns) << i % 64;
            continue;
        }
        within += static_cast<std::uint64_t>(same) << (access * kCountBits & 63);
    }
    s.last_entry = before;
    for (std::size_t c = 0; c < kAccessClassCount && !kAttributed; ++c)
        s.counts.near[kRegionZero | c << kWindowDistanceBits] +=
            within >> (c * kCountBits) & ((std::uint64_t{1} << kCountBits) - 1);
    return n;
}

} // namespace
} // namespace sgxlens::detail
