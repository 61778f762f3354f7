// SPDX-License-Identifier: Apache-2.0
//
// ReuseStack::touch against access(), on segments that access each of their blocks once and then
// all of them again, in another order. Small tables, so that they grow and times run out.
#include "fuzz.hpp"

#include "sgxlens/reuse_stack.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace sgxlens;
using Random = std::mt19937_64;

constexpr std::uint64_t kSeed = 20240302;
constexpr int kRounds = 12;
constexpr int kSegments = 150;

struct Segment {
    std::vector<SegmentTouch> touches;
    std::vector<std::uint64_t> entries;
    std::vector<std::size_t> distances; ///< of the second accesses
    std::vector<std::size_t> slots;     ///< index of the touch of the same block
};

Segment make_segment(Random &random, std::uint64_t base, unsigned entry_shift) {
    const std::size_t sizes[] = {1, 5, 63, 64, 65, 128, 300, 900};
    std::vector<std::uint64_t> blocks;
    for (std::size_t n = sizes[random() % std::size(sizes)]; n > 0; n--)
        blocks.push_back(random() % 4 == 0 ? random() % 5000 : blocks.size() * 2);
    std::sort(blocks.begin(), blocks.end());
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    std::shuffle(blocks.begin(), blocks.end(), random);
    std::vector<std::uint64_t> again = blocks;
    if (random() % 2 == 0)
        std::shuffle(again.begin(), again.end(), random);

    Segment segment;
    const auto add_entry = [&](std::uint64_t block, AccessClass access) {
        segment.entries.push_back(make_entry((base + block) << entry_shift, false, access));
    };
    for (const std::uint64_t block : blocks) {
        const auto access = static_cast<AccessClass>(random() % 3);
        const auto rank = std::find(again.begin(), again.end(), block) - again.begin();
        const auto classes =
            1u << static_cast<unsigned>(access) | 1u << static_cast<unsigned>(AccessClass::load);
        const auto anchor = static_cast<std::uint8_t>(random() % 2);
        segment.touches.push_back({static_cast<std::uint16_t>(block + anchor),
                                   static_cast<std::uint16_t>(rank), 0, anchor,
                                   SegmentTouch::kinds_of(static_cast<std::uint8_t>(access),
                                                          static_cast<std::uint8_t>(classes))});
        add_entry(block, access);
    }
    std::vector<std::uint64_t> recent(blocks.rbegin(), blocks.rend());
    for (const std::uint64_t block : again) {
        const auto found = std::find(recent.begin(), recent.end(), block);
        segment.slots.push_back(static_cast<std::size_t>(
            std::find(blocks.begin(), blocks.end(), block) - blocks.begin()));
        segment.distances.push_back(static_cast<std::size_t>(found - recent.begin()));
        std::rotate(recent.begin(), found, found + 1);
        add_entry(block, AccessClass::load);
    }
    return segment;
}

bool same(const Footprint &a, const Footprint &b) {
    return a.any == b.any && a.by_class == b.by_class;
}

bool same(const PhaseCounts &a, const PhaseCounts &b) {
    for (std::size_t c = 0; c < kAccessClassCount; c++)
        if (a.classes[c].access_count != b.classes[c].access_count ||
            a.classes[c].cold_count != b.classes[c].cold_count ||
            a.classes[c].distances != b.classes[c].distances)
            return false;
    return same(a.footprint, b.footprint) && a.first_touch_count == b.first_touch_count;
}

/// Regions of 50 blocks each; what is noted, but not how often.
struct Noting final : BlockObserver {
    std::set<std::pair<std::uint64_t, unsigned>> noted;

    RegionNumber region_of(std::uint64_t block) override {
        return static_cast<RegionNumber>(block / 50 % 20);
    }
    void note(std::uint64_t block, unsigned classes) override {
        for (unsigned c = 0; c < kAccessClassCount; c++)
            if ((classes >> c & 1) != 0)
                noted.emplace(block, c);
    }
    void visit(std::uint64_t, unsigned) override {}
    void renumbered() override {}
};

using Sources =
    std::map<std::tuple<ContextNumber, RegionNumber, unsigned, unsigned>, std::uint64_t>;

Sources end_context(ReuseStack &stack) {
    std::vector<SourceCount> counts;
    stack.end_context(counts);
    Sources sum;
    for (const SourceCount &count : counts)
        sum[{count.source, count.region, count.bin, count.access_class}] += count.count;
    return sum;
}

bool touch_equals_access(Random &random) {
    const bool pages = random() % 2 == 0;
    const bool attributed = random() % 3 != 0;
    ContextNumber context = 0;
    Noting touched_notes;
    Noting accessed_notes;
    const ReuseStackOptions options{.granularity = pages ? Granularity::page : Granularity::line,
                                    .initial_block_count = 16};
    ReuseStack touched(options);
    ReuseStack accessed(options);
    if (attributed) {
        touched.attribute(touched_notes);
        accessed.attribute(accessed_notes);
    }
    for (int i = 0; i < kSegments; i++) {
        if (attributed && (i == 0 || random() % 6 == 0)) {
            if (end_context(touched) != end_context(accessed) ||
                touched_notes.noted != accessed_notes.noted)
                return false;
            context = random() % 4 == 0 ? context : context + 1;
            touched.begin_context(context);
            accessed.begin_context(context);
        }
        const std::uint64_t base = random() % 3000;
        const Segment segment = make_segment(random, base, pages ? 6 : 0);
        accessed.access(segment.entries.data(), segment.entries.size());
        if (random() % 4 == 0) { // as both ways take turns in an analysis
            touched.access(segment.entries.data(), segment.entries.size());
        } else {
            const std::uint64_t anchors[] = {base, base - 1};
            const RegionNumber *const regions =
                touched.touch(segment.touches.data(), segment.touches.size(), anchors);
            for (std::size_t k = 0; k < segment.distances.size(); k++)
                touched.count_reuses(regions != nullptr ? regions[segment.slots[k]] : 0,
                                     AccessClass::load, bin_of(segment.distances[k]), 1);
        }
        if (random() % 8 == 0 && !same(touched.end_phase(), accessed.end_phase()))
            return false;
    }
    return same(touched.end_phase(), accessed.end_phase()) &&
           same(touched.whole(), accessed.whole());
}

} // namespace

int fuzz_touch() {
    Random random(kSeed);
    for (int round = 0; round < kRounds; round++)
        if (!touch_equals_access(random)) {
            std::printf("round %d: touching a segment counts otherwise than accessing it\n", round);
            return EXIT_FAILURE;
        }
    std::printf("%d stacks touched by segments\n", kRounds);
    return EXIT_SUCCESS;
}
