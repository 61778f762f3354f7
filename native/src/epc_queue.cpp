// SPDX-License-Identifier: Apache-2.0
//
// Policies that know when pages were loaded, and at most whether they were accessed since they were
// looked at: queues of pages.
//
// Several memories see the same visits at once: a visit to a page that is in all of them takes the
// time of one.
//
// They end: the second time round, no page that was looked at the first time is young.
#include "epc_simulation.hpp"

#include <algorithm>
#include <bit>

namespace sgxlens::epc {

namespace {

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
    QueueSimulation(const EpcVisits &visits, const EpcSettings &settings,
                    std::span<const std::uint64_t> capacities, const std::atomic<bool> &is_stopped)
        : visits_(visits), settings_(settings), is_stopped_(is_stopped),
          page_count_(static_cast<std::uint32_t>(visits.page_count())),
          filter_page_count_(visits.filter_page_count()),
          last_(visits.page_count() * settings.replica_count),
          absent_(last_.size(), ~std::uint64_t{0} >> (64 - capacities.size())),
          done_(settings.replica_count) {
        for (const std::uint64_t capacity : capacities)
            memories_.emplace_back(visits, settings, static_cast<std::size_t>(capacity));
        // A page is awaited from the next time on, for a quarter of the filter at most.
        const std::size_t delays = std::bit_ceil(filter_page_count_ / 4 + 2);
        awaited_.resize(settings.replica_count, std::vector<std::vector<Awaited>>(delays));
        awaited_counts_.resize(settings.replica_count);
    }

    std::vector<EpcResult> run() {
        const std::uint32_t *const pages = visits_.page().data();
        const std::uint32_t *const last = visits_.last().data();
        const auto count = static_cast<std::uint32_t>(visits_.size());
        const std::uint32_t replicas = settings_.replica_count;
        for (std::uint32_t number = 0; number < count; ++number) {
            if (number % kAskEvery == 0 && is_stopped_.load(std::memory_order_relaxed))
                break;
            for (std::uint32_t replica = 0; replica < replicas; ++replica) {
                if (awaited_counts_[replica] != 0)
                    load_awaited(replica, number);
                const std::uint32_t page = replica * page_count_ + pages[number];
                last_[page] = last[number];
                for (std::uint64_t absent = absent_[page]; absent != 0; absent &= absent - 1)
                    load(static_cast<std::uint32_t>(std::countr_zero(absent)), page, replica,
                         number);
                done_[replica] = number + 1;
            }
        }
        std::vector<EpcResult> results;
        for (Memory &memory : memories_)
            results.push_back(memory.ledger.take());
        return results;
    }

  private:
    static constexpr std::uint32_t kAskEvery = 1u << 16;

    struct Memory {
        Memory(const EpcVisits &visits, const EpcSettings &settings, std::size_t pages)
            : capacity(pages), ledger(visits, settings),
              looked_at(visits.page_count() * settings.replica_count) {
            const std::size_t most = std::min(capacity + 1, looked_at.size());
            if (kPolicy == EpcPolicy::out_of_tree)
                for (std::uint32_t i = 0; i < settings.replica_count; ++i)
                    queues.emplace_back(std::min(most, visits.page_count()));
            else
                queues.emplace_back(most);
        }

        std::size_t capacity;
        Ledger ledger;
        /// By page that is there: after what time; 0: not since it was loaded.
        std::vector<std::uint32_t> looked_at;
        std::vector<Queue> queues;
        std::size_t turn = 0;
        std::size_t resident_count = 0; ///< in_kernel, out_of_tree
    };
    struct Awaited {
        std::uint32_t memory;
        std::uint32_t page;
    };

    void load_awaited(std::uint32_t replica, std::uint32_t number) {
        auto &lists = awaited_[replica];
        const std::size_t at = number & (lists.size() - 1);
        // Pages that leave meanwhile are awaited later.
        for (const Awaited awaited : lists[at]) {
            --awaited_counts_[replica];
            load(awaited.memory, awaited.page, replica, number);
        }
        lists[at].clear();
    }

