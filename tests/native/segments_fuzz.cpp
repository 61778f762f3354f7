// SPDX-License-Identifier: Apache-2.0
//
// Random loops, analysed with segments and without: everything found must be the same. The loops
// run again with pointers elsewhere, which may come near each other, meet, or cross pages.
#include "fuzz.hpp"

#include "sgxlens/analysis.hpp"
#include "sgxlens/stream.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace sgxlens;
using Words = std::vector<std::uint64_t>;
using Random = std::mt19937_64;

constexpr std::uint64_t kSeed = 20240301;
constexpr int kRounds = 24;
constexpr std::size_t kRoundWords = 300'000;
/// More accesses are never taken at once, so that the positions of visits differ by less.
constexpr std::uint64_t kAtOnceMax = 1 << 16;

std::uint64_t one_of(Random &random, std::initializer_list<std::uint64_t> values) {
    return values.begin()[random() % values.size()];
}

struct Exit {
    std::uint32_t number;
    std::uint32_t value_count;
};

/// A superblock with one or two exits. Now and then it has operations that segments leave alone.
void define(Words &stream, Random &random, std::vector<Exit> &exits) {
    const std::uint64_t value_count = random() % 5;
    const std::uint64_t operation_count = 1 + random() % 24;
    const std::uint64_t code = 0x400000 + random() % 0x8000;
    const bool odd = random() % 64 == 0;
    Words operations;
    for (std::uint64_t i = 0; i < operation_count; i++) {
        if (value_count == 0 || random() % 3 == 0) {
            const bool is_fetch = random() % 4 != 0;
            operations.push_back(SGXLENS_OPERATION(is_fetch ? SGXLENS_OP_FETCH : SGXLENS_OP_LOAD,
                                                   SGXLENS_BASE_NONE,
                                                   is_fetch ? 16ULL : one_of(random, {4, 8, 64})));
            operations.push_back((code + 32 * i) & ~std::uint64_t{15});
            continue;
        }
        const std::uint64_t base = random() % value_count;
        if (odd && random() % 4 == 0) {
            const std::uint64_t kind =
                one_of(random, {SGXLENS_OP_LOAD_IF, SGXLENS_OP_STORE_IF, SGXLENS_OP_CPUID});
            operations.push_back(SGXLENS_OPERATION(kind, base, 8ULL));
            operations.push_back(0);
            continue;
        }
        const std::uint64_t size =
            odd ? one_of(random, {8, 576, 4096}) : one_of(random, {1, 4, 8, 16, 32, 64});
        operations.push_back(
            SGXLENS_OPERATION(random() % 3 == 0 ? SGXLENS_OP_STORE : SGXLENS_OP_LOAD, base, size));
        operations.push_back(one_of(random, {0, 0, 8, 60, 64, 4096, 0x7000}) -
                             one_of(random, {0, 0, 8, 256}));
    }
    const auto first = static_cast<std::uint32_t>(exits.size());
    const std::uint64_t exit_count = 1 + random() % 2;
    stream.push_back(SGXLENS_HEAD(SGXLENS_DEFINE, 2 + exit_count + operations.size(), first));
    stream.push_back(code);
    stream.push_back(exit_count | operation_count << 32);
    for (std::uint64_t i = 0; i < exit_count; i++) {
        stream.push_back(SGXLENS_EXIT(operation_count, value_count, 1 + random() % 20));
        exits.push_back(
            {first + static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(value_count)});
    }
    stream.insert(stream.end(), operations.begin(), operations.end());
}

/// A loop over some exits; each value is a pointer that advances.
struct Loop {
    struct Pointer {
        std::uint64_t region; ///< which of the run's places
        std::uint64_t offset;
        std::uint64_t stride;
    };
    struct Step {
        Exit exit;
        std::vector<Pointer> pointers;
    };
    std::vector<Step> steps;
    std::uint64_t turns;
};

Loop make_loop(Random &random, const std::vector<Exit> &exits) {
    Loop loop;
    loop.turns = one_of(random, {1, 3, 8, 30, 200});
    const std::uint64_t step_count = 1 + random() % 5;
    for (std::uint64_t i = 0; i < step_count; i++) {
        Loop::Step step{exits[random() % exits.size()], {}};
        for (std::uint32_t v = 0; v < step.exit.value_count; v++)
            step.pointers.push_back({random() % 4, one_of(random, {0, 0, 16, 64, 1024, 8192}),
                                     one_of(random, {0, 0, 4, 8, 64, 64, 256, 4096})});
        loop.steps.push_back(step);
    }
    return loop;
}

