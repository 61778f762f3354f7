// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/distinct.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace sgxlens {

void Numbering::grow() {
    slots_.assign(std::max<std::size_t>(slots_.size() * 2, 1024), kNone);
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(slots_.size()));
    for (std::uint32_t number = 0; number < values_.size(); ++number)
        slot_of(values_[number]) = number;
}

namespace {

constexpr std::uint64_t kSmallFactor = 4;

/// Where values are numbers below a few times as many as there are rows: a table of all of them.
Distinct distinct_small(std::span<const std::uint64_t> column, std::uint64_t largest) {
    constexpr std::int64_t kNowhere = -1;
    std::vector<std::int64_t> rank(static_cast<std::size_t>(largest) + 1, kNowhere);
    Distinct found;
    for (const std::uint64_t value : column)
        rank[value] = 0;
    for (std::uint64_t value = 0; value < rank.size(); ++value)
        if (rank[value] != kNowhere) {
            rank[value] = static_cast<std::int64_t>(found.values.size());
            found.values.push_back(value);
        }
    found.first.assign(found.values.size(), kNowhere);
    found.index.resize(column.size());
    for (std::size_t row = 0; row < column.size(); ++row) {
        const std::int64_t index = rank[column[row]];
        found.index[row] = index;
        std::int64_t &first = found.first[static_cast<std::size_t>(index)];
        if (first == kNowhere)
            first = static_cast<std::int64_t>(row);
    }
    return found;
}

} // namespace

Distinct distinct_of(std::span<const std::uint64_t> column) {
    if (column.size() >= Numbering::kNone)
        throw std::length_error("the column is too long");
    const std::uint64_t largest =
        column.empty() ? 0 : *std::max_element(column.begin(), column.end());
    if (largest / kSmallFactor < column.size())
        return distinct_small(column, largest);
    Distinct found;
    found.index.resize(column.size());
    std::vector<std::int64_t> first;
    Numbering numbers;
    for (std::size_t row = 0; row < column.size(); ++row) {
        const std::uint32_t number = numbers.of(column[row]);
        found.index[row] = number;
        if (number == first.size())
            first.push_back(static_cast<std::int64_t>(row));
    }
    const std::vector<std::uint64_t> values = numbers.take();
    std::vector<std::uint32_t> order(values.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return values[a] < values[b]; });
    std::vector<std::int64_t> rank(values.size());
    found.values.reserve(values.size());
    found.first.reserve(values.size());
    for (const std::uint32_t number : order) {
        rank[number] = static_cast<std::int64_t>(found.values.size());
        found.values.push_back(values[number]);
        found.first.push_back(first[number]);
    }
    for (std::int64_t &index : found.index)
        index = rank[static_cast<std::size_t>(index)];
    return found;
}

Places::Places(std::span<const std::uint64_t> values) {
    if (values.size() >= Numbering::kNone)
        throw std::length_error("there are too many values");
    for (const std::uint64_t value : values)
        numbers_.of(value);
}

std::vector<std::int64_t> Places::of(std::span<const std::uint64_t> column) const {
    std::vector<std::int64_t> places;
    places.reserve(column.size());
    for (const std::uint64_t value : column) {
        const std::uint32_t number = numbers_.find(value);
        places.push_back(number == Numbering::kNone ? -1 : std::int64_t{number});
    }
    return places;
}

} // namespace sgxlens
