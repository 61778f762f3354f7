// SPDX-License-Identifier: Apache-2.0
//
// The reuse-distance kernel for InstructionSet::baseline.
#include "reuse_state.hpp"

#include "sgxlens/histogram.hpp"
#include "sgxlens/reuse_stack.hpp"

#include <cstddef>
#include <cstdint>

#include "reuse_kernel.hpp"
#include "reuse_touch.hpp"

namespace sgxlens::detail {

const Kernel kKernelBaseline = {process, touch, rank_times, append};

} // namespace sgxlens::detail
