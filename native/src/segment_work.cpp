// SPDX-License-Identifier: Apache-2.0
#include "segment_work.hpp"

#include "segment_memo.hpp"

#include <algorithm>

namespace sgxlens::detail {
namespace {

template <typename T> std::uint64_t word_of(T *pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer);
}

template <typename T> T *pointer_of(std::uint64_t word) {
    return reinterpret_cast<T *>(static_cast<std::uintptr_t>(word));
}

void apply_effect(ReuseStack &stack, const std::uint64_t *words, std::size_t) {
    pointer_of<Effect>(words[0])->apply(stack, words + 1);
}

void count_effect(ReuseStack &stack, const std::uint64_t *words, std::size_t) {
    pointer_of<Effect>(words[0])->count_reuses(stack);
}

// The words of a row: taker, row, whether it is new, number of bases, number of segments; then the
// bases' lines, the segments and the words of its content.
constexpr std::size_t kRowHeadWords = 5;

void apply_row(ReuseStack &stack, const std::uint64_t *words, std::size_t word_count) {
    RowTaker &taker = *pointer_of<RowTaker>(words[0]);
    Row &row = *pointer_of<Row>(words[1]);
    const bool is_new = words[2] != 0;
    const std::size_t base_count = words[3];
    const std::size_t segment_count = words[4];
    const std::uint64_t *const base_lines = words + kRowHeadWords;
    const bool holds = row.lines.apply(stack, base_lines);
    if (!stack.is_attributed() || (holds && !is_new))
        return;
    const std::uint64_t *const segment_words = base_lines + base_count;
    const std::uint64_t *const content = segment_words + segment_count;
    std::vector<const Segment *> segments(segment_count);
    std::transform(segment_words, content, segments.begin(), pointer_of<const Segment>);
    const auto content_count = static_cast<std::size_t>(words + word_count - content);
    take_row(taker.local, row.pattern,
             {segments.data(), segment_count, content, content_count, base_lines}, true);
    taker.known_bytes -= row.lines.memory_bytes();
    row.lines.split_groups();
    row.lines.reuses = taker.local.reuses(row.lines.groups);
    taker.known_bytes += row.lines.memory_bytes();
}

} // namespace

void take_row(LocalStack &local, const Pattern &pattern, const RowContent &content, bool by_block) {
    std::size_t touch_count = 0;
    for (std::size_t i = 0; i < content.segment_count; ++i)
        touch_count += content.segments[i]->lines.touches.size();
    local.start(touch_count, by_block);
    std::vector<LocalStack::Access> accesses;
    std::size_t at = 0;
    for (std::size_t i = 0; i < content.segment_count; ++i) {
        const Segment &segment = *content.segments[i];
        accesses.clear();
        for (const SegmentTouch &touch : segment.lines.touches) {
            const Anchor &anchor = segment.lines.anchors[touch.anchor];
            const std::uint64_t from = anchor.base != 0 ? content.words[at + anchor.base] : 0;
            const std::uint64_t line = from + anchor.offset + touch.offset;
            const auto base = static_cast<std::uint16_t>(
                anchor.base != 0 ? pattern.base_of(at + anchor.base) : 0);
            accesses.push_back({line, line - content.base_lines[base], base, touch.rank,
                                touch.access_class(), touch.classes()});
        }
        local.access(accesses.data(), accesses.size());
        local.add_reuses(segment.lines.reuses);
        at += segment.pattern.base_count();
    }
}

void add_effect(StackQueue &queue, Effect &effect, const std::uint64_t *bases,
                std::size_t base_count, std::uint64_t position) {
    std::uint64_t *const words = queue.begin(apply_effect, 1 + base_count, position);
    words[0] = word_of(&effect);
    std::copy_n(bases, base_count, words + 1);
    queue.end();
}

void add_count(StackQueue &queue, Effect &effect) {
    *queue.begin(count_effect, 1, 0) = word_of(&effect);
    queue.end();
}

void add_row(StackQueue &queue, RowTaker &taker, Row &row, bool is_new, const RowContent &content,
             std::uint64_t position) {
    const std::size_t base_count = row.pattern.base_count();
    std::uint64_t *words = queue.begin(
        apply_row, kRowHeadWords + base_count + content.segment_count + content.word_count,
        position);
    words[0] = word_of(&taker);
    words[1] = word_of(&row);
    words[2] = is_new;
    words[3] = base_count;
    words[4] = content.segment_count;
    words = std::copy_n(content.base_lines, base_count, words + kRowHeadWords);
    words = std::transform(content.segments, content.segments + content.segment_count, words,
                           word_of<const Segment>);
    std::copy_n(content.words, content.word_count, words);
    queue.end();
}

} // namespace sgxlens::detail
