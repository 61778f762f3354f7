// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/reuse_stack.hpp"

#include "reuse_state.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string_view>

namespace sgxlens {

namespace detail {
namespace {

constexpr std::uint64_t kSlabBytes = 2 * kHugePageBytes;

const Kernel &kernel_of(const ReuseState &s) {
    switch (s.instruction_set) {
    case InstructionSet::avx512:
        return kKernelAvx512;
    case InstructionSet::avx2:
        return kKernelAvx2;
    default:
        return kKernelBaseline;
    }
}

void note_peak(ReuseState &s, std::size_t bytes) {
    s.peak_bytes = std::max(s.peak_bytes, bytes);
}

void use_cells(ReuseState &s, std::uint64_t cell_count) {
    s.cells = s.cell_storage.data();
    s.cell_mask = cell_count - 1;
    s.hash_shift = 64 - static_cast<unsigned>(std::bit_width(cell_count >> kGroupBits) - 1);
    // 16-byte cells, at least 0.35 of them in use after doubling: 46 bytes for each block at most.
    s.block_limit = cell_count * 7 / 10;
}

// Doubles the table. Cells move upwards in order, and the old table is given back on the way, so
// that the two together are hardly larger than the new one.
void grow_table(ReuseState &s) {
    const std::uint64_t old_count = s.cell_mask + 1;
    MappedArray<Cell> old = std::move(s.cell_storage);
    s.cell_storage = MappedArray<Cell>(old_count * 2);
    use_cells(s, old_count * 2);
    const Cell *from = old.data();
    const std::uint64_t slab = std::min<std::uint64_t>(old_count, kSlabBytes / sizeof(Cell));
    for (std::uint64_t start = 0; start < old_count; start += slab) {
        for (std::uint64_t i = start; i < start + slab; ++i) {
            if (from[i].key == 0)
                continue;
            std::uint64_t home = home_of(from[i].key >> kKeyBlockShift, s.hash_shift);
            while (s.cells[home].key != 0)
                home = (home + kProbeStep) & s.cell_mask;
            s.cells[home] = from[i];
        }
        old.discard_front((start + slab) * sizeof(Cell));
    }
    note_peak(s, s.cell_storage.bytes() + s.timeline_storage.bytes() +
                     std::min<std::size_t>(old.bytes(), kSlabBytes));
}

// Makes an empty timeline of at least `time_count` times.
void make_timeline(ReuseState &s, std::uint64_t time_count) {
    Timeline t;
    const std::uint64_t word_count = (time_count + 63) / 64;
    t.level_count = 3;
    while (t.level_count < Timeline::kLevelCount &&
           word_count >> Timeline::kShifts[t.level_count] != 0)
        ++t.level_count;
    // Each level is a whole number of vectors of 64 bytes.
    std::array<std::size_t, Timeline::kLevelCount> bytes{};
    std::size_t total = (word_count * sizeof(std::uint64_t) + 63) / 64 * 64;
    for (unsigned level = 0; level < t.level_count; ++level) {
        const std::size_t count = (word_count >> Timeline::kShifts[level]) + 1;
        bytes[level] = (count * (level < 2 ? 2 : 4) + 63) / 64 * 64;
        total += bytes[level];
    }
    s.timeline_storage.release();
    s.timeline_storage = MappedArray<unsigned char>(total);
    unsigned char *at = s.timeline_storage.data();
    t.words = reinterpret_cast<std::uint64_t *>(at);
    at += (word_count * sizeof(std::uint64_t) + 63) / 64 * 64;
    t.p0 = reinterpret_cast<std::uint16_t *>(at);
    at += bytes[0];
    t.p1 = reinterpret_cast<std::uint16_t *>(at);
    at += bytes[1];
    std::uint32_t **const levels[] = {&t.p2, &t.p3, &t.p4, &t.p5};
    for (unsigned level = 2; level < t.level_count; ++level) {
        *levels[level - 2] = reinterpret_cast<std::uint32_t *>(at);
        at += bytes[level];
    }
    s.timeline = t;
    s.time_count = word_count * 64;
    note_peak(s, s.cell_storage.bytes() + s.timeline_storage.bytes());
}

std::uint64_t wanted_time_count(std::uint64_t block_count) {
    // Compaction takes time with the number of blocks: the more times for each block, the
    // cheaper; 12 of them take 2 bytes.
    return block_count * 12;
}

// Puts the window onto the timeline.
void append_window(ReuseState &s) {
    const Kernel &kernel = kernel_of(s);
    if (s.now > 64)
        kernel.append(s.timeline, s.window_old);
    if (s.now > 0)
        kernel.append(s.timeline, s.window_new);
}

// Times that empty_window leaves out at most.
constexpr std::uint64_t kEmptyTimes = 192;

// Starts two empty words of times after those that there are.
void empty_window(ReuseState &s) {
    append_window(s);
    s.now = (s.now + 63) / 64 * 64 + 128;
    s.window_new = 0;
    s.window_old = 0;
    s.ages.fill(0);
}

// Makes room for at least `room` further times.
void compact(ReuseState &s, std::uint64_t room) {
    const Kernel &kernel = kernel_of(s);
    if (s.observer != nullptr) {
        room += kEmptyTimes;
        s.observer->renumbering();
    }
    append_window(s);
    kernel.rank_times(s);
    if (s.block_count > kTimeCountMax / 2)
        throw std::bad_alloc();
    const std::uint64_t wanted =
        std::min(std::max(wanted_time_count(s.block_count), s.block_count + room), kTimeCountMax);
    if (wanted > s.time_count) {
        make_timeline(s, std::min(wanted + wanted / 2, kTimeCountMax));
    } else {
        s.timeline.word_count = 0;
        s.timeline.bit_count = 0;
    }
    // Now the times of all blocks are 0, 1, ...
    s.now = static_cast<std::uint32_t>(s.block_count);
    const std::uint64_t full = s.now / 64;
    const auto ones = [](std::uint64_t count) { return (std::uint64_t{1} << count) - 1; };
    // A word that is just full is not yet the older one of the window: that comes with the next
    // access.
    const bool even = s.now % 64 == 0;
    const std::uint64_t newest = even && full > 0 ? full - 1 : full;
    s.window_new = even ? (full > 0 ? ~std::uint64_t{0} : 0) : ones(s.now % 64);
    s.window_old = newest > 0 ? ~std::uint64_t{0} : 0;
    s.ages.fill(255);
    for (std::uint64_t w = 0; w + 1 < newest; ++w)
        kernel.append(s.timeline, ~std::uint64_t{0});
    if (s.observer != nullptr) {
        // It may hold blocks of other contexts.
        empty_window(s);
        s.observer->renumbered();
    }
}

// The cell of a block, or none. Unlike the kernel's, it moves no cells.
const Cell *find(const ReuseState &s, std::uint64_t block) {
    std::uint64_t home = home_of(block, s.hash_shift);
    for (; s.cells[home].key != 0; home = (home + kProbeStep) & s.cell_mask)
        if (s.cells[home].key >> kKeyBlockShift == block)
            return s.cells + home;
    return nullptr;
}

void take_counts(ReuseState &s, std::vector<SourceCount> *counts) {
    s.counts.take(s.distances, s.context_tag >> kTagContextShift, s.sampling_threshold, counts);
    s.sources.take(s.distances, counts);
}

std::size_t constant_bytes(const ReuseState &s) {
    return sizeof(ReuseState) + s.counts.memory_bytes() + s.sources.memory_bytes() +
           s.touched_regions.capacity() * sizeof(RegionNumber);
}

void begin_context(ReuseState &s, ContextNumber context) {
    s.context_tag = context << kTagContextShift;
    s.counts.use_none();
    // The next access starts a run, even to the same block, so that the context sees the block.
    s.last_entry = kNoEntry;
    if (s.now == s.context_start)
        return;
    if (s.now + kEmptyTimes > s.time_count)
        compact(s, 0);
    else
        empty_window(s);
    s.context_start = s.now;
}

} // namespace
} // namespace detail

using detail::ReuseState;

InstructionSet best_instruction_set() {
    __builtin_cpu_init();
    InstructionSet best = InstructionSet::baseline;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")) {
        best = InstructionSet::avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            best = InstructionSet::avx512;
    }
    const char *const named = std::getenv("SGXLENS_INSTRUCTION_SET");
    if (named != nullptr) {
        if (std::string_view(named) == "baseline")
            return InstructionSet::baseline;
        if (std::string_view(named) == "avx2")
            return std::min(best, InstructionSet::avx2);
    }
    return best;
}

