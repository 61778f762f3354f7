// SPDX-License-Identifier: Apache-2.0
#include "segment_effect.hpp"

#include "sgxlens/histogram.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace sgxlens::detail {
namespace {

/// How many blocks after its anchor a touch may be.
constexpr std::uint64_t kAnchorReach = 0xffff;

constexpr std::size_t kReusePlaces = 1024; ///< at first; a power of two

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
        } else if (!are_of(regions, met)) [[unlikely]] {
            count_reuses(stack);
            for (std::size_t slot = 0; slot < groups.size(); ++slot)
                regions[groups[slot]] = met[slot];
            if (!are_of(regions, met))
                return met;
        }
    }
    ++uncounted;
    return nullptr;
}

/// Whether the groups are of these regions, where the blocks are of those.
bool Effect::are_of(const std::vector<RegionNumber> &group_regions,
                    const RegionNumber *block_regions) const {
    bool are_alike = true;
    for (std::size_t slot = 0; slot < groups.size(); ++slot)
        are_alike &= group_regions[groups[slot]] == block_regions[slot];
    return are_alike;
}

bool Effect::suits(const RegionNumber *block_regions) const {
    std::vector<RegionNumber> group_regions(kGroupsMax);
    for (std::size_t slot = 0; slot < groups.size(); ++slot)
        group_regions[groups[slot]] = block_regions[slot];
    return has_reuses && are_of(group_regions, block_regions);
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
    groups_.assign(times_.size() / kGroupWords + 1, 0);
    now_ = 0;
    for (const std::uint32_t place : places_)
        reuses_[place].count = 0;
    places_.clear();
    if (reuses_.empty())
        reuses_.resize(kReusePlaces);
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
        std::size_t w = block.time / 64;
        std::size_t distance =
            i + static_cast<std::size_t>(std::popcount(times_[w] >> block.time % 64)) - 1;
        times_[w] &= ~(std::uint64_t{1} << block.time % 64);
        --groups_[w / kGroupWords];
        for (++w; w <= now_ / 64 && w % kGroupWords != 0; ++w)
            distance += static_cast<std::size_t>(std::popcount(times_[w]));
        for (; w <= now_ / 64; w += kGroupWords)
            distance += groups_[w / kGroupWords];
        add_reuse(last_slots_.back(), reuse_kind(bin_of(distance), access.access_class), 1);
        block.time = time;
        block.first.classes |= access.classes;
    }
    for (std::size_t i = 0; i < count; ++i, ++now_) {
        times_[now_ / 64] |= std::uint64_t{1} << now_ % 64;
        ++groups_[now_ / 64 / kGroupWords];
    }
    return last_slots_;
}

void LocalStack::add_reuse(std::uint16_t slot, std::uint16_t kind, std::uint32_t count) {
    const std::size_t mask = reuses_.size() - 1;
    std::size_t place = hash_of(std::uint64_t{slot} << 16 | kind) & mask;
    while (reuses_[place].count != 0 &&
           (reuses_[place].slot != slot || reuses_[place].kind != kind))
        place = (place + 1) & mask;
    if (reuses_[place].count == 0) {
        reuses_[place] = {0, slot, kind};
        places_.push_back(static_cast<std::uint32_t>(place));
    }
    reuses_[place].count += count;
    if (2 * places_.size() > reuses_.size())
        grow_reuses();
}

void LocalStack::grow_reuses() {
    std::vector<InnerReuse> old(2 * reuses_.size());
    old.swap(reuses_);
    std::vector<std::uint32_t> places;
    places.swap(places_);
    for (const std::uint32_t place : places)
        add_reuse(old[place].slot, old[place].kind, old[place].count);
}

void LocalStack::add_reuses(const InnerReuses &reuses, const std::uint16_t *slots) {
    reuses.each(
        [&](const InnerReuse &reuse) { add_reuse(slots[reuse.slot], reuse.kind, reuse.count); });
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
    InnerReuses found;
    if (groups.empty()) {
        for (const std::uint32_t place : places_)
            found.add(reuses_[place]);
    } else {
        // Few groups, so that each has a table of its own.
        constexpr unsigned kKindBits = 13;
        counts_.resize(Effect::kGroupsMax << kKindBits);
        std::vector<std::uint32_t> used;
        for (const std::uint32_t place : places_) {
            const InnerReuse &reuse = reuses_[place];
            const std::uint32_t at = std::uint32_t{groups[reuse.slot]} << kKindBits | reuse.kind;
            if (counts_[at] == 0)
                used.push_back(at);
            counts_[at] += reuse.count;
        }
        for (const std::uint32_t at : used)
            found.add({std::exchange(counts_[at], 0), static_cast<std::uint16_t>(at >> kKindBits),
                       static_cast<std::uint16_t>(at & ((1u << kKindBits) - 1))});
    }
    found.done();
    return found;
}

} // namespace sgxlens::detail
