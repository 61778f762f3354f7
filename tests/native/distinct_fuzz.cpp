// SPDX-License-Identifier: Apache-2.0
//
// Distinct values of columns, and where values are in them.
#include "fuzz.hpp"

#include "sgxlens/distinct.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using namespace sgxlens;

constexpr std::uint64_t kSeed = 20261123;
constexpr int kRounds = 300;

bool is_right(const std::vector<std::uint64_t> &column, const Distinct &found) {
    if (!std::is_sorted(found.values.begin(), found.values.end()) ||
        found.index.size() != column.size() || found.first.size() != found.values.size())
        return false;
    for (std::size_t row = 0; row < column.size(); ++row) {
        const auto index = static_cast<std::size_t>(found.index[row]);
        if (found.values.at(index) != column[row] ||
            found.first.at(index) > static_cast<std::int64_t>(row))
            return false;
    }
    return true;
}

} // namespace

int fuzz_distinct() {
    std::mt19937_64 random(kSeed);
    for (int round = 0; round < kRounds; ++round) {
        std::vector<std::uint64_t> column(random() % 3000);
        const std::uint64_t range = random() % 3 == 0 ? ~std::uint64_t{0} : 1 + random() % 2000;
        for (std::uint64_t &value : column)
            value = random() % range;
        const Distinct found = distinct_of(column);
        if (!is_right(column, found) || Places(found.values).of(column) != found.index ||
            Places({}).of(column) != std::vector<std::int64_t>(column.size(), -1)) {
            std::fprintf(stderr, "distinct: round %d is wrong\n", round);
            return 1;
        }
    }
    std::printf("distinct: %d columns\n", kRounds);
    return 0;
}
