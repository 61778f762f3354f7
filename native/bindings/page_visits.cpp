// SPDX-License-Identifier: Apache-2.0
//
// PageVisits for Python: as columns, and driven by hand for its tests.
#include "page_visits.hpp"

#include "columns.hpp"
#include "sgxlens/page_visits.hpp"

#include <cstddef>
#include <cstdint>
#include <nanobind/nanobind.h>
#include <nanobind/stl/function.h>

namespace nb = nanobind;
using namespace nb::literals;

namespace sgxlens::bindings {

/// Other threads of Python go on meanwhile.
nb::dict page_visit_columns(const PageVisitLog &visits) {
    ColumnBuilder<std::uint32_t, std::uint64_t, std::uint64_t, std::uint8_t, std::uint8_t,
                  std::uint32_t, std::uint32_t>
        columns(visits.size());
    {
        const nb::gil_scoped_release release;
        visits.for_each([&](const PageVisit &visit) {
            columns.add(visit.context, visit.position, visit.page, visit.access_class,
                        visit.written, visit.ended, visit.idle);
        });
    }
    return columns.take({"context", "position", "page", "access", "written", "ended", "idle"});
}

} // namespace sgxlens::bindings

void bind_page_visits(nb::module_ &module) {
    using sgxlens::PageVisits;
    auto visits =
        nb::class_<PageVisits>(
            module, "PageVisits",
            "Collects the visits of a filter of the pages accessed last: for tests. "
            "last_time(page) gives the time of a page's last access.")
            .def(nb::init<PageVisits::LastTime, std::size_t>(), "last_time"_a,
                 "filter_page_count"_a = PageVisits::kFilterPageCount)
            .def("start", &PageVisits::start, "page"_a, "access_class"_a, "context"_a, "position"_a,
                 "An access to a page that is not among those accessed last.")
            .def("note", &PageVisits::note, "page"_a, "classes"_a,
                 "An access in these classes, a bit set.")
            .def("renumbering", &PageVisits::renumbering,
                 "All times are about to change, in order.")
            .def("renumbered", &PageVisits::renumbered, "All times have changed.")
            .def("finish", &PageVisits::finish, "No more accesses follow.")
            .def(
                "columns",
                [](const PageVisits &self) {
                    return sgxlens::bindings::page_visit_columns(self.visits());
                },
                "The visits, a column each: context, position, page, access, written, "
                "ended and idle; the last two are 0 where no visit ends.")
            .def_prop_ro("filter_page_count", &PageVisits::filter_page_count)
            .def_prop_ro("memory_bytes", &PageVisits::memory_bytes);
    visits.attr("FILTER_PAGE_COUNT") = PageVisits::kFilterPageCount;
}
