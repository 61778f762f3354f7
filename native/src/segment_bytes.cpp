// SPDX-License-Identifier: Apache-2.0
#include "segment_bytes.hpp"

#include <algorithm>

namespace sgxlens::detail {

void ByteCollector::start(const Pattern &pattern) {
    intervals_.clear();
    std::uint64_t at = 0;
    for (const Pattern::Interval &interval : pattern.intervals()) {
        intervals_.push_back(
            {interval.first, interval.last, interval.base, static_cast<std::uint32_t>(at)});
        at += interval.last - interval.first + 1;
    }
    lines_.assign(at, {0, 0});
    last_ = 0;
}

void ByteCollector::add(std::uint32_t base, std::uint64_t line, const ByteSets &sets) {
    const auto holds = [&](const BytePattern::Interval &interval) {
        return interval.base == base && line - interval.first <= interval.last - interval.first;
    };
    if (!holds(intervals_[last_]))
        last_ = static_cast<std::size_t>(std::find_if(intervals_.begin(), intervals_.end(), holds) -
                                         intervals_.begin());
    ByteSets &all = lines_[line - intervals_[last_].first + intervals_[last_].at];
    all.bytes |= sets.bytes;
    all.written_bytes |= sets.written_bytes;
}

BytePattern ByteCollector::pattern(const LineSample &sample) const {
    BytePattern made;
    made.sets_.push_back({0, 0});
    for (BytePattern::Interval interval : intervals_) {
        const ByteSets *const lines = &lines_[interval.at];
        if (interval.base == 0) {
            sample.each(interval.first, interval.last, [&](std::uint64_t line) {
                if (lines[line - interval.first].bytes != 0)
                    made.fixed_.push_back({line, lines[line - interval.first]});
            });
            continue;
        }
        interval.at = static_cast<std::uint32_t>(made.kinds_.size());
        made.intervals_.push_back(interval);
        for (std::uint64_t i = 0; i <= interval.last - interval.first; ++i) {
            // Lines beside each other are mostly used alike.
            const bool is_known = i > 0 && lines[i] == lines[i - 1];
            if (is_known) {
                made.kinds_.push_back(made.kinds_.back());
                continue;
            }
            const auto kind = std::find(made.sets_.begin(), made.sets_.end(), lines[i]);
            made.kinds_.push_back(static_cast<std::uint16_t>(kind - made.sets_.begin()));
            if (kind == made.sets_.end())
                made.sets_.push_back(lines[i]);
        }
    }
    made.intervals_.shrink_to_fit();
    made.kinds_.shrink_to_fit();
    made.sets_.shrink_to_fit();
    made.fixed_.shrink_to_fit();
    return made;
}

} // namespace sgxlens::detail
