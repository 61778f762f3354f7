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
static_assert(2 * kSegmentWeightMax <= Segments::kCutAccessesMax, "an operation has two lines");
constexpr std::uint64_t kCutRatio = 4;

// What is remembered is dropped when it exceeds this, or when too much of what comes finds no
// place: rows of rows first. The inferences of ResNet-50 in ONNX Runtime need some 310 MB; with
// less than a program needs, much is learned again and again.
constexpr std::size_t kMemoryMax = std::size_t{640} << 20;
// Where everything is made known, so that tests see what becomes of it.
constexpr std::size_t kMemoryMaxAtAnyCost = std::size_t{1} << 20;

// Code that does not recur, as that of an interpreter, is better taken plainly. After each so many
// words it is reckoned whether segments have paid; if not, they are left alone for a while, each
// time for twice as long.
constexpr std::size_t kTrialWords = 1 << 16;
constexpr std::size_t kRestWordsMin = 4 * kTrialWords;
constexpr std::size_t kRestWordsMax = 64 * kTrialWords;
// What making a segment known takes, as words taken plainly.
constexpr std::size_t kSegmentPrice = 256;

} // namespace

bool Segments::Memo::try_segment(Segment &segment, const std::uint64_t *words,
                                 const std::uint64_t *end) {
    if (segment.pattern.word_count() > static_cast<std::size_t>(end - words) ||
        !segment.pattern.matches(words, found_words.data()))
        return false;
    found.assign(1, &segment);
    found_row = nullptr;
    return true;
}

/// Whether a row comes here that came after the one before it, or at least some parts of it from
/// the first on. Then they need not be looked for one by one, nor the row.
bool Segments::Memo::find_row(const std::uint64_t *words, const std::uint64_t *end) {
    Row *longest = nullptr;
    std::size_t longest_count = 0;
    std::array<std::uint64_t, kBasesMax> longest_lines;
    for (Row *const row : previous_row->successors.latest) {
        if (row == nullptr || row->stream_word_count > static_cast<std::size_t>(end - words))
            continue;
        std::uint64_t values[kBasesMax];
        values[0] = 0;
        for (std::size_t base = 1; base <= row->stream_leaders.size(); ++base) {
            const Pattern::Leader &leader = row->stream_leaders[base - 1];
            values[base] = leader.base_line(words[leader.word], kLineBits);
        }
        std::size_t count = 0;
        std::size_t row_word = 0;
        for (const std::uint64_t *at = words; count < row->parts.size(); ++count) {
            const Pattern &part = row->parts[count]->pattern;
            if (!part.matches_part(at, row->pattern, row_word, values))
                break;
            at += part.word_count();
            row_word += part.base_count();
        }
        if (count <= longest_count)
            continue;
        const bool is_apart = row->pattern.locate(values, longest_lines.data());
        if (is_apart && count == row->parts.size() && row->parts_are_apart(longest_lines.data())) {
            found_row = row;
            found_row_lines = longest_lines;
            return true;
        }
        longest = row;
        longest_count = count;
    }
    return longest != nullptr && take_parts(*longest, longest_count, longest_lines.data());
}

/// Finds that many parts of a row, as far as the bases of each lie apart; false where none does.
bool Segments::Memo::take_parts(const Row &row, std::size_t count,
                                const std::uint64_t *base_lines) {
    found_row = nullptr;
    found.clear();
    found_words = row.pattern.words(base_lines);
    // What lies before a leader in memory may be below line 0 by now: it is at the other end.
    for (std::uint64_t &word : found_words)
        word &= kLineNumberMask;
    found_words.resize(std::max(found_words.size(), kBasesMax));
    PartLines part_lines(found_words.data());
    for (std::size_t i = 0; i < count; ++i) {
        Segment &part = static_cast<Segment &>(*row.parts[i]);
        part_lines.move_to(part);
        if (!part.pattern.are_apart(part_lines.data()))
            break;
        found.push_back(&part);
    }
    return !found.empty();
}

