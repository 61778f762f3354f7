// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/attributor.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>
#include <unordered_map>

namespace sgxlens {

namespace {

/// Contexts that are kept for phases: as many as there can be (Analysis), and a few more.
constexpr std::size_t kContextsForPhases = 20'100;

/// Memory is looked at anew after each of so many runs of the model: a runtime may plan its memory
/// in the first one, and use it from the second one on. Then it stays as it is.
constexpr unsigned kFoundRunsMax = 3;

/// Lines that are used alike must follow each other in this number to make an extent: 1 KiB. What
/// is smaller is not told from the runtime's own structures.
constexpr std::uint64_t kFoundLinesMin = 16;

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// Whether a name is `word`, alone or with a number: "inference", "Inference 2", not "inferences".
/// As in sgxlens/recording/phase_names.py.
bool is_called(std::string_view name, std::string_view word) {
    if (name.size() < word.size() || (name.size() > word.size() && is_letter(name[word.size()])))
        return false;
    return std::equal(word.begin(), word.end(), name.begin(),
                      [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); });
}

} // namespace

/// What the thread of a stack works with. The attributor itself is another thread's.
struct Attributor::Side : BlockObserver {
    virtual void begin(ContextNumber next, bool starts_span) {
        context = next;
        (void)starts_span;
    }

    ContextNumber context = 0;
    std::vector<ContextCounts> counts;
    std::vector<SourceCount> taken; ///< scratch
};

struct Attributor::Lines final : Side {
    explicit Lines(const Regions &r) : regions(r) {}
    void begin(ContextNumber next, bool starts_span) override {
        Side::begin(next, starts_span);
        known = {};
        if (starts_span)
            uses.begin_span();
        uses.begin_context(next);
    }
    RegionNumber region_of(std::uint64_t block) override {
        for (const RangeMap::Range &range : known)
            if (block - range.first < range.end - range.first)
                return range.region;
        RangeMap::Range &range = known[known_next++ % known.size()];
        range = regions.at(block);
        return range.region;
    }
    void note(std::uint64_t block, unsigned classes) override { uses.note(block, classes); }
    void visit(std::uint64_t, unsigned) override {}
    void renumbered() override {}

    const Regions &regions;
    PageUses uses;
    /// That lines were looked up in lately; forgotten with each context.
    std::array<RangeMap::Range, 4> known{};
    std::size_t known_next = 0;
};

struct Attributor::Pages final : Side {
    Pages(const Regions &r, const ReuseStack &stack, const StackQueue &q)
        : regions(r), queue(q),
          visits([&stack](std::uint64_t page) { return stack.last_time(page); }) {}
    RegionNumber region_of(std::uint64_t block) override { return regions.of_page(block); }
    void note(std::uint64_t block, unsigned classes) override { visits.note(block, classes); }
    void visit(std::uint64_t block, unsigned access_class) override {
        visits.start(block, access_class, context, queue.position());
    }
    void renumbering() override { visits.renumbering(); }
    void renumbered() override { visits.renumbered(); }

    const Regions &regions;
    const StackQueue &queue;
    PageVisits visits;
};

Attributor::Attributor(ReuseStack &lines, ReuseStack &pages, StackQueue &line_queue,
                       StackQueue &page_queue, LineUses *line_uses)
    : line_queue_(line_queue), page_queue_(page_queue), line_uses_(line_uses),
      lines_(std::make_unique<Lines>(regions_)),
      pages_(std::make_unique<Pages>(regions_, pages, page_queue)) {
    lines.attribute(*lines_);
    pages.attribute(*pages_, PageVisits::kFilterPageCount);
}

Attributor::~Attributor() = default;

bool Attributor::contexts_are_scarce() const {
    return contexts_.size() + kContextsForPhases >= kContextsMax;
}

void Attributor::end_side(ReuseStack &stack, const std::uint64_t *words, std::size_t) {
    Side &side = *reinterpret_cast<Side *>(static_cast<std::uintptr_t>(words[0]));
    stack.end_context(side.taken);
    // Copied, so that what is kept takes no more memory than it needs.
    if (!side.taken.empty())
        side.counts.push_back({side.context, {side.taken.begin(), side.taken.end()}});
    side.taken.clear();
}

