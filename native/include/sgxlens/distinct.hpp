// SPDX-License-Identifier: Apache-2.0
//
// The distinct values of a long column that has few of them, as pages have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace sgxlens {

/// Numbers values from 0 in the order in which they come; at most 2^32 - 1 of them.
class Numbering {
  public:
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};

    std::uint32_t of(std::uint64_t value) {
        if (values_.size() * 2 >= slots_.size())
            grow();
        std::uint32_t &slot = slot_of(value);
        if (slot == kNone) {
            slot = static_cast<std::uint32_t>(values_.size());
            values_.push_back(value);
        }
        return slot;
    }
    /// The number of a value; kNone: it has none.
    std::uint32_t find(std::uint64_t value) const {
        return slots_.empty() ? kNone : slots_[place_of(value)];
    }
    std::size_t size() const { return values_.size(); }
    std::vector<std::uint64_t> take() { return std::move(values_); }

  private:
    std::uint32_t &slot_of(std::uint64_t value) { return slots_[place_of(value)]; }
    std::size_t place_of(std::uint64_t value) const;
    void grow();

    std::vector<std::uint32_t> slots_;
    std::vector<std::uint64_t> values_;
    unsigned shift_ = 0;
};

inline std::size_t Numbering::place_of(std::uint64_t value) const {
    // Neighbours go far apart; the upper bits depend on all bits of the value.
    std::size_t at = static_cast<std::size_t>((value * 0x9e3779b97f4a7c15u) >> shift_);
    while (slots_[at] != kNone && values_[slots_[at]] != value)
        at = (at + 1) & (slots_.size() - 1);
    return at;
}

struct Distinct {
    std::vector<std::uint64_t> values; ///< ascending
    std::vector<std::int64_t> first;   ///< for each of them where it is first
    std::vector<std::int64_t> index;   ///< for each row of the column where its value is in values
};

/// Fast where few values are distinct. Throws std::length_error for a column that is too long.
Distinct distinct_of(std::span<const std::uint64_t> column);

/// Where values are among some distinct ones.
class Places {
  public:
    /// Throws std::length_error for too many values.
    explicit Places(std::span<const std::uint64_t> values);

    /// For each row of the column where its value is; -1: nowhere.
    std::vector<std::int64_t> of(std::span<const std::uint64_t> column) const;

  private:
    Numbering numbers_;
};

} // namespace sgxlens
