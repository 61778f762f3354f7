// SPDX-License-Identifier: Apache-2.0
//
// The reuse-distance kernel for InstructionSet::avx2.
#include "reuse_state.hpp"

#include "sgxlens/histogram.hpp"
#include "sgxlens/reuse_stack.hpp"

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

// Not a flag of the file: the functions of the headers above must stay baseline.
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")

#define SGXLENS_KERNEL_AVX2
#include "reuse_kernel.hpp"
#include "reuse_touch.hpp"

namespace sgxlens::detail {

const Kernel kKernelAvx2 = {process, touch, rank_times, append};

} // namespace sgxlens::detail
