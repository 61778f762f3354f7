// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/background.hpp"
#include "sgxlens/error.hpp"
#include "sgxlens/mark.h"
#include "sgxlens/stream.h"

#include <cstdint>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <string>

namespace nb = nanobind;

void bind_reuse_stack(nb::module_ &module);
void bind_analysis(nb::module_ &module);
void bind_page_visits(nb::module_ &module);
void bind_epc(nb::module_ &module);
void bind_distinct(nb::module_ &module);
void bind_region_pieces(nb::module_ &module);

NB_MODULE(_native, module) {
    module.doc() = "The native core of sgxlens: decodes access streams, computes data reuse.";
    nb::exception<sgxlens::StreamError>(module, "NativeStreamError", PyExc_ValueError);
    module.def(
        "mark", [](const std::string &name) { return sgxlens_mark(name.c_str()) != 0; },
        nb::arg("name"),
        "Starts the phase `name` of a recording. Returns whether one runs; costs a few "
        "instructions if not.");
    module.def(
        "annotate",
        [](std::uint32_t kind, std::uint64_t address, std::uint64_t size_bytes,
           const std::string &text) {
            if (kind < SGXLENS_OPERATOR_BEGIN || kind > SGXLENS_ANNOTATION_LAST)
                throw nb::value_error("no such kind of annotation");
            return sgxlens_annotate(kind, reinterpret_cast<const void *>(address), size_bytes,
                                    text.data(), text.size()) != 0;
        },
        nb::arg("kind"), nb::arg("address"), nb::arg("size_bytes"), nb::arg("text"),
        "Adds an annotation to a recording; `kind` counts as in enum sgxlens_annotation. Returns "
        "whether a recording runs.");
    module.def("wait_for_its_turn", &sgxlens::wait_for_its_turn,
               "From now on the calling thread does not interrupt others (SCHED_BATCH); a policy "
               "other than the usual one is left.");
    bind_reuse_stack(module);
    bind_analysis(module);
    bind_page_visits(module);
    bind_epc(module);
    bind_distinct(module);
    bind_region_pieces(module);
}