/// Where the regions are, for one run of a loop.
using Places = std::vector<std::uint64_t>;

/// Far apart mostly; also the same, side by side, odd, and at the ends of what there is.
Places make_places(Random &random) {
    Places places;
    for (std::uint64_t i = 0; i < 4; i++)
        places.push_back(i * 0x10000000 +
                         one_of(random, {0x10000000, 0x20000000, 0x10001000, 0x7fffffff0000,
                                         0xffffffffff600000, 0x400000}) +
                         (random() % 8 == 0 ? 4 : 0));
    if (random() % 2 == 0)
        places[random() % 4] = places[random() % 4] + one_of(random, {0, 64, 640, 4096, 12288});
    return places;
}

void run(Words &stream, Random &random, const Loop &loop, const Places &near) {
    Places places = near;
    for (std::uint64_t &place : places)
        place += 64 * (random() % 3 == 0 ? random() % 200 : 0);
    const bool irregular = random() % 16 == 0;
    for (std::uint64_t turn = 0; turn < loop.turns; turn++)
        for (const Loop::Step &step : loop.steps) {
            stream.push_back(SGXLENS_HEAD(SGXLENS_RUN, step.pointers.size(), step.exit.number));
            for (const Loop::Pointer &pointer : step.pointers)
                stream.push_back(places[pointer.region] + pointer.offset + pointer.stride * turn +
                                 (irregular && random() % 8 == 0 ? random() % 4096 : 0));
        }
}

/// A mapping of a file that this letter names.
void add_mapping(Words &stream, std::uint64_t page, std::uint64_t page_count,
                 std::uint64_t letter) {
    stream.push_back(SGXLENS_HEAD(SGXLENS_MAP, 5, SGXLENS_PROT_READ));
    stream.push_back(0x10000000 + 0x1000 * page);
    stream.push_back(0x1000 * page_count);
    stream.insert(stream.end(), {0, 2, letter | 'x' << 8});
}

/// The program says that these lines are a region that this letter names.
void declare(Words &stream, std::uint64_t line, std::uint64_t line_count, std::uint64_t letter) {
    stream.push_back(SGXLENS_HEAD(SGXLENS_ANNOTATION, 4, SGXLENS_REGION));
    stream.push_back(0x10000000 + 64 * line);
    stream.push_back(64 * line_count);
    stream.insert(stream.end(), {1, letter});
}

void add_event(Words &stream, Random &random) {
    switch (random() % 8) {
    case 0:
        stream.push_back(SGXLENS_HEAD(SGXLENS_MARK, 1, 1));
        stream.push_back('a');
        break;
    case 1:
        stream.push_back(SGXLENS_HEAD(SGXLENS_KERNEL_WRITE, 2, 0));
        stream.push_back(0x10000ff0);
        stream.push_back(random() % 9000);
        break;
    case 2:
        stream.push_back(SGXLENS_HEAD(SGXLENS_CLOCK, 2, 0)); // it has a position
        stream.push_back(1);
        stream.push_back(2);
        break;
    case 3:
        stream.push_back(SGXLENS_HEAD(SGXLENS_THREAD, 0, random() % 3));
        break;
    case 4: // regions change, also within what a loop touches
        add_mapping(stream, random() % 16, 1 + random() % 8, one_of(random, {'a', 'b', 'c'}));
        break;
    case 5:
        stream.push_back(SGXLENS_HEAD(SGXLENS_UNMAP, 2, 0));
        stream.push_back(0x10000000 + 0x1000 * (random() % 16));
        stream.push_back(0x2000);
        break;
    default:
        stream.push_back(SGXLENS_HEAD(SGXLENS_TICK, 1, 0));
        stream.push_back(stream.size());
        break;
    }
}

Words make_stream(Random &random) {
    Words stream;
    std::vector<Exit> exits;
    for (std::uint64_t i = 4 + random() % 16; i > 0; i--)
        define(stream, random, exits);
    std::vector<Loop> loops;
    for (std::uint64_t i = 1 + random() % 4; i > 0; i--)
        loops.push_back(make_loop(random, exits));
    std::vector<Places> places;
    for (std::uint64_t i = 1 + random() % 3; i > 0; i--)
        places.push_back(make_places(random));
    const std::uint64_t quiet = one_of(random, {5, 50, 500});
    while (stream.size() < kRoundWords) {
        if (random() % quiet == 0)
            add_event(stream, random);
        if (random() % 1000 == 0) {
            define(stream, random, exits);
            loops[random() % loops.size()] = make_loop(random, exits);
        }
        // Often the same again at other places, as an outer loop does.
        const Loop &loop = loops[random() % loops.size()];
        for (std::uint64_t i = one_of(random, {1, 2, 10}); i > 0; i--)
            run(stream, random, loop, places[random() % places.size()]);
    }
    return stream;
}

