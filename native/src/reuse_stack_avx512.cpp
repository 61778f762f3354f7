// SPDX-License-Identifier: Apache-2.0
//
// The reuse-distance kernel for InstructionSet::avx512.

// The intrinsics of g++ 11 to 13 start from a value left undefined on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "reuse_state.hpp"

#include "sgxlens/histogram.hpp"
#include "sgxlens/reuse_stack.hpp"

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

// Not a flag of the file: the functions of the headers above must stay baseline.
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")

// g++ does not define __AVX512F__ after such a pragma.
#define SGXLENS_KERNEL_AVX512
#include "reuse_kernel.hpp"
#include "reuse_touch.hpp"

namespace sgxlens::detail {

const Kernel kKernelAvx512 = {process, touch, rank_times, append};

} // namespace sgxlens::detail
