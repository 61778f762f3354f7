// SPDX-License-Identifier: Apache-2.0
//
// Taking a segment of accesses whose inner reuse is known (see segments.hpp): only the first
// access to each of its blocks is left to be counted. Included after reuse_kernel.hpp, in the same
// way and for the same reason.

namespace sgxlens::detail {
namespace {

inline constexpr std::size_t kTouchBatch = 64;

// A word of the timeline that is being worked on. Blocks touched one after the other were mostly
// so the last time too: their times share a word, whose prefix counts are then corrected once.
class OpenWord {
  public:
    explicit OpenWord(Timeline &timeline) : t_(timeline) {}
    OpenWord(const OpenWord &) = delete;
    OpenWord &operator=(const OpenWord &) = delete;
    ~OpenWord() { close(); }

    // Takes a time off the timeline; returns how many later ones are left on it.
    std::uint64_t take(std::uint32_t time) {
        const std::uint64_t w = time >> 6;
        if (w != index_) {
            close();
            index_ = w;
            word_ = t_.words[w];
            after_ = t_.bit_count - count_before(t_, w) - count_bits(word_);
        }
        const std::uint64_t later = after_ + count_bits(word_ >> (time & 63)) - 1;
        word_ &= ~(std::uint64_t{1} << (time & 63));
        ++taken_;
        return later;
    }

  private:
    void close() {
        if (taken_ == 0)
            return;
        t_.words[index_] = word_;
        t_.bit_count -= taken_;
        decrease_after(t_.p0, index_);
        decrease_after(t_.p1, index_ >> 5);
        decrease_after(t_.p2, index_ >> 10);
        if (t_.level_count > 3) {
            decrease_after(t_.p3, index_ >> 14);
            if (t_.level_count > 4) {
                decrease_after(t_.p4, index_ >> 18);
                if (t_.level_count > 5)
                    decrease_after(t_.p5, index_ >> 22);
            }
        }
        taken_ = 0;
    }

    void decrease_after(std::uint16_t *counts, std::uint64_t index) const {
        auto *group = reinterpret_cast<Counts16 *>(counts + (index & ~std::uint64_t{31}));
        *group -= *reinterpret_cast<const Counts16Anywhere *>(kAfter16 + 31 - (index & 31)) *
                  static_cast<std::uint16_t>(taken_);
    }

    void decrease_after(std::uint32_t *counts, std::uint64_t index) const {
        auto *group = reinterpret_cast<Counts32 *>(counts + (index & ~std::uint64_t{15}));
        *group -=
            *reinterpret_cast<const Counts32Anywhere *>(kAfter32 + 15 - (index & 15)) * taken_;
    }

