/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which instruction set the program is shown. Libraries choose their kernels
 * by CPUID. VEX translates AVX well, but computes fused multiply-adds lane by
 * lane, so by default the program is shown a processor with AVX and without
 * FMA and AVX2.
 */
#include "libvex_guest_amd64.h"
#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "tool.h"

Isa isa_shown = ISA_AVX;

/* Bits of CPUID leaf 1 (ecx) and leaf 7 (ebx): Intel SDM vol. 2A, CPUID. */
#define LEAF1_ECX_FMA (1ULL << 12)
#define LEAF1_ECX_XSAVE (1ULL << 26)
#define LEAF1_ECX_OSXSAVE (1ULL << 27)
#define LEAF1_ECX_AVX (1ULL << 28)
#define LEAF1_ECX_F16C (1ULL << 29)
#define LEAF7_EBX_AVX2 (1ULL << 5)
/* "Enhanced rep movsb": VEX executes such a copy byte by byte, so a copy
 * routine that believes in it is slow here, and records one access a byte
 * where the processor makes one a line. */
#define LEAF7_EBX_ERMS (1ULL << 9)

/* VEX's own CPUID helpers, one for each processor it can present. */
extern void amd64g_dirtyhelper_CPUID_baseline(VexGuestAMD64State *);
extern void amd64g_dirtyhelper_CPUID_sse3_and_cx16(VexGuestAMD64State *);
extern void amd64g_dirtyhelper_CPUID_sse42_and_cx16(VexGuestAMD64State *);
extern void amd64g_dirtyhelper_CPUID_avx_and_cx16(VexGuestAMD64State *);
extern void amd64g_dirtyhelper_CPUID_avx2(VexGuestAMD64State *);

static void hide(VexGuestAMD64State *state, UInt leaf) {
   if (leaf == 1) {
      if (isa_shown <= ISA_AVX)
         state->guest_RCX &= ~LEAF1_ECX_FMA;
      if (isa_shown == ISA_SSE)
         state->guest_RCX &=
             ~(LEAF1_ECX_XSAVE | LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX | LEAF1_ECX_F16C);
   } else if (leaf == 7) {
      state->guest_RBX &= ~LEAF7_EBX_ERMS;
      if (isa_shown <= ISA_AVX)
         state->guest_RBX &= ~LEAF7_EBX_AVX2;
   }
}

#define MASKED(original)                                                                           \
   static void masked_##original(VexGuestAMD64State *state) {                                      \
      UInt leaf = (UInt)state->guest_RAX;                                                          \
      original(state);                                                                             \
      hide(state, leaf);                                                                           \
   }
MASKED(amd64g_dirtyhelper_CPUID_baseline)
MASKED(amd64g_dirtyhelper_CPUID_sse3_and_cx16)
MASKED(amd64g_dirtyhelper_CPUID_sse42_and_cx16)
MASKED(amd64g_dirtyhelper_CPUID_avx_and_cx16)
MASKED(amd64g_dirtyhelper_CPUID_avx2)

static const struct {
   const void *original;
   void *masked;
} helpers[] = {
    {amd64g_dirtyhelper_CPUID_baseline, masked_amd64g_dirtyhelper_CPUID_baseline},
    {amd64g_dirtyhelper_CPUID_sse3_and_cx16, masked_amd64g_dirtyhelper_CPUID_sse3_and_cx16},
    {amd64g_dirtyhelper_CPUID_sse42_and_cx16, masked_amd64g_dirtyhelper_CPUID_sse42_and_cx16},
    {amd64g_dirtyhelper_CPUID_avx_and_cx16, masked_amd64g_dirtyhelper_CPUID_avx_and_cx16},
    {amd64g_dirtyhelper_CPUID_avx2, masked_amd64g_dirtyhelper_CPUID_avx2},
};

Bool isa_mask_cpuid(IRDirty *dirty) {
   UInt i;
   for (i = 0; i < sizeof helpers / sizeof helpers[0]; i++) {
      if (dirty->cee->addr == helpers[i].original) {
         dirty->cee = mkIRCallee(dirty->cee->regparms, "sgxlens_masked_cpuid", helpers[i].masked);
         return True;
      }
   }
   return False;
}