/// Adds these runs with all their values moved so far.
void add_moved(Words &stream, const Words &runs, std::uint64_t way) {
    for (std::size_t at = 0; at < runs.size();) {
        stream.push_back(runs[at]);
        for (std::uint64_t left = SGXLENS_PAYLOAD(runs[at++]); left > 0; left--)
            stream.push_back(runs[at++] + way);
    }
}

/// The same passes over the same memory again and again, as inferences are, long enough for rows of
/// rows. Between them, memory that they use becomes of other regions, of a few or of many. Some lie
/// elsewhere in their pages.
Words make_passes(Random &random) {
    Words stream;
    std::vector<Exit> exits;
    for (std::uint64_t i = 4 + random() % 8; i > 0; i--)
        define(stream, random, exits);
    Words pass;
    Places places = make_places(random);
    places[0] = 0x10000000;
    while (pass.size() < kRoundWords / 8) {
        Loop loop = make_loop(random, exits);
        // Some go from page to page.
        for (Loop::Step &step : loop.steps)
            for (Loop::Pointer &pointer : step.pointers)
                if (random() % 4 == 0)
                    pointer = {0, pointer.offset, 4096};
        for (std::uint64_t i = 1 + random() % 3; i > 0; i--)
            run(pass, random, loop, places);
    }
    const std::uint64_t names = one_of(random, {2, 26});
    const std::uint64_t thread = random() % 2;
    while (stream.size() < kRoundWords) {
        for (std::uint64_t line = 0; line < 1024 && random() % 64 != 0; line += 4)
            declare(stream, line, 4, 'a' + random() % names);
        stream.push_back(SGXLENS_HEAD(SGXLENS_THREAD, 0, random() % 2 & thread));
        add_moved(stream, pass, random() % 2 == 0 ? 64 * (random() % 64) : 0);
    }
    return stream;
}

/// What an analysis found.
struct Facts {
    Words found; ///< all as numbers, but for:
    Words visit_positions;
    bool visits_are_in_contexts = true; ///< by their positions, in that which starts them
};

/// Whether it is the same; the position of a visit is that of the first access taken with it.
bool is_same(const Facts &a, const Facts &b) {
    const auto is_near = [](std::uint64_t x, std::uint64_t y) {
        return std::max(x, y) - std::min(x, y) < kAtOnceMax;
    };
    return a.found == b.found && a.visits_are_in_contexts && b.visits_are_in_contexts &&
           std::equal(a.visit_positions.begin(), a.visit_positions.end(), b.visit_positions.begin(),
                      b.visit_positions.end(), is_near);
}

/// What was attributed, in an order of its own.
void add_attributed(const Attributor &attributor, Facts &facts) {
    Words &found = facts.found;
    using Key = std::tuple<ContextNumber, Granularity, std::uint16_t, std::uint32_t, std::uint8_t,
                           std::uint16_t>;
    std::map<Key, std::uint64_t> counts;
    for (const Granularity side : {Granularity::line, Granularity::page})
        for (const ContextCounts &of_context : attributor.counts(side))
            for (const SourceCount &count : of_context.counts)
                counts[{of_context.context, side, count.region,
                        count.bin == kColdBin ? 0 : count.source, count.access_class, count.bin}] +=
                    count.count;
    for (const auto &[key, count] : counts) {
        const auto [context, granularity, region, source, access_class, bin] = key;
        found.insert(found.end(), {context, static_cast<std::uint64_t>(granularity), region, source,
                                   access_class, bin, count});
    }
    std::map<std::pair<ContextNumber, std::uint64_t>, std::array<std::uint64_t, 3>> pages;
    for (const PageUse &use : attributor.page_uses().rows()) {
        auto &lines = pages[{use.context, use.page}];
        lines[0] |= use.lines;
        lines[1] |= use.written_lines;
        lines[2] |= use.fetched_lines;
    }
    for (const auto &[place, lines] : pages) {
        found.insert(found.end(), {place.first, place.second});
        found.insert(found.end(), lines.begin(), lines.end());
    }
    attributor.page_visits().visits().for_each([&](const PageVisit &visit) {
        found.insert(found.end(), {visit.page, visit.context, visit.ended, visit.idle,
                                   visit.access_class, visit.written});
        facts.visit_positions.push_back(visit.position);
        const Context &context = attributor.contexts()[visit.context];
        facts.visits_are_in_contexts &=
            visit.position >= context.start_position && visit.position < context.end_position;
    });
}