ReuseStack::ReuseStack(const ReuseStackOptions &options) {
    if (!(options.sampling_rate > 0.0 && options.sampling_rate <= 1.0))
        throw std::invalid_argument("sampling rate must be above 0 and at most 1");
    constexpr double kWholes = 1 << kSamplingBits;
    state_ = std::make_unique<ReuseState>();
    ReuseState &s = *state_;
    s.granularity = options.granularity;
    s.instruction_set = std::min(options.instruction_set, best_instruction_set());
    s.sampling_threshold = static_cast<std::uint32_t>(
        std::max(1.0, std::floor(options.sampling_rate * kWholes + 0.5)));
    // A batch must fit the table before it is grown, and the times left after compaction.
    const std::size_t blocks = std::max<std::size_t>(options.initial_block_count, 16);
    s.batch = std::min(detail::kBatchMax, blocks / 4);
    const std::uint64_t cell_count = std::bit_ceil(blocks * 2);
    s.cell_storage = detail::MappedArray<detail::Cell>(cell_count);
    detail::use_cells(s, cell_count);
    detail::make_timeline(s, std::max<std::uint64_t>(256, blocks * 16));
    s.counts.make(1);
    s.counts.use(0, detail::kTagClasses);
}

ReuseStack::~ReuseStack() = default;
ReuseStack::ReuseStack(ReuseStack &&) noexcept = default;
ReuseStack &ReuseStack::operator=(ReuseStack &&) noexcept = default;

