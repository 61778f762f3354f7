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
#include <utility>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace sgxlens::bindings {

nb::dict page_visit_columns(const PageVisitLog &visits) {
    const std::size_t count = visits.size();
    std::vector<std::uint32_t> contexts;
    std::vector<std::uint64_t> positions;
    std::vector<std::uint64_t> pages;
    std::vector<std::uint8_t> access_classes;
    std::vector<std::uint8_t> written;
    std::vector<std::uint32_t> ended;
    std::vector<std::uint32_t> idle;
    {
        const nb::gil_scoped_release release;
        contexts.reserve(count);
        positions.reserve(count);
        pages.reserve(count);
        access_classes.reserve(count);
        written.reserve(count);
        ended.reserve(count);
        idle.reserve(count);
        visits.for_each([&](const PageVisit &visit) {
            contexts.push_back(visit.context);
            positions.push_back(visit.position);
            pages.push_back(visit.page);
            access_classes.push_back(visit.access_class);
            written.push_back(visit.written);
            ended.push_back(visit.ended);
            idle.push_back(visit.idle);
        });
    }
    nb::dict table;
    table["context"] = array_of(std::move(contexts));
    table["position"] = array_of(std::move(positions));
    table["page"] = array_of(std::move(pages));
    table["access"] = array_of(std::move(access_classes));
    table["written"] = array_of(std::move(written));
    table["ended"] = array_of(std::move(ended));
    table["idle"] = array_of(std::move(idle));
    return table;
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
