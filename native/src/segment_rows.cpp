// SPDX-License-Identifier: Apache-2.0
//
// Rows of segments and rows of those, and what they and segments do to pages. See segments.hpp.
#include "segment_memo.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens {

using namespace detail;

namespace {

// A row ends with a part of one sequence in kRowCutRatio where its accesses to lines are within
// these bounds; likewise a row of rows. The upper bounds are exceeded by one part at most.
constexpr std::uint64_t kRowAccessesMin = 2048;
constexpr std::uint64_t kRowAccessesMax = 8192;
constexpr std::uint64_t kRowCutRatio = 8;
constexpr std::uint64_t kOuterRowAccessesMin = 16384;
constexpr std::uint64_t kOuterRowAccessesMax = 49152;
constexpr std::uint64_t kOuterRowCutRatio = 4;

template <typename Known> void list(Known &known, std::vector<Known *> &listed) {
    if (!known.is_listed)
        listed.push_back(&known);
    known.is_listed = true;
}

} // namespace

PlaceKinds detail::Stretch::place_kinds(const std::uint64_t *base_lines) const {
    PlaceKinds kinds{};
    for (std::size_t base = 1; base < page_starts.size(); ++base) {
        const std::uint64_t up_to = page_starts[base] << (63 - base_lines[base] % 64);
        kinds[base / 8] |= static_cast<std::uint64_t>(std::popcount(up_to)) << base % 8 * 8;
    }
    return kinds;
}

void detail::Rows::add(Stretch &part, const std::uint64_t *part_base_lines,
                       std::uint64_t part_position) {
    if (parts.empty())
        position = part_position;
    parts.push_back(&part);
    words.push_back(part.number);
    words.insert(words.end(), part_base_lines + 1, part_base_lines + part.pattern.base_count());
    hash = mix(hash, part.number);
    access_count += part.access_count;
}

void detail::Rows::clear() {
    parts.clear();
    words.clear();
    hash = 0;
    access_count = 0;
}

bool detail::Rows::is_complete() const {
    if (is_of_rows)
        return access_count >= kOuterRowAccessesMax ||
               (access_count >= kOuterRowAccessesMin &&
                is_cut(parts.back()->sequence, kOuterRowCutRatio));
    return access_count >= kRowAccessesMax ||
           (access_count >= kRowAccessesMin && is_cut(parts.back()->sequence, kRowCutRatio));
}

/// Whether this came before and was not known: then it is likely to come again.
bool Segments::Memo::is_seen_before(std::uint64_t hash) {
    std::uint64_t &place = seen[hash % kSeenCount];
    const bool is_seen = place == hash;
    place = hash;
    return is_seen;
}

/// The row that is complete, if it is known now.
Row *Segments::Memo::known_row(Rows &level) {
    Sequence<Row> *const sequence = level.known.at(mix(level.hash, 1));
    if (sequence == nullptr)
        return nullptr;
    for (std::size_t i = 0; i < sequence->known.size(); ++i) {
        Row &candidate = *sequence->known[i];
        if (candidate.pattern.word_count() == level.words.size() &&
            candidate.pattern.matches(level.words.data(), level.base_lines.data())) {
            sequence->hit(i);
            return &candidate;
        }
    }
    // Where these very addresses came before, as where an inference uses the memory of the one
    // before.
    const auto is_seen = [&]() {
        std::uint64_t hash = level.words.size();
        for (const std::uint64_t word : level.words)
            hash = mix(hash, word);
        return is_seen_before(hash);
    };
    if (!sequence->miss() && !at_any_cost && !is_seen())
        return nullptr;
    if (sequence->is_full()) {
        level.known.refuse();
        return nullptr;
    }
    sequence->made();
    Row *const made = make_row(level);
    if (made != nullptr)
        sequence->known.emplace_back(made);
    return made;
}

void Segments::Memo::end_row() {
    Row *const row = known_row(rows);
    bool has_pages = false;
    if (row != nullptr) {
        outer_rows.add(*row, rows.base_lines.data(), rows.position);
        if (line_uses != nullptr)
            row->bytes.note(rows.base_lines.data(), *line_uses);
        has_pages = apply_pages(*row);
    } else {
        end_outer_row();
    }
    if (!has_pages)
        apply_segments(row == nullptr);
    rows.clear();
    if (outer_rows.is_complete())
        end_outer_row();
}

/// Gives the lines of rows to the queue.
void Segments::Memo::end_outer_row() {
    const std::size_t count = outer_rows.parts.size();
    Row *const known = count > 1 && has_outer_rows ? known_row(outer_rows) : nullptr;
    if (known != nullptr) {
        list(*known, counted_rows);
        add_row(lines, row_taker, *known, outer_rows.base_lines.data(), outer_rows.position);
    } else {
        std::array<std::uint64_t, kBasesMax> base_lines;
        base_lines[0] = 0; // the absolute one
        std::size_t at = 0;
        for (Stretch *const part : outer_rows.parts) {
            const std::size_t bases = part->pattern.base_count();
            std::copy_n(outer_rows.words.data() + at + 1, bases - 1, base_lines.data() + 1);
            Row &row = static_cast<Row &>(*part);
            list(row, counted_rows);
            add_row(lines, row_taker, row, base_lines.data(), outer_rows.position);
            at += bases;
        }
    }
    outer_rows.clear();
}