void ReuseStack::attribute(BlockObserver &observer, std::uint64_t visit_distance) {
    static_assert(kVisitDistanceMin == detail::kWindowDistances);
    if (visit_distance < kVisitDistanceMin)
        throw std::invalid_argument("the distance of visits is too small");
    state_->observer = &observer;
    state_->visit_distance = visit_distance;
    state_->counts.make(kRegionsMax);
    state_->counts.use_none();
}

bool ReuseStack::is_attributed() const {
    return state_->observer != nullptr;
}

std::uint64_t ReuseStack::visit_distance() const {
    return state_->visit_distance;
}

void ReuseStack::begin_context(ContextNumber context) {
    if (context >= kContextsMax)
        throw std::invalid_argument("the number of a context is too great");
    detail::begin_context(*state_, context);
}

void ReuseStack::end_context(std::vector<SourceCount> &counts) {
    detail::take_counts(*state_, &counts);
}

std::uint64_t ReuseStack::last_time(std::uint64_t block) const {
    const ReuseState &s = *state_;
    if (s.told_time != 0 && s.told_block == block)
        return s.told_time;
    const detail::Cell *const cell = detail::find(s, block);
    if (cell == nullptr)
        return 0;
    // While a batch is told, cells have the times of its last accesses.
    if (s.told_run == detail::kNoRun || cell->time <= s.told_start + s.told_run)
        return detail::last_time_value(cell->time);
    const unsigned shift = kEntryLineShift + (s.granularity == Granularity::page ? 6 : 0);
    std::size_t run = s.told_run + 1;
    while (s.runs[run] >> shift != block)
        ++run;
    return s.times[run] == detail::kNever ? 0 : detail::last_time_value(s.times[run]);
}

