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

// The words of a row: taker, row; then the bases' lines.
constexpr std::size_t kRowHeadWords = 2;

void apply_row(ReuseStack &stack, const std::uint64_t *words, std::size_t) {
    pointer_of<RowTaker>(words[0])->take(stack, *pointer_of<Row>(words[1]), words + kRowHeadWords);
}

void write_base_pages(const std::uint64_t *base_lines, std::size_t base_count,
                      std::uint64_t *base_pages) {
    base_pages[0] = 0;
    for (std::size_t base = 1; base < base_count; ++base)
        base_pages[base] = base_lines[base] >> kPageLineBits;
}

// The words of new pages: taker, paging, row; then the bases' lines and the pagings of the parts.
constexpr std::size_t kPagesHeadWords = 3;

void apply_new_pages(ReuseStack &stack, const std::uint64_t *words, std::size_t) {
    Paging &paging = *pointer_of<Paging>(words[1]);
    const Row &row = *pointer_of<const Row>(words[2]);
    const std::uint64_t *const base_lines = words + kPagesHeadWords;
    const std::size_t base_count = row.pattern.base_count();
    pointer_of<PageTaker>(words[0])->make(paging, row, base_lines, base_lines + base_count,
                                          stack.is_attributed());
    std::array<std::uint64_t, kBasesMax> base_pages;
    write_base_pages(base_lines, base_count, base_pages.data());
    paging.pages.apply(stack, base_pages.data());
}

/// The touches of a part of a row, whose bases lie where `words` from `at` on say, as accesses of
/// the row. Numbers of blocks are those of lines shifted by `shift`.
void write_accesses(const Effect &effect, const Row &row, const std::uint64_t *base_lines,
                    const std::uint64_t *words, std::size_t at, unsigned shift,
                    std::vector<LocalStack::Access> &accesses) {
    accesses.clear();
    for (const SegmentTouch &touch : effect.touches) {
        const Anchor &anchor = effect.anchors[touch.anchor];
        const bool is_absolute = anchor.base == 0;
        const std::uint64_t from = is_absolute ? 0 : words[at + anchor.base] >> shift;
        const std::uint64_t block = from + anchor.offset + touch.offset;
        const unsigned base = is_absolute ? 0 : row.pattern.base_of(at + anchor.base);
        accesses.push_back({block, block - (base_lines[base] >> shift),
                            static_cast<std::uint16_t>(base), touch.rank, touch.start_rank,
                            touch.access_class(), touch.classes()});
    }
}

} // namespace

void RowTaker::take(ReuseStack &stack, Row &row, const std::uint64_t *base_lines) {
    const bool is_new = row.lines.touches.empty();
    if (is_new) {
        run(row, base_lines, stack.is_attributed(), 0);
        make_effect(row, stack.is_attributed(), 0);
    }
    const RegionNumber *const regions = row.lines.apply(stack, base_lines);
    if (regions == nullptr)
        return;
    if (!is_new)
        run(row, base_lines, true, 0);
    make_reuses(stack, row, regions, false, 0);
    row.lines.uncounted = 1;
}

/// Lets the parts of a row run one after the other, without their inner reuses.
void RowTaker::run(Row &row, const std::uint64_t *base_lines, bool is_attributed,
                   std::size_t depth) {
    Run &r = runs_[depth];
    r.words = row.pattern.words(base_lines);
    std::size_t touch_count = 0;
    PartLines part_lines(r.words.data());
    for (Stretch *const part : row.parts) {
        part_lines.move_to(*part);
        if (row.is_of_rows && part->lines.touches.empty()) {
            Row &inner = static_cast<Row &>(*part);
            run(inner, part_lines.data(), is_attributed, depth + 1);
            make_effect(inner, is_attributed, depth + 1);
        }
        touch_count += part->lines.touches.size();
    }
    r.local.start(touch_count, is_attributed);
    r.slots.clear();
    std::size_t at = 0;
    for (const Stretch *const part : row.parts) {
        write_accesses(part->lines, row, base_lines, r.words.data(), at, 0, r.accesses);
        const auto &slots = r.local.access(r.accesses.data(), r.accesses.size());
        r.slots.insert(r.slots.end(), slots.begin(), slots.end());
        at += part->pattern.base_count();
    }
}

/// Makes the effect of the row that has just run; where blocks are attributed, as yet without inner
/// reuses.
void RowTaker::make_effect(Row &row, bool is_attributed, std::size_t depth) {
    Run &r = runs_[depth];
    // There is one: its lines do not lie in too many places (see make_row).
    row.lines = r.local.effect().value();
    row.lines.has_reuses = !is_attributed;
    if (!is_attributed) {
        for (const Stretch *const part : row.parts)
            r.local.add_reuses(part->lines.reuses, r.slots.data());
        row.lines.reuses = r.local.reuses({});
    }
    known_bytes_ += row.lines.memory_bytes();
}

