// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/analysis.hpp"

#include "columns.hpp"
#include "page_visits.hpp"
#include "sgxlens/histogram.hpp"
#include "sgxlens/ring.hpp"
#include "sgxlens/stream.h"

#include <array>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <numeric>
#include <optional>

namespace nb = nanobind;
using namespace nb::literals;

namespace sgxlens::bindings {
namespace {

using Words = nb::ndarray<const std::uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::dict phases(const Analysis &analysis) {
    const auto &rows = analysis.phases();
    nb::list names;
    for (const Phase &phase : rows)
        names.append(nb::bytes(phase.name.data(), phase.name.size()));
    nb::dict table;
    table["name"] = names;
    table["start_position"] = column<std::uint64_t>(rows, [](auto &r) { return r.start_position; });
    table["end_position"] = column<std::uint64_t>(rows, [](auto &r) { return r.end_position; });
    table["start_ns"] = column<std::uint64_t>(rows, [](auto &r) { return r.start_ns; });
    table["end_ns"] = column<std::uint64_t>(rows, [](auto &r) { return r.end_ns; });
    table["instruction_count"] =
        column<std::uint64_t>(rows, [](auto &r) { return r.instruction_count; });
    return table;
}

struct ReuseRow {
    std::uint32_t phase;
    Granularity granularity;
    ReuseBin bin;
};

nb::dict reuse(const Analysis &analysis) {
    std::vector<ReuseRow> rows;
    for (std::size_t i = 0; i < analysis.phases().size(); ++i) {
        const Phase &phase = analysis.phases()[i];
        for (const ReuseBin &bin : phase.lines.bins)
            rows.push_back({static_cast<std::uint32_t>(i), Granularity::line, bin});
        for (const ReuseBin &bin : phase.pages.bins)
            rows.push_back({static_cast<std::uint32_t>(i), Granularity::page, bin});
    }
    const auto is_cold = [](const ReuseRow &r) { return r.bin.bin == ReuseBin::kColdBin; };
    nb::dict table;
    table["phase"] = column<std::uint32_t>(rows, [](auto &r) { return r.phase; });
    table["granularity"] = column<std::uint8_t>(rows, [](auto &r) { return r.granularity; });
    table["access"] = column<std::uint8_t>(rows, [](auto &r) { return r.bin.access_class; });
    table["cold"] = column<std::uint8_t>(rows, is_cold);
    table["distance_min"] =
        column<std::uint64_t>(rows, [&](auto &r) { return is_cold(r) ? 0 : bin_min(r.bin.bin); });
    table["distance_max"] =
        column<std::uint64_t>(rows, [&](auto &r) { return is_cold(r) ? 0 : bin_max(r.bin.bin); });
    table["count"] = column<std::uint64_t>(rows, [](auto &r) { return r.bin.count; });
    return table;
}

using AccessCounts = std::array<std::uint64_t, kAccessClassCount>;

struct FootprintRow {
    std::uint32_t phase;
    bool is_phase; ///< else the whole recording
    Granularity granularity;
    std::uint8_t access; ///< kAccessClassCount: any
    std::uint64_t access_count;
    std::uint64_t block_count;
    std::uint64_t first_touch_count; ///< of any only
};

void add_footprint(std::vector<FootprintRow> &rows, FootprintRow row, const Footprint &footprint,
                   const AccessCounts &access_counts, std::uint64_t first_touch_count) {
    for (std::size_t c = 0; c < kAccessClassCount; ++c) {
        row.access = static_cast<std::uint8_t>(c);
        row.access_count = access_counts[c];
        row.block_count = footprint.by_class[c];
        rows.push_back(row);
    }
    row.access = kAccessClassCount;
    row.access_count = std::accumulate(access_counts.begin(), access_counts.end(), 0ull);
    row.block_count = footprint.any;
    row.first_touch_count = first_touch_count;
    rows.push_back(row);
}

AccessCounts access_counts(const Analysis &analysis, Granularity granularity) {
    AccessCounts sums{};
    for (const Phase &phase : analysis.phases()) {
        const ReuseCounts &counts = granularity == Granularity::line ? phase.lines : phase.pages;
        for (std::size_t c = 0; c < kAccessClassCount; ++c)
            sums[c] += counts.access_counts[c];
    }
    return sums;
}

nb::dict footprints(const Analysis &analysis) {
    std::vector<FootprintRow> rows;
    const auto add = [&](FootprintRow row, const ReuseCounts &counts) {
        add_footprint(rows, row, counts.footprint, counts.access_counts, counts.first_touch_count);
    };
    for (std::size_t i = 0; i < analysis.phases().size(); ++i) {
        const Phase &phase = analysis.phases()[i];
        const auto number = static_cast<std::uint32_t>(i);
        add({number, true, Granularity::line, 0, 0, 0, 0}, phase.lines);
        add({number, true, Granularity::page, 0, 0, 0, 0}, phase.pages);
    }
    for (const ReuseStack *stack : {&analysis.lines(), &analysis.pages()}) {
        const Footprint whole = stack->whole();
        add_footprint(rows, {0, false, stack->granularity(), 0, 0, 0, 0}, whole,
                      access_counts(analysis, stack->granularity()), whole.any);
    }
    nb::dict table;
    table["phase"] = column<std::uint32_t>(rows, [](auto &r) { return r.phase; });
    table["is_phase"] = column<std::uint8_t>(rows, [](auto &r) { return r.is_phase; });
    table["granularity"] = column<std::uint8_t>(rows, [](auto &r) { return r.granularity; });
    table["access"] = column<std::uint8_t>(rows, [](auto &r) { return r.access; });
    table["access_count"] = column<std::uint64_t>(rows, [](auto &r) { return r.access_count; });
    table["block_count"] = column<std::uint64_t>(rows, [](auto &r) { return r.block_count; });
    table["first_touch_count"] =
        column<std::uint64_t>(rows, [](auto &r) { return r.first_touch_count; });
    return table;
}

struct TrapRow {
    std::uint32_t phase;
    std::uint8_t kind;
    std::uint64_t leaf;
    std::uint64_t count;
};

nb::dict traps(const Analysis &analysis) {
    std::vector<TrapRow> rows;
    for (std::size_t phase = 0; phase < analysis.phases().size(); ++phase)
        for (const auto &[key, count] : analysis.phases()[phase].traps)
            rows.push_back({static_cast<std::uint32_t>(phase), key.first, key.second, count});
    nb::list kinds;
    for (const TrapRow &row : rows)
        kinds.append(row.kind == SGXLENS_OP_CPUID   ? "cpuid"
                     : row.kind == SGXLENS_OP_RDTSC ? "rdtsc"
                                                    : "rdtscp");
    nb::dict table;
    table["phase"] = column<std::uint32_t>(rows, [](auto &r) { return r.phase; });
    table["kind"] = kinds;
    table["leaf"] = column<std::uint32_t>(rows, [](auto &r) { return r.leaf & 0xffffffffu; });
    table["subleaf"] = column<std::uint32_t>(rows, [](auto &r) { return r.leaf >> 32; });
    table["count"] = column<std::uint64_t>(rows, [](auto &r) { return r.count; });
    return table;
}

nb::dict system_calls(const Analysis &analysis) {
    const auto &rows = analysis.system_calls();
    nb::dict table;
    table["phase"] = column<std::uint32_t>(rows, [](auto &r) { return r.phase; });
    table["thread"] = column<std::uint32_t>(rows, [](auto &r) { return r.thread; });
    table["position"] = column<std::uint64_t>(rows, [](auto &r) { return r.position; });
    table["number"] = column<std::uint32_t>(rows, [](auto &r) { return r.number; });
    table["caller"] = column<std::uint32_t>(rows, [](auto &r) { return r.caller; });
    for (std::size_t i = 0; i < 6; ++i)
        table[("arg" + std::to_string(i)).c_str()] =
            column<std::uint64_t>(rows, [i](auto &r) { return r.arguments[i]; });
    table["result"] = column<std::int64_t>(rows, [](auto &r) { return r.result; });
    table["returned"] = column<std::uint8_t>(rows, [](auto &r) { return r.returned; });
    table["kernel_read_bytes"] =
        column<std::uint64_t>(rows, [](auto &r) { return r.kernel_read_bytes; });
    table["kernel_write_bytes"] =
        column<std::uint64_t>(rows, [](auto &r) { return r.kernel_write_bytes; });
    table["path"] = column<std::uint32_t>(rows, [](auto &r) { return r.path; });
    table["has_path"] = column<std::uint8_t>(rows, [](auto &r) { return r.has_path; });
    return table;
}

nb::dict clock_reads(const Analysis &analysis) {
    const auto &rows = analysis.clock_reads();
    nb::dict table;
    table["thread"] = column<std::uint32_t>(rows, [](auto &r) { return r.thread; });
    table["position"] = column<std::uint64_t>(rows, [](auto &r) { return r.position; });
    table["clock"] = column<std::uint32_t>(rows, [](auto &r) { return r.clock; });
    table["seconds"] = column<std::int64_t>(rows, [](auto &r) { return r.seconds; });
    table["nanoseconds"] = column<std::int64_t>(rows, [](auto &r) { return r.nanoseconds; });
    return table;
}

nb::dict mapping_changes(const Analysis &analysis) {
    const auto &rows = analysis.mapping_changes();
    nb::dict table;
    table["position"] = column<std::uint64_t>(rows, [](auto &r) { return r.position; });
    table["event"] = column<std::uint8_t>(rows, [](auto &r) { return r.event; });
    table["address"] = column<std::uint64_t>(rows, [](auto &r) { return r.address; });
    table["size_bytes"] = column<std::uint64_t>(rows, [](auto &r) { return r.size_bytes; });
    table["flags"] = column<std::uint32_t>(rows, [](auto &r) { return r.flags; });
    table["name"] = column<std::uint32_t>(rows, [](auto &r) { return r.name; });
    table["file_offset"] = column<std::uint64_t>(rows, [](auto &r) { return r.file_offset; });
    table["from_address"] = column<std::uint64_t>(rows, [](auto &r) { return r.from_address; });
    return table;
}

nb::dict threads(const Analysis &analysis) {
    const auto &rows = analysis.threads();
    nb::dict table;
    table["thread"] = column<std::uint32_t>(rows, [](auto &r) { return r.thread; });
    table["kernel_tid"] = column<std::uint32_t>(rows, [](auto &r) { return r.kernel_tid; });
    table["creator"] = column<std::uint32_t>(rows, [](auto &r) { return r.creator; });
    table["stack_pointer"] = column<std::uint64_t>(rows, [](auto &r) { return r.stack_pointer; });
    table["start_position"] = column<std::uint64_t>(rows, [](auto &r) { return r.start_position; });
    table["end_position"] = column<std::uint64_t>(rows, [](auto &r) { return r.end_position; });
    table["ended"] = column<std::uint8_t>(rows, [](auto &r) { return r.ended; });
    return table;
}

nb::dict signals(const Analysis &analysis) {
    const auto &rows = analysis.signals();
    nb::dict table;
    table["thread"] = column<std::uint32_t>(rows, [](auto &r) { return r.thread; });
    table["position"] = column<std::uint64_t>(rows, [](auto &r) { return r.position; });
    table["signal"] = column<std::uint32_t>(rows, [](auto &r) { return r.number; });
    return table;
}

nb::dict annotations(const Analysis &analysis) {
    const auto &rows = analysis.annotations();
    nb::dict table;
    table["thread"] = column<std::uint32_t>(rows, [](auto &r) { return r.thread; });
    table["position"] = column<std::uint64_t>(rows, [](auto &r) { return r.position; });
    table["kind"] = column<std::uint32_t>(rows, [](auto &r) { return r.kind; });
    table["address"] = column<std::uint64_t>(rows, [](auto &r) { return r.address; });
    table["size_bytes"] = column<std::uint64_t>(rows, [](auto &r) { return r.size_bytes; });
    table["text"] = column<std::uint32_t>(rows, [](auto &r) { return r.text; });
    return table;
}

const Attributor &attributor(const Analysis &analysis) {
    if (analysis.attributor() == nullptr)
        throw nb::value_error("accesses were not attributed");
    return *analysis.attributor();
}

nb::dict contexts(const Analysis &analysis) {
    const auto &rows = attributor(analysis).contexts();
    nb::dict table;
    table["phase"] = column<std::uint32_t>(rows, [](auto &r) { return r.phase; });
    table["span"] = column<std::uint32_t>(rows, [](auto &r) { return r.span; });
    table["thread"] = column<std::uint32_t>(rows, [](auto &r) { return r.thread; });
    table["start_position"] = column<std::uint64_t>(rows, [](auto &r) { return r.start_position; });
    table["end_position"] = column<std::uint64_t>(rows, [](auto &r) { return r.end_position; });
    table["line_access_count"] =
        column<std::uint64_t>(rows, [](auto &r) { return r.line_access_count; });
    table["page_access_count"] =
        column<std::uint64_t>(rows, [](auto &r) { return r.page_access_count; });
    return table;
}

nb::dict regions(const Analysis &analysis) {
    const auto &rows = attributor(analysis).regions().all();
    nb::list names;
    for (const Region &region : rows)
        names.append(nb::bytes(region.name.data(), region.name.size()));
    nb::dict table;
    table["kind"] = column<std::uint8_t>(rows, [](auto &r) { return r.kind; });
    table["name"] = names;
    table["owner"] = column<std::uint32_t>(rows, [](auto &r) { return r.owner; });
    table["has_owner"] =
        column<std::uint8_t>(rows, [](auto &r) { return r.owner != kContextsMax; });
    return table;
}

nb::dict extents(const Analysis &analysis) {
    const auto &rows = attributor(analysis).regions().extents();
    nb::dict table;
    table["region"] = column<std::uint32_t>(rows, [](auto &r) { return r.region; });
    table["address"] = column<std::uint64_t>(rows, [](auto &r) { return r.address; });
    table["size_bytes"] = column<std::uint64_t>(rows, [](auto &r) { return r.size_bytes; });
    table["start_position"] = column<std::uint64_t>(rows, [](auto &r) { return r.position; });
    return table;
}

/// Other threads of Python go on meanwhile.
nb::dict reuse_sources(const Analysis &analysis) {
    const Attributor &of = attributor(analysis);
    constexpr std::array granularities{Granularity::line, Granularity::page};
    std::size_t row_count = 0;
    for (const Granularity granularity : granularities)
        for (const ContextCounts &counts : of.counts(granularity))
            row_count += counts.counts.size();
    ColumnBuilder<std::uint32_t, std::uint32_t, std::uint8_t, std::uint32_t, std::uint8_t,
                  std::uint16_t, std::uint64_t>
        columns(row_count);
    {
        const nb::gil_scoped_release release;
        for (const Granularity granularity : granularities)
            for (const ContextCounts &counts : of.counts(granularity))
                for (const SourceCount &count : counts.counts)
                    columns.add(counts.context, count.source,
                                static_cast<std::uint8_t>(granularity), count.region,
                                count.access_class, count.bin, count.count);
    }
    return columns.take(
        {"context", "source", "granularity", "region", "access", "distance_bin", "count"});
}

nb::dict page_use(const Analysis &analysis) {
    const auto &rows = attributor(analysis).page_uses().rows();
    nb::dict table;
    table["context"] = column<std::uint32_t>(rows, [](auto &r) { return r.context; });
    table["page"] = column<std::uint64_t>(rows, [](auto &r) { return r.page; });
    table["lines"] = column<std::uint64_t>(rows, [](auto &r) { return r.lines; });
    table["written_lines"] = column<std::uint64_t>(rows, [](auto &r) { return r.written_lines; });
    table["fetched_lines"] = column<std::uint64_t>(rows, [](auto &r) { return r.fetched_lines; });
    return table;
}

nb::dict line_use(const Analysis &analysis) {
    if (analysis.line_uses() == nullptr)
        throw nb::value_error("the bytes of lines were not followed");
    const auto &rows = analysis.line_uses()->rows();
    nb::dict table;
    table["context"] = column<std::uint32_t>(rows, [](auto &r) { return r.context; });
    table["line"] = column<std::uint64_t>(rows, [](auto &r) { return r.line; });
    table["bytes"] = column<std::uint64_t>(rows, [](auto &r) { return r.bytes; });
    table["written_bytes"] = column<std::uint64_t>(rows, [](auto &r) { return r.written_bytes; });
    return table;
}

nb::dict page_visits(const Analysis &analysis) {
    return sgxlens::bindings::page_visit_columns(attributor(analysis).page_visits().visits());
}

nb::list names(const Analysis &analysis) {
    nb::list list;
    for (const std::string &name : analysis.names().all())
        list.append(nb::bytes(name.data(), name.size()));
    return list;
}

/// Feeds the ring to the analysis; `keep`, if not None, is called with the bytes of each chunk.
bool drain(Ring &ring, Analysis &analysis, nb::object keep) {
    nb::gil_scoped_release release;
    return ring.drain([&](const std::uint64_t *words, std::size_t count) {
        if (!keep.is_none()) {
            nb::gil_scoped_acquire acquire;
            keep(nb::bytes(words, count * sizeof(std::uint64_t)));
        }
        analysis.feed(words, count);
    });
}

} // namespace
} // namespace sgxlens::bindings

