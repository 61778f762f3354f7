// SPDX-License-Identifier: Apache-2.0
#include "segment_effect.hpp"

#include "sgxlens/histogram.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <emmintrin.h>
#include <utility>

namespace sgxlens::detail {
namespace {

/// Words of times that are counted together: as many as there are bytes in a vector.
constexpr std::size_t kGroupWords = 16;

/// From place kGroupWords - 1 - i on: masks of the bytes after number i.
constexpr auto kLater = []() {
    std::array<std::uint8_t, 2 * kGroupWords> masks{};
    for (std::size_t i = kGroupWords; i < masks.size(); ++i)
        masks[i] = 0xff;
    return masks;
}();

std::uint64_t hash_of(std::uint64_t block) {
    const std::uint64_t h = block * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 32);
}

} // namespace

void InnerReuses::add_number(std::uint32_t number) {
    for (; number >= 128; number >>= 7)
        bytes_.push_back(static_cast<std::uint8_t>(number | 128));
    bytes_.push_back(static_cast<std::uint8_t>(number));
}

void InnerReuses::add(const InnerReuse &reuse) {
    const std::uint32_t slot = reuse.slot;
    add_number(slot >= last_slot_ ? 2 * (slot - last_slot_) : 2 * (last_slot_ - slot) + 1);
    last_slot_ = reuse.slot;
    bytes_.push_back(static_cast<std::uint8_t>(reuse.kind));
    bytes_.push_back(static_cast<std::uint8_t>(reuse.kind >> 8));
    add_number(reuse.count);
}

const RegionNumber *Effect::apply(ReuseStack &stack, const std::uint64_t *bases) {
    std::uint64_t blocks[SegmentTouch::kAnchorsMax];
    for (std::size_t i = 0; i < anchors.size(); ++i)
        blocks[i] = bases[anchors[i].base] + anchors[i].offset;
    const RegionNumber *const met = stack.touch(touches.data(), touches.size(), blocks);
    if (met != nullptr) {
        if (!has_reuses)
            return met;
        if (groups.empty()) {
            if (!std::equal(regions.begin(), regions.end(), met, met + touches.size()))
                [[unlikely]] {
                count_reuses(stack);
                regions.assign(met, met + touches.size());
            }
        } else if (!are_of(regions.data(), met)) [[unlikely]] {
            count_reuses(stack);
            for (std::size_t slot = 0; slot < groups.size(); ++slot)
                regions[groups[slot]] = met[slot];
            if (!are_of(regions.data(), met))
                return met;
        }
    }
    ++uncounted;
    return nullptr;
}

/// Whether the groups are of these regions, where the blocks are of those.
bool Effect::are_of(const RegionNumber *group_regions, const RegionNumber *block_regions) const {
    bool are_alike = true;
    for (std::size_t slot = 0; slot < groups.size(); ++slot)
        are_alike &= group_regions[groups[slot]] == block_regions[slot];
    return are_alike;
}

bool Effect::suits(const RegionNumber *block_regions) const {
    std::array<RegionNumber, kGroupsMax> group_regions;
    for (std::size_t slot = 0; slot < groups.size(); ++slot)
        group_regions[groups[slot]] = block_regions[slot];
    return has_reuses && are_of(group_regions.data(), block_regions);
}

void Effect::split_groups(const RegionNumber *block_regions, bool by_block) {
    struct Group {
        std::uint8_t before;
        RegionNumber region;
    };
    std::vector<Group> found;
    // As many as there were, or one to begin with; else none is told apart again.
    by_block |= has_reuses && groups.empty();
    groups.resize(touches.size());
    for (std::size_t slot = 0; slot < groups.size() && !by_block; ++slot) {
        std::size_t i = found.size();
        while (i > 0 &&
               (found[i - 1].before != groups[slot] || found[i - 1].region != block_regions[slot]))
            --i;
        if (i == 0) {
            by_block = found.size() == kGroupsMax;
            found.push_back({groups[slot], block_regions[slot]});
            i = found.size();
        }
        groups[slot] = static_cast<std::uint8_t>(i - 1);
    }
    if (by_block) {
        groups = std::vector<std::uint8_t>();
        regions.assign(block_regions, block_regions + touches.size());
        return;
    }
    regions.resize(found.size());
    for (std::size_t slot = 0; slot < groups.size(); ++slot)
        regions[groups[slot]] = block_regions[slot];
}

