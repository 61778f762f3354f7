// SPDX-License-Identifier: Apache-2.0
//
// Belady's optimum (10.1147/sj.52.0078): the page that is needed again last leaves. It is the
// fewest loads with which a page is there whenever it is known to be needed. That is at the start
// of each visit, and:
//
// - whenever as many other visits as the filter has pages have started since the page was needed
//   last, as long as as many are to start before its last access;
// - before the start of the visit before which it is accessed last.
//
// No policy here does without. At the first kind of time a page that had been evicted has been
// loaded before the next visit, at the second it has been loaded again a quarter of the remaining
// time after it was evicted, at the latest.
#include "epc_simulation.hpp"

#include <bit>

namespace sgxlens::epc {

namespace {

/// A set of numbers below a bound, of which the largest is found quickly: a bit each, and above
/// every 64 bits one that says whether any of them is set.
class BitTree {
  public:
    explicit BitTree(std::size_t bound) {
        do {
            bound = (bound + 63) / 64;
            levels_.emplace_back(bound);
        } while (bound > 1);
    }
    void insert(std::size_t number) {
        for (auto &level : levels_) {
            const std::uint64_t before = level[number / 64];
            level[number / 64] = before | std::uint64_t{1} << number % 64;
            if (before != 0)
                return;
            number /= 64;
        }
    }
    void erase(std::size_t number) {
        for (auto &level : levels_) {
            level[number / 64] &= ~(std::uint64_t{1} << number % 64);
            if (level[number / 64] != 0)
                return;
            number /= 64;
        }
    }
    /// Of a set that is not empty.
    std::size_t largest() const {
        std::size_t number = 0;
        for (auto level = levels_.rbegin(); level != levels_.rend(); ++level)
            number =
                number * 64 + 63 - static_cast<std::size_t>(std::countl_zero((*level)[number]));
        return number;
    }

  private:
    std::vector<std::vector<std::uint64_t>> levels_; ///< from the bits of the numbers up
};

/// Calls `take(time)` for every time before whose visit the page of this visit is needed.
template <typename Take>
void for_each_need(const EpcVisits &visits, std::size_t number, Take take) {
    const std::size_t last = visits.last()[number];
    const std::size_t step = visits.filter_page_count();
    for (std::size_t time = number + step; time < visits.size() && last > time + step; time += step)
        take(time);
    if (last - 1 > number && last - 1 < visits.size())
        take(last - 1);
}

} // namespace

Needs needs_of(const EpcVisits &visits, std::uint32_t replica_count) {
    const std::size_t count = visits.size();
    // By visit: where those needed just before it begin in `needed`.
    std::vector<std::size_t> begins(count + 1);
    for (std::size_t number = 0; number < count; ++number)
        for_each_need(visits, number, [&](std::size_t time) { ++begins[time + 1]; });
    for (std::size_t number = 0; number < count; ++number)
        begins[number + 1] += begins[number];
    std::vector<std::uint32_t> needed(begins[count]);
    {
        std::vector<std::size_t> at = begins;
        for (std::size_t number = 0; number < count; ++number)
            for_each_need(visits, number,
                          [&](std::size_t time) { needed[at[time]++] = visits.page()[number]; });
    }
    const std::size_t access_count = (count + needed.size()) * replica_count;
    if (access_count >= Needs::kNever)
        throw std::invalid_argument("there are too many visits to find the optimum");
    Needs needs;
    needs.page.reserve(access_count);
    needs.visit.reserve(access_count);
    const auto page_count = static_cast<std::uint32_t>(visits.page_count());
    for (std::size_t number = 0; number < count; ++number)
        for (std::uint32_t replica = 0; replica < replica_count; ++replica) {
            const std::uint32_t first = replica * page_count;
            for (std::size_t i = begins[number]; i < begins[number + 1]; ++i)
                needs.page.push_back(first + needed[i]);
            needs.page.push_back(first + visits.page()[number]);
            needs.visit.resize(needs.page.size(), static_cast<std::uint32_t>(number));
        }
    needs.next.resize(access_count);
    std::vector<std::uint32_t> next_of(visits.page_count() * replica_count, Needs::kNever);
    for (std::size_t access = access_count; access-- > 0;) {
        std::uint32_t &next = next_of[needs.page[access]];
        needs.next[access] = next;
        next = static_cast<std::uint32_t>(access);
    }
    return needs;
}

EpcResult simulate_optimum(const EpcVisits &visits, const EpcSettings &settings, const Needs &needs,
                           std::size_t capacity) {
    Ledger ledger(visits, settings);
    std::vector<bool> is_resident(visits.page_count() * settings.replica_count);
    BitTree needed_at(needs.page.size()); // pages in memory by their next accesses
    std::vector<std::uint32_t> done;      // pages in memory that are not needed any more
    std::size_t resident_count = 0;
    for (std::size_t access = 0; access < needs.page.size(); ++access) {
        const std::uint32_t page = needs.page[access];
        if (is_resident[page]) {
            needed_at.erase(access);
        } else {
            ledger.load(needs.visit[access], page);
            is_resident[page] = true;
            if (resident_count < capacity) {
                ++resident_count;
            } else {
                std::uint32_t victim;
                if (!done.empty()) {
                    victim = done.back();
                    done.pop_back();
                } else {
                    const std::size_t at = needed_at.largest();
                    needed_at.erase(at);
                    victim = needs.page[at];
                }
                is_resident[victim] = false;
                ledger.evict(needs.visit[access], victim);
            }
        }
        if (needs.next[access] == Needs::kNever)
            done.push_back(page);
        else
            needed_at.insert(needs.next[access]);
    }
    return ledger.take();
}

} // namespace sgxlens::epc
