// SPDX-License-Identifier: Apache-2.0
//
// ReuseStack for Python: what its tests, and who has accesses of his own, need.
#include "sgxlens/reuse_stack.hpp"

#include "sgxlens/histogram.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nb = nanobind;

namespace {

using sgxlens::Granularity;
using sgxlens::InstructionSet;
using sgxlens::ReuseStack;

using Entries = nb::ndarray<const std::uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr std::string_view kInstructionSets[] = {"baseline", "avx2", "avx512"};

nb::object to_array(const std::vector<std::uint64_t> &values, std::size_t columns = 0) {
    auto copy = std::make_unique<std::vector<std::uint64_t>>(values);
    std::vector<std::uint64_t> *const data = copy.release();
    nb::capsule owner(
        data, [](void *p) noexcept { delete static_cast<std::vector<std::uint64_t> *>(p); });
    if (columns == 0)
        return nb::cast(nb::ndarray<nb::numpy, std::uint64_t>(data->data(), {data->size()}, owner));
    return nb::cast(nb::ndarray<nb::numpy, std::uint64_t>(
        data->data(), {data->size() / columns, columns}, owner));
}

template <typename Range> nb::object to_array_of(const Range &values) {
    return to_array(std::vector<std::uint64_t>(values.begin(), values.end()));
}

/// Keeps what a stack asks and tells.
class BlockLog final : public sgxlens::BlockObserver {
  public:
    enum Kind : std::uint64_t { kRegion, kVisit, kNote, kTime, kRenumbered };

    explicit BlockLog(std::vector<std::uint64_t> timed_blocks)
        : timed_blocks_(std::move(timed_blocks)) {}

    const ReuseStack *stack = nullptr; ///< that calls

    /// Blocks from starts[i] on are of regions[i]; before the first, of region 0.
    void set_regions(const Entries &starts, const Entries &regions) {
        if (starts.size() != regions.size() ||
            !std::is_sorted(starts.data(), starts.data() + starts.size()) ||
            std::any_of(regions.data(), regions.data() + regions.size(),
                        [](std::uint64_t region) { return region >= sgxlens::kRegionsMax; }))
            throw std::invalid_argument("regions need ascending starts and numbers below 1024");
        starts_.assign(starts.data(), starts.data() + starts.size());
        regions_.assign(regions.data(), regions.data() + regions.size());
    }
    std::vector<std::uint64_t> take() { return std::exchange(calls_, {}); }

    sgxlens::RegionNumber region_of(std::uint64_t block) override {
        add(kRegion, block, 0);
        const auto after = std::upper_bound(starts_.begin(), starts_.end(), block);
        const auto i = after - starts_.begin();
        return i == 0
                   ? sgxlens::RegionNumber{0}
                   : static_cast<sgxlens::RegionNumber>(regions_[static_cast<std::size_t>(i) - 1]);
    }
    void note(std::uint64_t block, unsigned classes) override { add(kNote, block, classes); }
    void visit(std::uint64_t block, unsigned access_class) override {
        add(kVisit, block, access_class);
        for (const std::uint64_t timed : timed_blocks_)
            add(kTime, timed, stack->last_time(timed));
    }
    void renumbered() override { add(kRenumbered, 0, 0); }

  private:
    void add(Kind kind, std::uint64_t block, std::uint64_t value) {
        calls_.insert(calls_.end(), {kind, block, value});
    }

    std::vector<std::uint64_t> timed_blocks_;
    std::vector<std::uint64_t> starts_;
    std::vector<std::uint64_t> regions_;
    std::vector<std::uint64_t> calls_;
};

void attribute(ReuseStack &stack, BlockLog &log, std::optional<std::uint64_t> visit_distance) {
    stack.attribute(log, visit_distance.value_or(ReuseStack::kNoVisits));
    log.stack = &stack;
}

nb::object end_context(ReuseStack &stack) {
    std::vector<sgxlens::SourceCount> counts;
    stack.end_context(counts);
    std::vector<std::uint64_t> table;
    for (const sgxlens::SourceCount &count : counts)
        table.insert(table.end(),
                     {count.source, count.region, count.access_class, count.bin, count.count});
    return to_array(table, 5);
}

ReuseStack make_stack(const std::string &granularity, double sampling_rate,
                      std::size_t initial_block_count,
                      const std::optional<std::string> &instruction_set) {
    sgxlens::ReuseStackOptions options;
    if (granularity == "page")
        options.granularity = Granularity::page;
    else if (granularity != "line")
        throw std::invalid_argument("granularity must be 'line' or 'page'");
    if (instruction_set) {
        std::size_t i = 0;
        while (i < std::size(kInstructionSets) && kInstructionSets[i] != *instruction_set)
            ++i;
        if (i == std::size(kInstructionSets))
            throw std::invalid_argument("instruction_set must be 'baseline', 'avx2' or 'avx512'");
        options.instruction_set = static_cast<InstructionSet>(i);
    }
    options.sampling_rate = sampling_rate;
    options.initial_block_count = initial_block_count;
    return ReuseStack(options);
}

void take_accesses(ReuseStack &stack, const Entries &entries) {
    const std::uint64_t *const data = entries.data();
    const std::size_t count = entries.size();
    bool valid = true;
    for (std::size_t i = 0; i < count; ++i)
        valid &= (data[i] & sgxlens::kEntryClassMask) < sgxlens::kAccessClassCount &&
                 data[i] >> sgxlens::kEntryLineShift >> sgxlens::kLineNumberBits == 0;
    if (!valid)
        throw std::invalid_argument(
            "an entry names no access class, or a line number of 2**41 or more");
    nb::gil_scoped_release release;
    stack.access(data, count);
}

nb::dict end_phase(ReuseStack &stack) {
    const sgxlens::PhaseCounts phase = stack.end_phase();
    std::vector<std::uint64_t> accesses;
    std::vector<std::uint64_t> sampled;
    std::vector<std::uint64_t> cold;
    std::vector<std::uint64_t> distances;
    for (const sgxlens::ClassCounts &counts : phase.classes) {
        accesses.push_back(counts.access_count);
        sampled.push_back(counts.sampled_count);
        cold.push_back(counts.cold_count);
        distances.insert(distances.end(), counts.distances.begin(), counts.distances.end());
    }
    nb::dict result;
    result["sampling_rate"] = phase.sampling_rate;
    result["access_count"] = to_array(accesses);
    result["sampled_count"] = to_array(sampled);
    result["cold_count"] = to_array(cold);
    result["distance_count"] = to_array(distances, sgxlens::kBinCount);
    result["footprint_any"] = phase.footprint.any;
    result["footprint_by_class"] = to_array_of(phase.footprint.by_class);
    result["first_touch_count"] = phase.first_touch_count;
    return result;
}

std::pair<std::uint64_t, nb::object> whole(const ReuseStack &stack) {
    const sgxlens::Footprint footprint = stack.whole();
    return {footprint.any, to_array_of(footprint.by_class)};
}

std::pair<nb::object, nb::object> distance_bins() {
    std::vector<std::uint64_t> low;
    std::vector<std::uint64_t> high;
    for (std::size_t bin = 0; bin < sgxlens::kBinCount; ++bin) {
        low.push_back(sgxlens::bin_min(bin));
        high.push_back(sgxlens::bin_max(bin));
    }
    return {to_array(low), to_array(high)};
}

} // namespace

