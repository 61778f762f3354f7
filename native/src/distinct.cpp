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

Distinct distinct_of(std::span<const std::uint64_t> column) {
    if (column.size() >= Numbering::kNone)
        throw std::length_error("the column is too long");
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

std::vector<std::int64_t> places_in(std::span<const std::uint64_t> values,
                                    std::span<const std::uint64_t> column) {
    if (values.size() >= Numbering::kNone)
        throw std::length_error("there are too many values");
    Numbering numbers;
    for (const std::uint64_t value : values)
        numbers.of(value);
    std::vector<std::int64_t> places;
    places.reserve(column.size());
    for (const std::uint64_t value : column) {
        const std::uint32_t number = numbers.find(value);
        places.push_back(number == Numbering::kNone ? -1 : std::int64_t{number});
    }
    return places;
}

} // namespace sgxlens
