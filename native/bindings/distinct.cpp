// SPDX-License-Identifier: Apache-2.0
//
// Distinct values of columns for Python.
#include "sgxlens/distinct.hpp"

#include "columns.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <utility>

namespace nb = nanobind;
using namespace nb::literals;
using namespace sgxlens;

using Column = nb::ndarray<const std::uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void bind_distinct(nb::module_ &module) {
    nb::class_<Places>(module, "Places", "Where values are among some distinct ones.")
        .def(
            "__init__",
            [](Places *self, const Column &values) {
                nb::gil_scoped_release release;
                new (self) Places({values.data(), values.size()});
            },
            "values"_a.noconvert(),
            nb::sig("def __init__(self, values: NDArray[numpy.uint64]) -> None"))
        .def(
            "of",
            [](const Places &self, const Column &column) {
                std::vector<std::int64_t> found;
                {
                    nb::gil_scoped_release release;
                    found = self.of({column.data(), column.size()});
                }
                return bindings::array_of(std::move(found));
            },
            "column"_a.noconvert(),
            nb::sig("def of(self, column: NDArray[numpy.uint64]) -> NDArray[numpy.int64]"),
            "For each row of the column the index of its value; -1: it is none of them.");
    module.def(
        "distinct",
        [](const Column &column) {
            Distinct found;
            {
                nb::gil_scoped_release release;
                found = distinct_of({column.data(), column.size()});
            }
            return nb::make_tuple(bindings::array_of(std::move(found.values)),
                                  bindings::array_of(std::move(found.first)),
                                  bindings::array_of(std::move(found.index)));
        },
        "column"_a.noconvert(),
        nb::sig("def distinct(column: NDArray[numpy.uint64]) -> tuple[NDArray[numpy.uint64], "
                "NDArray[numpy.int64], NDArray[numpy.int64]]"),
        "The distinct values, ascending; for each where it is first; for each row the index of its "
        "value.");
}