void ReuseStack::access(const std::uint64_t *entries, std::size_t count) {
    ReuseState &s = *state_;
    const auto process = detail::kernel_of(s).process;
    while (count > 0) {
        const std::size_t batch = std::min(count, s.batch);
        if (s.block_count + batch > s.block_limit)
            detail::grow_table(s);
        if (s.now + batch > s.time_count)
            detail::compact(s, batch);
        process(s, entries, batch);
        entries += batch;
        count -= batch;
    }
}

const RegionNumber *ReuseStack::touch(const SegmentTouch *touches, std::size_t count,
                                      const std::uint64_t *anchors) {
    ReuseState &s = *state_;
    if (s.observer != nullptr && s.touched_regions.size() < count)
        s.touched_regions.resize(2 * count);
    while (s.block_count + count > s.block_limit)
        detail::grow_table(s);
    if (s.now + count > s.time_count)
        detail::compact(s, count);
    detail::kernel_of(s).touch(s, touches, count, anchors);
    return s.observer != nullptr ? s.touched_regions.data() : nullptr;
}

void ReuseStack::count_reuses(RegionNumber region, AccessClass access, std::size_t bin,
                              std::uint64_t count) {
    const auto row = (region + std::uint32_t{1}) << detail::kBinRegionShift |
                     static_cast<std::uint32_t>(access) << detail::kWindowDistanceBits;
    state_->counts.add(row, bin, count);
}

PhaseCounts ReuseStack::end_phase() {
    ReuseState &s = *state_;
    PhaseCounts phase;
    phase.sampling_rate = sampling_rate();
    detail::take_counts(s, nullptr);
    for (std::size_t i = 0; i < kAccessClassCount; ++i) {
        ClassCounts &counts = phase.classes[i];
        counts.distances = s.distances[i];
        counts.cold_count = s.cold[i];
        counts.sampled_count = s.cold[i];
        for (const std::uint64_t count : counts.distances)
            counts.sampled_count += count;
        counts.access_count = counts.sampled_count + s.unsampled[i];
        phase.footprint.by_class[i] = s.phase_by_class[i];
        phase.first_touch_count += s.cold[i];
    }
    phase.footprint.any = s.phase_any;

    s.distances = {};
    s.cold = {};
    s.unsampled = {};
    s.phase_any = 0;
    s.phase_by_class = {};
    s.phase_start = s.now;
    if (s.observer != nullptr) // so that a context sees all its blocks anew in the next phase
        detail::begin_context(s, s.context_tag >> detail::kTagContextShift);
    // The next access starts a run, even to the same block, so that the new phase sees the block.
    s.last_entry = detail::kNoEntry;
    return phase;
}

void ReuseStack::finish() {
    ReuseState &s = *state_;
    detail::note_peak(s, s.cell_storage.bytes() + s.timeline_storage.bytes());
    s.cell_storage.release();
    s.timeline_storage.release();
    s.cells = nullptr;
    s.timeline = {};
}

Footprint ReuseStack::whole() const {
    Footprint footprint;
    footprint.any = state_->block_count;
    std::copy_n(state_->whole_by_class.begin(), kAccessClassCount, footprint.by_class.begin());
    return footprint;
}

std::size_t ReuseStack::memory_bytes() const {
    return state_->cell_storage.bytes() + state_->timeline_storage.bytes() +
           detail::constant_bytes(*state_);
}

std::size_t ReuseStack::peak_memory_bytes() const {
    return std::max(state_->peak_bytes + detail::constant_bytes(*state_), memory_bytes());
}

Granularity ReuseStack::granularity() const {
    return state_->granularity;
}

double ReuseStack::sampling_rate() const {
    return static_cast<double>(state_->sampling_threshold) / (1 << kSamplingBits);
}

InstructionSet ReuseStack::instruction_set() const {
    return state_->instruction_set;
}

} // namespace sgxlens
