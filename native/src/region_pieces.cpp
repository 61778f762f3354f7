// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/region_pieces.hpp"

#include <algorithm>
#include <stdexcept>

namespace sgxlens {

namespace {

constexpr std::int64_t kLinesPerPage = 64;
/// Lines have smaller numbers, as addresses have 64 bits: what is larger is of no program.
constexpr std::uint64_t kLinesMask = (std::uint64_t{1} << 62) - 1;

void check(const RegionTimeline &timeline) {
    const auto &[breaks, begins, position, region] = timeline;
    if (position.size() != region.size() || begins.size() != breaks.size() + 1 || begins[0] != 0 ||
        !std::is_sorted(begins.begin(), begins.end()) ||
        static_cast<std::size_t>(begins.back()) != position.size())
        throw std::invalid_argument("there is not one value of each kind for every entry");
}

/// The lines from `first` to before `stop`, of a page.
std::uint64_t lines_between(std::int64_t first, std::int64_t stop) {
    const std::uint64_t all = ~std::uint64_t{0};
    return (all >> (kLinesPerPage - (stop - first))) << first;
}

} // namespace

RegionPieces region_pieces(const RegionTimeline &timeline, std::span<const std::uint64_t> page,
                           std::span<const std::uint64_t> position,
                           std::span<const std::uint64_t> lines) {
    check(timeline);
    if (position.size() != page.size() || lines.size() != page.size())
        throw std::invalid_argument("there is not one value of each kind for every page");
    RegionPieces found;
    // Most pages are of one piece.
    found.row.reserve(page.size());
    found.region.reserve(page.size());
    found.lines.reserve(page.size());
    const auto &breaks = timeline.breaks;
    std::size_t next = 0; // the first break after the line looked at last
    for (std::size_t row = 0; row < page.size(); ++row) {
        const auto start = static_cast<std::int64_t>((page[row] * kLinesPerPage) & kLinesMask);
        // Pages most often follow each other.
        if ((next > 0 && breaks[next - 1] > start) ||
            (next < breaks.size() && breaks[next] <= start))
            next = static_cast<std::size_t>(std::upper_bound(breaks.begin(), breaks.end(), start) -
                                            breaks.begin());
        std::int64_t at = 0;
        for (std::size_t after = next; at < kLinesPerPage; ++after) {
            const std::int64_t stop = after < breaks.size()
                                          ? std::min(breaks[after] - start, kLinesPerPage)
                                          : kLinesPerPage;
            const std::uint64_t mine = lines_between(at, stop) & lines[row];
            at = stop;
            if (mine == 0)
                continue;
            std::int64_t region = RegionPieces::kNoRegion;
            if (after > 0) {
                const auto entries = timeline.position.begin();
                const auto first = entries + timeline.begins[after - 1];
                const auto later =
                    std::upper_bound(first, entries + timeline.begins[after], position[row]);
                if (later != first)
                    region = timeline.region[static_cast<std::size_t>(later - entries) - 1];
            }
            found.row.push_back(static_cast<std::int64_t>(row));
            found.region.push_back(region);
            found.lines.push_back(mine);
        }
    }
    return found;
}

} // namespace sgxlens
