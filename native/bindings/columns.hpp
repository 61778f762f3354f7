// SPDX-License-Identifier: Apache-2.0
//
// Vectors of structs as dictionaries of numpy columns.
#pragma once

#include <cstddef>
#include <memory>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <vector>

namespace sgxlens::bindings {

/// A numpy array of one value per row.
template <typename T, typename Rows, typename Value>
nanobind::object column(const Rows &rows, Value value) {
    auto values = std::make_unique<std::vector<T>>();
    values->reserve(rows.size());
    for (const auto &row : rows)
        values->push_back(static_cast<T>(value(row)));
    std::vector<T> *const data = values.release();
    nanobind::capsule owner(data,
                            [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    return nanobind::cast(nanobind::ndarray<nanobind::numpy, T, nanobind::ndim<1>>(
        data->data(), {data->size()}, owner));
}

} // namespace sgxlens::bindings
