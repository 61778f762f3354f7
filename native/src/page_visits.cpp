// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/page_visits.hpp"

#include "sgxlens/histogram.hpp"

#include <algorithm>
#include <stdexcept>

namespace sgxlens {

namespace {

// A packed visit, from the lowest bit: written, access class, context, page.
constexpr unsigned kClassShift = 1;
constexpr unsigned kContextShift = kClassShift + 3;
constexpr unsigned kPageShift = kContextShift + kContextBits;
constexpr std::uint64_t kPagesMax = std::uint64_t{1} << (64 - kPageShift);

constexpr unsigned kWriting = 1u << static_cast<unsigned>(AccessClass::store) |
                              1u << static_cast<unsigned>(AccessClass::kernel_write);

} // namespace

void PageVisitLog::push_back(const PageVisit &visit) {
    if (visit.page >= kPagesMax || visit.context >= kContextsMax || visit.access_class > 7)
        throw std::invalid_argument("a page, a context or an access class is out of range");
    if (visit.position < position_)
        throw std::invalid_argument("the position of a visit is before that of the last one");
    packed_.push_back(visit.page << kPageShift | std::uint64_t{visit.context} << kContextShift |
                      std::uint64_t{visit.access_class} << kClassShift | visit.written);
    append_number(visit.position - position_);
    append_number(visit.ended);
    if (visit.ended != 0)
        append_number(visit.idle);
    position_ = visit.position;
}

void PageVisitLog::append_number(std::uint64_t number) {
    for (; number >= 0x80; number >>= 7)
        numbers_.push_back(static_cast<std::uint8_t>(number | 0x80));
    numbers_.push_back(static_cast<std::uint8_t>(number));
}

PageVisit PageVisitLog::unpack(std::uint64_t packed) {
    PageVisit visit{};
    visit.page = packed >> kPageShift;
    visit.context = static_cast<ContextNumber>(packed >> kContextShift & (kContextsMax - 1));
    visit.access_class = static_cast<std::uint8_t>(packed >> kClassShift & 7);
    visit.written = (packed & 1) != 0;
    return visit;
}

PageVisits::PageVisits(LastTime last_time, std::size_t filter_page_count)
    : last_time_(std::move(last_time)), filter_page_count_(filter_page_count),
      start_times_(filter_page_count) {
    if (filter_page_count == 0)
        throw std::invalid_argument("a filter holds at least one page");
    visit_of_.reserve(filter_page_count + 1);
    known_.reserve(filter_page_count + 1);
}

void PageVisits::start(std::uint64_t page, unsigned access_class, ContextNumber context,
                       std::uint64_t position) {
    const std::size_t number = visits_.size();
    if (!visit_of_.emplace(page, number).second)
        throw std::invalid_argument("a visit starts to a page that is in the filter");
    const std::uint64_t now = last_time_(page);
    start_times_[number % filter_page_count_] = now;
    PageVisit visit{page,
                    position,
                    context,
                    0,
                    0,
                    static_cast<std::uint8_t>(access_class),
                    (1u << access_class & kWriting) != 0};
    if (noted_.first == page && (noted_.second & kWriting) != 0)
        visit.written = true;
    noted_.second = 0;
    if (known_.size() < filter_page_count_) {
        known_.push_back({now, page});
        std::push_heap(known_.begin(), known_.end(), std::greater<>());
    } else {
        find_least_recent();
        const auto ended = visit_of_.find(known_.front().page);
        visit.ended = static_cast<std::uint32_t>(number - ended->second);
        visit.idle = starts_since(known_.front().time);
        visit_of_.erase(ended);
        put_first({now, page});
    }
    visits_.push_back(visit);
}

/// Brings the least recently used page to the front of the heap; its time is then the real one.
void PageVisits::find_least_recent() {
    while (true) {
        const Known least = known_.front();
        const std::uint64_t time = last_time_(least.page);
        if (time == least.time)
            return;
        put_first({time, least.page});
    }
}

/// Puts a page in place of the first of the heap, and where it belongs.
void PageVisits::put_first(Known known) {
    std::size_t at = 0;
    for (std::size_t child = 1; child < known_.size(); child = 2 * at + 1) {
        if (child + 1 < known_.size() && known_[child] > known_[child + 1])
            ++child;
        if (!(known > known_[child]))
            break;
        known_[at] = known_[child];
        at = child;
    }
    known_[at] = known;
}

/// How many visits have started after a time, of which the last is not yet in visits_.
std::uint32_t PageVisits::starts_since(std::uint64_t time) const {
    const std::size_t number = visits_.size();
    std::size_t low = 1;
    std::size_t high = std::min(number + 1, filter_page_count_);
    while (low < high) {
        const std::size_t middle = (low + high + 1) / 2;
        if (start_times_[(number + 1 - middle) % filter_page_count_] > time)
            low = middle;
        else
            high = middle - 1;
    }
    return static_cast<std::uint32_t>(low);
}

void PageVisits::note(std::uint64_t page, unsigned classes) {
    const auto visit = visit_of_.find(page);
    if (visit == visit_of_.end())
        noted_ = {page, classes};
    else if ((classes & kWriting) != 0)
        visits_.set_written(visit->second);
}

void PageVisits::renumbering() {
    by_time_ = known_;
    for (Known &known : by_time_)
        known.time = last_time_(known.page);
    std::sort(by_time_.begin(), by_time_.end(),
              [](const Known &a, const Known &b) { return a.time < b.time; });
    ranks_.clear();
    for (const std::uint64_t time : start_times_) {
        const auto at =
            std::lower_bound(by_time_.begin(), by_time_.end(), time,
                             [](const Known &known, std::uint64_t t) { return known.time < t; });
        ranks_.push_back(static_cast<std::size_t>(at - by_time_.begin()));
    }
}

void PageVisits::renumbered() {
    for (Known &known : by_time_)
        known.time = last_time_(known.page);
    // In ascending order it is a heap.
    known_ = by_time_;
    // A start is only ever compared with last accesses to pages in the filter: it may be moved to
    // the next of them.
    for (std::size_t i = 0; i < start_times_.size(); ++i)
        start_times_[i] = ranks_[i] < known_.size() ? known_[ranks_[i]].time
                          : known_.empty()          ? 0
                                                    : known_.back().time + 1;
}

void PageVisits::finish() {
    visit_of_ = {};
    known_ = {};
    start_times_ = {};
    by_time_ = {};
    ranks_ = {};
}

std::size_t PageVisits::memory_bytes() const {
    return visits_.memory_bytes() + (known_.capacity() + by_time_.capacity()) * sizeof(Known) +
           start_times_.capacity() * sizeof(std::uint64_t) +
           ranks_.capacity() * sizeof(std::size_t) + visit_of_.size() * 4 * sizeof(std::uint64_t) +
           visit_of_.bucket_count() * sizeof(void *);
}

} // namespace sgxlens