/// What was found, which is known.
Segments::Found Segments::Memo::known() {
    Found all{0, true, 0, 0};
    if (found_row != nullptr)
        all = {found_row->stream_word_count, true, found_row->access_count,
               found_row->instruction_count};
    else
        for (const Segment *const segment : found) {
            all.word_count += segment->pattern.word_count();
            all.access_count += segment->access_count;
            all.instruction_count += segment->instruction_count;
        }
    trial_words += all.word_count;
    saved_words += all.word_count;
    sequences.came(all.word_count, false);
    return all;
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
    if (m.previous_row != nullptr && m.rows.parts.empty() && m.find_row(words, end))
        return m.known();
    if (m.previous != nullptr)
        for (Segment *const successor : m.previous->successors.latest)
            if (successor != nullptr && m.try_segment(*successor, words, end))
                return m.known();

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
    if (!complete && at >= end)
        return {0, false, 0, 0, true};
    const Found unknown{static_cast<std::size_t>(at - words), false, 0, 0};
    m.trial_words += unknown.word_count + 1;
    if (m.known_bytes > m.memory_max || m.outer_rows.known.is_crowded()) {
        // They make room for the rest, of which each saves more; then they are not made again.
        m.has_outer_rows = m.has_outer_rows && m.known_bytes <= m.memory_max;
        m.drop_outer_rows();
    }
    if (m.known_bytes > m.memory_max || m.sequences.is_crowded() || m.rows.known.is_crowded())
        m.drop_all();
    Segment *const previous = m.previous;
    m.previous = nullptr;
    if (!complete)
        return unknown;
    Sequence<Segment> *const sequence = m.sequences.at(mix(hash, 1));
    if (sequence == nullptr) {
        m.sequences.came(unknown.word_count, true);
        return unknown;
    }
    const auto follows = [&](Segment &segment) {
        if (previous != nullptr)
            previous->successors.add(segment);
    };
    for (std::size_t i = 0; i < sequence->known.size(); ++i) {
        Segment &segment = *sequence->known[i];
        if (segment.pattern.word_count() == unknown.word_count &&
            m.try_segment(segment, words, end)) {
            follows(segment);
            sequence->hit(i);
            return m.known();
        }
    }
    const bool is_wanted = sequence->miss() || m.at_any_cost;
    if (!is_wanted || sequence->is_full()) {
        m.sequences.came(unknown.word_count, is_wanted);
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
    m.found.assign(1, made);
    m.found_row = nullptr;
    return m.known();
}

void Segments::apply(std::uint64_t position) {
    Memo &m = *memo_;
    if (m.found_row != nullptr) {
        m.previous = static_cast<Segment *>(m.found_row->parts.back());
        m.follow_row(m.found_row);
        m.rows.known.came(m.found_row->access_count, false);
        m.add_to_outer_row(*m.found_row, m.found_row_lines.data(), position);
        return;
    }
    PartLines base_lines(m.found_words.data());
    for (Segment *const segment : m.found) {
        base_lines.move_to(*segment);
        m.rows.add(*segment, base_lines.data(), position);
        position += segment->access_count;
        if (m.rows.is_complete())
            m.end_row();
    }
    m.previous = m.found.back();
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

void Segments::Memo::settle() {
    if (!rows.parts.empty())
        end_row();
    end_outer_row();
}

/// Gives all to the queues, and waits until nothing is in use there.
void Segments::Memo::drain() {
    settle();
    count_reuses();
    lines.drain();
    pages.drain();
}

void Segments::Memo::drop_outer_rows() {
    drain();
    outer_rows.known.each([this](const Row &row) { known_bytes -= row.memory_bytes(); });
    outer_rows.pagings.each([this](const Paging &paging) {
        known_bytes -= sizeof paging + paging.pages.memory_bytes();
    });
    outer_rows.known.clear();
    outer_rows.pagings.clear();
}

void Segments::Memo::drop_all() {
    drain();
    sequences.clear();
    for (Rows *const level : {&rows, &outer_rows}) {
        level->known.clear();
        level->pagings.clear();
    }
    segment_pagings.clear();
    has_outer_rows = true;
    previous = nullptr;
    previous_row = nullptr;
    known_bytes = 0;
}

Segments::Segments(const Superblocks &superblocks, StackQueue &lines, StackQueue &pages,
                   LineUses *line_uses, SegmentUse use)
    : memo_(std::make_unique<Memo>(superblocks, lines, pages, line_uses)) {
    memo_->next_rest_words = kRestWordsMin;
    memo_->at_any_cost = use == SegmentUse::always;
    memo_->memory_max = memo_->at_any_cost ? kMemoryMaxAtAnyCost : kMemoryMax;
}

Segments::~Segments() = default;

void Segments::settle() {
    memo_->settle();
}

void Segments::end_context() {
    settle();
    memo_->count_reuses();
}

std::size_t Segments::memory_bytes() const {
    return sizeof *memo_ + memo_->known_bytes + memo_->sequences.memory_bytes() +
           memo_->rows.known.memory_bytes() + memo_->outer_rows.known.memory_bytes() +
           memo_->seen.memory_bytes();
}

} // namespace sgxlens
