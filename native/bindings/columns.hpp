// SPDX-License-Identifier: Apache-2.0
//
// Vectors of structs as dictionaries of numpy columns.
#pragma once

#include <array>
#include <cstddef>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <tuple>
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

/// Columns of these types that are filled row by row: in one pass, where rows are millions.
template <typename... T> class ColumnBuilder {
  public:
    explicit ColumnBuilder(std::size_t row_count) {
        std::apply([&](auto &...values) { (values.reserve(row_count), ...); }, columns_);
    }
    void add(T... row) {
        std::apply([&](auto &...values) { (values.push_back(row), ...); }, columns_);
    }
    /// The columns by name; nothing is left in the builder. Needs Python's lock, unlike the above.
    nanobind::dict take(const std::array<const char *, sizeof...(T)> &names) {
        nanobind::dict table;
        const char *const *name = names.data();
        const auto move_to_table = [&](auto &...values) {
            ((table[*name++] = array_of(std::move(values))), ...);
        };
        std::apply(move_to_table, columns_);
        return table;
    }

  private:
    std::tuple<std::vector<T>...> columns_;
};

} // namespace sgxlens::bindings