void Effect::count_reuses(ReuseStack &stack) {
    if (uncounted == 0)
        return;
    reuses.each([&](const InnerReuse &reuse) {
        stack.count_reuses(regions.empty() ? RegionNumber{0} : regions[reuse.slot],
                           static_cast<AccessClass>(reuse.kind & 7), reuse.kind >> 3,
                           reuse.count * uncounted);
    });
    uncounted = 0;
}

std::size_t Effect::memory_bytes() const {
    return touches.capacity() * sizeof(SegmentTouch) + anchors.capacity() * sizeof(Anchor) +
           reuses.memory_bytes() + groups.capacity() * sizeof groups[0] +
           regions.capacity() * sizeof regions[0];
}

void LocalStack::start(std::size_t access_count_max, bool by_block) {
    by_block_ = by_block;
    blocks_.clear();
    slots_.assign(std::bit_ceil(2 * access_count_max + 1), 0);
    times_.assign(access_count_max / 64 + 1, 0);
    const std::size_t group_count = times_.size() / kGroupWords + 1;
    word_counts_.assign(group_count * kGroupWords, 0);
    group_counts_.assign(group_count, 0);
    reuses_.clear();
    now_ = 0;
}

const std::vector<std::uint16_t> &LocalStack::access(const Access *accesses, std::size_t count) {
    last_slots_.clear();
    for (std::size_t i = 0; i < count; ++i) {
        const Access &access = accesses[i];
        const std::uint32_t time = now_ + access.rank;
        std::size_t slot = hash_of(access.number) & (slots_.size() - 1);
        while (slots_[slot] != 0 && blocks_[slots_[slot] - 1].first.number != access.number)
            slot = (slot + 1) & (slots_.size() - 1);
        const std::size_t number = slots_[slot] != 0 ? slots_[slot] - 1 : blocks_.size();
        last_slots_.push_back(static_cast<std::uint16_t>(by_block_ ? number : 0));
        if (slots_[slot] == 0) {
            blocks_.push_back({access, now_ + access.start_rank, time});
            slots_[slot] = static_cast<std::uint32_t>(blocks_.size());
            continue;
        }
        Block &block = blocks_[slots_[slot] - 1];
        const std::size_t distance = i + times_after(block.time);
        forget_time(block.time);
        reuses_.push_back(
            {1, last_slots_.back(), reuse_kind(bin_of(distance), access.access_class)});
        block.time = time;
        block.first.classes |= access.classes;
    }
    for (std::size_t i = 0; i < count; ++i, ++now_) {
        times_[now_ / 64] |= std::uint64_t{1} << now_ % 64;
        ++word_counts_[now_ / 64];
        ++group_counts_[now_ / 64 / kGroupWords];
    }
    return last_slots_;
}

/// How many later times there are of blocks.
std::size_t LocalStack::times_after(std::uint32_t time) const {
    const std::size_t w = time / 64;
    std::size_t group = w / kGroupWords;
    const __m128i counts = _mm_loadu_si128(
        reinterpret_cast<const __m128i *>(word_counts_.data() + group * kGroupWords));
    const __m128i later = _mm_loadu_si128(
        reinterpret_cast<const __m128i *>(kLater.data() + kGroupWords - 1 - w % kGroupWords));
    const __m128i sums = _mm_sad_epu8(_mm_and_si128(counts, later), _mm_setzero_si128());
    std::size_t count = static_cast<std::size_t>(std::popcount(times_[w] >> time % 64)) - 1;
    count += static_cast<std::size_t>(_mm_cvtsi128_si64(sums)) +
             static_cast<std::size_t>(_mm_extract_epi16(sums, 4));
    for (++group; group <= now_ / 64 / kGroupWords; ++group)
        count += group_counts_[group];
    return count;
}

void LocalStack::forget_time(std::uint32_t time) {
    const std::size_t w = time / 64;
    times_[w] &= ~(std::uint64_t{1} << time % 64);
    --word_counts_[w];
    --group_counts_[w / kGroupWords];
}