void Attributor::begin_side(ReuseStack &stack, const std::uint64_t *words, std::size_t) {
    Side &side = *reinterpret_cast<Side *>(static_cast<std::uintptr_t>(words[0]));
    const auto context = static_cast<ContextNumber>(words[1]);
    side.begin(context, words[2] != 0);
    stack.begin_context(context);
}

void Attributor::end_context(std::uint64_t position) {
    if (context_ == kContextsMax)
        return;
    Context &context = contexts_[context_];
    context.line_access_count += position - context_position_;
    context.end_position = position;
    *line_queue_.begin(end_side, 1, position) =
        reinterpret_cast<std::uintptr_t>(static_cast<Side *>(lines_.get()));
    line_queue_.end();
    *page_queue_.begin(end_side, 1, position) =
        reinterpret_cast<std::uintptr_t>(static_cast<Side *>(pages_.get()));
    page_queue_.end();
    context_ = kContextsMax;
}

void Attributor::enter_context(std::uint64_t position, bool starts_span) {
    const auto known = std::find_if(span_contexts_.begin(), span_contexts_.end(),
                                    [this](auto &entry) { return entry.first == thread_; });
    if (known != span_contexts_.end()) {
        context_ = known->second;
    } else {
        context_ = static_cast<ContextNumber>(contexts_.size());
        contexts_.push_back({position, position, 0, 0, phase_, span_, thread_});
        span_contexts_.emplace_back(thread_, context_);
    }
    context_position_ = position;
    if (line_uses_ != nullptr) {
        if (starts_span)
            line_uses_->begin_span();
        line_uses_->begin_context(context_);
    }
    const auto begin = [&](StackQueue &queue, Side *side) {
        std::uint64_t *const words = queue.begin(begin_side, 3, position);
        words[0] = reinterpret_cast<std::uintptr_t>(side);
        words[1] = context_;
        words[2] = starts_span;
        queue.end();
    };
    begin(line_queue_, lines_.get());
    begin(page_queue_, pages_.get());
}

void Attributor::begin_span(std::uint64_t position, bool always) {
    span_position_ = position;
    if (!always && contexts_are_scarce()) {
        ++dropped_span_count_;
        return;
    }
    end_context(position);
    if (span_started_)
        ++span_;
    span_started_ = true;
    span_contexts_.clear();
    enter_context(position, true);
}

void Attributor::begin_phase(std::uint64_t position, std::uint32_t phase, const std::string &name) {
    const std::size_t row_count = page_uses().rows().size();
    const bool is_inference = is_called(name, "inference");
    if (phase_is_run_ && phase_rows_ < row_count) {
        run_rows_ = {phase_rows_, row_count};
        ++run_count_;
    }
    if (is_inference && run_count_ > found_run_count_ && run_count_ <= kFoundRunsMax) {
        find_regions(position);
        found_run_count_ = run_count_;
    }
    phase_is_run_ = is_inference || is_called(name, "warm-up") || is_called(name, "warmup");
    phase_rows_ = row_count;
    phase_ = phase;
    begin_span(position, true);
}

void Attributor::switch_thread(std::uint64_t position, std::uint32_t thread) {
    if (thread == thread_)
        return;
    thread_ = thread;
    if (context_ == kContextsMax)
        return;
    const bool is_known = std::any_of(span_contexts_.begin(), span_contexts_.end(),
                                      [this](auto &entry) { return entry.first == thread_; });
    if (!is_known && contexts_are_scarce()) {
        // What it does is counted as the other thread's.
        ++dropped_span_count_;
        return;
    }
    end_context(position);
    enter_context(position, false);
}

void Attributor::regions_changed(std::uint64_t position) {
    if (context_ == kContextsMax)
        return;
    end_context(position);
    enter_context(position, false);
}

