// SPDX-License-Identifier: Apache-2.0
//
// Simulated enclave page caches: on visits of made-up accesses, and on damaged ones. Whatever the
// policy, a page comes only when it is not there, and leaves only when it is.
#include "fuzz.hpp"

#include "sgxlens/epc.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <list>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace {

using namespace sgxlens;
using Random = std::mt19937_64;

constexpr std::uint64_t kSeed = 20261123;
constexpr int kRounds = 400;

struct Columns {
    std::vector<std::uint64_t> page;
    std::vector<std::uint32_t> ended;
    std::vector<std::uint32_t> idle;
    std::vector<std::uint32_t> group;
};

Columns make_visits(Random &random, std::size_t filter_page_count) {
    struct Held {
        std::uint64_t page;
        std::size_t visit;
        std::size_t started;
    };
    Columns columns;
    std::list<Held> held; // the page accessed last first
    const std::uint64_t pages = 1 + random() % 200;
    const std::size_t accesses = random() % 3000;
    for (std::size_t i = 0; i < accesses; i++) {
        const std::uint64_t page =
            (random() % 4 == 0 ? random() % pages : (i / 3 + random() % 8) % pages) * 0x10001;
        const auto found = std::find_if(held.begin(), held.end(),
                                        [page](const Held &one) { return one.page == page; });
        if (found != held.end()) {
            found->started = columns.page.size();
            held.splice(held.begin(), held, found);
            continue;
        }
        const std::size_t number = columns.page.size();
        columns.page.push_back(page);
        columns.ended.push_back(0);
        columns.idle.push_back(0);
        columns.group.push_back(static_cast<std::uint32_t>(random() % 5));
        if (held.size() == filter_page_count) {
            columns.ended.back() = static_cast<std::uint32_t>(number - held.back().visit);
            columns.idle.back() = static_cast<std::uint32_t>(number + 1 - held.back().started);
            held.pop_back();
        }
        held.push_front({page, number, number + 1});
    }
    return columns;
}

void damage(Random &random, Columns &columns) {
    for (std::uint64_t i = 1 + random() % 3; i > 0 && !columns.page.empty(); i--) {
        const std::size_t at = random() % columns.page.size();
        const std::uint32_t value =
            static_cast<std::uint32_t>(random() % 3 == 0 ? random() : random() % 20);
        switch (random() % 4) {
        case 0:
            columns.page[at] =
                random() % 2 == 0 ? columns.page[value % columns.page.size()] : value;
            break;
        case 1:
            columns.ended[at] = value;
            break;
        case 2:
            columns.idle[at] = value;
            break;
        default:
            columns.group[at] = value;
        }
    }
}

/// Loads and evictions in their order: at the start of one visit those of either kind may mix, but
/// of one page they take turns. With replicas, as many of a page may be there.
bool is_possible(const EpcVisits &visits, const EpcSettings &settings, std::uint64_t capacity,
                 const EpcResult &result) {
    const auto sum = [](const std::vector<std::uint64_t> &counts) {
        return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    };
    const std::size_t loads = result.loads.visit.size();
    const std::size_t evictions = result.evictions.visit.size();
    if (sum(result.load_count) != loads || sum(result.eviction_count) != evictions ||
        loads < evictions || loads - evictions > capacity)
        return false;
    std::vector<std::int64_t> there(visits.page_count());
    std::size_t evicted = 0;
    for (std::size_t loaded = 0; loaded < loads; loaded++) {
        const std::uint32_t visit = result.loads.visit[loaded];
        for (; evicted < evictions && result.evictions.visit[evicted] < visit; evicted++)
            if (--there.at(result.evictions.page[evicted]) < 0)
                return false;
        // In this visit it may have left already, for another.
        const std::int64_t may_leave = std::count(
            result.evictions.page.begin() + static_cast<std::ptrdiff_t>(evicted),
            std::upper_bound(result.evictions.visit.begin(), result.evictions.visit.end(), visit) -
                result.evictions.visit.begin() + result.evictions.page.begin(),
            result.loads.page[loaded]);
        if (++there.at(result.loads.page[loaded]) >
            static_cast<std::int64_t>(settings.replica_count) + may_leave)
            return false;
    }
    for (; evicted < evictions; evicted++)
        if (--there.at(result.evictions.page[evicted]) < 0)
            return false;
    return true;
}

bool simulate_all(Random &random, const EpcVisits &visits) {
    EpcSettings settings;
    settings.replica_count = 1 + static_cast<std::uint32_t>(random() % 3);
    settings.scan_page_count = 1 + static_cast<std::uint32_t>(random() % 20);
    settings.low_page_count = 1 + static_cast<std::uint32_t>(random() % 8);
    settings.high_page_count = settings.low_page_count + static_cast<std::uint32_t>(random() % 8);
    settings.first_counted_visit = random() % 100;
    settings.keeps_events = true;
    const auto marks = std::make_unique<bool[]>(visits.page_count());
    for (std::size_t page = 0; page < visits.page_count(); page++)
        marks[page] = random() % 2 == 0;
    settings.is_marked = {marks.get(), visits.page_count()};
    std::vector<std::uint64_t> optimum_loads;
    const std::uint64_t least = settings.capacity_min(visits);
    const std::uint64_t capacities[] = {least, least + random() % 50, least + random() % 400};
    for (std::size_t policy = epc_policy_names().size(); policy-- > 0;) {
        settings.policy = static_cast<EpcPolicy>(policy);
        const auto results =
            simulate_epc(visits, settings, capacities, 1 + random() % 3, [] { return false; });
        for (std::size_t i = 0; i < std::size(capacities); i++) {
            if (!is_possible(visits, settings, capacities[i], results.at(i)))
                return false;
            const std::uint64_t loads = results[i].loads.visit.size();
            if (settings.policy == EpcPolicy::optimum)
                optimum_loads.push_back(loads);
            else if (loads < optimum_loads[i])
                return false;
        }
    }
    return true;
}

/// A sweep stops when it is asked to.
bool stops(const EpcVisits &visits) {
    const std::vector<std::uint64_t> capacities(20'000, visits.filter_page_count() + 1);
    EpcSettings settings;
    settings.policy = EpcPolicy::optimum;
    int asked = 0;
    const auto results =
        simulate_epc(visits, settings, capacities, 2, [&] { return ++asked == 2; });
    return asked == 2 && results.empty();
}

} // namespace

int fuzz_epc() {
    Random random(kSeed);
    int refused = 0;
    for (int round = 0; round < kRounds; round++) {
        const std::size_t filter_page_count = 1 + random() % 40;
        Columns columns = make_visits(random, filter_page_count);
        const bool is_damaged = round % 2 == 1;
        if (is_damaged)
            damage(random, columns);
        try {
            const EpcVisits visits(columns.page, columns.ended, columns.idle, columns.group,
                                   filter_page_count);
            if (!simulate_all(random, visits)) {
                std::printf("round %d: an EPC did what cannot be\n", round);
                return EXIT_FAILURE;
            }
        } catch (const EpcVisitsError &error) {
            if (!is_damaged) {
                std::printf("round %d: good visits are refused: %s\n", round, error.what());
                return EXIT_FAILURE;
            }
            refused++;
        }
    }
    Columns columns;
    while (columns.page.size() < 1000)
        columns = make_visits(random, 4);
    if (!stops(EpcVisits(columns.page, columns.ended, columns.idle, columns.group, 4))) {
        std::printf("a sweep goes on though it was to stop\n");
        return EXIT_FAILURE;
    }
    std::printf("%d simulated page visits, %d of them refused\n", kRounds, refused);
    return EXIT_SUCCESS;
}
