// SPDX-License-Identifier: Apache-2.0
//
// Cuts a process's accesses into spans and contexts, and gathers what is counted for each.
#pragma once

#include "sgxlens/attribution.hpp"
#include "sgxlens/line_use.hpp"
#include "sgxlens/page_use.hpp"
#include "sgxlens/page_visits.hpp"
#include "sgxlens/regions.hpp"
#include "sgxlens/reuse_stack.hpp"
#include "sgxlens/stack_queue.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sgxlens {

struct Context {
    std::uint64_t start_position;
    std::uint64_t end_position; ///< where it left off last
    std::uint64_t line_access_count;
    std::uint64_t page_access_count;
    std::uint32_t phase;
    std::uint32_t span;
    std::uint32_t thread;
};

/// Counts of one context at one granularity.
struct ContextCounts {
    ContextNumber context;
    std::vector<SourceCount> counts;
};

/// Its members that change it only queue work for the stacks; those that tell what was found are to
/// be called when the queues are drained.
class Attributor {
  public:
    /// All of these must outlive it. Before the first access. `line_uses` is told of spans and
    /// contexts as they begin, not by way of a queue; null: there is none.
    Attributor(ReuseStack &lines, ReuseStack &pages, StackQueue &line_queue, StackQueue &page_queue,
               LineUses *line_uses);
    ~Attributor();

    /// A span starts at `position`; all accesses before have been given to the stacks. `always`:
    /// also where contexts become scarce, which are kept for phases then.
    void begin_span(std::uint64_t position, bool always);
    void begin_phase(std::uint64_t position, std::uint32_t phase, const std::string &name);
    /// Another thread runs.
    void switch_thread(std::uint64_t position, std::uint32_t thread);
    /// Blocks may be of other regions from here on.
    void regions_changed(std::uint64_t position);
    void end_phase(std::uint64_t position) { end_context(position); }
    /// No more accesses. The queues must be drained.
    void finish();

    /// A span should end that lasts since long.
    bool span_is_long(std::uint64_t position) const {
        return position - span_position_ >= kSpanAccessesMax;
    }

    Regions &regions() { return regions_; }
    const Regions &regions() const { return regions_; }
    const std::vector<Context> &contexts() const { return contexts_; }
    const std::vector<ContextCounts> &counts(Granularity granularity) const;
    const PageUses &page_uses() const;
    const PageVisits &page_visits() const;
    /// Boundaries that started no span, for want of numbers.
    std::uint64_t dropped_span_count() const { return dropped_span_count_; }
    std::size_t memory_bytes() const;

    /// A span lasts for so many line accesses at most, so that working sets of windows are known
    /// where nothing else marks boundaries.
    static constexpr std::uint64_t kSpanAccessesMax = std::uint64_t{1} << 24;

  private:
    struct Side;
    struct Lines;
    struct Pages;

    // Work of the queues.
    static void end_side(ReuseStack &stack, const std::uint64_t *words, std::size_t word_count);
    static void begin_side(ReuseStack &stack, const std::uint64_t *words, std::size_t word_count);

    void end_context(std::uint64_t position);
    void enter_context(std::uint64_t position, bool starts_span);
    bool contexts_are_scarce() const;
    void find_regions(std::uint64_t position);

    StackQueue &line_queue_;
    StackQueue &page_queue_;
    LineUses *line_uses_;
    Regions regions_;
    std::unique_ptr<Lines> lines_;
    std::unique_ptr<Pages> pages_;
    std::vector<Context> contexts_;
    /// Thread to context, of this span.
    std::vector<std::pair<std::uint32_t, ContextNumber>> span_contexts_;
    ContextNumber context_ = kContextsMax; ///< that runs; kContextsMax: none
    std::uint64_t context_position_ = 0;
    std::uint64_t span_position_ = 0;
    std::uint64_t dropped_span_count_ = 0;
    std::uint32_t span_ = 0;
    std::uint32_t phase_ = 0;
    std::uint32_t thread_ = 0;
    bool span_started_ = false;

    std::size_t phase_rows_ = 0;                     ///< first of page_uses() of the phase
    bool phase_is_run_ = false;                      ///< of a model
    std::pair<std::size_t, std::size_t> run_rows_{}; ///< of page_uses(), of the last such phase
    unsigned run_count_ = 0;
    unsigned found_run_count_ = 0;
};

} // namespace sgxlens
