// SPDX-License-Identifier: Apache-2.0
//
// How segments and rows become known.
#include "segment_memo.hpp"

#include "sgxlens/stream.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace sgxlens {

using namespace detail;

namespace {

// How far apart values may be that share a base. Where they are apart by a constant anyway, one
// base is cheaper than two.
constexpr std::uint64_t kNearBytes = 4096;
constexpr std::uint64_t kNearLines = 1024;

// Accesses of a row at most: the order of its last accesses is told in 16 bits.
constexpr std::uint64_t kRowAccessesLimit = 0xffff;

/// An access to the line `offset` lines after that of the value in `word`; to line `offset` where
/// the word is 0.
struct LineAccess {
    std::uint64_t offset;
    std::uint32_t word;
    std::uint64_t bytes; ///< of the line, a bit each
    std::uint8_t access_class;
    bool is_second; ///< line of an access

    /// Then it is no access of its own to the page.
    bool continues_in_page(std::uint64_t line) const { return is_second && line % 64 != 0; }
};

/// The accesses to lines that these runs make. Tells which words are values.
std::vector<LineAccess> accesses_of(const Superblocks &superblocks, const std::uint64_t *words,
                                    std::size_t word_count, std::vector<bool> &is_value) {
    std::vector<LineAccess> accesses;
    accesses.reserve(2 * word_count);
    is_value.assign(word_count, true);
    for (std::size_t at = 0; at < word_count;) {
        const std::uint64_t *const record = words + at;
        const SuperblockExit &exit = *superblocks.exit(SGXLENS_VALUE(record[0]));
        const Operation *const operations = superblocks.operations(exit);
        is_value[at] = false;
        for (std::size_t i = 0; i < exit.operation_count; ++i) {
            const Operation &operation = operations[i];
            const bool has_value = operation.base_word != 0;
            const auto word = static_cast<std::uint32_t>(has_value ? at + operation.base_word : 0);
            const std::uint64_t value_line = has_value ? words[word] >> kLineBits : 0;
            const std::uint64_t address = operation.address(record);
            const std::uint64_t first = (address >> kLineBits) - value_line;
            const std::uint64_t last =
                ((address + operation.size_bytes - 1) >> kLineBits) - value_line;
            const std::uint64_t last_byte = (address + operation.size_bytes - 1) % 64;
            const std::uint64_t bytes = bytes_of_line(address % 64, last != first ? 63 : last_byte);
            accesses.push_back({first, word, bytes, operation.access_class, false});
            if (last != first)
                accesses.push_back(
                    {last, word, bytes_of_line(0, last_byte), operation.access_class, true});
        }
        at += 1 + exit.value_count;
    }
    return accesses;
}

std::uint64_t line_of(const LineAccess &access, const std::uint64_t *words) {
    const std::uint64_t value_line = access.word != 0 ? words[access.word] >> kLineBits : 0;
    return (value_line + access.offset) & kLineNumberMask;
}

/// At which places in a page of each base some block starts a page (see Stretch).
std::vector<std::uint64_t> page_starts_of(const Effect &lines, std::size_t base_count) {
    std::vector<std::uint64_t> starts(base_count);
    for (const SegmentTouch &touch : lines.touches) {
        const Anchor &anchor = lines.anchors[touch.anchor];
        starts[anchor.base] |= std::uint64_t{1} << (0 - anchor.offset - touch.offset) % 64;
    }
    return starts;
}

/// Likewise of a row, from those of its segments.
std::vector<std::uint64_t> page_starts_of(const Row &row, const std::uint64_t *words,
                                          const std::uint64_t *base_lines) {
    std::vector<std::uint64_t> starts(row.pattern.base_count());
    std::size_t at = 0;
    for (const Stretch *const part : row.parts) {
        for (std::size_t base = 1; base < part->page_starts.size(); ++base) {
            const unsigned row_base = row.pattern.base_of(at + base);
            const std::uint64_t way = words[at + base] - base_lines[row_base];
            starts[row_base] |= std::rotr(part->page_starts[base], static_cast<int>(way % 64));
        }
        at += part->pattern.base_count();
    }
    return starts;
}

/// How many anchors the lines of a pattern take at most: see LocalStack::effect.
std::uint64_t anchor_count_max(const Pattern &pattern) {
    std::uint64_t count = 0;
    for (const Pattern::Interval &interval : pattern.intervals())
        count += (interval.last - interval.first) / LocalStack::kAnchorLinesMin + 1;
    return count;
}

/// Lets a row know at which places in their pages its bases may lie for the bases of one of its
/// segments to lie apart.
void take_apart_places(Row &row, const Pattern &segment, std::size_t at, const std::uint64_t *words,
                       const std::uint64_t *base_lines) {
    struct Lines {
        std::uint32_t row_base;
        std::uint64_t first; // from it
        std::uint64_t last;
        std::uint32_t base;
    };
    std::vector<Lines> all;
    for (const Pattern::Interval &interval : segment.intervals()) {
        const std::uint32_t row_base =
            interval.base != 0 ? row.pattern.base_of(at + interval.base) : 0;
        const std::uint64_t way =
            (interval.base != 0 ? words[at + interval.base] : 0) - base_lines[row_base];
        all.push_back({row_base, way + interval.first, way + interval.last, interval.base});
    }
    std::sort(all.begin(), all.end(), [](const Lines &a, const Lines &b) {
        return a.row_base != b.row_base ? a.row_base < b.row_base : a.first < b.first;
    });
    for (std::size_t i = 1; i < all.size(); ++i) {
        const Lines &a = all[i - 1];
        const Lines &b = all[i];
        if (a.row_base != b.row_base || a.base == b.base || b.first - a.last >= 64)
            continue;
        // A page must start after the last line of the one, and not after the first of the other.
        const std::uint64_t starts = (std::uint64_t{1} << (b.first - a.last)) - 1;
        row.apart_places[a.row_base] &= std::rotl(starts, static_cast<int>((0 - b.first) % 64));
    }
}

/// Says what it takes to tell a row of segments from the words of the stream.
void take_stream(Row &row, const std::uint64_t *words, const std::uint64_t *base_lines) {
    const std::vector<Pattern::Leader> &leaders = row.pattern.leaders();
    row.apart_places.assign(leaders.size(), ~std::uint64_t{0});
    std::size_t next = 1; // base, of the row
    for (std::size_t part = 0, word = 0; part < row.parts.size(); ++part) {
        const Segment &segment = static_cast<const Segment &>(*row.parts[part]);
        const std::size_t base_count = segment.pattern.base_count();
        take_apart_places(row, segment.pattern, word, words, base_lines);
        for (; next < leaders.size() && leaders[next].word < word + base_count; ++next) {
            Pattern::Leader leader = segment.pattern.leaders()[leaders[next].word - word];
            leader.word += row.stream_word_count;
            row.stream_leaders.push_back(leader);
        }
        word += base_count;
        row.stream_word_count += static_cast<std::uint32_t>(segment.pattern.word_count());
        row.instruction_count += segment.instruction_count;
    }
    row.stream_leaders.shrink_to_fit();
}

/// In how many pages the lines of a pattern may lie.
std::uint64_t page_count_max(const Pattern &pattern) {
    std::uint64_t count = 0;
    for (const Pattern::Interval &interval : pattern.intervals())
        count += (interval.last - interval.first) / 64 + 2;
    return count;
}

} // namespace