    void load(std::uint32_t index, std::uint32_t page, std::uint32_t replica,
              std::uint32_t number) {
        Memory &memory = memories_[index];
        memory.ledger.load(number, page);
        absent_[page] &= ~(std::uint64_t{1} << index);
        memory.looked_at[page] = 0;
        if constexpr (kPolicy == EpcPolicy::in_kernel || kPolicy == EpcPolicy::out_of_tree) {
            // The page has been allocated; it comes into the queue when it is loaded.
            ++memory.resident_count;
            if (memory.capacity - memory.resident_count < settings_.low_page_count)
                while (memory.capacity - memory.resident_count < settings_.high_page_count)
                    scan(index, number);
            memory.queues[kPolicy == EpcPolicy::out_of_tree ? replica : 0].push(page);
        } else {
            Queue &queue = memory.queues[0];
            if (queue.size() == memory.capacity) {
                std::uint32_t victim = queue.pop();
                if constexpr (kPolicy == EpcPolicy::second_chance)
                    while (is_young(memory, victim)) {
                        queue.push(victim);
                        victim = queue.pop();
                    }
                evict(index, victim, number);
            }
            queue.push(page);
        }
    }

    /// A batch of the reclaimer; it may well find nothing.
    void scan(std::uint32_t index, std::uint32_t number) {
        Memory &memory = memories_[index];
        if constexpr (kPolicy == EpcPolicy::out_of_tree) {
            do
                memory.turn = memory.turn + 1 == memory.queues.size() ? 0 : memory.turn + 1;
            while (memory.queues[memory.turn].size() == 0);
        }
        Queue &queue = memory.queues[memory.turn];
        std::size_t left = std::min<std::size_t>(queue.size(), settings_.scan_page_count);
        for (; left > 0; --left) {
            const std::uint32_t page = queue.pop();
            if (is_young(memory, page)) {
                queue.push(page);
            } else {
                --memory.resident_count;
                evict(index, page, number);
            }
        }
    }

    std::uint32_t done_of(std::uint32_t page) const {
        return settings_.replica_count == 1 ? done_[0] : done_[page / page_count_];
    }

    /// Whether it was accessed since it was last looked at; looks at it.
    bool is_young(Memory &memory, std::uint32_t page) {
        const std::uint32_t done = done_of(page);
        if (std::min(done, last_[page]) <= memory.looked_at[page])
            return false;
        memory.looked_at[page] = done;
        return true;
    }

    void evict(std::uint32_t index, std::uint32_t page, std::uint32_t number) {
        memories_[index].ledger.evict(number, page);
        absent_[page] |= std::uint64_t{1} << index;
        const std::uint32_t done = done_of(page);
        if (last_[page] <= done)
            return;
        const std::uint32_t left = last_[page] - done;
        const std::uint32_t delay = left <= filter_page_count_ ? (left - 1) / 4 : 0;
        const std::uint32_t replica = settings_.replica_count == 1 ? 0 : page / page_count_;
        auto &lists = awaited_[replica];
        lists[(done + 1 + delay) & (lists.size() - 1)].push_back({index, page});
        ++awaited_counts_[replica];
    }

    const EpcVisits &visits_;
    const EpcSettings &settings_;
    const std::atomic<bool> &is_stopped_;
    std::uint32_t page_count_;
    std::size_t filter_page_count_;
    std::vector<Memory> memories_;
    std::vector<std::uint32_t> last_;   ///< by page: last access in the latest visit
    std::vector<std::uint64_t> absent_; ///< by page: the memories that it is not in, a bit each
    /// By replica: the time of which it has made all accesses.
    std::vector<std::uint32_t> done_;
    /// By replica, and time modulo the number of lists: pages that are loaded then.
    std::vector<std::vector<std::vector<Awaited>>> awaited_;
    std::vector<std::size_t> awaited_counts_;
};

} // namespace

std::vector<EpcResult> simulate_queues(const EpcVisits &visits, const EpcSettings &settings,
                                       std::span<const std::uint64_t> capacities,
                                       const std::atomic<bool> &is_stopped) {
    const auto run = [&]<EpcPolicy kPolicy>() {
        return QueueSimulation<kPolicy>(visits, settings, capacities, is_stopped).run();
    };
    switch (settings.policy) {
    case EpcPolicy::in_kernel:
        return run.template operator()<EpcPolicy::in_kernel>();
    case EpcPolicy::out_of_tree:
        return run.template operator()<EpcPolicy::out_of_tree>();
    case EpcPolicy::fifo:
        return run.template operator()<EpcPolicy::fifo>();
    default:
        return run.template operator()<EpcPolicy::second_chance>();
    }
}

} // namespace sgxlens::epc