/// Tells apart what a model's run only reads and what it writes, line by line, from its last run.
void Attributor::find_regions(std::uint64_t position) {
    const RowLog<PageUse> &rows = page_uses().rows();
    std::vector<std::size_t> order(run_rows_.second - run_rows_.first);
    std::iota(order.begin(), order.end(), run_rows_.first);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return rows[a].page < rows[b].page; });
    std::unordered_map<std::uint64_t, std::uint64_t> written_before;
    for (std::size_t row = 0; row < run_rows_.first; ++row)
        if (rows[row].written_lines != 0)
            written_before[rows[row].page] |= rows[row].written_lines;
    // Threads share the work of a span: what they use belongs together.
    const auto leader = [this](ContextNumber context) {
        while (context > 0 && contexts_[context - 1].span == contexts_[context].span)
            --context;
        return context;
    };

    // What was found before of the same memory no longer holds. What the same operator uses is the
    // same region in every run, as far as spans correspond.
    const ContextNumber first_context = leader(rows[run_rows_.first].context);
    for (const std::size_t row : order)
        regions_.forget_found(position, rows[row].page << 6, (rows[row].page + 1) << 6);

    struct Run {
        std::uint64_t first = 0;
        std::uint64_t end = 0;
        RegionKind kind = RegionKind::unmapped;
        ContextNumber owner = kContextsMax;
    } run;
    const auto end_run = [&]() {
        if (run.end - run.first >= kFoundLinesMin)
            regions_.found(position, run.first, run.end, run.kind,
                           contexts_[run.owner].span - contexts_[first_context].span, run.owner);
        run = {};
    };
    for (std::size_t i = 0; i < order.size();) {
        const std::uint64_t page = rows[order[i]].page;
        std::uint64_t written = 0;
        std::uint64_t used = 0;
        std::uint64_t fetched = 0;
        std::uint64_t shared = 0; ///< accessed in several spans
        std::array<ContextNumber, 64> writers;
        std::array<ContextNumber, 64> users;
        for (; i < order.size() && rows[order[i]].page == page; ++i) {
            const PageUse &row = rows[order[i]];
            const ContextNumber owner = leader(row.context);
            for (unsigned line = 0; line < 64; ++line) {
                const std::uint64_t bit = std::uint64_t{1} << line;
                if (row.written_lines & ~written & bit)
                    writers[line] = owner;
                if (row.lines & ~used & bit)
                    users[line] = owner;
                else if ((row.lines & bit) != 0 && users[line] != owner)
                    shared |= bit;
            }
            written |= row.written_lines;
            used |= row.lines;
            fetched |= row.fetched_lines;
        }
        const RegionKind mapped = regions_.mapped_kind(page << 6);
        if (mapped != RegionKind::anonymous && mapped != RegionKind::heap)
            continue;
        const auto before = written_before.find(page);
        const std::uint64_t known = before == written_before.end() ? 0 : before->second;
        for (unsigned line = 0; line < 64; ++line) {
            const std::uint64_t bit = std::uint64_t{1} << line;
            const std::uint64_t number = page << 6 | line;
            const bool is_written = (written & bit) != 0;
            const bool is_constant = (used & known & ~written & bit) != 0;
            if ((fetched & bit) != 0 || (!is_written && !is_constant))
                continue;
            const RegionKind kind = !is_written           ? RegionKind::constant
                                    : (shared & bit) != 0 ? RegionKind::produced
                                                          : RegionKind::scratch;
            const ContextNumber owner = is_written ? writers[line] : users[line];
            if (number != run.end || kind != run.kind || owner != run.owner) {
                end_run();
                run = {number, number, kind, owner};
            }
            ++run.end;
        }
    }
    end_run();
}

void Attributor::finish() {
    pages_->visits.finish();
    for (const ContextCounts &counts : pages_->counts)
        for (const SourceCount &count : counts.counts)
            contexts_[counts.context].page_access_count += count.count;
}

const PageUses &Attributor::page_uses() const {
    return lines_->uses;
}

const PageVisits &Attributor::page_visits() const {
    return pages_->visits;
}

const std::vector<ContextCounts> &Attributor::counts(Granularity granularity) const {
    return granularity == Granularity::line ? lines_->counts : pages_->counts;
}

std::size_t Attributor::memory_bytes() const {
    std::size_t bytes = contexts_.capacity() * sizeof contexts_[0] + regions_.memory_bytes() +
                        page_uses().memory_bytes() + page_visits().memory_bytes();
    for (const Granularity granularity : {Granularity::line, Granularity::page})
        for (const ContextCounts &of_context : counts(granularity))
            bytes += sizeof of_context + of_context.counts.capacity() * sizeof(SourceCount);
    return bytes;
}

} // namespace sgxlens