detail::Segment *Segments::Memo::make_segment(const std::uint64_t *words, std::size_t word_count) {
    Pattern::Source source;
    source.words = words;
    source.value_shift = kLineBits;
    source.apart_shift = kPageLineBits;
    source.near = kNearBytes;
    const std::vector<LineAccess> accesses =
        accesses_of(superblocks, words, word_count, source.is_value);
    for (const LineAccess &access : accesses)
        source.extents.push_back({access.offset, access.offset, access.word});
    auto segment = std::make_unique<Segment>();
    if (!segment->pattern.build(source) || !segment->pattern.matches(words, found_words.data()))
        return nullptr;
    for (std::size_t at = 0; at < word_count;) {
        const SuperblockExit &exit = *superblocks.exit(SGXLENS_VALUE(words[at]));
        segment->instruction_count += exit.instruction_count;
        at += 1 + exit.value_count;
    }
    segment->access_count = static_cast<std::uint32_t>(accesses.size());
    if (line_uses != nullptr)
        collector.start(segment->pattern);
    local.start(accesses.size(), lines.stack().is_attributed());
    for (const LineAccess &access : accesses) {
        const std::uint64_t line = line_of(access, words);
        const auto base = static_cast<std::uint16_t>(segment->pattern.base_of(access.word));
        const std::uint64_t offset = line - found_words[base];
        const auto classes = static_cast<std::uint8_t>(1u << access.access_class);
        const LocalStack::Access one{line, offset, base, 0, 0, access.access_class, classes};
        local.access(&one, 1);
        if (line_uses != nullptr) {
            const bool is_write = (kWriteClasses >> access.access_class & 1) != 0;
            collector.add(base, offset, {access.bytes, is_write ? access.bytes : 0});
        }
    }
    if (line_uses != nullptr)
        segment->bytes = collector.pattern(line_uses->sample());
    std::optional<Effect> lines_effect = local.effect();
    if (!lines_effect)
        return nullptr;
    segment->lines = std::move(*lines_effect);
    segment->lines.reuses = local.reuses({});
    segment->page_starts = page_starts_of(segment->lines, segment->pattern.base_count());
    if (lines.stack().is_attributed())
        segment->lines.regions.reserve(segment->lines.touches.size());
    if (segment->lines.touches.size() > pages.stack().visit_distance())
        return nullptr; // a visit might start within
    segment->number = ++stretch_count;
    known_bytes += segment->memory_bytes();
    return segment.release();
}

