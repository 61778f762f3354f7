// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/analysis.hpp"

#include "columns.hpp"
#include "sgxlens/histogram.hpp"
#include "sgxlens/ring.hpp"
#include "sgxlens/stream.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

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

    nb::class_<Analysis>(module, "Analysis", "The analysis of one process's stream.")
        .def(nb::init<double>(), "sampling_rate"_a = 1.0)
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
        .def("traps", &traps)
        .def("system_calls", &system_calls)
        .def("clock_reads", &clock_reads)
        .def("mapping_changes", &mapping_changes)
        .def("threads", &threads)
        .def("signals", &signals)
        .def("names", &names)
        .def_prop_ro("line_access_count",
                     [](const Analysis &self) {
                         return self.progress().line_access_count.load(std::memory_order_relaxed);
                     })
        .def_prop_ro("phase_count",
                     [](const Analysis &self) {
                         return self.progress().phase_count.load(std::memory_order_relaxed);
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
        .def_prop_ro("memory_bytes", &Analysis::memory_bytes);

    nb::class_<Ring>(module, "Ring", "The ring of one traced process.")
        .def(nb::init<const std::string &>(), "path"_a)
        .def("drain", &drain, "analysis"_a, "keep"_a = nb::none(),
             "Feeds an analysis until the process ends; returns whether it ended in order.")
        .def("writer_is_gone", &Ring::writer_is_gone)
        .def_prop_ro("pid", &Ring::pid);
}
