// SPDX-License-Identifier: Apache-2.0
#include "segment_pattern.hpp"

#include "sgxlens/histogram.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

namespace sgxlens::detail {
namespace {

/// Lines of one base that are farther apart belong to two intervals.
constexpr std::uint64_t kIntervalGapLines = 64;

/// Groups of blocks told apart in an effect; if there are more, each block is.
constexpr std::size_t kGroupsMax = 16;

/// How many blocks after its anchor a touch may be.
constexpr std::uint64_t kAnchorReach = 0xffff;

std::uint64_t hash_of(std::uint64_t block) {
    const std::uint64_t h = block * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 32);
}

} // namespace

bool Effect::apply(ReuseStack &stack, const std::uint64_t *bases) {
    std::uint64_t blocks[SegmentTouch::kAnchorsMax];
    for (std::size_t i = 0; i < anchors.size(); ++i)
        blocks[i] = bases[anchors[i].base] + anchors[i].offset;
    const RegionNumber *const met = stack.touch(touches.data(), touches.size(), blocks);
    if (met == nullptr || std::equal(regions.begin(), regions.end(), met, met + touches.size()))
        [[likely]] {
        ++uncounted;
        return true;
    }
    count_reuses(stack);
    regions.assign(met, met + touches.size());
    ++uncounted;
    for (std::size_t slot = 0; slot < groups.size(); ++slot)
        if (regions[slot] != regions[groups[slot]])
            return false;
    return true;
}

void Effect::split_groups() {
    struct Group {
        std::uint16_t before;
        RegionNumber region;
        std::uint16_t slot;
    };
    std::vector<Group> found;
    groups.resize(touches.size());
    for (std::size_t slot = 0; slot < groups.size(); ++slot) {
        const auto same = std::find_if(found.rbegin(), found.rend(), [&](const Group &group) {
            return group.before == groups[slot] && group.region == regions[slot];
        });
        if (same != found.rend()) {
            groups[slot] = same->slot;
            continue;
        }
        if (found.size() == kGroupsMax) {
            std::iota(groups.begin(), groups.end(), std::uint16_t{0});
            return;
        }
        found.push_back({groups[slot], regions[slot], static_cast<std::uint16_t>(slot)});
        groups[slot] = static_cast<std::uint16_t>(slot);
    }
}

void Effect::count_reuses(ReuseStack &stack) {
    if (uncounted == 0)
        return;
    for (const InnerReuse &reuse : reuses)
        stack.count_reuses(regions.empty() ? RegionNumber{0} : regions[reuse.slot],
                           static_cast<AccessClass>(reuse.kind & 7), reuse.kind >> 3,
                           reuse.count * uncounted);
    uncounted = 0;
}

std::size_t Effect::memory_bytes() const {
    return touches.capacity() * sizeof(SegmentTouch) + anchors.capacity() * sizeof(Anchor) +
           reuses.capacity() * sizeof(InnerReuse) + groups.capacity() * sizeof groups[0] +
           regions.capacity() * sizeof regions[0];
}

void LocalStack::start(std::size_t access_count_max, bool by_block) {
    by_block_ = by_block;
    blocks_.clear();
    reuses_.clear();
    slots_.assign(std::bit_ceil(2 * access_count_max + 1), 0);
    times_.assign(access_count_max / 64 + 1, 0);
    now_ = 0;
}

void LocalStack::access(const Access *accesses, std::size_t count) {
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
            blocks_.push_back({access, time, time});
            slots_[slot] = static_cast<std::uint32_t>(blocks_.size());
            continue;
        }
        Block &block = blocks_[slots_[slot] - 1];
        std::size_t w = block.time / 64;
        std::size_t distance =
            i + static_cast<std::size_t>(std::popcount(times_[w] >> block.time % 64)) - 1;
        times_[w] &= ~(std::uint64_t{1} << block.time % 64);
        for (++w; w <= now_ / 64; ++w)
            distance += static_cast<std::size_t>(std::popcount(times_[w]));
        add_reuse(last_slots_.back(), reuse_kind(bin_of(distance), access.access_class), 1);
        block.time = time;
        block.first.classes |= access.classes;
    }
    for (std::size_t i = 0; i < count; ++i, ++now_)
        times_[now_ / 64] |= std::uint64_t{1} << now_ % 64;
}

void LocalStack::add_reuse(std::uint64_t slot, std::uint64_t kind, std::uint32_t count) {
    reuses_.push_back(slot << 48 | kind << 32 | count);
}

