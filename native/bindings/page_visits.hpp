// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sgxlens/page_visits.hpp"

#include <nanobind/nanobind.h>

namespace sgxlens::bindings {

/// Visits as columns named as in the table page_visits; `ended` and `idle` are 0 where none ends,
/// `access` is the number of the class.
nanobind::dict page_visit_columns(const PageVisitLog &visits);

} // namespace sgxlens::bindings