void LocalStack::add_reuses(const InnerReuses &reuses, const std::uint16_t *slots) {
    reuses.each([&](const InnerReuse &reuse) {
        reuses_.push_back({reuse.count, slots[reuse.slot], reuse.kind});
    });
}

std::optional<Effect> LocalStack::effect() {
    std::vector<std::uint32_t> before(times_.size());
    for (std::size_t w = 1; w < times_.size(); ++w)
        before[w] = before[w - 1] + static_cast<std::uint32_t>(std::popcount(times_[w - 1]));
    Effect effect;
    effect.touches.reserve(blocks_.size());
    const auto rank = [&](std::uint32_t time) {
        const std::uint64_t earlier = (std::uint64_t{1} << time % 64) - 1;
        const auto within = static_cast<std::uint32_t>(std::popcount(times_[time / 64] & earlier));
        return static_cast<std::uint16_t>(before[time / 64] + within);
    };
    std::vector<Anchor> &anchors = effect.anchors;
    for (const Block &block : blocks_) {
        const std::uint64_t offset = block.first.offset;
        auto anchor = std::find_if(anchors.rbegin(), anchors.rend(), [&](const Anchor &a) {
            return a.base == block.first.base && offset - a.offset <= kAnchorReach;
        });
        if (anchor == anchors.rend()) {
            if (anchors.size() == SegmentTouch::kAnchorsMax)
                return std::nullopt;
            // Blocks before it shall be in reach as well as those after it.
            anchors.push_back({offset - kAnchorReach / 2, block.first.base});
            anchor = anchors.rbegin();
        }
        effect.touches.push_back(
            {static_cast<std::uint16_t>(offset - anchor->offset), rank(block.time),
             rank(block.first_time), static_cast<std::uint8_t>(&*anchor - anchors.data()),
             SegmentTouch::kinds_of(block.first.access_class, block.first.classes)});
    }
    anchors.shrink_to_fit();
    return effect;
}

InnerReuses LocalStack::reuses(const std::vector<std::uint8_t> &groups) {
    if (by_block_ && groups.empty())
        return reuses_by_block();
    // Few groups, so that each has a table of its own.
    constexpr unsigned kKindBits = 13;
    counts_.resize(Effect::kGroupsMax << kKindBits);
    std::vector<std::uint32_t> used;
    for (const InnerReuse &reuse : reuses_) {
        const std::uint32_t group = by_block_ ? groups[reuse.slot] : 0;
        const std::uint32_t at = group << kKindBits | reuse.kind;
        if (counts_[at] == 0)
            used.push_back(at);
        counts_[at] += reuse.count;
    }
    InnerReuses found;
    for (const std::uint32_t at : used)
        found.add({std::exchange(counts_[at], 0), static_cast<std::uint16_t>(at >> kKindBits),
                   static_cast<std::uint16_t>(at & ((1u << kKindBits) - 1))});
    found.done();
    return found;
}

InnerReuses LocalStack::reuses_by_block() {
    const std::size_t mask = std::bit_ceil(2 * reuses_.size() + 1) - 1;
    places_.assign(mask + 1, 0);
    std::size_t count = 0;
    for (std::size_t i = 0; i < reuses_.size(); ++i) {
        const InnerReuse reuse = reuses_[i];
        std::size_t place = hash_of(std::uint64_t{reuse.slot} << 16 | reuse.kind) & mask;
        const auto is_other = [&](const InnerReuse &one) {
            return one.slot != reuse.slot || one.kind != reuse.kind;
        };
        while (places_[place] != 0 && is_other(reuses_[places_[place] - 1]))
            place = (place + 1) & mask;
        if (places_[place] != 0) {
            reuses_[places_[place] - 1].count += reuse.count;
        } else {
            reuses_[count++] = reuse;
            places_[place] = static_cast<std::uint32_t>(count);
        }
    }
    reuses_.resize(count);
    InnerReuses found;
    for (const InnerReuse &reuse : reuses_)
        found.add(reuse);
    found.done();
    return found;
}

} // namespace sgxlens::detail
