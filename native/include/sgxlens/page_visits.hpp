// SPDX-License-Identifier: Apache-2.0
//
// The page accesses that matter to a page cache larger than a few pages: visits.
//
// A filter holds the pages accessed last, kFilterPageCount of them. A visit starts with an access
// to a page that is not in it, and ends when the page leaves it, as the least recently used one,
// which is when another visit starts. src/sgxlens/reuse/page_visits.py says what can be simulated
// from visits, and how well.
#pragma once

#include "sgxlens/attribution.hpp"
#include "sgxlens/row_log.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sgxlens {

struct PageVisit {
    std::uint64_t page;
    std::uint64_t position; ///< as given to start()
    ContextNumber context;  ///< that starts it
    std::uint32_t ended; ///< so many visits before this one the one started that ends here; 0: none
    std::uint32_t idle;  ///< visits started since the last access to the page whose visit ends
                         ///< here, with this one; 0: none ends
    std::uint8_t access_class; ///< that starts it
    bool written;              ///< at any time in the visit
};

/// Visits in the order of their starts, 8 bytes each and a few more.
class PageVisitLog {
  public:
    std::size_t size() const { return packed_.size(); }
    /// Positions must not decrease.
    void push_back(const PageVisit &visit);
    void set_written(std::size_t index) { packed_[index] |= 1; }
    std::size_t memory_bytes() const { return packed_.memory_bytes() + numbers_.memory_bytes(); }

    /// Calls `take(const PageVisit &)` for each visit.
    template <typename Take> void for_each(Take take) const {
        std::uint64_t position = 0;
        std::size_t at = 0;
        for (const std::uint64_t packed : packed_) {
            PageVisit visit = unpack(packed);
            position += read_number(at);
            visit.position = position;
            visit.ended = static_cast<std::uint32_t>(read_number(at));
            visit.idle = visit.ended == 0 ? 0 : static_cast<std::uint32_t>(read_number(at));
            take(visit);
        }
    }

  private:
    static PageVisit unpack(std::uint64_t packed);
    void append_number(std::uint64_t number);
    std::uint64_t read_number(std::size_t &at) const {
        std::uint64_t number = 0;
        for (unsigned shift = 0;; shift += 7) {
            const std::uint8_t byte = numbers_[at++];
            number |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80)
                return number;
        }
    }

    RowLog<std::uint64_t> packed_;
    /// For each visit the advance of the position, `ended`, and `idle` where one ends: 7 bits a
    /// byte, the lowest first; the top bit says that more follow.
    RowLog<std::uint8_t> numbers_;
    std::uint64_t position_ = 0; ///< of the last visit
};

/// Collects the visits of a page stack, which calls it as a BlockObserver.
class PageVisits {
  public:
    static constexpr std::size_t kFilterPageCount = 256;

    /// The time of the last access to a page up to now, as ReuseStack::last_time: only the order
    /// matters, and equal times never are of different pages.
    using LastTime = std::function<std::uint64_t(std::uint64_t page)>;

    explicit PageVisits(LastTime last_time, std::size_t filter_page_count = kFilterPageCount);

    /// An access to a page that is not among the kFilterPageCount accessed last. last_time() must
    /// give the time of this access already. Throws std::invalid_argument for a page in the filter
    /// and for values that PageVisit cannot hold.
    void start(std::uint64_t page, unsigned access_class, ContextNumber context,
               std::uint64_t position);
    /// The page is accessed in these classes. Where the same access starts a visit, just before or
    /// just after start().
    void note(std::uint64_t page, unsigned classes);
    /// All times are about to change, in order.
    void renumbering();
    void renumbered();
    /// No more accesses follow.
    void finish();

    const PageVisitLog &visits() const { return visits_; }
    std::size_t filter_page_count() const { return filter_page_count_; }
    std::size_t memory_bytes() const;

  private:
    /// A page in the filter. Its last access is at `time` or later.
    struct Known {
        std::uint64_t time;
        std::uint64_t page;
        bool operator>(const Known &other) const { return time > other.time; }
    };

    void find_least_recent();
    void put_first(Known known);
    std::uint32_t starts_since(std::uint64_t time) const;

    LastTime last_time_;
    std::size_t filter_page_count_;
    PageVisitLog visits_;
    std::unordered_map<std::uint64_t, std::size_t> visit_of_; ///< of the pages in the filter
    std::vector<Known> known_;                                ///< the same pages, a heap
    /// Times of the starts of the last visits, at the number of the visit modulo the size. No more
    /// visits than the filter has pages have started since the last access to any page in it.
    std::vector<std::uint64_t> start_times_;
    /// While times change: pages of the filter by their times, and for each of start_times_ how
    /// many of them were accessed last before it.
    std::vector<Known> by_time_;
    std::vector<std::size_t> ranks_;
    std::pair<std::uint64_t, unsigned> noted_{~std::uint64_t{0}, 0}; ///< last, of a page not in it
};

} // namespace sgxlens
