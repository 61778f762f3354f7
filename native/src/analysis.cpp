// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/analysis.hpp"

#include "expand.hpp"

#include "sgxlens/error.hpp"
#include "sgxlens/histogram.hpp"
#include "sgxlens/stream.h"

#include <algorithm>
#include <utility>

namespace sgxlens {

using detail::kAddressMask;
using detail::kLineShift;
using detail::kLinesInPage;

namespace {

/// Words after a cut in which the rest of its segment is looked for. A longer one is taken plainly.
constexpr std::ptrdiff_t kSeamWords = 2048;

} // namespace

ReuseCounts::ReuseCounts(const PhaseCounts &counts)
    : footprint(counts.footprint), first_touch_count(counts.first_touch_count) {
    for (std::size_t c = 0; c < kAccessClassCount; ++c) {
        const ClassCounts &of_class = counts.classes[c];
        const auto access_class = static_cast<std::uint8_t>(c);
        access_counts[c] = of_class.access_count;
        sampled_counts[c] = of_class.sampled_count;
        if (of_class.cold_count != 0)
            bins.push_back({of_class.cold_count, ReuseBin::kColdBin, access_class});
        for (std::size_t bin = 0; bin < kBinCount; ++bin)
            if (of_class.distances[bin] != 0)
                bins.push_back(
                    {of_class.distances[bin], static_cast<std::uint16_t>(bin), access_class});
    }
}

Analysis::Analysis(const AnalysisOptions &options)
    : expand_(detail::best_expand()), follow_(detail::best_follow()),
      lines_({.granularity = Granularity::line, .sampling_rate = options.sampling_rate}),
      pages_({.granularity = Granularity::page, .sampling_rate = options.sampling_rate}),
      line_queue_(lines_, options.has_threads), page_queue_(pages_, options.has_threads),
      split_at_clock_reads_(options.split_at_clock_reads),
      // Entries are flushed as soon as there are kBatchEntries. Until then a superblock of simple
      // operations, of which a record holds less than half its words, adds two for each.
      batch_(kBatchEntries + 2 * SGXLENS_RECORD_WORDS_MAX + 8),
      followed_(options.attribute ? batch_.size() : 0) {
    const bool is_exact = lines_.sampling_rate() == 1.0;
    if (options.attribute && is_exact && options.line_use_interval != 0)
        line_uses_ = std::make_unique<LineUses>(LineSample(options.line_use_interval));
    if (options.segments != SegmentUse::never && is_exact)
        segments_ = std::make_unique<Segments>(superblocks_, line_queue_, page_queue_,
                                               line_uses_.get(), options.segments);
    if (options.attribute && is_exact)
        attributor_ = std::make_unique<Attributor>(lines_, pages_, line_queue_, page_queue_,
                                                   line_uses_.get());
    names_.number_of("");
    begin_phase("start");
}

void Analysis::feed(const std::uint64_t *words, std::size_t count) {
    if (finished_)
        throw StreamError("records after the end of the analysis");
    const std::uint64_t *const end = words + count;
    if (!cut_.empty())
        words = take_cut(words, end);
    while (words < end)
        words = step(words, end);
    // Here, so that where such a span ends does not depend on what is known.
    if (attributor_ != nullptr &&
        attributor_->span_is_long(position() + Segments::kCutAccessesMax)) {
        take_cut_plainly();
        if (attributor_->span_is_long(position())) {
            settle();
            attributor_->begin_span(position_, false);
        }
    }
    progress_.line_access_count.store(position(), std::memory_order_relaxed);
}

/// Takes what comes next, in one way or another; returns where it ends.
const std::uint64_t *Analysis::step(const std::uint64_t *words, const std::uint64_t *end) {
    const std::uint64_t *next = words + 1;
    if (segments_ != nullptr) {
        const Segments::Found found = segments_->find(words, end);
        if (found.is_cut) {
            cut_.assign(words, end);
            return end;
        }
        if (found.is_known) {
            // The stacks take accesses in their order.
            if (batch_size_ > 0)
                flush();
            segments_->apply(position_);
            position_ += found.access_count;
            segment_access_count_ += found.access_count;
            instruction_count_ += found.instruction_count;
            return words + found.word_count;
        }
        if (found.word_count > 0)
            next = words + found.word_count;
    }
    return take(words, next, end);
}

/// Takes the words that were left over together with these, which follow; returns where that ends.
/// So what becomes known hardly depends on where chunks end, which is elsewhere each time.
const std::uint64_t *Analysis::take_cut(const std::uint64_t *words, const std::uint64_t *end) {
    // It says when the chunk began, and does not part what comes before it from what comes after.
    while (words < end && SGXLENS_KIND(*words) == SGXLENS_TICK)
        words = take(words, words + 1, end);
    const std::uint64_t *next = words;
    while (next < end && next - words < kSeamWords)
        next += std::min<std::ptrdiff_t>(1 + SGXLENS_PAYLOAD(*next), end - next);
    const auto cut_count = static_cast<std::ptrdiff_t>(cut_.size());
    std::vector<std::uint64_t> joined = std::move(cut_);
    cut_.clear();
    joined.insert(joined.end(), words, next);
    const std::uint64_t *const begin = joined.data();
    const std::uint64_t *at = begin;
    while (at - begin < cut_count)
        at = step(at, begin + joined.size());
    if (next < end)
        take_cut_plainly();
    return words + (at - begin - cut_count);
}

void Analysis::take_cut_plainly() {
    take(cut_.data(), cut_.data() + cut_.size(), cut_.data() + cut_.size());
    cut_.clear();
}

/// Takes the records that start before `stop`, at least one; returns where they end.
const std::uint64_t *Analysis::take(const std::uint64_t *words, const std::uint64_t *stop,
                                    const std::uint64_t *end) {
    while (words < stop) {
        const std::uint64_t head = *words;
        const std::uint32_t payload = SGXLENS_PAYLOAD(head);
        if (payload >= SGXLENS_RECORD_WORDS_MAX)
            throw StreamError("a record is too long");
        if (payload >= static_cast<std::size_t>(end - words))
            throw StreamError("a record is cut short");
        if (SGXLENS_KIND(head) == SGXLENS_RUN) {
            const SuperblockExit *exit = superblocks_.exit(SGXLENS_VALUE(head));
            if (exit == nullptr || exit->value_count != payload)
                throw StreamError("a superblock runs that is not defined so");
            run(*exit, words);
        } else {
            event(SGXLENS_KIND(head), SGXLENS_VALUE(head), words + 1, payload);
        }
        words += 1 + payload;
    }
    return words;
}

void Analysis::run(const SuperblockExit &exit, const std::uint64_t *record) {
    instruction_count_ += exit.instruction_count;
    if (!exit.simple) {
        run_general(exit, record);
        return;
    }
    const std::uint64_t *const out =
        expand_(superblocks_.operations(exit), exit.operation_count, record,
                std::size_t{1} + exit.value_count, batch_.data() + batch_size_);
    batch_size_ = static_cast<std::size_t>(out - batch_.data());
    if (batch_size_ >= kBatchEntries)
        flush();
}

void Analysis::run_general(const SuperblockExit &exit, const std::uint64_t *record) {
    const Operation *operation = superblocks_.operations(exit);
    for (std::size_t i = 0; i < exit.operation_count; ++i, ++operation) {
        switch (operation->kind) {
        case SGXLENS_OP_FETCH:
        case SGXLENS_OP_LOAD:
        case SGXLENS_OP_STORE:
            access(operation->address(record), operation->size_bytes, operation->access_class);
            break;
        case SGXLENS_OP_LOAD_IF:
        case SGXLENS_OP_STORE_IF:
            if (record[operation->base_word] != 0)
                access(operation->address(record), operation->size_bytes, operation->access_class);
            break;
        case SGXLENS_OP_CPUID:
            phases_.back().traps[{operation->kind, record[operation->base_word]}]++;
            break;
        default:
            phases_.back().traps[{operation->kind, 0}]++;
            break;
        }
    }
}

/// An access of any size.
void Analysis::access(std::uint64_t address, std::uint64_t size_bytes, std::uint8_t access_class) {
    const std::uint64_t first = (address & kAddressMask) >> kLineShift;
    const std::uint64_t last = ((address + size_bytes - 1) & kAddressMask) >> kLineShift;
    for (std::uint64_t line = first;; line = (line + 1) & (kAddressMask >> kLineShift)) {
        const std::uint64_t bytes =
            detail::bytes_of_entry(line == first ? address % SGXLENS_LINE_BYTES : 0,
                                   line == last ? (address + size_bytes - 1) % SGXLENS_LINE_BYTES
                                                : SGXLENS_LINE_BYTES - 1);
        batch_[batch_size_++] = make_entry(line, line != first && line % kLinesInPage != 0,
                                           static_cast<AccessClass>(access_class)) |
                                bytes;
        if (batch_size_ >= kBatchEntries)
            flush();
        if (line == last)
            break;
    }
}

void Analysis::flush() {
    if (segments_ != nullptr)
        segments_->settle();
    take_bytes();
    line_queue_.access(batch_.data(), batch_size_, position_);
    page_queue_.access(batch_.data(), batch_size_, position_);
    position_ += batch_size_;
    batch_size_ = 0;
}

/// Leaves the batch as the stacks take it.
void Analysis::take_bytes() {
    if (line_uses_ == nullptr) {
        for (std::size_t i = 0; i < batch_size_; ++i)
            batch_[i] &= detail::kPlainEntry;
        return;
    }
    const std::size_t count =
        follow_(line_uses_->sample(), batch_.data(), batch_size_, followed_.data());
    for (std::size_t i = 0; i < count; ++i)
        detail::note_entry(*line_uses_, followed_[i]);
}

void Analysis::settle() {
    flush();
    if (segments_ != nullptr)
        segments_->end_context();
}

void Analysis::drain() {
    line_queue_.drain();
    page_queue_.drain();
}

void Analysis::begin_phase(std::string name) {
    Phase phase;
    {
        const std::lock_guard lock(current_phase_mutex_);
        current_phase_ = name;
    }
    phase.name = std::move(name);
    phase.start_position = position();
    phase.start_ns = now_ns_;
    phases_.push_back(std::move(phase));
    if (attributor_ != nullptr)
        attributor_->begin_phase(position_, static_cast<std::uint32_t>(phases_.size() - 1),
                                 phases_.back().name);
}

std::string Analysis::current_phase() const {
    const std::lock_guard lock(current_phase_mutex_);
    return current_phase_;
}

void Analysis::end_phase() {
    settle();
    if (attributor_ != nullptr)
        attributor_->end_phase(position_);
    drain();
    progress_.line_access_count.store(position_, std::memory_order_relaxed);
    Phase &phase = phases_.back();
    phase.end_position = position_;
    phase.end_ns = now_ns_;
    phase.instruction_count = instruction_count_;
    instruction_count_ = 0;
    phase.lines = ReuseCounts(lines_.end_phase());
    phase.pages = ReuseCounts(pages_.end_phase());
}

void Analysis::finish() {
    if (finished_)
        return;
    finished_ = true;
    take_cut_plainly();
    end_phase();
    if (attributor_ != nullptr)
        attributor_->finish();
    // What follows, like making tables, then needs no new memory from the kernel.
    final_segment_bytes_ = segment_memory_bytes();
    final_bytes_ = memory_bytes();
    segments_.reset();
    lines_.finish();
    pages_.finish();
}

std::size_t Analysis::segment_memory_bytes() const {
    return segments_ != nullptr ? segments_->memory_bytes() : final_segment_bytes_;
}

std::size_t Analysis::memory_bytes() const {
    if (final_bytes_ != 0)
        return final_bytes_;
    return lines_.memory_bytes() + pages_.memory_bytes() + line_queue_.memory_bytes() +
           page_queue_.memory_bytes() + segment_memory_bytes() +
           (attributor_ != nullptr ? attributor_->memory_bytes() : 0) +
           (line_uses_ != nullptr ? line_uses_->memory_bytes() : 0);
}

} // namespace sgxlens