/// Makes the inner reuses of the row that has just run, where its blocks are of these regions.
void RowTaker::make_reuses(ReuseStack &stack, Row &row, const RegionNumber *regions, bool by_block,
                           std::size_t depth) {
    Run &r = runs_[depth];
    known_bytes_ -= row.lines.memory_bytes();
    row.lines.split_groups(regions, by_block);
    // What a part tells of a group is told of one block of it: all must be of one group here, too.
    by_block = row.lines.groups.empty();
    const std::uint16_t *slots = r.slots.data();
    PartLines part_lines(r.words.data());
    for (Stretch *const part : row.parts) {
        part_lines.move_to(*part);
        Effect &lines = part->lines;
        const std::size_t touch_count = lines.touches.size();
        if (row.is_of_rows) {
            r.regions.clear();
            for (std::size_t i = 0; i < touch_count; ++i)
                r.regions.push_back(regions[slots[i]]);
            if (!lines.suits(r.regions.data()) || (by_block && !lines.groups.empty())) {
                Row &inner = static_cast<Row &>(*part);
                lines.count_reuses(stack);
                run(inner, part_lines.data(), true, depth + 1);
                make_reuses(stack, inner, r.regions.data(), by_block, depth + 1);
            }
        }
        std::array<std::uint16_t, Effect::kGroupsMax> group_slots;
        for (std::size_t i = 0; i < lines.groups.size(); ++i)
            group_slots[lines.groups[i]] = slots[i];
        r.local.add_reuses(lines.reuses, lines.groups.empty() ? slots : group_slots.data());
        slots += touch_count;
    }
    row.lines.reuses = r.local.reuses(row.lines.groups);
    row.lines.has_reuses = true;
    known_bytes_ += row.lines.memory_bytes();
}

void PageTaker::make(Paging &paging, const Row &row, const std::uint64_t *base_lines,
                     const std::uint64_t *parts, bool is_attributed) {
    const std::vector<std::uint64_t> words = row.pattern.words(base_lines);
    const std::size_t part_count = row.parts.size();
    std::size_t touch_count = 0;
    for (std::size_t i = 0; i < part_count; ++i)
        touch_count += pointer_of<const Paging>(parts[i])->pages.touches.size();
    local_.start(touch_count, is_attributed);
    std::size_t at = 0;
    for (std::size_t i = 0; i < part_count; ++i) {
        const Effect &pages = pointer_of<const Paging>(parts[i])->pages;
        write_accesses(pages, row, base_lines, words.data(), at, kPageLineBits, accesses_);
        const auto &slots = local_.access(accesses_.data(), accesses_.size());
        local_.add_reuses(pages.reuses, slots.data());
        at += row.parts[i]->pattern.base_count();
    }
    // There is one: of so few pages, each may have its anchor.
    static_assert(kRowPagesMax <= SegmentTouch::kAnchorsMax);
    paging.pages = local_.effect().value();
    paging.pages.reuses = local_.reuses({});
    if (is_attributed)
        paging.pages.regions.reserve(paging.pages.touches.size());
    known_bytes_ += paging.pages.memory_bytes();
}

void add_effect(StackQueue &queue, Effect &effect, const std::uint64_t *bases,
                std::size_t base_count, std::uint64_t position) {
    std::uint64_t *const words = queue.begin(apply_effect, 1 + base_count, position);
    words[0] = word_of(&effect);
    std::copy_n(bases, base_count, words + 1);
    queue.end();
}

void add_pages(StackQueue &queue, Effect &effect, const std::uint64_t *base_lines,
               std::size_t base_count, std::uint64_t position) {
    std::uint64_t *const words = queue.begin(apply_effect, 1 + base_count, position);
    words[0] = word_of(&effect);
    write_base_pages(base_lines, base_count, words + 1);
    queue.end();
}

void add_count(StackQueue &queue, Effect &effect) {
    *queue.begin(count_effect, 1, 0) = word_of(&effect);
    queue.end();
}

void add_row(StackQueue &queue, RowTaker &taker, Row &row, const std::uint64_t *base_lines,
             std::uint64_t position) {
    const std::size_t base_count = row.pattern.base_count();
    std::uint64_t *const words = queue.begin(apply_row, kRowHeadWords + base_count, position);
    words[0] = word_of(&taker);
    words[1] = word_of(&row);
    std::copy_n(base_lines, base_count, words + kRowHeadWords);
    queue.end();
}

void add_new_pages(StackQueue &queue, PageTaker &taker, Paging &paging, const Row &row,
                   const std::uint64_t *base_lines, const std::vector<Paging *> &parts,
                   std::uint64_t position) {
    const std::size_t base_count = row.pattern.base_count();
    std::uint64_t *words =
        queue.begin(apply_new_pages, kPagesHeadWords + base_count + parts.size(), position);
    words[0] = word_of(&taker);
    words[1] = word_of(&paging);
    words[2] = word_of(&row);
    words = std::copy_n(base_lines, base_count, words + kPagesHeadWords);
    std::transform(parts.begin(), parts.end(), words, word_of<Paging>);
    queue.end();
}

} // namespace sgxlens::detail