void bind_analysis(nb::module_ &module) {
    using namespace sgxlens;
    using namespace sgxlens::bindings;

    nb::enum_<SegmentUse>(module, "SegmentUse", "When runs that recur are taken by segments.")
        .value("NEVER", SegmentUse::never)
        .value("WHERE_IT_PAYS", SegmentUse::where_it_pays)
        .value("ALWAYS", SegmentUse::always, "Also where it costs more than it saves: for tests.");

    nb::class_<Analysis>(module, "Analysis", "The analysis of one process's stream.")
        .def(
            "__init__",
            [](Analysis *self, double sampling_rate, SegmentUse segments, bool attribute,
               bool split_at_clock_reads, unsigned line_use_interval,
               std::optional<bool> has_threads) {
                AnalysisOptions options{sampling_rate, segments, attribute, split_at_clock_reads,
                                        line_use_interval};
                options.has_threads = has_threads.value_or(options.has_threads);
                new (self) Analysis(options);
            },
            "sampling_rate"_a = 1.0, "segments"_a = SegmentUse::where_it_pays, "attribute"_a = true,
            "split_at_clock_reads"_a = false, "line_use_interval"_a = LineSample::kIntervalMax,
            "has_threads"_a = nb::none(),
            "segments: whether runs that recur are taken by segments. Results are the same.\n"
            "attribute: whether accesses are attributed to contexts and regions (not if sampled).\n"
            "split_at_clock_reads: whether each clock read starts a span.\n"
            "line_use_interval: of one line in so many the bytes accessed are followed; 0: none.\n"
            "has_threads: whether stacks have threads of their own; None: if there are processors.")
        .def(
            "feed",
            [](Analysis &self, Words words) {
                nb::gil_scoped_release release;
                self.feed(words.data(), words.shape(0));
            },
            nb::arg("words").noconvert(),
            "Takes whole records (uint64). Raises NativeStreamError where they are malformed.")
        .def("finish", &Analysis::finish, "Ends the last phase.")
        .def("phases", &phases)
        .def("reuse", &reuse)
        .def("footprints", &footprints)
        .def_prop_ro("start_ns", &Analysis::start_ns)
        .def("traps", &traps)
        .def("system_calls", &system_calls)
        .def("clock_reads", &clock_reads)
        .def("mapping_changes", &mapping_changes)
        .def("threads", &threads)
        .def("signals", &signals)
        .def("annotations", &annotations)
        .def("names", &names)
        .def_prop_ro("is_attributed",
                     [](const Analysis &self) { return self.attributor() != nullptr; })
        .def("contexts", &contexts)
        .def("regions", &regions)
        .def("extents", &extents)
        .def("reuse_sources", &reuse_sources,
             "Columns of the table of this name; distance_bin is an index of distance_bins(), or "
             "COLD_BIN.")
        .def("page_use", &page_use)
        .def("line_use", &line_use)
        .def_prop_ro("line_use_interval",
                     [](const Analysis &self) {
                         return self.line_uses() ? self.line_uses()->sample().interval() : 0;
                     })
        .def("page_visits", &page_visits)
        .def_prop_ro("visit_page_count",
                     [](const Analysis &self) -> std::optional<std::size_t> {
                         if (self.attributor() == nullptr)
                             return std::nullopt;
                         return self.attributor()->page_visits().filter_page_count();
                     })
        .def_prop_ro("dropped_span_count",
                     [](const Analysis &self) {
                         return self.attributor() ? self.attributor()->dropped_span_count() : 0;
                     })
        .def_prop_ro("line_access_count",
                     [](const Analysis &self) {
                         return self.progress().line_access_count.load(std::memory_order_relaxed);
                     })
        .def_prop_ro("segment_access_count", &Analysis::segment_access_count)
        .def_prop_ro("current_phase",
                     [](const Analysis &self) {
                         const std::string name = self.current_phase();
                         return nb::bytes(name.data(), name.size());
                     })
        .def_prop_ro("instruction_count",
                     [](const Analysis &self) {
                         std::uint64_t sum = 0;
                         for (const Phase &phase : self.phases())
                             sum += phase.instruction_count;
                         return sum;
                     })
        .def_prop_ro("page_access_count",
                     [](const Analysis &self) {
                         const AccessCounts counts = access_counts(self, Granularity::page);
                         return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
                     })
        .def_prop_ro("pid", &Analysis::pid)
        .def_prop_ro("parent_pid", &Analysis::parent_pid)
        .def_prop_ro("program",
                     [](const Analysis &self) {
                         return nb::bytes(self.program().data(), self.program().size());
                     })
        .def_prop_ro("was_forked", &Analysis::was_forked)
        .def_prop_ro("ended", &Analysis::ended)
        .def_prop_ro("exit_status", &Analysis::exit_status)
        .def_prop_ro("dropped_system_calls", &Analysis::dropped_system_calls)
        .def_prop_ro("dropped_marks", &Analysis::dropped_marks)
        .def_prop_ro("dropped_annotations", &Analysis::dropped_annotations)
        .def_prop_ro("memory_bytes", &Analysis::memory_bytes)
        .def_prop_ro("segment_memory_bytes", &Analysis::segment_memory_bytes);

    nb::class_<Ring>(module, "Ring", "The ring of one traced process.")
        .def(nb::init<const std::string &>(), "path"_a)
        .def("drain", &drain, "analysis"_a, "keep"_a = nb::none(),
             "Feeds an analysis until the process ends; returns whether it ended in order.")
        .def("writer_is_gone", &Ring::writer_is_gone)
        .def_prop_ro("pid", &Ring::pid);
}