/// Takes the segments of the row one by one: for pages, and for lines if told.
void Segments::Memo::apply_segments(bool for_lines) {
    std::array<std::uint64_t, kBasesMax> base_lines;
    base_lines[0] = 0; // the absolute one
    std::size_t at = 0;
    std::uint64_t position = rows.position;
    for (Stretch *const part : rows.parts) {
        Segment &segment = static_cast<Segment &>(*part);
        const std::size_t bases = segment.pattern.base_count();
        std::copy_n(rows.words.data() + at + 1, bases - 1, base_lines.data() + 1);
        if (for_lines) {
            list(segment, counted);
            add_effect(lines, segment.lines, base_lines.data(), bases, position);
            if (line_uses != nullptr)
                segment.bytes.note(base_lines.data(), *line_uses);
        }
        Paging *const paging = segment_paging(segment, base_lines.data());
        if (paging != nullptr) {
            list(*paging, counted_pagings);
            add_pages(pages, paging->pages, base_lines.data(), bases, position);
        } else {
            const std::vector<std::uint64_t> entries = page_entries(segment, base_lines.data());
            pages.access(entries.data(), entries.size(), position);
        }
        position += segment.access_count;
        at += bases;
    }
}

Segments::Memo::PagingPlace Segments::Memo::paging_place(Stretch &stretch,
                                                         const std::uint64_t *base_lines) {
    PagingPlace place{stretch.place_kinds(base_lines), mix(1, stretch.number), nullptr, false};
    if (stretch.last_paging != nullptr && stretch.last_paging->kinds == place.kinds) {
        place.known = stretch.last_paging;
        return place;
    }
    const std::size_t word_count = (stretch.pattern.base_count() + 7) / 8;
    for (std::size_t i = 0; i < word_count; ++i)
        place.hash = mix(place.hash, place.kinds[i]);
    const auto at = pagings.find(place.hash);
    place.is_free = at == pagings.end() && stretch.paging_count < kPagingsMax;
    if (at != pagings.end() && at->second.stretch == stretch.number &&
        at->second.kinds == place.kinds)
        place.known = stretch.last_paging = &at->second;
    return place;
}

Paging &Segments::Memo::add_paging(Stretch &stretch, const PagingPlace &place) {
    ++stretch.paging_count;
    known_bytes += sizeof(Paging);
    Paging &made = pagings.emplace(place.hash, Paging{stretch.number, place.kinds}).first->second;
    stretch.last_paging = &made;
    return made;
}

/// What the segment does to pages where its bases lie at these lines; null where there are too many
/// such arrangements.
Paging *Segments::Memo::segment_paging(Segment &segment, const std::uint64_t *base_lines) {
    const PagingPlace place = paging_place(segment, base_lines);
    if (!place.is_free)
        return place.known;
    Paging &made = add_paging(segment, place);
    made.pages = pages_of(segment, base_lines);
    known_bytes += made.pages.memory_bytes();
    return &made;
}

/// Takes the row that is complete, for pages. False where it is not known what it does to them.
bool Segments::Memo::apply_pages(Row &row) {
    const std::uint64_t *const base_lines = rows.base_lines.data();
    if (!row.has_few_pages)
        return false;
    const PagingPlace place = paging_place(row, base_lines);
    if (place.known != nullptr) {
        list(*place.known, counted_pagings);
        add_pages(pages, place.known->pages, base_lines, row.pattern.base_count(), rows.position);
        return true;
    }
    if (!place.is_free || (!at_any_cost && !is_seen_before(place.hash)))
        return false;
    std::array<std::uint64_t, kBasesMax> part_lines;
    part_lines[0] = 0; // the absolute one
    std::vector<Paging *> parts;
    std::size_t at = 0;
    for (Stretch *const part : rows.parts) {
        const std::size_t bases = part->pattern.base_count();
        std::copy_n(rows.words.data() + at + 1, bases - 1, part_lines.data() + 1);
        parts.push_back(segment_paging(static_cast<Segment &>(*part), part_lines.data()));
        if (parts.back() == nullptr)
            return false;
        at += bases;
    }
    Paging &made = add_paging(row, place);
    list(made, counted_pagings);
    add_new_pages(pages, page_taker, made, row, base_lines, parts, rows.position);
    return true;
}

void Segments::Memo::count_reuses() {
    const auto count = [](auto &listed, StackQueue &queue, auto effect_of) {
        for (auto *const one : listed) {
            add_count(queue, effect_of(*one));
            one->is_listed = false;
        }
        listed.clear();
    };
    const auto lines_of = [](Stretch &stretch) -> Effect & { return stretch.lines; };
    count(counted, lines, lines_of);
    count(counted_rows, lines, lines_of);
    count(counted_pagings, pages, [](Paging &paging) -> Effect & { return paging.pages; });
}

} // namespace sgxlens
