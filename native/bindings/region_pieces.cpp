// SPDX-License-Identifier: Apache-2.0
//
// Pages cut where regions of memory meet, for Python.
#include "sgxlens/region_pieces.hpp"

#include "columns.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <utility>

namespace nb = nanobind;
using namespace nb::literals;
using namespace sgxlens;

namespace {

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T> std::span<const T> span_of(const Column<T> &column) {
    return {column.data(), column.size()};
}

} // namespace

void bind_region_pieces(nb::module_ &module) {
    module.def(
        "region_pieces",
        [](const Column<std::int64_t> &breaks, const Column<std::int64_t> &begins,
           const Column<std::uint64_t> &positions, const Column<std::int64_t> &regions,
           const Column<std::uint64_t> &page, const Column<std::uint64_t> &position,
           const Column<std::uint64_t> &lines) {
            RegionPieces found;
            {
                nb::gil_scoped_release release;
                found = region_pieces(
                    {span_of(breaks), span_of(begins), span_of(positions), span_of(regions)},
                    span_of(page), span_of(position), span_of(lines));
            }
            return nb::make_tuple(bindings::array_of(std::move(found.row)),
                                  bindings::array_of(std::move(found.region)),
                                  bindings::array_of(std::move(found.lines)));
        },
        "breaks"_a.noconvert(), "begins"_a.noconvert(), "positions"_a.noconvert(),
        "regions"_a.noconvert(), "page"_a.noconvert(), "position"_a.noconvert(),
        "lines"_a.noconvert(),
        nb::sig("def region_pieces(breaks: NDArray[numpy.int64], begins: NDArray[numpy.int64], "
                "positions: NDArray[numpy.uint64], regions: NDArray[numpy.int64], page: "
                "NDArray[numpy.uint64], position: NDArray[numpy.uint64], lines: "
                "NDArray[numpy.uint64]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64], "
                "NDArray[numpy.uint64]]"),
        "Pieces of pages that hold any of the lines asked for: the row, the region (-1: none) and "
        "the bit map of the lines.");
}