    Timeline &t_;
    std::uint64_t index_ = ~std::uint64_t{0};
    std::uint64_t word_ = 0;
    std::uint64_t after_ = 0; // times on the timeline after the word
    std::uint32_t taken_ = 0;
};

void visit(ReuseState &s, Cell &cell, const SegmentTouch &touch) {
    s.told_block = cell.key >> kKeyBlockShift;
    s.told_time = start_time_value(cell.time - touch.rank + touch.start_rank);
    s.observer->visit(s.told_block, touch.access_class());
    s.told_time = 0;
    cell.tag &= ~kTagClasses;
    tell(s, cell, touch.classes());
}

[[gnu::noinline, gnu::cold]] void take_cold(ReuseState &s, Cell &cell, const SegmentTouch &touch) {
    ++s.cold[touch.access_class()];
    s.sources.add(SourceCounts::kCold, bin_of_tag(cell.tag, touch.access_class()), kColdBin);
    if (s.visit_distance != ReuseStack::kNoVisits)
        visit(s, cell, touch);
    else
        tell(s, cell, touch.classes());
}

// Sets s.runs to the keys and s.homes to the first places of at most kTouchBatch blocks, from
// `half` on, and calls for their cells.
inline void call_for(ReuseState &s, const SegmentTouch *touches, std::size_t count,
                     const std::uint64_t *anchors, std::uint64_t block_mask, std::size_t half) {
    std::uint64_t *const keys = s.runs.data() + half;
    std::uint64_t *const homes = s.homes.data() + half;
#ifdef SGXLENS_KERNEL_AVX512
    // As below and in home_of, eight at a time.
    using Words [[gnu::vector_size(64), gnu::may_alias]] = std::uint64_t;
    for (std::size_t i = 0; i < count; i += 8) {
        const auto valid = static_cast<__mmask8>(count - i >= 8 ? 255 : (1u << (count - i)) - 1);
        const auto some = (Words)_mm512_maskz_loadu_epi64(valid, touches + i);
        const auto froms = (Words)_mm512_i64gather_epi64((__m512i)(some >> 48 & 255), anchors, 8);
        const Words blocks = (froms + (some & 0xffff)) & block_mask;
        *reinterpret_cast<Words *>(keys + i) = blocks << kKeyBlockShift | kKeyPresent;
        Words h = (blocks >> kGroupBits) * kHashFirst;
        h = (h ^ (h >> 32)) * kHashSecond;
        *reinterpret_cast<Words *>(homes + i) =
            h >> s.hash_shift << kGroupBits | (blocks & (kGroupCells - 1));
    }
    for (std::size_t i = 0; i < count; ++i)
        __builtin_prefetch(s.cells + homes[i], 1);
#else
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t block = (anchors[touches[i].anchor] + touches[i].offset) & block_mask;
        keys[i] = block << kKeyBlockShift | kKeyPresent;
        homes[i] = home_of(block, s.hash_shift);
        __builtin_prefetch(s.cells + homes[i], 1);
    }
#endif
}

template <bool kAttributed>
void touch_blocks(ReuseState &s, const SegmentTouch *touches, std::size_t count,
                  const std::uint64_t *anchors) {
    if (count == 0)
        return;
    const unsigned block_bits = kLineNumberBits - (s.granularity == Granularity::page ? 6 : 0);
    const std::uint64_t block_mask = (std::uint64_t{1} << block_bits) - 1;
    // Where a block last accessed before needs more than to be counted.
    const std::uint32_t start_time = kAttributed ? s.context_start : s.phase_start;
    RegionNumber *const regions = s.touched_regions.data();
    const std::uint32_t base_time = s.now;
    std::uint64_t window_old = s.window_old;
    std::uint64_t window_new = s.window_new;
    const auto shift_window = [&](std::uint32_t now) {
        if (now >= 128)
            append(s.timeline, window_old);
        window_old = window_new;
        window_new = 0;
        __builtin_memcpy(s.ages.data() + 64, s.ages.data() + 128, 64);
    };
    // Of the last times of the segment, the ages as s.ages has them.
    constexpr std::size_t kAgesKept = 128;
    std::array<std::uint8_t, kAgesKept> ages;
    const std::size_t first_kept = count < kAgesKept ? 0 : count - kAgesKept;
    if (base_time % 64 == 0)
        shift_window(base_time);
    const std::uint32_t window_start = (base_time & ~63u) - 64;
    {
        OpenWord open(s.timeline);
        const auto batch_at = [&](std::size_t start) {
            return count - start < kTouchBatch ? count - start : kTouchBatch;
        };
        // The cells are called for one batch ahead.
        call_for(s, touches, batch_at(0), anchors, block_mask, 0);
        for (std::size_t start = 0, half = 0; start < count; start += kTouchBatch) {
            const std::size_t n = batch_at(start);
            const SegmentTouch *const batch = touches + start;
            const std::uint64_t *const keys = s.runs.data() + half;
            const std::uint64_t *const homes = s.homes.data() + half;
            half ^= kTouchBatch;
            if (start + n < count)
                call_for(s, touches + start + n, batch_at(start + n), anchors, block_mask, half);
            for (std::size_t i = 0; i < n; ++i) {
                const std::uint64_t access = batch[i].access_class();
                const std::uint64_t classes = batch[i].classes() * std::uint64_t{0x101};
                Cell *const cell = find(s, keys[i], homes[i]);
                const std::uint32_t time = cell->time;
                const std::uint32_t new_time = base_time + batch[i].rank;
                cell->time = new_time;
                std::uint8_t unused_age;
                std::uint8_t &age =
                    batch[i].rank >= first_kept ? ages[batch[i].rank - first_kept] : unused_age;
                age = new_time - time < 255 ? static_cast<std::uint8_t>(new_time - time) : 255;
                [[maybe_unused]] std::uint32_t source = kNoSource;
                const std::uint64_t missing =
                    classes & (kAttributed ? ~std::uint64_t{cell->tag} & kTagClasses : ~cell->key);
                if (missing != 0 || time < start_time) [[unlikely]] {
                    const bool cold = cell->key == 0;
                    if constexpr (kAttributed) {
                        source = attend(s, *cell, keys[i], classes, time);
                        if (cold)
                            take_cold(s, *cell, batch[i]);
                    } else {
                        if (cold) {
                            cell->key = keys[i];
                            ++s.block_count;
                            ++s.cold[access];
                        }
                        add_classes(s, *cell, classes, cold || time < start_time);
                    }
                    if (cold) {
                        age = 255;
                        if constexpr (kAttributed)
                            regions[start + i] =
                                static_cast<RegionNumber>(region_of_tag(cell->tag));
                        continue;
                    }
                }
                // Blocks touched earlier in the segment are later than this one, wherever their
                // times will be; those times are not yet set.
                std::uint64_t distance = start + i;
                const std::uint32_t offset = time - window_start;
                if (offset < 128) {
                    const bool newest = offset >= 64;
                    const std::uint64_t word = newest ? window_new : window_old;
                    distance += count_bits(word >> (time & 63)) - 1;
                    distance += newest ? 0 : count_bits(window_new);
                    const std::uint64_t cleared = word & ~(std::uint64_t{1} << (time & 63));
                    window_old = newest ? window_old : cleared;
                    window_new = newest ? cleared : window_new;
                } else {
                    distance += open.take(time);
                    distance += count_bits(window_old) + count_bits(window_new);
                }
                if constexpr (kAttributed) {
                    const std::uint32_t tag = cell->tag;
                    regions[start + i] = static_cast<RegionNumber>(region_of_tag(tag));
                    if (source == kNoSource) [[likely]]
                        s.counts.add(bin_of_tag(tag, access), bin_of(distance), 1);
                    else
                        s.sources.add(source, bin_of_tag(tag, access), bin_of(distance));
                    if (distance >= s.visit_distance) [[unlikely]]
                        visit(s, *cell, batch[i]);
                    else if (missing != 0 || source != kNoSource) [[unlikely]]
                        tell(s, *cell, batch[i].classes());
                } else {
                    s.counts.add(kRegionZero | static_cast<std::uint32_t>(access)
                                                   << kWindowDistanceBits,
                                 bin_of(distance), 1);
                }
            }
        }
    }
    for (std::size_t done = 0; done < count;) {
        const std::uint32_t now = base_time + static_cast<std::uint32_t>(done);
        if (now % 64 == 0 && done > 0)
            shift_window(now);
        const std::size_t room = 64 - now % 64;
        const std::size_t n = count - done < room ? count - done : room;
        window_new |= (~std::uint64_t{0} >> (64 - n)) << (now % 64);
        // Earlier ones are no longer in the window in the end.
        for (std::size_t i = done < first_kept ? first_kept : done; i < done + n; ++i)
            s.ages[128 + now % 64 + i - done] = ages[i - first_kept];
        done += n;
    }
    s.window_old = window_old;
    s.window_new = window_new;
    s.now = base_time + static_cast<std::uint32_t>(count);
    s.last_entry = kNoEntry;
}

void touch(ReuseState &s, const SegmentTouch *touches, std::size_t count,
           const std::uint64_t *anchors) {
    if (s.observer != nullptr)
        touch_blocks<true>(s, touches, count, anchors);
    else
        touch_blocks<false>(s, touches, count, anchors);
}

} // namespace
} // namespace sgxlens::detail
