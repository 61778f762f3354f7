// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/epc.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace sgxlens {

namespace {

constexpr std::uint32_t kNone = ~std::uint32_t{0};

/// Numbers pages in the order in which they come.
class PageNumbers {
  public:
    std::uint32_t of(std::uint64_t page) {
        if (pages_.size() * 2 >= slots_.size())
            grow();
        std::uint32_t &slot = slot_of(page);
        if (slot == kNone) {
            slot = static_cast<std::uint32_t>(pages_.size());
            pages_.push_back(page);
        }
        return slot;
    }
    std::vector<std::uint64_t> take() { return std::move(pages_); }

  private:
    std::uint32_t &slot_of(std::uint64_t page) {
        // Neighbours go far apart; the upper bits depend on all bits of the page.
        std::size_t at = static_cast<std::size_t>((page * 0x9e3779b97f4a7c15u) >> shift_);
        while (slots_[at] != kNone && pages_[slots_[at]] != page)
            at = (at + 1) & (slots_.size() - 1);
        return slots_[at];
    }
    void grow() {
        slots_.assign(std::max<std::size_t>(slots_.size() * 2, 1024), kNone);
        shift_ = 64 - static_cast<unsigned>(std::countr_zero(slots_.size()));
        for (std::uint32_t number = 0; number < pages_.size(); ++number)
            slot_of(pages_[number]) = number;
    }

    std::vector<std::uint32_t> slots_;
    std::vector<std::uint64_t> pages_;
    unsigned shift_ = 0;
};

[[noreturn]] void refuse(std::size_t visit, const char *what) {
    throw EpcVisitsError("visit " + std::to_string(visit) + " " + what);
}

} // namespace

EpcVisits::EpcVisits(std::span<const std::uint64_t> page, std::span<const std::uint32_t> ended,
                     std::span<const std::uint32_t> idle, std::span<const std::uint32_t> group,
                     std::size_t filter_page_count)
    : filter_page_count_(filter_page_count), ended_(ended.begin(), ended.end()),
      group_(group.begin(), group.end()) {
    const std::size_t count = page.size();
    if (filter_page_count == 0)
        throw EpcVisitsError("a filter holds at least one page");
    if (ended.size() != count || idle.size() != count || group.size() != count)
        throw EpcVisitsError("there is not one value of each kind for every visit");
    if (count >= kNone - 2)
        throw EpcVisitsError("there are more visits than can be numbered");
    page_.reserve(count);
    // Those that do not end last as long as there are visits.
    last_.assign(count, static_cast<std::uint32_t>(count) + 1);
    PageNumbers numbers;
    std::vector<std::uint32_t> open; // by page: its visit
    std::size_t open_count = 0;
    for (std::size_t number = 0; number < count; ++number) {
        const std::uint32_t index = numbers.of(page[number]);
        page_.push_back(index);
        if (index == open.size())
            open.push_back(kNone);
        if (open[index] != kNone)
            refuse(number, "starts to a page that is in a visit");
        if (group[number] >= kGroupsMax)
            refuse(number, "is of a group that is too large");
        group_count_ = std::max<std::size_t>(group_count_, std::size_t{group[number]} + 1);
        if (ended[number] != 0) {
            if (ended[number] > number)
                refuse(number, "ends one before the first");
            const std::size_t left = number - ended[number];
            if (open[page_[left]] != left)
                refuse(number, "ends one that has ended");
            if (idle[number] == 0 || idle[number] > ended[number])
                refuse(number, "ends one whose last access is not in it");
            last_[left] = static_cast<std::uint32_t>(number + 1 - idle[number]);
            open[page_[left]] = kNone;
        } else if (++open_count > filter_page_count) {
            refuse(number, "ends none, though more are going on than the filter has pages");
        }
        open[index] = static_cast<std::uint32_t>(number);
    }
    pages_ = numbers.take();
}

} // namespace sgxlens
