// SPDX-License-Identifier: Apache-2.0
//
// How segments and rows become known.
#include "segment_memo.hpp"

#include "sgxlens/stream.h"

#include <algorithm>
#include <array>
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

/// An access to the line `offset` lines after that of the value in `word`; to line `offset` where
/// the word is 0.
struct LineAccess {
    std::uint64_t offset;
    std::uint32_t word;
    std::uint64_t bytes; ///< of the line, a bit each
    std::uint8_t access_class;
    bool is_second; ///< line of an access
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

/// Tells for each place in its page of the lowest of these lines (sorted, counted from it) how the
/// page boundaries lie between them.
std::array<std::uint8_t, 64> place_kinds_of(const std::vector<std::uint64_t> &lines) {
    std::array<std::uint8_t, 64> kinds{};
    std::vector<std::vector<std::uint64_t>> known;
    for (std::uint64_t place = 0; place < 64; ++place) {
        std::vector<std::uint64_t> pages;
        pages.reserve(lines.size());
        for (const std::uint64_t line : lines)
            pages.push_back((line + place) >> kPageLineBits);
        const auto found = std::find(known.begin(), known.end(), pages);
        kinds[place] = static_cast<std::uint8_t>(found - known.begin());
        if (found == known.end())
            known.push_back(std::move(pages));
    }
    return kinds;
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
    if (!segment->pattern.build(source) || !segment->pattern.matches(words, base_lines.data()))
        return nullptr;
    for (std::size_t at = 0; at < word_count;) {
        const SuperblockExit &exit = *superblocks.exit(SGXLENS_VALUE(words[at]));
        segment->instruction_count += exit.instruction_count;
        at += 1 + exit.value_count;
    }
    segment->access_count = static_cast<std::uint32_t>(accesses.size());
    std::vector<std::vector<std::uint64_t>> lines_of_base(segment->pattern.base_count());
    if (line_uses != nullptr)
        collector.start(segment->pattern);
    local.start(accesses.size(), lines.stack().is_attributed());
    for (const LineAccess &access : accesses) {
        const std::uint64_t line = line_of(access, words);
        const auto base = static_cast<std::uint16_t>(segment->pattern.base_of(access.word));
        const std::uint64_t offset = line - base_lines[base];
        const auto classes = static_cast<std::uint8_t>(1u << access.access_class);
        const LocalStack::Access one{line, offset, base, 0, access.access_class, classes};
        local.access(&one, 1);
        if (line_uses != nullptr) {
            const bool is_write = (kWriteClasses >> access.access_class & 1) != 0;
            collector.add(base, offset, {access.bytes, is_write ? access.bytes : 0});
        }
        if (base != 0)
            lines_of_base[base].push_back(offset);
    }
    if (line_uses != nullptr)
        segment->bytes = collector.pattern(line_uses->sample());
    std::optional<Effect> lines_effect = local.effect();
    if (!lines_effect)
        return nullptr;
    segment->lines = std::move(*lines_effect);
    segment->lines.reuses = local.reuses({});
    if (lines.stack().is_attributed())
        segment->lines.regions.reserve(segment->lines.touches.size());
    if (segment->lines.touches.size() > pages.stack().visit_distance())
        return nullptr; // a visit might start within
    segment->place_kinds.resize(segment->pattern.base_count());
    for (std::size_t base = 1; base < lines_of_base.size(); ++base) {
        std::vector<std::uint64_t> &offsets = lines_of_base[base];
        std::sort(offsets.begin(), offsets.end());
        offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
        segment->place_kinds[base] = place_kinds_of(offsets);
    }
    segment->number = ++segment_count;
    known_bytes += segment->memory_bytes();
    return segment.release();
}

detail::Effect Segments::Memo::pages_of(const Segment &segment, const std::uint64_t *words) {
    std::vector<bool> is_value;
    const std::vector<LineAccess> accesses =
        accesses_of(superblocks, words, segment.pattern.word_count(), is_value);
    local.start(accesses.size(), pages.stack().is_attributed());
    for (const LineAccess &access : accesses) {
        const std::uint64_t line = line_of(access, words);
        // The second line of an access is an access of its own only in another page.
        if (access.is_second && line % 64 != 0)
            continue;
        const std::uint64_t page = line >> kPageLineBits;
        const auto base = static_cast<std::uint16_t>(segment.pattern.base_of(access.word));
        const std::uint64_t offset = page - (base_lines[base] >> kPageLineBits);
        const auto classes = static_cast<std::uint8_t>(1u << access.access_class);
        const LocalStack::Access one{page, offset, base, 0, access.access_class, classes};
        local.access(&one, 1);
    }
    // Never none: blocks that are near each other as lines are so as pages.
    Effect effect = local.effect().value();
    effect.reuses = local.reuses({});
    if (pages.stack().is_attributed())
        effect.regions.reserve(effect.touches.size());
    return effect;
}

detail::Row *Segments::Memo::make_row() {
    Pattern::Source source;
    source.words = row_words.data();
    source.is_value.assign(row_words.size(), true);
    source.near = kNearLines;
    std::size_t at = 0;
    for (const Segment *const segment : row) {
        source.is_value[at] = false;
        segment->pattern.add_extents(static_cast<std::uint32_t>(at + 1), source.extents);
        at += segment->pattern.base_count();
    }
    auto made = std::make_unique<Row>();
    if (!made->pattern.build(source) ||
        !made->pattern.matches(row_words.data(), row_base_lines.data()))
        return nullptr;
    take_row(local, made->pattern, row_content(), lines.stack().is_attributed());
    std::optional<Effect> effect = local.effect();
    if (!effect)
        return nullptr;
    made->lines = std::move(*effect);
    if (lines.stack().is_attributed()) {
        made->lines.regions.reserve(made->lines.touches.size());
        made->lines.groups.reserve(made->lines.touches.size());
    } else {
        made->lines.reuses = local.reuses({});
    }
    if (line_uses != nullptr)
        made->bytes = row_bytes(made->pattern);
    known_bytes += made->memory_bytes();
    return made.release();
}

/// The bytes that the segments of the row access, from the bases of the row.
detail::BytePattern Segments::Memo::row_bytes(const Pattern &pattern) {
    collector.start(pattern);
    std::size_t at = 0;
    for (const Segment *const segment : row) {
        segment->bytes.each([&](std::uint32_t base, std::uint64_t line, const ByteSets &sets) {
            const std::uint32_t row_base = base != 0 ? pattern.base_of(at + base) : 0;
            const std::uint64_t start = base != 0 ? row_words[at + base] : 0;
            collector.add(row_base, start + line - row_base_lines[row_base], sets);
        });
        at += segment->pattern.base_count();
    }
    return collector.pattern(line_uses->sample());
}

} // namespace sgxlens