void LocalStack::add_reuses(const std::vector<InnerReuse> &reuses) {
    for (const InnerReuse &reuse : reuses)
        add_reuse(last_slots_[reuse.slot], reuse.kind, reuse.count);
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

std::vector<InnerReuse> LocalStack::reuses(const std::vector<std::uint16_t> &groups) {
    std::vector<InnerReuse> found;
    if (!by_block_ || !groups.empty()) {
        // Few groups, so that each has a table of its own.
        constexpr unsigned kKindBits = 13;
        std::vector<std::uint16_t> slots;
        std::vector<std::uint16_t> numbers(blocks_.size());
        for (std::size_t i = 0; i < groups.size(); ++i) {
            if (groups[i] == i) {
                numbers[i] = static_cast<std::uint16_t>(slots.size());
                slots.push_back(static_cast<std::uint16_t>(i));
            }
            numbers[i] = numbers[groups[i]];
        }
        if (slots.size() <= kGroupsMax) {
            counts_.resize(std::max(slots.size(), std::size_t{1}) << kKindBits);
            std::vector<std::uint32_t> used;
            for (const std::uint64_t reuse : reuses_) {
                const std::size_t number = by_block_ ? numbers[reuse >> 48] : 0;
                const std::size_t at = number << kKindBits | (reuse >> 32 & 0x1fff);
                if (counts_[at] == 0)
                    used.push_back(static_cast<std::uint32_t>(at));
                counts_[at] += static_cast<std::uint32_t>(reuse);
            }
            found.reserve(used.size());
            for (const std::uint32_t at : used)
                found.push_back({std::exchange(counts_[at], 0),
                                 by_block_ ? slots[at >> kKindBits] : std::uint16_t{0},
                                 static_cast<std::uint16_t>(at & 0x1fff)});
            return found;
        }
    }
    std::sort(reuses_.begin(), reuses_.end());
    for (std::size_t i = 0; i < reuses_.size();) {
        const std::uint64_t what = reuses_[i] >> 32;
        std::uint32_t count = 0;
        for (; i < reuses_.size() && reuses_[i] >> 32 == what; ++i)
            count += static_cast<std::uint32_t>(reuses_[i]);
        found.push_back(
            {count, static_cast<std::uint16_t>(what >> 16), static_cast<std::uint16_t>(what)});
    }
    found.shrink_to_fit();
    return found;
}

bool Pattern::share_bases(const Source &source) {
    struct Range {
        std::uint64_t low;
        std::uint64_t high;
    };
    std::vector<Range> ranges{{0, 0}};
    leaders_.assign(1, Leader{});
    bases_.assign(source.is_value.size(), 0);
    for (std::uint32_t i = 0; i < bases_.size(); ++i) {
        if (!source.is_value[i])
            continue;
        const std::uint64_t value = source.words[i];
        // The newest first: what is used together is near in the program, too.
        std::size_t base = ranges.size() - 1;
        while (base > 0 && !(value - ranges[base].low + source.near <=
                             ranges[base].high - ranges[base].low + 2 * source.near))
            --base;
        if (base == 0) {
            if (leaders_.size() == kBasesMax)
                return false;
            base = ranges.size();
            ranges.push_back({value, value});
            leaders_.push_back({0, i, 0});
        }
        ranges[base].low = std::min(ranges[base].low, value);
        ranges[base].high = std::max(ranges[base].high, value);
        bases_[i] = static_cast<std::uint8_t>(base);
    }
    return true;
}

/// Finds the intervals, from the lowest line of each base.
void Pattern::take_intervals(const Source &source) {
    std::vector<Interval> places;
    places.reserve(source.extents.size());
    for (const Extent &extent : source.extents) {
        const std::uint64_t from = extent.word != 0 ? source.words[extent.word] >> value_shift_ : 0;
        places.push_back({(from + extent.first) & kLineNumberMask,
                          (from + extent.last) & kLineNumberMask, bases_[extent.word]});
    }
    std::sort(places.begin(), places.end(), [](const Interval &a, const Interval &b) {
        return a.base != b.base ? a.base < b.base : a.first < b.first;
    });
    std::vector<std::uint64_t> lowest(leaders_.size(), 0);
    intervals_.clear();
    for (const Interval &place : places) {
        const bool is_first = intervals_.empty() || intervals_.back().base != place.base;
        if (!is_first && place.first <= intervals_.back().last + kIntervalGapLines) {
            intervals_.back().last = std::max(intervals_.back().last, place.last);
            continue;
        }
        if (is_first && place.base != 0)
            lowest[place.base] = place.first;
        intervals_.push_back(place);
    }
    for (std::size_t base = 1; base < leaders_.size(); ++base) {
        const std::uint64_t value = source.words[leaders_[base].word] >> value_shift_;
        leaders_[base].lowest = (lowest[base] - value) & kLineNumberMask;
    }
    std::sort(intervals_.begin(), intervals_.end(),
              [](const Interval &a, const Interval &b) { return a.first < b.first; });
}

/// Makes bases that touch the same blocks one base: then their distance must stay the same.
/// Returns whether there were any.
bool Pattern::join_overlapping(const Source &source) {
    take_intervals(source); // with the numbers of lines as yet
    std::vector<std::uint8_t> joined(leaders_.size());
    std::iota(joined.begin(), joined.end(), std::uint8_t{0});
    const auto root = [&](std::uint32_t base) {
        while (joined[base] != base)
            base = joined[base];
        return static_cast<std::uint8_t>(base);
    };
    bool any = false;
    for (std::size_t i = 1, highest = 0; i < intervals_.size(); ++i) {
        const Interval &reaching = intervals_[highest];
        const Interval &interval = intervals_[i];
        if (interval.first >> apart_shift_ <= reaching.last >> apart_shift_) {
            const std::uint8_t a = root(interval.base);
            const std::uint8_t b = root(reaching.base);
            if (a != b) {
                joined[std::max(a, b)] = std::min(a, b);
                any = true;
            }
        }
        if (interval.last > reaching.last)
            highest = i;
    }
    if (!any)
        return false;
    std::vector<Leader> leaders;
    std::vector<std::uint8_t> numbers(leaders_.size());
    for (std::uint32_t base = 0; base < leaders_.size(); ++base)
        if (root(base) == base) {
            numbers[base] = static_cast<std::uint8_t>(leaders.size());
            leaders.push_back(leaders_[base]);
        }
    for (std::uint8_t &base : bases_)
        base = numbers[root(base)];
    leaders_ = std::move(leaders);
    return true;
}

bool Pattern::build(const Source &source) {
    value_shift_ = source.value_shift;
    apart_shift_ = source.apart_shift;
    low_mask_ = (std::uint64_t{1} << value_shift_) - 1;
    if (!share_bases(source))
        return false;
    while (join_overlapping(source)) {
    }
    for (std::size_t base = 1; base < leaders_.size(); ++base)
        leaders_[base].low_bits =
            static_cast<std::uint32_t>(source.words[leaders_[base].word] & low_mask_);
    for (Interval &interval : intervals_) {
        if (interval.base == 0)
            continue;
        const Leader &leader = leaders_[interval.base];
        const std::uint64_t lowest =
            ((source.words[leader.word] >> value_shift_) + leader.lowest) & kLineNumberMask;
        interval.first -= lowest;
        interval.last -= lowest;
    }
    differences_.resize(bases_.size());
    for (std::size_t i = 0; i < bases_.size(); ++i)
        differences_[i] =
            source.words[i] - (bases_[i] != 0 ? source.words[leaders_[bases_[i]].word] : 0);
    intervals_.shrink_to_fit();
    leaders_.shrink_to_fit();
    return true;
}

bool Pattern::matches(const std::uint64_t *words, std::uint64_t *base_lines) {
    // Mostly the exits tell, and the first does.
    if (words[0] != differences_[0])
        return false;
    std::uint64_t values[kBasesMax];
    values[0] = 0;
    base_lines[0] = 0;
    std::uint64_t wrong = 0;
    for (std::size_t base = 1; base < leaders_.size(); ++base) {
        const Leader &leader = leaders_[base];
        const std::uint64_t value = words[leader.word];
        values[base] = value;
        base_lines[base] = ((value >> value_shift_) + leader.lowest) & kLineNumberMask;
        wrong |= (value & low_mask_) ^ leader.low_bits;
    }
    if (wrong != 0)
        return false;
    const std::size_t count = differences_.size();
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (std::size_t k = i; k < i + 8; ++k)
            wrong |= words[k] - differences_[k] - values[bases_[k]];
        if (wrong != 0)
            return false;
    }
    for (; i < count; ++i)
        wrong |= words[i] - differences_[i] - values[bases_[i]];
    return wrong == 0 && are_apart(base_lines);
}

