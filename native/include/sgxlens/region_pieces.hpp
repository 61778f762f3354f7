// SPDX-License-Identifier: Apache-2.0
//
// Pages cut where regions of memory meet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sgxlens {

/// Which region lines are of, and when. Between two breaks nothing changes but in time.
struct RegionTimeline {
    std::span<const std::int64_t> breaks; ///< numbers of lines, ascending
    /// By break: where the entries of the lines from it on, up to the next one, begin; and last how
    /// many entries there are.
    std::span<const std::int64_t> begins;
    std::span<const std::uint64_t> position; ///< by entry: from when on; of a break, ascending
    std::span<const std::int64_t> region;    ///< by entry
};

/// Pieces of pages: values of one length.
struct RegionPieces {
    static constexpr std::int64_t kNoRegion = -1;

    std::vector<std::int64_t> row;    ///< which of the pages asked for
    std::vector<std::int64_t> region; ///< its region; kNoRegion: none
    std::vector<std::uint64_t> lines; ///< bit map of those lines of the page that are asked for
};

/// The pieces of pages that hold any of the lines asked for, page by page in the order of lines.
/// Asked for are the number of a page, a position and a bit map of lines each. Throws
/// std::invalid_argument where there is not one value of each kind for every row.
RegionPieces region_pieces(const RegionTimeline &timeline, std::span<const std::uint64_t> page,
                           std::span<const std::uint64_t> position,
                           std::span<const std::uint64_t> lines);

} // namespace sgxlens
