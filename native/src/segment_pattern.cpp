// SPDX-License-Identifier: Apache-2.0
#include "segment_pattern.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace sgxlens::detail {
namespace {

/// Lines of one base that are farther apart belong to two intervals.
constexpr std::uint64_t kIntervalGapLines = 64;

constexpr bool is_small(std::uint64_t difference) {
    return wide(static_cast<std::int32_t>(difference)) == difference;
}

} // namespace

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
            leaders_.push_back({0, i});
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
    for (std::size_t base = 1; base < leaders_.size(); ++base)
        leaders_[base].offset = source.words[leaders_[base].word] - (lowest[base] << value_shift_);
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
    for (Interval &interval : intervals_) {
        if (interval.base == 0)
            continue;
        const Leader &leader = leaders_[interval.base];
        const std::uint64_t lowest = leader.base_line(source.words[leader.word], value_shift_);
        interval.first -= lowest;
        interval.last -= lowest;
    }
    differences_.resize(bases_.size());
    bool are_small = true;
    for (std::size_t i = 0; i < bases_.size(); ++i) {
        differences_[i] =
            source.words[i] - (bases_[i] != 0 ? source.words[leaders_[bases_[i]].word] : 0);
        are_small &= is_small(differences_[i]);
    }
    if (are_small) {
        small_differences_.resize(bases_.size());
        std::transform(
            differences_.begin(), differences_.end(), small_differences_.begin(),
            [](std::uint64_t difference) { return static_cast<std::int32_t>(difference); });
        differences_ = std::vector<std::uint64_t>(); // gives its memory back
    }
    intervals_.shrink_to_fit();
    leaders_.shrink_to_fit();
    return true;
}

bool Pattern::matches(const std::uint64_t *words, std::uint64_t *base_lines) {
    // Mostly the exits tell, and the first does.
    if (words[0] != difference(0))
        return false;
    std::uint64_t values[kBasesMax];
    values[0] = 0;
    std::uint64_t wrong = 0;
    for (std::size_t base = 1; base < leaders_.size(); ++base) {
        const Leader &leader = leaders_[base];
        const std::uint64_t value = words[leader.word];
        values[base] = value;
        wrong |= value - leader.offset;
    }
    if ((wrong & low_mask_) != 0)
        return false;
    return keeps_distances(words, values) && locate(values, base_lines);
}

bool Pattern::matches_part(const std::uint64_t *words, const Pattern &row, std::size_t part,
                           const std::uint64_t *row_values) const {
    std::uint64_t values[kBasesMax];
    values[0] = 0;
    for (std::size_t base = 1; base < leaders_.size(); ++base)
        values[base] =
            ((row.difference(part + base) + row_values[row.bases_[part + base]]) << value_shift_) +
            leaders_[base].offset;
    return keeps_distances(words, values);
}

bool Pattern::locate(const std::uint64_t *values, std::uint64_t *base_lines) {
    base_lines[0] = 0;
    for (std::size_t base = 1; base < leaders_.size(); ++base)
        base_lines[base] = leaders_[base].base_line(values[base], value_shift_);
    return are_apart(base_lines);
}

bool Pattern::keeps_distances(const std::uint64_t *words, const std::uint64_t *values) const {
    const std::size_t count = bases_.size();
    const Distances &distances = best_distances();
    return differences_.empty()
               ? distances.are_kept_small(words, small_differences_.data(), bases_.data(), values,
                                          count)
               : distances.are_kept(words, differences_.data(), bases_.data(), values, count);
}

std::vector<std::uint64_t> Pattern::words(const std::uint64_t *base_lines) const {
    std::array<std::uint64_t, kBasesMax> values;
    values[0] = 0;
    for (std::size_t base = 1; base < leaders_.size(); ++base) {
        const std::uint64_t value = (base_lines[base] << value_shift_) + leaders_[base].offset;
        values[base] = value_shift_ == 0 ? value & kLineNumberMask : value;
    }
    std::vector<std::uint64_t> words(bases_.size());
    for (std::size_t i = 0; i < bases_.size(); ++i)
        words[i] = values[bases_[i]] + difference(i);
    return words;
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
    return differences_.capacity() * sizeof differences_[0] +
           small_differences_.capacity() * sizeof small_differences_[0] + bases_.capacity() +
           leaders_.capacity() * sizeof(Leader) + intervals_.capacity() * sizeof(Interval);
}

} // namespace sgxlens::detail