/// Whether no block is touched from two bases, and none lies beyond the last address.
bool Pattern::are_apart(const std::uint64_t *base_lines) {
    std::uint64_t free = 0; // the lowest that the next interval may touch
    bool apart = true;
    for (const Interval &interval : intervals_) {
        const std::uint64_t line = base_lines[interval.base];
        apart &= (line + interval.first) >> apart_shift_ >= free;
        free = ((line + interval.last) >> apart_shift_) + 1;
    }
    if (!apart)
        return reorder(base_lines);
    return intervals_.empty() || free - 1 <= kLineNumberMask >> apart_shift_;
}

/// As are_apart, where the bases may have changed places.
bool Pattern::reorder(const std::uint64_t *base_lines) {
    const auto line_of = [&](const Interval &i) { return base_lines[i.base] + i.first; };
    std::vector<Interval> sorted = intervals_;
    std::sort(sorted.begin(), sorted.end(),
              [&](const Interval &a, const Interval &b) { return line_of(a) < line_of(b); });
    std::uint64_t free = 0;
    for (const Interval &interval : sorted) {
        if (line_of(interval) >> apart_shift_ < free)
            return false;
        free = ((base_lines[interval.base] + interval.last) >> apart_shift_) + 1;
    }
    if (!sorted.empty() && free - 1 > kLineNumberMask >> apart_shift_)
        return false;
    intervals_ = std::move(sorted);
    return true;
}

void Pattern::add_extents(std::uint32_t word, std::vector<Extent> &extents) const {
    for (const Interval &interval : intervals_)
        extents.push_back(
            {interval.first, interval.last, interval.base != 0 ? word + interval.base - 1 : 0});
}

std::size_t Pattern::memory_bytes() const {
    return differences_.capacity() * sizeof(std::uint64_t) + bases_.capacity() +
           leaders_.capacity() * sizeof(Leader) + intervals_.capacity() * sizeof(Interval);
}

} // namespace sgxlens::detail
