// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/regions.hpp"

#include "sgxlens/reuse_stack.hpp"
#include "sgxlens/stream.h"

#include <algorithm>
#include <array>

namespace sgxlens {

namespace {

constexpr unsigned kLineBits = 6;
constexpr unsigned kPageLineBits = 6;
constexpr std::uint64_t kLinesInPage = std::uint64_t{1} << kPageLineBits;
constexpr std::uint64_t kLinesEnd = std::uint64_t{1} << kLineNumberBits;
constexpr RegionNumber kNoRegion = kRegionsMax;

/// A stack grows without an event. What is not mapped below the first stack, this far, is its own:
/// beyond any usual limit (ulimit -s).
constexpr std::uint64_t kStackBytesMax = std::uint64_t{64} << 20;

/// Extents of this many changes are kept; a program may map and unmap without end.
constexpr std::size_t kExtentsMax = 1'000'000;

/// Region numbers left for kinds of behaviour once files have names of their own.
constexpr std::size_t kNamedMax = 512;
/// And for roles once what the program declared has names of its own.
constexpr std::size_t kDeclaredMax = kRegionsMax - 24;

/// The lines that a range lies in, in full or in part. Of an address, as many bits count as of a
/// line's number in a stack.
std::pair<std::uint64_t, std::uint64_t> lines_of(std::uint64_t address, std::uint64_t size_bytes) {
    const std::uint64_t first = address >> kLineBits & (kLinesEnd - 1);
    if (size_bytes == 0)
        return {first, first};
    const std::uint64_t in_line = address & ((std::uint64_t{1} << kLineBits) - 1);
    const std::uint64_t count = (std::min(size_bytes, kLinesEnd << kLineBits) + in_line +
                                 ((std::uint64_t{1} << kLineBits) - 1)) >>
                                kLineBits;
    return {first, std::min(first + count, kLinesEnd)};
}

RegionKind kind_of(std::uint32_t flags) {
    if (flags & SGXLENS_PROT_EXEC)
        return RegionKind::code;
    if (flags & SGXLENS_MAP_STACK)
        return RegionKind::stack;
    if (flags & SGXLENS_MAP_HEAP)
        return RegionKind::heap;
    if (flags & SGXLENS_MAP_SHARED_MEMORY)
        return RegionKind::shared_memory;
    return flags & SGXLENS_MAP_FILE ? RegionKind::file : RegionKind::anonymous;
}

} // namespace

void RangeMap::assign(std::uint64_t first, std::uint64_t end, RegionNumber region) {
    erase(first, end);
    ranges_[first] = {end, region};
}

bool RangeMap::erase(std::uint64_t first, std::uint64_t end) {
    bool was_there = false;
    if (first >= end)
        return false;
    auto it = ranges_.lower_bound(first);
    if (it != ranges_.begin())
        --it;
    while (it != ranges_.end() && it->first < end) {
        const std::uint64_t start = it->first;
        const auto [old_end, region] = it->second;
        if (old_end <= first) {
            ++it;
            continue;
        }
        was_there = true;
        it = ranges_.erase(it);
        if (start < first)
            ranges_[start] = {first, region};
        if (old_end > end)
            it = ranges_.emplace(end, std::pair{old_end, region}).first;
    }
    return was_there;
}

RangeMap::Range RangeMap::at(std::uint64_t line) const {
    auto next = ranges_.upper_bound(line);
    Range gap{0, next == ranges_.end() ? kLinesEnd : next->first, kNoRegion};
    if (next == ranges_.begin())
        return gap;
    const auto &[start, range] = *--next;
    if (line < range.first)
        return {start, range.first, range.second};
    gap.first = range.first;
    return gap;
}

Regions::Regions() {
    // Each kind has a region without a name: the number of the kind.
    for (std::size_t kind = 0; kind < kRegionKindCount; ++kind)
        number_of(static_cast<RegionKind>(kind), "");
}

RegionNumber Regions::number_of(RegionKind kind, const std::string &name, std::uint32_t span,
                                ContextNumber owner) {
    const auto known = numbers_.find({kind, name, span});
    if (known != numbers_.end())
        return known->second;
    const std::size_t limit = kind == RegionKind::declared ? kRegionsMax
                              : span == kNoSpan            ? kNamedMax
                                                           : kDeclaredMax;
    if (all_.size() >= limit)
        return static_cast<RegionNumber>(kind);
    const auto number = static_cast<RegionNumber>(all_.size());
    all_.push_back({kind, name, owner});
    numbers_[{kind, name, span}] = number;
    return number;
}

void Regions::log(std::uint64_t position, std::uint64_t first, std::uint64_t end,
                  RegionNumber region) {
    if (extents_.size() < kExtentsMax)
        extents_.push_back({position, first << kLineBits, (end - first) << kLineBits, region});
}

void Regions::log_mapped(std::uint64_t position, std::uint64_t first, std::uint64_t end) {
    while (first < end) {
        const RangeMap::Range range = mapped_.at(first);
        const std::uint64_t part_end = std::min(end, range.end);
        log(position, first, part_end,
            range.region != kNoRegion ? range.region
                                      : static_cast<RegionNumber>(RegionKind::unmapped));
        first = part_end;
    }
}

bool Regions::assign(RangeMap &ranges, std::uint64_t position, std::uint64_t address,
                     std::uint64_t size_bytes, RegionNumber region) {
    const auto [first, end] = lines_of(address, size_bytes);
    if (first == end)
        return false;
    log(position, first, end, region);
    ranges.assign(first, end, region);
    if (&ranges != &mapped_)
        return true;
    // What was declared or found stays on top.
    for (std::uint64_t line = first; line < end;) {
        const RangeMap::Range range = declared_.at(line);
        const std::uint64_t part_end = std::min(end, range.end);
        if (range.region != kNoRegion)
            log(position, line, part_end, range.region);
        line = part_end;
    }
    return true;
}

bool Regions::map(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
                  std::uint32_t flags, const std::string &name) {
    const RegionKind kind = kind_of(flags);
    const bool is_file = kind == RegionKind::code || kind == RegionKind::file;
    const auto [first, end] = lines_of(address, size_bytes);
    if (first == end)
        return false;
    if (kind == RegionKind::stack) {
        // Only where nothing is.
        std::uint64_t line = end - std::min(end, kStackBytesMax >> kLineBits);
        while (line < first) {
            const RangeMap::Range range = mapped_.at(line);
            const std::uint64_t part_end = std::min(first, range.end);
            if (range.region == kNoRegion)
                assign(mapped_, position, line << kLineBits, (part_end - line) << kLineBits,
                       static_cast<RegionNumber>(RegionKind::stack));
            line = part_end;
        }
    }
    declared_.erase(first, end);
    return assign(mapped_, position, address, size_bytes, number_of(kind, is_file ? name : ""));
}

bool Regions::unmap(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes) {
    const auto [first, end] = lines_of(address, size_bytes);
    const bool was_declared = declared_.erase(first, end);
    const bool changes = mapped_.erase(first, end) || was_declared;
    if (changes)
        log_mapped(position, first, end);
    return changes;
}

bool Regions::protect(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
                      std::uint32_t flags) {
    if ((flags & SGXLENS_PROT_EXEC) == 0)
        return false;
    // Of what becomes code, each part keeps its name.
    const auto [first, end] = lines_of(address, size_bytes);
    bool changes = false;
    for (std::uint64_t line = first; line < end;) {
        const RangeMap::Range range = mapped_.at(line);
        const std::uint64_t part_end = std::min(end, range.end);
        if (range.region != kNoRegion && all_[range.region].kind != RegionKind::code) {
            assign(mapped_, position, line << kLineBits, (part_end - line) << kLineBits,
                   number_of(RegionKind::code, std::string(all_[range.region].name)));
            changes = true;
        }
        line = part_end;
    }
    return changes;
}

bool Regions::remap(std::uint64_t position, std::uint64_t from, std::uint64_t to,
                    std::uint64_t size_bytes) {
    const RangeMap::Range old = mapped_.at(lines_of(from, 1).first);
    const RegionNumber region =
        old.region == kNoRegion ? static_cast<RegionNumber>(RegionKind::anonymous) : old.region;
    if (from != to)
        unmap(position, from, size_bytes);
    const auto [first, end] = lines_of(to, size_bytes);
    declared_.erase(first, end);
    return assign(mapped_, position, to, size_bytes, region);
}

bool Regions::change_break(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
                           bool grows) {
    return grows ? map(position, address, size_bytes, SGXLENS_MAP_HEAP, "")
                 : unmap(position, address, size_bytes);
}

bool Regions::start_thread(std::uint64_t position, std::uint64_t stack_pointer) {
    const RangeMap::Range range = mapped_.at(lines_of(stack_pointer, 1).first);
    if (range.region != static_cast<RegionNumber>(RegionKind::anonymous))
        return false;
    assign(mapped_, position, range.first << kLineBits, (range.end - range.first) << kLineBits,
           static_cast<RegionNumber>(RegionKind::stack));
    return true;
}

bool Regions::declare(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
                      const std::string &name) {
    // Where numbers become scarce, what has the same role shares one.
    const bool is_scarce = all_.size() >= kDeclaredMax;
    const std::string &shown = is_scarce ? name.substr(0, name.find(':') + 1) : name;
    return assign(declared_, position, address, size_bytes, number_of(RegionKind::declared, shown));
}

bool Regions::end_declared(std::uint64_t position, std::uint64_t address,
                           std::uint64_t size_bytes) {
    const auto [first, end] = lines_of(address, size_bytes);
    const bool changes = declared_.erase(first, end);
    if (changes)
        log_mapped(position, first, end);
    return changes;
}

void Regions::forget_found(std::uint64_t position, std::uint64_t first, std::uint64_t end) {
    while (first < end) {
        const RangeMap::Range range = declared_.at(first);
        const std::uint64_t part_end = std::min(end, range.end);
        if (range.region != kNoRegion && all_[range.region].kind != RegionKind::declared) {
            declared_.erase(first, part_end);
            log_mapped(position, first, part_end);
        }
        first = part_end;
    }
}

void Regions::found(std::uint64_t position, std::uint64_t first, std::uint64_t end, RegionKind kind,
                    std::uint32_t span, ContextNumber owner) {
    // What the program declared is not guessed at.
    while (first < end) {
        const RangeMap::Range range = declared_.at(first);
        const std::uint64_t part_end = std::min(end, range.end);
        if (range.region == kNoRegion)
            assign(declared_, position, first << kLineBits, (part_end - first) << kLineBits,
                   number_of(kind, "", span, owner));
        first = part_end;
    }
}

RangeMap::Range Regions::at(std::uint64_t line) const {
    RangeMap::Range range = declared_.at(line);
    if (range.region != kNoRegion)
        return range;
    const RangeMap::Range mapped = mapped_.at(line);
    range.first = std::max(range.first, mapped.first);
    range.end = std::min(range.end, mapped.end);
    range.region = mapped.region != kNoRegion ? mapped.region
                                              : static_cast<RegionNumber>(RegionKind::unmapped);
    return range;
}

RegionNumber Regions::of_page(std::uint64_t page) const {
    std::uint64_t line = page << kPageLineBits;
    const std::uint64_t page_end = line + kLinesInPage;
    if (const RangeMap::Range range = at(line); page_end <= range.end)
        return range.region;
    RegionNumber best = static_cast<RegionNumber>(RegionKind::unmapped);
    std::uint64_t best_lines = 0;
    std::vector<std::pair<RegionNumber, std::uint64_t>> shares;
    while (line < page_end) {
        const RangeMap::Range range = at(line);
        const std::uint64_t lines = std::min(page_end, range.end) - line;
        line += lines;
        const auto same = [&range](auto &share) { return share.first == range.region; };
        auto share = std::find_if(shares.begin(), shares.end(), same);
        if (share == shares.end())
            share = shares.insert(shares.end(), {range.region, 0});
        share->second += lines;
    }
    for (const auto &[region, lines] : shares) {
        if (lines > best_lines) {
            best = region;
            best_lines = lines;
        }
    }
    return best;
}

RegionKind Regions::mapped_kind(std::uint64_t line) const {
    const RegionNumber region = mapped_.at(line).region;
    return region == kNoRegion ? RegionKind::unmapped : all_[region].kind;
}

std::size_t Regions::memory_bytes() const {
    return extents_.capacity() * sizeof extents_[0] + all_.capacity() * sizeof all_[0];
}

} // namespace sgxlens
