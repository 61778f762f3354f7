// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/segments.hpp"

#include "segment_memo.hpp"
#include "sgxlens/stream.h"
#include "sgxlens/superblocks.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sgxlens {

using namespace detail;

namespace {

// A segment ends with an exit of one in kCutRatio where its weight is within these bounds. The
// weight of a run is its operations and one. Short segments recur more often, long ones save more.
constexpr std::uint32_t kSegmentWeightMin = 64;
constexpr std::uint32_t kSegmentWeightMax = 256;
constexpr std::uint64_t kCutRatio = 4;
// Likewise for a row of segments, by accesses to lines.
constexpr std::uint64_t kRowAccessesMin = 2048;
constexpr std::uint64_t kRowAccessesMax = 8192;
constexpr std::uint64_t kRowCutRatio = 8;

// All that is remembered is dropped when it exceeds this, or when so many sequences found no place.
// The inferences of ResNet-50 in ONNX Runtime need 170 MB; with less, much is learned again and
// again.
constexpr std::size_t kMemoryMax = std::size_t{256} << 20;
constexpr std::size_t kRefusalsMax = 1 << 14;

// Code that does not recur, as that of an interpreter, is better taken plainly. After each so many
// words it is reckoned whether segments have paid; if not, they are left alone for a while, each
// time for twice as long.
constexpr std::size_t kTrialWords = 1 << 16;
constexpr std::size_t kRestWordsMin = 4 * kTrialWords;
constexpr std::size_t kRestWordsMax = 64 * kTrialWords;
// What making a segment known takes, as words taken plainly.
constexpr std::size_t kSegmentPrice = 256;

bool is_cut(std::uint64_t value, std::uint64_t ratio) {
    return (mix(0x2545f4914f6cdd1du, value) >> 20) % ratio == 0;
}

} // namespace

bool Segments::Memo::try_segment(Segment &segment, const std::uint64_t *words,
                                 const std::uint64_t *end) {
    if (segment.pattern.word_count() > static_cast<std::size_t>(end - words) ||
        !segment.pattern.matches(words, base_lines.data()))
        return false;
    found = &segment;
    found_words = words;
    return true;
}

Segments::Found Segments::find(const std::uint64_t *words, const std::uint64_t *end) {
    Memo &m = *memo_;
    if (m.rest_words > 0) {
        const std::size_t taken = std::min(m.rest_words, static_cast<std::size_t>(end - words));
        m.rest_words -= taken;
        return {taken, false, 0, 0};
    }
    if (m.trial_words >= kTrialWords)
        m.end_trial();
    const auto known = [&m]() {
        m.trial_words += m.found->pattern.word_count();
        m.saved_words += m.found->pattern.word_count();
        return Found{m.found->pattern.word_count(), true, m.found->access_count,
                     m.found->instruction_count};
    };
    if (m.previous != nullptr)
        for (Segment *const successor : m.previous->successors)
            if (successor != nullptr && m.try_segment(*successor, words, end))
                return known();

    const std::uint64_t *at = words;
    std::uint64_t hash = 0;
    bool complete = false;
    for (std::uint32_t weight = 0; at < end && !complete;) {
        const std::uint64_t head = *at;
        const SuperblockExit *const exit = m.superblocks.exit(SGXLENS_VALUE(head));
        if (SGXLENS_KIND(head) != SGXLENS_RUN || exit == nullptr || !exit->simple ||
            exit->value_count != SGXLENS_PAYLOAD(head) ||
            exit->value_count >= SGXLENS_RECORD_WORDS_MAX || exit->value_count >= end - at)
            break;
        hash = mix(hash, head);
        weight += exit->operation_count + 1u;
        at += 1 + exit->value_count;
        complete =
            weight >= kSegmentWeightMax || (weight >= kSegmentWeightMin && is_cut(head, kCutRatio));
    }
    const Found unknown{static_cast<std::size_t>(at - words), false, 0, 0};
    m.trial_words += unknown.word_count + 1;
    if (m.known_bytes > kMemoryMax || m.sequences.refusals() > kRefusalsMax ||
        m.row_sequences.refusals() > kRefusalsMax)
        m.drop_all();
    Segment *const previous = m.previous;
    m.previous = nullptr;
    if (!complete)
        return unknown;
    Sequence<Segment> *const sequence = m.sequences.at(mix(hash, 1));
    if (sequence == nullptr)
        return unknown;
    const auto follows = [&](Segment &segment) {
        if (previous != nullptr)
            previous->successors = {&segment, previous->successors[0]};
    };
    for (std::size_t i = 0; i < sequence->known.size(); ++i) {
        Segment &segment = *sequence->known[i];
        if (segment.pattern.word_count() == unknown.word_count &&
            m.try_segment(segment, words, end)) {
            follows(segment);
            sequence->hit(i);
            return known();
        }
    }
    if (!sequence->miss() && !m.at_any_cost)
        return unknown;
    if (sequence->is_full()) {
        m.sequences.refuse();
        return unknown;
    }
    m.spent_words += kSegmentPrice;
    sequence->made();
    Segment *const made = m.make_segment(words, unknown.word_count);
    if (made == nullptr)
        return unknown;
    made->sequence = sequence->hash;
    sequence->known.emplace_back(made);
    follows(*made);
    m.found = made;
    m.found_words = words;
    return known();
}

