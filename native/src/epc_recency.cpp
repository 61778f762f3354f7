// SPDX-License-Identifier: Apache-2.0
//
// Policies that never evict a page in its visit, and order the others by the ends of their visits.
#include "epc_simulation.hpp"

#include <algorithm>
#include <numeric>

namespace sgxlens::epc {

namespace {

/// Indices of the pages that are visited most often, of equals the one visited first.
std::vector<std::uint32_t> most_visited(const EpcVisits &visits, const EpcSettings &settings,
                                        std::size_t count) {
    std::vector<std::uint32_t> visit_counts(visits.page_count());
    const std::size_t end = std::min(settings.end_counted_visit, visits.size());
    for (std::size_t number = settings.first_counted_visit; number < end; ++number)
        ++visit_counts[visits.page()[number]];
    std::vector<std::uint32_t> pages(visits.page_count());
    std::iota(pages.begin(), pages.end(), 0u);
    std::stable_sort(pages.begin(), pages.end(), [&](std::uint32_t a, std::uint32_t b) {
        return visit_counts[a] > visit_counts[b];
    });
    pages.resize(std::min(count, pages.size()));
    return pages;
}

template <EpcPolicy kPolicy> class RecencySimulation {
  public:
    RecencySimulation(const EpcVisits &visits, const EpcSettings &settings, std::size_t capacity)
        : visits_(visits), replica_count_(settings.replica_count), capacity_(capacity),
          page_count_(static_cast<std::uint32_t>(visits.page_count())), ledger_(visits, settings),
          pages_(std::size_t{page_count_} * settings.replica_count + 1),
          end_(static_cast<std::uint32_t>(pages_.size() - 1)) {
        pages_[end_] = {end_, end_, Where::idle, false};
        if (kPolicy == EpcPolicy::pinned) {
            // What is not pinned has room for its visits.
            const std::size_t room = capacity - visits.filter_page_count() * replica_count_;
            for (const std::uint32_t page : most_visited(visits, settings, room / replica_count_))
                for (std::uint32_t replica = 0; replica < replica_count_; ++replica)
                    pages_[replica * page_count_ + page].is_pinned = true;
        }
    }

    EpcResult run() {
        const std::uint32_t *const pages = visits_.page().data();
        const std::uint32_t *const ended = visits_.ended().data();
        const auto count = static_cast<std::uint32_t>(visits_.size());
        for (std::uint32_t number = 0; number < count; ++number)
            for (std::uint32_t first = 0, replica = 0; replica < replica_count_;
                 ++replica, first += page_count_) {
                start(number, first + pages[number]);
                if (ended[number] != 0)
                    end(first + pages[number - ended[number]]);
                if (resident_count_ > capacity_) {
                    const std::uint32_t victim =
                        kPolicy == EpcPolicy::mru ? pages_[end_].previous : pages_[end_].next;
                    unlink(victim);
                    pages_[victim].where = Where::absent;
                    --resident_count_;
                    ledger_.evict(number, victim);
                }
            }
        return ledger_.take();
    }

  private:
    enum class Where : std::uint8_t { absent, in_visit, idle };
    struct Page {
        std::uint32_t previous = 0;
        std::uint32_t next = 0;
        Where where = Where::absent;
        bool is_pinned = false;
    };

    void start(std::uint32_t number, std::uint32_t page) {
        const Where where = pages_[page].where;
        if (where == Where::absent) {
            ledger_.load(number, page);
            ++resident_count_;
        } else if (where == Where::idle && !is_pinned(page)) {
            unlink(page);
        }
        pages_[page].where = Where::in_visit;
    }

    void end(std::uint32_t page) {
        Page &left = pages_[page];
        left.where = Where::idle;
        if (is_pinned(page))
            return;
        left.previous = pages_[end_].previous;
        left.next = end_;
        pages_[left.previous].next = page;
        pages_[end_].previous = page;
    }

    bool is_pinned(std::uint32_t page) const {
        return kPolicy == EpcPolicy::pinned && pages_[page].is_pinned;
    }

    void unlink(std::uint32_t page) {
        pages_[pages_[page].previous].next = pages_[page].next;
        pages_[pages_[page].next].previous = pages_[page].previous;
    }

    const EpcVisits &visits_;
    std::uint32_t replica_count_;
    std::size_t capacity_;
    std::uint32_t page_count_;
    Ledger ledger_;
    /// The last element ties the list of those that may leave: its next is the one whose visit
    /// ended first.
    std::vector<Page> pages_;
    std::uint32_t end_;
    std::size_t resident_count_ = 0;
};

} // namespace

EpcResult simulate_recency(const EpcVisits &visits, const EpcSettings &settings,
                           std::size_t capacity) {
    switch (settings.policy) {
    case EpcPolicy::mru:
        return RecencySimulation<EpcPolicy::mru>(visits, settings, capacity).run();
    case EpcPolicy::pinned:
        return RecencySimulation<EpcPolicy::pinned>(visits, settings, capacity).run();
    default:
        return RecencySimulation<EpcPolicy::lru>(visits, settings, capacity).run();
    }
}

} // namespace sgxlens::epc
