// SPDX-License-Identifier: Apache-2.0
//
// PageVisits for Python: as columns, and driven by hand for its tests.
#include "page_visits.hpp"

#include "sgxlens/page_visits.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <utility>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace sgxlens::bindings {
namespace {

template <typename T> nb::object array_of(std::vector<T> values) {
    auto owned = std::make_unique<std::vector<T>>(std::move(values));
    std::vector<T> *const data = owned.release();
    nb::capsule owner(data, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(data->data(), {data->size()}, owner));
}

/// One column at a time, so that little memory is needed besides.
template <typename T, typename Value>
nb::object visit_column(const PageVisitLog &visits, Value value) {
    std::vector<T> values;
    values.reserve(visits.size());
    visits.for_each([&](const PageVisit &visit) { values.push_back(value(visit)); });
    return array_of(std::move(values));
}

} // namespace

nb::dict page_visit_columns(const PageVisitLog &visits) {
    nb::dict table;
    table["context"] = visit_column<std::uint32_t>(visits, [](auto &v) { return v.context; });
    table["position"] = visit_column<std::uint64_t>(visits, [](auto &v) { return v.position; });
    table["page"] = visit_column<std::uint64_t>(visits, [](auto &v) { return v.page; });
    table["access"] = visit_column<std::uint8_t>(visits, [](auto &v) { return v.access_class; });
    table["written"] =
        visit_column<std::uint8_t>(visits, [](auto &v) { return std::uint8_t{v.written}; });
    table["ended"] = visit_column<std::uint32_t>(visits, [](auto &v) { return v.ended; });
    table["idle"] = visit_column<std::uint32_t>(visits, [](auto &v) { return v.idle; });
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