void Segments::apply(std::uint64_t position) {
    Memo &m = *memo_;
    m.position = position;
    Segment &segment = *m.found;
    m.previous = &segment;
    if (!segment.is_listed)
        m.counted.push_back(&segment);
    segment.is_listed = true;
    m.apply_pages(segment);

    const std::size_t bases = segment.pattern.base_count();
    m.row_words.push_back(segment.number);
    m.row_words.insert(m.row_words.end(), m.base_lines.begin() + 1,
                       m.base_lines.begin() + static_cast<std::ptrdiff_t>(bases));
    m.row.push_back(&segment);
    m.row_hash = mix(m.row_hash, segment.number);
    m.row_accesses += segment.access_count;
    if (m.row_accesses >= kRowAccessesMax ||
        (m.row_accesses >= kRowAccessesMin && is_cut(segment.sequence, kRowCutRatio)))
        m.end_row();
}

void Segments::Memo::apply_pages(Segment &segment) {
    const std::size_t bases = segment.pattern.base_count();
    PlaceKinds kinds{};
    std::array<std::uint64_t, kBasesMax> base_pages;
    base_pages[0] = 0;
    for (std::size_t base = 1; base < bases; ++base) {
        const std::uint64_t kind = segment.place_kinds[base][base_lines[base] % 64];
        kinds[base / 8] |= kind << base % 8 * 8;
        base_pages[base] = base_lines[base] >> kPageLineBits;
    }
    const auto is_of = [&](const Paging &paging) {
        return paging.kinds[0] == kinds[0] && (bases <= 8 || paging.kinds == kinds);
    };
    std::size_t i = segment.last_paging;
    if (i >= segment.pagings.size() || !is_of(segment.pagings[i])) {
        for (i = 0; i < segment.pagings.size() && !is_of(segment.pagings[i]); ++i) {
        }
        if (i == segment.pagings.size()) {
            Paging paging{kinds, pages_of(segment, found_words)};
            known_bytes += sizeof paging + paging.pages.memory_bytes();
            if (i < kPagingsMax) {
                segment.pagings.push_back(std::move(paging));
            } else {
                i = segment.next_dropped++ % kPagingsMax;
                Paging &dropped = segment.pagings[i];
                add_count(pages, dropped.pages);
                pages.drain();
                known_bytes -= sizeof paging + dropped.pages.memory_bytes();
                dropped = std::move(paging);
            }
        }
        segment.last_paging = i;
    }
    add_effect(pages, segment.pagings[i].pages, base_pages.data(), bases, position);
}

RowContent Segments::Memo::row_content() const {
    return {row.data(), row.size(), row_words.data(), row_words.size(), row_base_lines.data()};
}

