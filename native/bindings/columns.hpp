// SPDX-License-Identifier: Apache-2.0
//
// Vectors of structs as dictionaries of numpy columns.
#pragma once

#include <cstddef>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <utility>
#include <vector>

namespace sgxlens::bindings {

/// A numpy array of these values.
template <typename T> nanobind::object array_of(std::vector<T> values) {
    auto *const data = new std::vector<T>(std::move(values));
    nanobind::capsule owner(data,
                            [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    return nanobind::cast(nanobind::ndarray<nanobind::numpy, T, nanobind::ndim<1>>(
        data->data(), {data->size()}, owner));
}

/// A numpy array of one value per row.
template <typename T, typename Rows, typename Value>
nanobind::object column(const Rows &rows, Value value) {
    std::vector<T> values;
    values.reserve(rows.size());
    for (const auto &row : rows)
        values.push_back(static_cast<T>(value(row)));
    return array_of(std::move(values));
}

} // namespace sgxlens::bindings