void add_line_uses(const LineUses &uses, Words &found) {
    std::map<std::pair<ContextNumber, std::uint64_t>, std::pair<std::uint64_t, std::uint64_t>>
        lines;
    for (const LineUse &use : uses.rows()) {
        auto &bytes = lines[{use.context, use.line}];
        bytes.first |= use.bytes;
        bytes.second |= use.written_bytes;
    }
    for (const auto &[place, bytes] : lines)
        found.insert(found.end(), {place.first, place.second, bytes.first, bytes.second});
}

/// Everything that the analysis found.
Facts facts_of(const Words &stream, AnalysisOptions options, std::size_t chunk_words,
               std::uint64_t &segment_accesses) {
    Analysis analysis(options);
    for (std::size_t at = 0; at < stream.size();) {
        std::size_t end = at;
        while (end < stream.size() && end - at < chunk_words)
            end += 1 + SGXLENS_PAYLOAD(stream[end]);
        const Words chunk(stream.begin() + static_cast<std::ptrdiff_t>(at),
                          stream.begin() + static_cast<std::ptrdiff_t>(end));
        analysis.feed(chunk.data(), chunk.size());
        at = end;
    }
    analysis.finish();
    segment_accesses += analysis.segment_access_count();
    Facts facts;
    Words &found = facts.found;
    const auto add_footprint = [&found](const Footprint &footprint) {
        found.push_back(footprint.any);
        found.insert(found.end(), footprint.by_class.begin(), footprint.by_class.end());
    };
    for (const Phase &phase : analysis.phases()) {
        found.insert(found.end(), {phase.start_position, phase.end_position, phase.start_ns,
                                   phase.end_ns, phase.instruction_count, phase.traps.size()});
        for (const ReuseCounts *counts : {&phase.lines, &phase.pages}) {
            for (const ReuseBin &bin : counts->bins)
                found.insert(found.end(), {bin.count, bin.bin, bin.access_class});
            found.insert(found.end(), counts->access_counts.begin(), counts->access_counts.end());
            found.push_back(counts->first_touch_count);
            add_footprint(counts->footprint);
        }
    }
    for (const ClockRead &read : analysis.clock_reads())
        found.insert(found.end(), {read.position, read.thread});
    add_footprint(analysis.lines().whole());
    add_footprint(analysis.pages().whole());
    if (analysis.attributor() != nullptr)
        add_attributed(*analysis.attributor(), facts);
    if (analysis.line_uses() != nullptr)
        add_line_uses(*analysis.line_uses(), found);
    found.push_back(analysis.progress().line_access_count.load());
    return facts;
}

} // namespace

int fuzz_segments() {
    Random random(kSeed);
    std::uint64_t accesses = 0;
    std::uint64_t segment_accesses = 0;
    std::uint64_t cut_accesses = 0; // by segments, where the stream comes in chunks
    for (int round = 0; round < kRounds; round++) {
        const Words stream = round % 3 == 2 ? make_passes(random) : make_stream(random);
        std::uint64_t ignored = 0;
        const auto options = [&](SegmentUse segments) {
            return AnalysisOptions{.segments = segments,
                                   .attribute = round % 4 != 0,
                                   .split_at_clock_reads = round % 4 == 1,
                                   .line_use_interval = round % 3 == 0 ? 1u : 64u};
        };
        const Facts plain = facts_of(stream, options(SegmentUse::never), stream.size(), ignored);
        accesses += plain.found.back();
        const std::size_t chunk_words = std::size_t{1} << random() % 17;
        const auto is_plain = [&](SegmentUse segments, std::size_t words, std::uint64_t &by_them) {
            return is_same(facts_of(stream, options(segments), words, by_them), plain);
        };
        if (!is_plain(SegmentUse::always, stream.size(), segment_accesses) ||
            !is_plain(SegmentUse::always, chunk_words, cut_accesses) ||
            !is_plain(SegmentUse::where_it_pays, chunk_words, ignored) ||
            !is_plain(SegmentUse::where_it_pays, stream.size(), ignored)) {
            std::printf("round %d: segments change what is found\n", round);
            return EXIT_FAILURE;
        }
    }
    std::printf("%d streams of loops: %.0f %% of the accesses by segments\n", kRounds,
                100.0 * static_cast<double>(segment_accesses) / static_cast<double>(accesses));
    // Else this has tested nothing; and where chunks end should hardly matter.
    const bool is_like_whole = 10 * cut_accesses > 9 * segment_accesses;
    return 3 * segment_accesses > accesses && is_like_whole ? EXIT_SUCCESS : EXIT_FAILURE;
}
