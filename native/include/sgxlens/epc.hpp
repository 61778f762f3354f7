// SPDX-License-Identifier: Apache-2.0
//
// What an enclave page cache does under the page visits of a recording.
//
// The time of an access is the number of visits that its enclave has started, with its own if it
// starts one. Of a page in its visit it is known when it is accessed last. A page that is evicted
// before must be loaded again: before the next visit if its last access is more than the filter's
// number of pages ahead, else after a quarter of the time in which it may be accessed.
// src/sgxlens/reuse/page_visits.py says why, and src/sgxlens/enclave/_epc_reference.py defines
// every policy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace sgxlens {

namespace epc {
struct Needs;
}

/// Which page leaves; epc_policy_names() in the same order.
enum class EpcPolicy : std::uint8_t {
    in_kernel,     ///< Linux: one list, batches from its head, a second chance for accessed pages
    out_of_tree,   ///< Intel's driver: the same with a list for each enclave, in turn
    lru,           ///< of the pages not in a visit, the one whose visit ended first
    fifo,          ///< the one loaded first
    second_chance, ///< the one loaded first that was not accessed since it was last looked at
    mru,           ///< of the pages not in a visit, the one whose visit ended last
    pinned,        ///< as lru, but the pages visited most often stay
    optimum,       ///< the one needed again last
};

std::span<const std::string_view> epc_policy_names();

/// The visits cannot be those of any recording.
class EpcVisitsError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Visits of one process, checked, with pages numbered from 0.
class EpcVisits {
  public:
    static constexpr std::uint32_t kGroupsMax = 1u << 20;

    /// A value a visit each; of a page number, of `ended` and `idle` as in PageVisit, and of the
    /// group to which loads and evictions at its start are counted. Throws EpcVisitsError.
    EpcVisits(std::span<const std::uint64_t> page, std::span<const std::uint32_t> ended,
              std::span<const std::uint32_t> idle, std::span<const std::uint32_t> group,
              std::size_t filter_page_count);

    std::size_t size() const { return page_.size(); }
    std::size_t page_count() const { return pages_.size(); }
    std::size_t group_count() const { return group_count_; }
    std::size_t filter_page_count() const { return filter_page_count_; }
    /// Numbers of the pages, by index, which is the order of their first visits.
    const std::vector<std::uint64_t> &pages() const { return pages_; }

    /// By visit: index of the page.
    const std::vector<std::uint32_t> &page() const { return page_; }
    /// By visit: how many visits before it the one started that ends when it starts; 0: none.
    const std::vector<std::uint32_t> &ended() const { return ended_; }
    /// By visit: how many visits have started at the last access in it; if it never ends, more than
    /// there are.
    const std::vector<std::uint32_t> &last() const { return last_; }
    /// By visit.
    const std::vector<std::uint32_t> &group() const { return group_; }

    /// What `optimum` asks, found once: it is the same for all sizes. Threads may share it.
    std::shared_ptr<const epc::Needs> needs(std::uint32_t replica_count) const;

  private:
    std::size_t filter_page_count_;
    std::size_t group_count_ = 0;
    std::vector<std::uint64_t> pages_;
    std::vector<std::uint32_t> page_;
    std::vector<std::uint32_t> ended_;
    std::vector<std::uint32_t> last_;
    std::vector<std::uint32_t> group_;

    mutable std::mutex finding_; // of what follows
    mutable std::shared_ptr<const epc::Needs> needs_;
    mutable std::uint32_t needs_replica_count_ = 0;
};

struct EpcSettings {
    EpcPolicy policy = EpcPolicy::in_kernel;
    /// Enclaves that do the same visits, each with pages of its own, in turn visit by visit.
    std::uint32_t replica_count = 1;
    /// in_kernel, out_of_tree: pages looked at in a batch; below how many free pages reclaiming
    /// starts, and with how many it stops.
    std::uint32_t scan_page_count = 16;
    std::uint32_t low_page_count = 32;
    std::uint32_t high_page_count = 64;
    /// pinned: the visits that are counted; of pages with as many, those visited earlier stay.
    std::size_t first_counted_visit = 0;
    std::size_t end_counted_visit = SIZE_MAX;
    bool keeps_events = false;
    /// By page index; empty: none is marked.
    std::span<const bool> is_marked;

    /// The smallest memory in which every page in a visit has room.
    std::size_t capacity_min(const EpcVisits &visits) const;
};

/// Pages that came or left, in this order.
struct EpcEvents {
    std::vector<std::uint32_t> visit; ///< at whose start
    std::vector<std::uint32_t> page;  ///< index of the page
};

struct EpcResult {
    /// By group.
    std::vector<std::uint64_t> load_count;
    std::vector<std::uint64_t> eviction_count;
    std::vector<std::uint64_t> marked_load_count; ///< loads of marked pages
    /// Empty unless asked for.
    EpcEvents loads;
    EpcEvents evictions;
};

/// A memory of each of these numbers of pages, empty at first, on several threads.
/// `is_interrupted` is asked in the calling thread every now and then; if it says so, results stay
/// away (an empty vector is returned). Throws std::invalid_argument for settings that make no
/// sense.
std::vector<EpcResult> simulate_epc(const EpcVisits &visits, const EpcSettings &settings,
                                    std::span<const std::uint64_t> capacities,
                                    unsigned thread_count,
                                    const std::function<bool()> &is_interrupted);

} // namespace sgxlens
