/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * VEX computes each lane of a fused multiply-add in software, bit by bit: a
 * program that uses FMA without asking CPUID for it runs about 2,000 times
 * slower than natively. These two functions take the place of VEX's (the
 * linker prefers them to the archive member that holds nothing else) and use
 * the processor's instruction, which rounds once, as the software does.
 *
 * VEX translates FMA instructions only on processors that have AVX2, and all
 * of those have FMA.
 */
#include <immintrin.h>

#include "libvex_basictypes.h"

VEX_REGPARM(3)
__attribute__((target("fma"))) void h_generic_calc_MAddF32(/*OUT*/ Float *result, Float *x,
                                                           Float *y, Float *z) {
   *result = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(*x), _mm_set_ss(*y), _mm_set_ss(*z)));
}

VEX_REGPARM(3)
__attribute__((target("fma"))) void h_generic_calc_MAddF64(/*OUT*/ Double *result, Double *x,
                                                           Double *y, Double *z) {
   *result = _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(*x), _mm_set_sd(*y), _mm_set_sd(*z)));
}
