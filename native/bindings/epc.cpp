// SPDX-License-Identifier: Apache-2.0
//
// The simulation of enclave page caches for Python.
#include "sgxlens/epc.hpp"

#include "columns.hpp"

#include <algorithm>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <optional>
#include <string>
#include <utility>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using namespace sgxlens;
using bindings::array_of;

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T> std::span<const T> span_of(const Column<T> &column) {
    return {column.data(), column.size()};
}

EpcPolicy policy_of(const std::string &name) {
    const auto names = epc_policy_names();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
        throw nb::value_error("there is no such policy");
    return static_cast<EpcPolicy>(found - names.begin());
}

nb::list simulate(const EpcVisits &visits, const std::string &policy,
                  const Column<std::uint64_t> &capacities, std::uint32_t replica_count,
                  std::uint32_t scan_page_count, std::uint32_t low_page_count,
                  std::uint32_t high_page_count, std::size_t first_counted_visit,
                  std::size_t end_counted_visit, bool keep_events, unsigned thread_count,
                  const std::optional<Column<bool>> &marked,
                  const std::optional<nb::callable> &is_stopped) {
    const EpcSettings settings{
        policy_of(policy), replica_count,   scan_page_count,
        low_page_count,    high_page_count, first_counted_visit,
        end_counted_visit, keep_events,     marked ? span_of(*marked) : std::span<const bool>()};
    std::vector<EpcResult> results;
    bool is_interrupted = false;
    {
        nb::gil_scoped_release release;
        results = simulate_epc(visits, settings, span_of(capacities), thread_count, [&] {
            nb::gil_scoped_acquire acquire;
            is_interrupted = PyErr_CheckSignals() != 0;
            return is_interrupted || (is_stopped && nb::cast<bool>((*is_stopped)()));
        });
    }
    if (is_interrupted)
        throw nb::python_error();
    nb::list list;
    for (EpcResult &result : results)
        list.append(nb::make_tuple(
            array_of(std::move(result.load_count)), array_of(std::move(result.eviction_count)),
            array_of(std::move(result.loads.visit)), array_of(std::move(result.loads.page)),
            array_of(std::move(result.evictions.visit)), array_of(std::move(result.evictions.page)),
            array_of(std::move(result.marked_load_count))));
    return list;
}

} // namespace

void bind_epc(nb::module_ &module) {
    nb::exception<EpcVisitsError>(module, "NativeEpcVisitsError", PyExc_ValueError);
    nb::list names;
    for (const std::string_view name : epc_policy_names())
        names.append(nb::str(name.data(), name.size()));
    const EpcSettings defaults;
    auto visits = nb::class_<EpcVisits>(module, "EpcVisits",
                                        "Page visits of one process, checked, with pages numbered "
                                        "from 0 in the order of their first visits.");
    visits
        .def(
            "__init__",
            [](EpcVisits *self, const Column<std::uint64_t> &page,
               const Column<std::uint32_t> &ended, const Column<std::uint32_t> &idle,
               const Column<std::uint32_t> &group, std::size_t filter_page_count) {
                new (self) EpcVisits(span_of(page), span_of(ended), span_of(idle), span_of(group),
                                     filter_page_count);
            },
            "page"_a.noconvert(), "ended"_a.noconvert(), "idle"_a.noconvert(),
            "group"_a.noconvert(), "filter_page_count"_a)
        .def("__len__", &EpcVisits::size)
        .def_prop_ro("group_count", &EpcVisits::group_count)
        .def_prop_ro("filter_page_count", &EpcVisits::filter_page_count)
        .def_prop_ro(
            "pages", [](const EpcVisits &self) { return array_of(self.pages()); },
            nb::sig("def pages(self) -> NDArray[numpy.uint64]"), "Numbers of the pages, by index.")
        .def(
            "capacity_min",
            [](const EpcVisits &self, const std::string &policy, std::uint32_t replica_count,
               std::uint32_t high_page_count) {
                EpcSettings settings;
                settings.policy = policy_of(policy);
                settings.replica_count = replica_count;
                settings.high_page_count = high_page_count;
                return settings.capacity_min(self);
            },
            "policy"_a, "replica_count"_a = 1, "high_page_count"_a = defaults.high_page_count,
            "The smallest memory that can be simulated, in pages.")
        .def("simulate", &simulate, "policy"_a, "capacities"_a.noconvert(), "replica_count"_a = 1,
             "scan_page_count"_a = defaults.scan_page_count,
             "low_page_count"_a = defaults.low_page_count,
             "high_page_count"_a = defaults.high_page_count, "first_counted_visit"_a = 0,
             "end_counted_visit"_a = defaults.end_counted_visit, "keep_events"_a = false,
             "thread_count"_a = 1, "marked"_a.noconvert() = nb::none(), "is_stopped"_a = nb::none(),
             nb::sig(
                 "def simulate(self, policy: str, capacities: NDArray[numpy.uint64], "
                 "replica_count: int = 1, scan_page_count: int = ..., low_page_count: int = "
                 "..., high_page_count: int = ..., first_counted_visit: int = 0, "
                 "end_counted_visit: int = ..., keep_events: bool = False, thread_count: int "
                 "= 1, marked: NDArray[numpy.bool_] | None = None, is_stopped: Callable[[], bool] "
                 "| None = None) -> "
                 "list[tuple[NDArray[numpy.uint64], NDArray[numpy.uint64], "
                 "NDArray[numpy.uint32], NDArray[numpy.uint32], NDArray[numpy.uint32], "
                 "NDArray[numpy.uint32], NDArray[numpy.uint64]]]"),
             "For each capacity, in pages: loads and evictions by group; then, if events are kept, "
             "the visit and the page of each load, and those of each eviction; loads of marked "
             "pages by group, where there is a mark for each page. is_stopped is asked every now "
             "and "
             "then; once it says so, nothing is found.");
    visits.attr("POLICIES") = nb::tuple(names);
    visits.attr("SCAN_PAGE_COUNT") = defaults.scan_page_count;
    visits.attr("LOW_PAGE_COUNT") = defaults.low_page_count;
    visits.attr("HIGH_PAGE_COUNT") = defaults.high_page_count;
}
