// SPDX-License-Identifier: Apache-2.0
#include "epc_simulation.hpp"
#include "sgxlens/distinct.hpp"

#include <algorithm>
#include <string>

namespace sgxlens {

namespace {

constexpr std::uint32_t kNone = Numbering::kNone;

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
    Numbering numbers;
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

std::shared_ptr<const epc::Needs> EpcVisits::needs(std::uint32_t replica_count) const {
    const std::lock_guard guard(finding_);
    if (!needs_ || needs_replica_count_ != replica_count) {
        needs_ = std::make_shared<const epc::Needs>(epc::needs_of(*this, replica_count));
        needs_replica_count_ = replica_count;
    }
    return needs_;
}

} // namespace sgxlens
