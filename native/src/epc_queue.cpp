// SPDX-License-Identifier: Apache-2.0
//
// Policies that know when pages were loaded, and at most whether they were accessed since they were
// looked at: queues of pages.
//
// They end: of each enclave at most as many pages are in a visit as the filter has, and there is
// room for all of those and more (EpcSettings::capacity_min), so that the second time round a queue
// has a page that is not young.
#include "epc_simulation.hpp"

#include <algorithm>
#include <bit>

namespace sgxlens::epc {

namespace {

constexpr std::uint32_t kAbsent = ~std::uint32_t{0};

class Queue {
  public:
    explicit Queue(std::size_t page_count)
        : pages_(std::bit_ceil(std::max<std::size_t>(page_count, 1))), mask_(pages_.size() - 1) {}
    std::size_t size() const { return tail_ - head_; }
    void push(std::uint32_t page) { pages_[tail_++ & mask_] = page; }
    std::uint32_t pop() { return pages_[head_++ & mask_]; }

  private:
    std::vector<std::uint32_t> pages_;
    std::size_t mask_;
    std::size_t head_ = 0;
    std::size_t tail_ = 0;
};

template <EpcPolicy kPolicy> class QueueSimulation {
  public:
    QueueSimulation(const EpcVisits &visits, const EpcSettings &settings, std::size_t capacity)
        : visits_(visits), settings_(settings), capacity_(capacity),
          page_count_(static_cast<std::uint32_t>(visits.page_count())),
          filter_page_count_(visits.filter_page_count()), ledger_(visits, settings.keeps_events),
          states_(visits.page_count() * settings.replica_count), now_(settings.replica_count) {
        const std::size_t most = std::min(capacity + 1, states_.size());
        if (kPolicy == EpcPolicy::out_of_tree)
            for (std::uint32_t i = 0; i < settings.replica_count; ++i)
                queues_.emplace_back(std::min(most, visits.page_count()));
        else
            queues_.emplace_back(most);
        // A page is awaited for a quarter of the filter at most.
        const std::size_t delays = std::bit_ceil(filter_page_count_ / 4 + 1);
        awaited_.resize(settings.replica_count, std::vector<std::vector<std::uint32_t>>(delays));
        awaited_counts_.resize(settings.replica_count);
    }

    EpcResult run() {
        const std::uint32_t *const pages = visits_.page().data();
        const std::uint32_t *const last = visits_.last().data();
        const auto count = static_cast<std::uint32_t>(visits_.size());
        const std::uint32_t replicas = settings_.replica_count;
        for (std::uint32_t number = 0; number < count; ++number) {
            for (std::uint32_t replica = 0; replica < replicas; ++replica) {
                if (awaited_counts_[replica] != 0)
                    load_awaited(replica, number);
                now_[replica] = number + 1;
                const std::uint32_t page = replica * page_count_ + pages[number];
                State &state = states_[page];
                state.last = last[number];
                if (state.looked_at == kAbsent)
                    load(page, replica, number);
            }
        }
        return ledger_.take();
    }

  private:
    struct State {
        std::uint32_t last = 0;            ///< last access in the latest visit
        std::uint32_t looked_at = kAbsent; ///< when the page was last taken to be not accessed
    };

    void load_awaited(std::uint32_t replica, std::uint32_t number) {
        auto &lists = awaited_[replica];
        const std::size_t at = number & (lists.size() - 1);
        // Loading may add to the list.
        for (std::size_t i = 0; i < lists[at].size(); ++i) {
            --awaited_counts_[replica];
            load(lists[at][i], replica, number);
        }
        lists[at].clear();
    }

    void load(std::uint32_t page, std::uint32_t replica, std::uint32_t number) {
        ledger_.load(number, page);
        // The access for which the page is loaded counts.
        states_[page].looked_at = now_[replica] - 1;
        if constexpr (kPolicy == EpcPolicy::in_kernel || kPolicy == EpcPolicy::out_of_tree) {
            queues_[kPolicy == EpcPolicy::out_of_tree ? replica : 0].push(page);
            ++resident_count_;
            if (capacity_ - resident_count_ < settings_.low_page_count)
                while (capacity_ - resident_count_ < settings_.high_page_count)
                    scan(number);
        } else {
            Queue &queue = queues_[0];
            if (queue.size() == capacity_) {
                std::uint32_t victim = queue.pop();
                if constexpr (kPolicy == EpcPolicy::second_chance)
                    while (is_young(victim)) {
                        queue.push(victim);
                        victim = queue.pop();
                    }
                evict(victim, number);
            }
            queue.push(page);
        }
    }

    /// A batch of the reclaimer; it may well find nothing.
    void scan(std::uint32_t number) {
        if constexpr (kPolicy == EpcPolicy::out_of_tree) {
            do
                turn_ = turn_ + 1 == queues_.size() ? 0 : turn_ + 1;
            while (queues_[turn_].size() == 0);
        }
        Queue &queue = queues_[turn_];
        std::size_t left = std::min<std::size_t>(queue.size(), settings_.scan_page_count);
        for (; left > 0; --left) {
            const std::uint32_t page = queue.pop();
            if (is_young(page)) {
                queue.push(page);
            } else {
                --resident_count_;
                evict(page, number);
            }
        }
    }

    std::uint32_t now_of(std::uint32_t page) const {
        return settings_.replica_count == 1 ? now_[0] : now_[page / page_count_];
    }

    /// Whether it was accessed since it was last looked at; looks at it.
    bool is_young(std::uint32_t page) {
        State &state = states_[page];
        if (state.last <= state.looked_at)
            return false;
        state.looked_at = now_of(page);
        return true;
    }

    void evict(std::uint32_t page, std::uint32_t number) {
        ledger_.evict(number, page);
        State &state = states_[page];
        state.looked_at = kAbsent;
        const std::uint32_t now = now_of(page);
        if (state.last <= now)
            return;
        const std::uint32_t rest = state.last - now;
        const std::uint32_t delay = rest <= filter_page_count_ ? rest / 4 : 0;
        const std::uint32_t replica = settings_.replica_count == 1 ? 0 : page / page_count_;
        auto &lists = awaited_[replica];
        lists[(now + delay) & (lists.size() - 1)].push_back(page);
        ++awaited_counts_[replica];
    }

    const EpcVisits &visits_;
    const EpcSettings &settings_;
    std::size_t capacity_;
    std::uint32_t page_count_;
    std::size_t filter_page_count_;
    Ledger ledger_;
    std::vector<State> states_;
    std::vector<Queue> queues_;
    std::size_t turn_ = 0;
    std::size_t resident_count_ = 0; ///< in_kernel, out_of_tree
    /// By replica: visits that have started.
    std::vector<std::uint32_t> now_;
    /// By replica, and time modulo the number of lists: pages that are loaded then.
    std::vector<std::vector<std::vector<std::uint32_t>>> awaited_;
    std::vector<std::size_t> awaited_counts_;
};

} // namespace

EpcResult simulate_queue(const EpcVisits &visits, const EpcSettings &settings,
                         std::size_t capacity) {
    switch (settings.policy) {
    case EpcPolicy::in_kernel:
        return QueueSimulation<EpcPolicy::in_kernel>(visits, settings, capacity).run();
    case EpcPolicy::out_of_tree:
        return QueueSimulation<EpcPolicy::out_of_tree>(visits, settings, capacity).run();
    case EpcPolicy::fifo:
        return QueueSimulation<EpcPolicy::fifo>(visits, settings, capacity).run();
    default:
        return QueueSimulation<EpcPolicy::second_chance>(visits, settings, capacity).run();
    }
}

} // namespace sgxlens::epc