detail::Effect Segments::Memo::pages_of(const Segment &segment, const std::uint64_t *base_lines) {
    const std::vector<std::uint64_t> words = segment.pattern.words(base_lines);
    std::vector<bool> is_value;
    const std::vector<LineAccess> accesses =
        accesses_of(superblocks, words.data(), words.size(), is_value);
    local.start(accesses.size(), pages.stack().is_attributed());
    for (const LineAccess &access : accesses) {
        const std::uint64_t line = line_of(access, words.data());
        if (access.continues_in_page(line))
            continue;
        const std::uint64_t page = line >> kPageLineBits;
        const auto base = static_cast<std::uint16_t>(segment.pattern.base_of(access.word));
        const std::uint64_t offset = page - (base_lines[base] >> kPageLineBits);
        const auto classes = static_cast<std::uint8_t>(1u << access.access_class);
        const LocalStack::Access one{page, offset, base, 0, 0, access.access_class, classes};
        local.access(&one, 1);
    }
    // Never none: blocks that are near each other as lines are so as pages.
    Effect effect = local.effect().value();
    effect.reuses = local.reuses({});
    if (pages.stack().is_attributed())
        effect.regions.reserve(effect.touches.size());
    return effect;
}

/// The accesses of the segment as the stack of pages takes them one by one.
std::vector<std::uint64_t> Segments::Memo::page_entries(const Segment &segment,
                                                        const std::uint64_t *base_lines) {
    const std::vector<std::uint64_t> words = segment.pattern.words(base_lines);
    std::vector<bool> is_value;
    std::vector<std::uint64_t> entries;
    for (const LineAccess &access :
         accesses_of(superblocks, words.data(), words.size(), is_value)) {
        const std::uint64_t line = line_of(access, words.data());
        entries.push_back(make_entry(line, access.continues_in_page(line),
                                     static_cast<AccessClass>(access.access_class)));
    }
    return entries;
}

detail::Row *Segments::Memo::make_row(Rows &level) {
    if (level.access_count > kRowAccessesLimit)
        return nullptr;
    Pattern::Source source;
    source.words = level.words.data();
    source.is_value.assign(level.words.size(), true);
    source.apart_shift = kPageLineBits;
    source.near = kNearLines;
    std::size_t at = 0;
    for (const Stretch *const part : level.parts) {
        source.is_value[at] = false;
        part->pattern.add_extents(static_cast<std::uint32_t>(at + 1), source.extents);
        at += part->pattern.base_count();
    }
    auto made = std::make_unique<Row>();
    const std::uint64_t *const base_lines = level.base_lines.data();
    if (!made->pattern.build(source) ||
        !made->pattern.matches(level.words.data(), level.base_lines.data()) ||
        anchor_count_max(made->pattern) > SegmentTouch::kAnchorsMax)
        return nullptr;
    made->parts = level.parts;
    made->is_of_rows = level.is_of_rows;
    made->is_complete = level.is_complete();
    if (!level.is_of_rows)
        take_stream(*made, level.words.data(), base_lines);
    made->number = ++stretch_count;
    made->sequence = level.hash;
    made->access_count = static_cast<std::uint32_t>(level.access_count);
    made->page_starts = page_starts_of(*made, level.words.data(), base_lines);
    made->has_few_pages = page_count_max(made->pattern) <=
                          std::min<std::uint64_t>(kRowPagesMax, pages.stack().visit_distance());
    if (line_uses != nullptr && !level.is_of_rows) // rows note theirs when they end
        made->bytes = row_bytes(*made, level.words.data(), base_lines);
    known_bytes += made->memory_bytes();
    return made.release();
}

/// The bytes that the segments of the row access, from the bases of the row.
detail::BytePattern Segments::Memo::row_bytes(const Row &row, const std::uint64_t *words,
                                              const std::uint64_t *base_lines) {
    collector.start(row.pattern);
    std::size_t at = 0;
    for (const Stretch *const part : row.parts) {
        part->bytes.each([&](std::uint32_t base, std::uint64_t line, const ByteSets &sets) {
            const std::uint32_t row_base = base != 0 ? row.pattern.base_of(at + base) : 0;
            const std::uint64_t start = base != 0 ? words[at + base] : 0;
            collector.add(row_base, start + line - base_lines[row_base], sets);
        });
        at += part->pattern.base_count();
    }
    return collector.pattern(line_uses->sample());
}

} // namespace sgxlens
