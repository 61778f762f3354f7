// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/epc.hpp"

#include "epc_simulation.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

namespace sgxlens {

namespace {

constexpr std::array<std::string_view, 8> kPolicyNames{
    "linux", "out_of_tree", "lru", "fifo", "second_chance", "mru", "pinned", "optimum"};
constexpr std::chrono::milliseconds kAskEvery{50};
/// What the states of pages in memories that are simulated at once may take.
constexpr std::size_t kStatesBytesMax = std::size_t{256} << 20;
/// A second thread is worth going through the visits once more for so many memories.
constexpr std::size_t kShared = 8;

bool has_watermarks(EpcPolicy policy) {
    return policy == EpcPolicy::in_kernel || policy == EpcPolicy::out_of_tree;
}

void check(const EpcVisits &visits, const EpcSettings &settings,
           std::span<const std::uint64_t> capacities) {
    if (settings.replica_count == 0)
        throw std::invalid_argument("there is at least one replica");
    if (visits.page_count() * settings.replica_count > UINT32_MAX / 2)
        throw std::invalid_argument("there are too many pages in all replicas to number them");
    if (!settings.is_marked.empty() && settings.is_marked.size() != visits.page_count())
        throw std::invalid_argument("there is not one mark for every page");
    if (settings.scan_page_count == 0 || settings.low_page_count == 0 ||
        settings.low_page_count > settings.high_page_count)
        throw std::invalid_argument(
            "a reclaimer looks at one page at least, and keeps between `low`, at least 1, and "
            "`high` of them free");
    const std::size_t least = settings.capacity_min(visits);
    for (const std::uint64_t capacity : capacities)
        if (capacity < least)
            throw std::invalid_argument("a memory of " + std::to_string(capacity) +
                                        " pages cannot be simulated from these visits: it takes " +
                                        std::to_string(least));
}

/// Simulations of one policy at several sizes, shared by threads.
class Sweep {
  public:
    Sweep(const EpcVisits &visits, const EpcSettings &settings,
          std::span<const std::uint64_t> capacities)
        : visits_(visits), settings_(settings), capacities_(capacities),
          results_(capacities.size()) {
        if (settings.policy == EpcPolicy::optimum)
            needs_ = visits.needs(settings.replica_count);
    }

    std::vector<EpcResult> run(unsigned thread_count, const std::function<bool()> &is_interrupted) {
        divide(std::max(thread_count, 1u));
        std::vector<std::jthread> threads;
        const std::size_t count = std::min<std::size_t>(thread_count, batches_.size());
        try {
            while (threads.size() < std::max<std::size_t>(count, 1)) {
                {
                    const std::lock_guard guard(mutex_);
                    ++working_;
                }
                threads.emplace_back([this] { work(); });
            }
        } catch (...) { // no more threads can be had
            stop(std::current_exception());
            const std::lock_guard guard(mutex_);
            --working_;
        }
        wait(is_interrupted);
        for (std::jthread &thread : threads)
            thread.join();
        if (error_)
            std::rethrow_exception(error_);
        return is_stopped_ ? std::vector<EpcResult>{} : std::move(results_);
    }

  private:
    /// What is simulated at once: indices of capacities.
    using Batch = std::vector<std::size_t>;

    bool is_queue() const {
        switch (settings_.policy) {
        case EpcPolicy::lru:
        case EpcPolicy::mru:
        case EpcPolicy::pinned:
        case EpcPolicy::optimum:
            return false;
        default:
            return true;
        }
    }

    void divide(std::size_t thread_count) {
        const std::size_t count = capacities_.size();
        std::size_t batch_count = count;
        if (is_queue()) {
            const std::size_t states_bytes =
                sizeof(std::uint32_t) * visits_.page_count() * settings_.replica_count;
            const std::size_t most = std::clamp<std::size_t>(
                kStatesBytesMax / std::max<std::size_t>(states_bytes, 1), 1, epc::kMemoriesMax);
            batch_count = std::max((count + most - 1) / most,
                                   std::min(thread_count, (count + kShared - 1) / kShared));
        }
        // Every batch has small memories, which take longest, and large ones.
        batches_.resize(batch_count);
        for (std::size_t index = 0; index < count; ++index)
            batches_[index % batches_.size()].push_back(index);
    }

    void work() {
        std::unique_lock lock(mutex_);
        while (next_ < batches_.size() && !is_stopped_) {
            const Batch &batch = batches_[next_++];
            lock.unlock();
            try {
                simulate(batch);
            } catch (...) {
                stop(std::current_exception());
            }
            lock.lock();
        }
        --working_;
        finished_.notify_all();
    }

    void simulate(const Batch &batch) {
        if (is_queue()) {
            std::vector<std::uint64_t> capacities;
            for (const std::size_t index : batch)
                capacities.push_back(capacities_[index]);
            auto found = epc::simulate_queues(visits_, settings_, capacities, is_stopped_);
            for (std::size_t i = 0; i < batch.size(); ++i)
                results_[batch[i]] = std::move(found[i]);
            return;
        }
        for (const std::size_t index : batch) {
            const auto capacity = static_cast<std::size_t>(capacities_[index]);
            results_[index] = settings_.policy == EpcPolicy::optimum
                                  ? epc::simulate_optimum(visits_, settings_, *needs_, capacity)
                                  : epc::simulate_recency(visits_, settings_, capacity);
        }
    }

    void stop(std::exception_ptr error) {
        const std::lock_guard guard(mutex_);
        is_stopped_ = true;
        if (error && !error_)
            error_ = std::move(error);
    }

    void wait(const std::function<bool()> &is_interrupted) {
        std::unique_lock lock(mutex_);
        while (!finished_.wait_for(lock, kAskEvery, [this] { return working_ == 0; })) {
            lock.unlock();
            if (is_interrupted())
                stop(nullptr);
            lock.lock();
        }
    }

    const EpcVisits &visits_;
    const EpcSettings &settings_;
    std::span<const std::uint64_t> capacities_;
    std::shared_ptr<const epc::Needs> needs_; ///< of `optimum`
    std::vector<Batch> batches_;
    std::vector<EpcResult> results_;
    std::atomic<bool> is_stopped_ = false;

    std::mutex mutex_; // of what follows
    std::condition_variable finished_;
    std::size_t next_ = 0;
    std::size_t working_ = 0;
    std::exception_ptr error_;
};

} // namespace

std::span<const std::string_view> epc_policy_names() {
    return kPolicyNames;
}

std::size_t EpcSettings::capacity_min(const EpcVisits &visits) const {
    return visits.filter_page_count() * replica_count +
           (has_watermarks(policy) ? high_page_count : 0);
}

std::vector<EpcResult> simulate_epc(const EpcVisits &visits, const EpcSettings &settings,
                                    std::span<const std::uint64_t> capacities,
                                    unsigned thread_count,
                                    const std::function<bool()> &is_interrupted) {
    check(visits, settings, capacities);
    return Sweep(visits, settings, capacities).run(thread_count, is_interrupted);
}

} // namespace sgxlens
