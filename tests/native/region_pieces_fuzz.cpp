// SPDX-License-Identifier: Apache-2.0
//
// Pieces of pages, against a search of all entries line by line.
#include "fuzz.hpp"

#include "sgxlens/region_pieces.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using namespace sgxlens;

constexpr std::uint64_t kSeed = 20261123;
constexpr int kRounds = 2000;

struct Columns {
    std::vector<std::int64_t> breaks, begins{0}, region;
    std::vector<std::uint64_t> position;
};

Columns timeline_of(std::mt19937_64 &random) {
    Columns found;
    std::int64_t line = 0;
    for (std::size_t count = random() % 12; count > 0; --count) {
        line += 1 + static_cast<std::int64_t>(random() % 90);
        found.breaks.push_back(line);
        std::vector<std::uint64_t> starts(random() % 4);
        for (std::uint64_t &start : starts)
            start = random() % 8;
        std::sort(starts.begin(), starts.end());
        found.position.insert(found.position.end(), starts.begin(), starts.end());
        found.begins.push_back(static_cast<std::int64_t>(found.position.size()));
    }
    for (std::size_t entry = 0; entry < found.position.size(); ++entry)
        found.region.push_back(static_cast<std::int64_t>(random() % 5));
    return found;
}

std::int64_t region_of(const Columns &columns, std::uint64_t line, std::uint64_t position) {
    std::int64_t found = RegionPieces::kNoRegion;
    for (std::size_t at = 0; at < columns.breaks.size(); ++at) {
        if (static_cast<std::uint64_t>(columns.breaks[at]) > line)
            break;
        found = RegionPieces::kNoRegion; // what was before the break is over
        for (auto entry = columns.begins[at]; entry < columns.begins[at + 1]; ++entry)
            if (columns.position[static_cast<std::size_t>(entry)] <= position)
                found = columns.region[static_cast<std::size_t>(entry)];
    }
    return found;
}

bool is_right(std::mt19937_64 &random) {
    const Columns columns = timeline_of(random);
    std::vector<std::uint64_t> page(random() % 20), position(page.size()), lines(page.size());
    for (std::size_t row = 0; row < page.size(); ++row) {
        // Some are beyond all that there can be, as of a damaged recording.
        page[row] = random() % 16 == 0 ? random() : random() % 12;
        position[row] = random() % 9;
        lines[row] = random();
    }
    const RegionPieces found = region_pieces(
        {columns.breaks, columns.begins, columns.position, columns.region}, page, position, lines);
    std::vector<std::uint64_t> seen(page.size());
    for (std::size_t piece = 0; piece < found.row.size(); ++piece) {
        const auto row = static_cast<std::size_t>(found.row[piece]);
        if ((seen.at(row) & found.lines[piece]) != 0)
            return false;
        seen[row] |= found.lines[piece];
        for (std::uint64_t bit = 0; bit < 64 && page[row] < 12; ++bit)
            if ((found.lines[piece] >> bit & 1) != 0 &&
                region_of(columns, page[row] * 64 + bit, position[row]) != found.region[piece])
                return false;
    }
    return seen == lines;
}

} // namespace

int fuzz_region_pieces() {
    std::mt19937_64 random(kSeed);
    for (int round = 0; round < kRounds; ++round)
        if (!is_right(random)) {
            std::fprintf(stderr, "region pieces: round %d is wrong\n", round);
            return 1;
        }
    std::printf("region pieces: %d timelines\n", kRounds);
    return 0;
}