void bind_reuse_stack(nb::module_ &module) {
    module.def("distance_bins", &distance_bins,
               "Least and greatest distance, in blocks, of each bin in which distances are "
               "counted: two uint64 arrays.");
    module.attr("COLD_BIN") = sgxlens::kColdBin;
    nb::class_<BlockLog>(module, "BlockLog",
                         "Says to a ReuseStack what region each block is of, and logs what it is "
                         "told.\n\n"
                         "At each visit, the last times of timed_blocks are logged, too.")
        .def(nb::init<std::vector<std::uint64_t>>(),
             nb::arg("timed_blocks") = std::vector<std::uint64_t>())
        .def("set_regions", &BlockLog::set_regions, nb::arg("starts").noconvert(),
             nb::arg("regions").noconvert(),
             "From each of the ascending starts on (uint64: block numbers), blocks are of that "
             "region (below 1024); before the first one, of region 0.")
        .def(
            "take", [](BlockLog &log) { return to_array(log.take(), 3); },
            "The calls since the last take, as rows (call, block, value). Calls: 0, a region is "
            "asked; 1, a visit starts by an access of the class `value`; 2, a block is accessed in "
            "the classes of the bit set `value`; 3, after a visit: the last time of a timed block, "
            "0 for none; 4, times have been renumbered.");
    nb::class_<ReuseStack>(module, "ReuseStack",
                           "LRU reuse distances of accesses to blocks of one granularity.\n\n"
                           "granularity is 'line' (64 bytes) or 'page' (4096 bytes). At a "
                           "sampling_rate below 1 a share of the blocks is followed and distances "
                           "are estimates. The other arguments are for tests.")
        .def(
            "__init__",
            [](ReuseStack *self, const std::string &granularity, double sampling_rate,
               std::size_t initial_block_count, const std::optional<std::string> &instruction_set) {
                new (self) ReuseStack(
                    make_stack(granularity, sampling_rate, initial_block_count, instruction_set));
            },
            nb::arg("granularity"), nb::arg("sampling_rate") = 1.0,
            nb::arg("initial_block_count") = sgxlens::ReuseStackOptions().initial_block_count,
            nb::arg("instruction_set") = nb::none())
        .def("attribute", &attribute, nb::arg("log"), nb::arg("visit_distance") = nb::none(),
             nb::keep_alive<1, 2>(),
             "Attributes accesses, of which there must not have been any yet. Accesses at a "
             "distance "
             "of at least visit_distance blocks (128 or more) are visits.")
        .def("begin_context", &ReuseStack::begin_context, nb::arg("context"),
             "From here on accesses belong to this context (below 2**17).")
        .def("end_context", &end_context,
             "Counts since the context began, as rows (context of the previous access, region, "
             "access class, bin of the distance, count). Bin 65535: cold accesses.")
        .def("access", &take_accesses, nb::arg("entries").noconvert(),
             "Takes accesses in program order (uint64): line number << 4 | continuation << 3 | "
             "access class. Raises ValueError, and takes none, where one is invalid.")
        .def("end_phase", &end_phase,
             "Ends a phase. Returns a dictionary: arrays of one count for each access class "
             "(access_count, sampled_count, cold_count, footprint_by_class), distance_count of "
             "shape (classes, bins), footprint_any and first_touch_count in blocks, and "
             "sampling_rate. Counts other than access_count are of sampled blocks, not scaled.")
        .def("whole", &whole,
             "Distinct blocks since the start: by any access, and an array by access class.")
        .def_prop_ro("memory_bytes", &ReuseStack::memory_bytes)
        .def_prop_ro("peak_memory_bytes", &ReuseStack::peak_memory_bytes)
        .def_prop_ro("sampling_rate", &ReuseStack::sampling_rate)
        .def_prop_ro("instruction_set", [](const ReuseStack &stack) {
            return std::string(kInstructionSets[static_cast<std::size_t>(stack.instruction_set())]);
        });
}
