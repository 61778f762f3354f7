// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/error.hpp"
#include "sgxlens/mark.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <string>

namespace nb = nanobind;

void bind_reuse_stack(nb::module_ &module);
void bind_analysis(nb::module_ &module);

NB_MODULE(_native, module) {
    module.doc() = "The native core of sgxlens: decodes access streams, computes data reuse.";
    nb::exception<sgxlens::StreamError>(module, "NativeStreamError", PyExc_ValueError);
    module.def(
        "mark", [](const std::string &name) { return sgxlens_mark(name.c_str()) != 0; },
        nb::arg("name"),
        "Starts the phase `name` of a recording. Returns whether one runs; costs a few "
        "instructions if not.");
    bind_reuse_stack(module);
    bind_analysis(module);
}
