// SPDX-License-Identifier: Apache-2.0
//
// What the policies have in common. A page of one of several replicas is numbered by the replica
// times the number of pages, plus its index.
#pragma once

#include "sgxlens/epc.hpp"

#include <atomic>

namespace sgxlens::epc {

/// Counts what comes and leaves.
class Ledger {
  public:
    Ledger(const EpcVisits &visits, const EpcSettings &settings)
        : group_(visits.group().data()),
          is_marked_(settings.is_marked.empty() ? nullptr : settings.is_marked.data()),
          page_count_(static_cast<std::uint32_t>(visits.page_count())),
          keeps_events_(settings.keeps_events) {
        result_.load_count.resize(visits.group_count());
        result_.eviction_count.resize(visits.group_count());
        result_.marked_load_count.resize(visits.group_count());
    }
    void load(std::uint32_t visit, std::uint32_t page) {
        ++result_.load_count[group_[visit]];
        if (is_marked_ != nullptr)
            result_.marked_load_count[group_[visit]] += is_marked_[page % page_count_];
        if (keeps_events_)
            append(result_.loads, visit, page);
    }
    void evict(std::uint32_t visit, std::uint32_t page) {
        ++result_.eviction_count[group_[visit]];
        if (keeps_events_)
            append(result_.evictions, visit, page);
    }
    EpcResult take() { return std::move(result_); }

  private:
    void append(EpcEvents &events, std::uint32_t visit, std::uint32_t page) const {
        events.visit.push_back(visit);
        events.page.push_back(page % page_count_);
    }

    const std::uint32_t *group_;
    const bool *is_marked_;
    std::uint32_t page_count_;
    bool keeps_events_;
    EpcResult result_;
};

/// The accesses that a memory must serve whatever its policy is, as far as they are known, in the
/// order in which it serves them.
struct Needs {
    static constexpr std::uint32_t kNever = ~std::uint32_t{0};

    std::vector<std::uint32_t> page;
    std::vector<std::uint32_t> visit; ///< by access: at or just before whose start it is
    std::vector<std::uint32_t> next;  ///< by access: the next one to the same page, or kNever
};

Needs needs_of(const EpcVisits &visits, std::uint32_t replica_count);

/// As many memories at once as `kMemoriesMax`; ends early, with any result, when it is to stop.
std::vector<EpcResult> simulate_queues(const EpcVisits &visits, const EpcSettings &settings,
                                       std::span<const std::uint64_t> capacities,
                                       const std::atomic<bool> &is_stopped);
constexpr std::size_t kMemoriesMax = 64;
EpcResult simulate_recency(const EpcVisits &visits, const EpcSettings &settings,
                           std::size_t capacity);
EpcResult simulate_optimum(const EpcVisits &visits, const EpcSettings &settings, const Needs &needs,
                           std::size_t capacity);

} // namespace sgxlens::epc
