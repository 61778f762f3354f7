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

Pagings::Place detail::Pagings::at(Stretch &stretch, const std::uint64_t *base_lines) {
    Place place{stretch.place_kinds(base_lines), mix(1, stretch.number), nullptr, false};
    const std::size_t word_count = (stretch.pattern.base_count() + 7) / 8;
    const auto is_it = [&](const Paging &paging) {
        return std::equal(place.kinds.begin(),
                          place.kinds.begin() + static_cast<std::ptrdiff_t>(word_count),
                          paging.kinds.begin());
    };
    if (stretch.last_paging != nullptr && is_it(*stretch.last_paging)) {
        place.known = stretch.last_paging;
        return place;
    }
    for (std::size_t i = 0; i < word_count; ++i)
        place.hash = mix(place.hash, place.kinds[i]);
    const auto found = by_hash_.find(place.hash);
    place.is_free = found == by_hash_.end() && stretch.paging_count < kPagingsMax;
    if (found != by_hash_.end() && found->second.stretch == stretch.number && is_it(found->second))
        place.known = stretch.last_paging = &found->second;
    return place;
}

Paging &detail::Pagings::add(Stretch &stretch, const Place &place) {
    ++stretch.paging_count;
    Paging &made = by_hash_.emplace(place.hash, Paging{stretch.number, place.kinds}).first->second;
    stretch.last_paging = &made;
    return made;
}

bool detail::Seen::add(std::uint64_t hash) {
    std::uint64_t *const group = &hashes_[hash % (kCount / kPlaces) * kPlaces];
    if (std::find(group, group + kPlaces, hash) != group + kPlaces)
        return true;
    std::copy_backward(group, group + kPlaces - 1, group + kPlaces);
    group[0] = hash;
    return false;
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

/// The row that is complete, if it is known now.
Row *Segments::Memo::known_row(Rows &level) {
    Sequence<Row> *const sequence = level.known.at(mix(level.hash, 1));
    if (sequence == nullptr) {
        level.known.came(level.access_count, true);
        return nullptr;
    }
    for (std::size_t i = 0; i < sequence->known.size(); ++i) {
        Row &candidate = *sequence->known[i];
        if (candidate.pattern.word_count() == level.words.size() &&
            candidate.pattern.matches(level.words.data(), level.base_lines.data())) {
            sequence->hit(i);
            level.known.came(level.access_count, false);
            return &candidate;
        }
    }
    // Where these very addresses came before, as where an inference uses the memory of the one
    // before.
    const auto is_seen = [&]() {
        std::uint64_t hash = level.words.size();
        for (const std::uint64_t word : level.words)
            hash = mix(hash, word);
        return seen.add(hash);
    };
    const bool is_wanted = sequence->miss() || at_any_cost || is_seen();
    level.known.came(level.access_count, is_wanted && sequence->is_full());
    if (!is_wanted || sequence->is_full())
        return nullptr;
    sequence->made();
    Row *const made = make_row(level);
    if (made != nullptr)
        sequence->known.emplace_back(made);
    return made;
}

void Segments::Memo::end_row() {
    Row *const row = known_row(rows);
    follow_row(row);
    if (row != nullptr) {
        add_to_outer_row(*row, rows.base_lines.data(), rows.position);
    } else {
        end_outer_row();
        apply_segments(rows.parts, rows.words.data(), rows.position, true);
    }
    rows.clear();
}

/// Notes that this row came after the one before it; null: one that is not known.
void Segments::Memo::follow_row(Row *row) {
    // One that was cut short would be found where the whole one comes, too.
    if (row != nullptr && row->is_complete && previous_row != nullptr)
        previous_row->successors.add(*row);
    previous_row = row;
}

/// Has a row of segments wait to become part of a row of rows.
void Segments::Memo::add_to_outer_row(Row &row, const std::uint64_t *base_lines,
                                      std::uint64_t position) {
    outer_rows.add(row, base_lines, position);
    if (line_uses != nullptr)
        row.bytes.note(base_lines, *line_uses);
    if (outer_rows.is_complete())
        end_outer_row();
}

/// Gives the rows that wait to the queues.
void Segments::Memo::end_outer_row() {
    const std::size_t count = outer_rows.parts.size();
    Row *const known = count > 1 && has_outer_rows ? known_row(outer_rows) : nullptr;
    bool has_pages = false;
    if (known != nullptr) {
        const std::uint64_t *const base_lines = outer_rows.base_lines.data();
        list(*known, counted_rows);
        add_row(lines, row_taker, *known, base_lines, outer_rows.position);
        has_pages = apply_pages(*known, base_lines, outer_rows.position);
    }
    PartLines base_lines(outer_rows.words.data());
    std::uint64_t position = outer_rows.position;
    for (std::size_t i = 0; i < count && !has_pages; ++i) {
        Row &row = static_cast<Row &>(*outer_rows.parts[i]);
        base_lines.move_to(row);
        if (known == nullptr) {
            list(row, counted_rows);
            add_row(lines, row_taker, row, base_lines.data(), position);
        }
        if (!apply_pages(row, base_lines.data(), position))
            apply_segments(row.parts, row.pattern.words(base_lines.data()).data(), position, false);
        position += row.access_count;
    }
    outer_rows.clear();
}

/// Takes segments one by one: for pages, and for lines if told. `words` as of a row of them.
void Segments::Memo::apply_segments(const std::vector<Stretch *> &segments,
                                    const std::uint64_t *words, std::uint64_t position,
                                    bool for_lines) {
    PartLines base_lines(words);
    for (Stretch *const part : segments) {
        Segment &segment = static_cast<Segment &>(*part);
        const std::size_t bases = segment.pattern.base_count();
        base_lines.move_to(segment);
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
    }
}

/// What the segment does to pages where its bases lie at these lines; null where there are too many
/// such arrangements.
Paging *Segments::Memo::segment_paging(Segment &segment, const std::uint64_t *base_lines) {
    const Pagings::Place place = segment_pagings.at(segment, base_lines);
    if (!place.is_free)
        return place.known;
    Paging &made = segment_pagings.add(segment, place);
    made.pages = pages_of(segment, base_lines);
    known_bytes += sizeof made + made.pages.memory_bytes();
    return &made;
}

/// Takes a row, for pages. False where it is not known what it does to them.
bool Segments::Memo::apply_pages(Row &row, const std::uint64_t *base_lines,
                                 std::uint64_t position) {
    if (!row.has_few_pages)
        return false;
    Pagings &pagings = row.is_of_rows ? outer_rows.pagings : rows.pagings;
    const Pagings::Place place = pagings.at(row, base_lines);
    if (place.known != nullptr) {
        list(*place.known, counted_pagings);
        add_pages(pages, place.known->pages, base_lines, row.pattern.base_count(), position);
        return true;
    }
    if (!place.is_free || (!at_any_cost && !seen.add(place.hash)))
        return false;
    std::vector<Paging *> parts;
    const std::vector<std::uint64_t> words = row.pattern.words(base_lines);
    PartLines part_lines(words.data());
    for (Stretch *const part : row.parts) {
        part_lines.move_to(*part);
        parts.push_back(row.is_of_rows
                            ? rows.pagings.at(*part, part_lines.data()).known
                            : segment_paging(static_cast<Segment &>(*part), part_lines.data()));
        if (parts.back() == nullptr)
            return false;
    }
    Paging &made = pagings.add(row, place);
    known_bytes += sizeof made;
    list(made, counted_pagings);
    add_new_pages(pages, page_taker, made, row, base_lines, parts, position);
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