/// Whether these very addresses came before in this row: as where an inference uses the memory of
/// the one before. Then it is likely to come again.
bool Segments::Memo::is_row_seen_before() {
    std::uint64_t hash = row_words.size();
    for (const std::uint64_t word : row_words)
        hash = mix(hash, word);
    std::uint64_t &seen = rows_seen[hash % kRowsSeen];
    const bool is_seen = seen == hash;
    seen = hash;
    return is_seen;
}

void Segments::Memo::end_row() {
    if (Sequence<Row> *const sequence = row_sequences.at(mix(row_hash, 1)); sequence != nullptr) {
        Row *known = nullptr;
        bool is_new = false;
        for (std::size_t i = 0; i < sequence->known.size() && known == nullptr; ++i) {
            Row &candidate = *sequence->known[i];
            if (candidate.pattern.word_count() == row_words.size() &&
                candidate.pattern.matches(row_words.data(), row_base_lines.data())) {
                known = &candidate;
                sequence->hit(i);
            }
        }
        if (known == nullptr && (sequence->miss() || at_any_cost || is_row_seen_before())) {
            if (sequence->is_full()) {
                row_sequences.refuse();
            } else {
                sequence->made();
                known = make_row();
                is_new = true;
                if (known != nullptr)
                    sequence->known.emplace_back(known);
            }
        }
        if (known != nullptr) {
            if (!known->is_listed)
                counted_rows.push_back(known);
            known->is_listed = true;
            add_row(lines, row_taker, *known, is_new, row_content(), position);
            if (line_uses != nullptr)
                known->bytes.note(row_base_lines.data(), *line_uses);
            row.clear();
        }
    }
    std::size_t at = 0;
    for (Segment *const segment : row) {
        // The base before the first is the absolute one.
        const std::size_t bases = segment->pattern.base_count();
        row_base_lines[0] = 0;
        std::copy_n(row_words.begin() + static_cast<std::ptrdiff_t>(at) + 1, bases - 1,
                    row_base_lines.begin() + 1);
        add_effect(lines, segment->lines, row_base_lines.data(), bases, position);
        if (line_uses != nullptr)
            segment->bytes.note(row_base_lines.data(), *line_uses);
        at += bases;
    }
    row.clear();
    row_words.clear();
    row_hash = 0;
    row_accesses = 0;
}

void Segments::Memo::count_reuses() {
    for (Segment *const segment : counted) {
        add_count(lines, segment->lines);
        for (Paging &paging : segment->pagings)
            add_count(pages, paging.pages);
        segment->is_listed = false;
    }
    counted.clear();
    for (Row *const known : counted_rows) {
        add_count(lines, known->lines);
        known->is_listed = false;
    }
    counted_rows.clear();
}

void Segments::Memo::end_trial() {
    // Taking a known segment, or looking at an unknown one in vain, is not for nothing either.
    if (saved_words < trial_words / 2 + spent_words && !at_any_cost) {
        rest_words = next_rest_words;
        next_rest_words = std::min(2 * next_rest_words, kRestWordsMax);
        previous = nullptr;
    } else {
        next_rest_words = kRestWordsMin;
    }
    trial_words = 0;
    saved_words = 0;
    spent_words = 0;
}

void Segments::Memo::drop_all() {
    if (!row.empty())
        end_row();
    count_reuses();
    lines.drain();
    pages.drain();
    sequences.clear();
    row_sequences.clear();
    previous = nullptr;
    found = nullptr;
    known_bytes = 0;
}

Segments::Segments(const Superblocks &superblocks, StackQueue &lines, StackQueue &pages,
                   LineUses *line_uses, SegmentUse use)
    : memo_(std::make_unique<Memo>(superblocks, lines, pages, line_uses)) {
    memo_->next_rest_words = kRestWordsMin;
    memo_->at_any_cost = use == SegmentUse::always;
}

Segments::~Segments() = default;

void Segments::settle() {
    if (!memo_->row.empty())
        memo_->end_row();
}

void Segments::end_context() {
    settle();
    memo_->count_reuses();
}

std::size_t Segments::memory_bytes() const {
    return sizeof *memo_ + memo_->known_bytes + memo_->sequences.memory_bytes() +
           memo_->row_sequences.memory_bytes() + sizeof(std::uint64_t) * kRowsSeen;
}

} // namespace sgxlens
