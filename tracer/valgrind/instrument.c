/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Superblocks. At translation a superblock is described once (SGXLENS_DEFINE);
 * its code then writes, each time it runs, one head word and one word for each
 * address base. Bases are the temporaries from which addresses are computed by
 * adding constants: the loads of an unrolled kernel share one, and so do all
 * the stack slots of a function.
 */
#include "libvex_guest_amd64.h"
#include "pub_tool_aspacemgr.h"
#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_machine.h"
#include "pub_tool_mallocfree.h"
#include "pub_tool_tooliface.h"
#include "pub_tool_transtab.h"
#include "tool.h"

/* In coregrind, but not in the tool headers. The public "safe" variant refuses to run in a system
 * call, which is where fork is; system calls that unmap code use this one there. */
extern void VG_(discard_translations)(Addr start, ULong range, const HChar *who);

Bool recording_on = True;

#define OPERATIONS_MAX 1500u
#define EXITS_MAX 500u
#define VALUES_MAX 1500u
#define TEMPORARIES_MAX 16384u

typedef struct {
   IRTemp base;
   Long offset;
} Origin;

/* The superblock being translated. Translation is not re-entrant. */
static struct {
   IRSB *out;
   IRTemp record; /* where this run's record starts */
   ULong operations[OPERATIONS_MAX][2];
   UInt operation_count;
   ULong exits[EXITS_MAX];
   UInt exit_count;
   UInt value_count;
   UInt instruction_count;
   ULong fetch_line;
   Int fetch_operation;             /* index of the operation that grows, or -1 */
   Origin origin[TEMPORARIES_MAX];  /* of each temporary of the input */
   Int value_of[TEMPORARIES_MAX];   /* which value word holds a base, or -1 */
   UInt loaded_by[TEMPORARIES_MAX]; /* number of the instruction that loaded it, or 0 */
} sb;

static UInt exits_defined; /* in this stream */

static IRTemp new_temp(IRType type) { return newIRTemp(sb.out->tyenv, type); }
static void emit(IRStmt *statement) { addStmtToIRSB(sb.out, statement); }

static IRTemp assign(IRType type, IRExpr *value) {
   IRTemp temp = new_temp(type);
   emit(IRStmt_WrTmp(temp, value));
   return temp;
}

static IRExpr *constant(ULong value) { return IRExpr_Const(IRConst_U64(value)); }

/* Stores `value` in word `word` of the record being written. */
static void store_word(UInt word, IRExpr *value) {
   IRTemp where =
       assign(Ity_I64, IRExpr_Binop(Iop_Add64, IRExpr_RdTmp(sb.record), constant(8ULL * word)));
   emit(IRStmt_Store(Iend_LE, IRExpr_RdTmp(where), value));
}

static void note_operation(UInt kind, UInt base, UInt size, ULong offset) {
   tl_assert(sb.operation_count < OPERATIONS_MAX);
   sb.operations[sb.operation_count][0] = SGXLENS_OPERATION(kind, base, size);
   sb.operations[sb.operation_count][1] = offset;
   sb.operation_count++;
}

static UInt new_value(IRExpr *value) {
   tl_assert(sb.value_count < VALUES_MAX);
   UInt number = sb.value_count++;
   store_word(1 + number, value);
   return number;
}

static Origin origin_of(IRExpr *address) {
   tl_assert(address->tag == Iex_RdTmp);
   return sb.origin[address->Iex.RdTmp.tmp];
}

/* Remembers of a temporary how it was computed, if by adding a constant. */
static void track_origin(IRTemp temp, IRExpr *value) {
   Origin found = {temp, 0};
   if (value->tag == Iex_RdTmp) {
      found = origin_of(value);
   } else if (value->tag == Iex_Binop &&
              (value->Iex.Binop.op == Iop_Add64 || value->Iex.Binop.op == Iop_Sub64)) {
      IRExpr *left = value->Iex.Binop.arg1;
      IRExpr *right = value->Iex.Binop.arg2;
      Bool add = value->Iex.Binop.op == Iop_Add64;
      if (left->tag == Iex_RdTmp && right->tag == Iex_Const) {
         Long c = (Long)right->Iex.Const.con->Ico.U64;
         found = origin_of(left);
         found.offset += add ? c : -c;
      } else if (add && left->tag == Iex_Const && right->tag == Iex_RdTmp) {
         found = origin_of(right);
         found.offset += (Long)left->Iex.Const.con->Ico.U64;
      }
   }
   sb.origin[temp] = found;
}

static void note_access(UInt kind, IRExpr *address, UInt size) {
   if (address->tag == Iex_Const) {
      note_operation(kind, SGXLENS_BASE_NONE, size, address->Iex.Const.con->Ico.U64);
      return;
   }
   Origin origin = origin_of(address);
   if (sb.value_of[origin.base] < 0)
      sb.value_of[origin.base] = (Int)new_value(IRExpr_RdTmp(origin.base));
   note_operation(kind, (UInt)sb.value_of[origin.base], size, (ULong)origin.offset);
}

static Bool is_always(IRExpr *guard) {
   return guard == NULL || (guard->tag == Iex_Const && guard->Iex.Const.con->Ico.U1);
}

/* An access that happens only where `guard` holds. */
static void note_guarded(UInt kind, IRExpr *address, UInt size, IRExpr *guard) {
   if (is_always(guard)) {
      note_access(kind, address, size);
      return;
   }
   IRTemp value = assign(Ity_I64, IRExpr_ITE(guard, address, constant(0)));
   UInt number = new_value(IRExpr_RdTmp(value));
   note_operation(kind == SGXLENS_OP_LOAD ? SGXLENS_OP_LOAD_IF : SGXLENS_OP_STORE_IF, number, size,
                  0);
}

static void note_instruction(Addr address, UInt length) {
   sb.instruction_count++;
   while (length > 0) {
      ULong line = address / SGXLENS_LINE_BYTES;
      UInt room = SGXLENS_LINE_BYTES - (UInt)(address % SGXLENS_LINE_BYTES);
      UInt part = length < room ? length : room;
      ULong *fetch = sb.fetch_operation < 0 ? NULL : sb.operations[sb.fetch_operation];
      if (fetch != NULL && fetch[1] + SGXLENS_OPERATION_SIZE(fetch[0]) == address &&
          line == sb.fetch_line) {
         fetch[0] += (ULong)part << 32;
      } else {
         sb.fetch_operation = (Int)sb.operation_count;
         sb.fetch_line = line;
         note_operation(SGXLENS_OP_FETCH, SGXLENS_BASE_NONE, part, address);
      }
      address += part;
      length -= part;
   }
}

/* Closes the record for the case that the superblock is left here. */
static void note_exit(void) {
   tl_assert(sb.exit_count < EXITS_MAX);
   sb.exits[sb.exit_count] = SGXLENS_EXIT(sb.operation_count, sb.value_count, sb.instruction_count);
   UInt number = exits_defined + sb.exit_count;
   sb.exit_count++;
   emit(IRStmt_Store(Iend_LE, IRExpr_RdTmp(sb.record),
                     constant(SGXLENS_HEAD(SGXLENS_RUN, sb.value_count, number))));
   IRTemp end = assign(Ity_I64, IRExpr_Binop(Iop_Add64, IRExpr_RdTmp(sb.record),
                                             constant(8ULL * (1 + sb.value_count))));
   emit(IRStmt_Store(Iend_LE, constant((ULong)(Addr)&ring_next), IRExpr_RdTmp(end)));
}

static void open_record(void) {
   IRExpr *next_variable = constant((ULong)(Addr)&ring_next);
   IRTemp next = assign(Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, next_variable));
   IRTemp limit =
       assign(Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, constant((ULong)(Addr)&ring_limit)));
   IRTemp full =
       assign(Ity_I1, IRExpr_Binop(Iop_CmpLT64U, IRExpr_RdTmp(limit), IRExpr_RdTmp(next)));
   IRDirty *advance = unsafeIRDirty_0_N(0, "sgxlens_ring_advance", ring_advance, mkIRExprVec_0());
   advance->guard = IRExpr_RdTmp(full);
   emit(IRStmt_Dirty(advance));
   sb.record = assign(Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, next_variable));
}

static void note_dirty(IRDirty *dirty) {
   if (isa_mask_cpuid(dirty)) {
      IRTemp rax = assign(Ity_I64, IRExpr_Get(offsetof(VexGuestAMD64State, guest_RAX), Ity_I64));
      IRTemp rcx = assign(Ity_I64, IRExpr_Get(offsetof(VexGuestAMD64State, guest_RCX), Ity_I64));
      IRTemp leaf =
          assign(Ity_I64, IRExpr_Binop(Iop_And64, IRExpr_RdTmp(rax), constant(0xffffffffULL)));
      IRTemp high =
          assign(Ity_I64, IRExpr_Binop(Iop_Shl64, IRExpr_RdTmp(rcx), IRExpr_Const(IRConst_U8(32))));
      IRTemp both = assign(Ity_I64, IRExpr_Binop(Iop_Or64, IRExpr_RdTmp(leaf), IRExpr_RdTmp(high)));
      note_operation(SGXLENS_OP_CPUID, new_value(IRExpr_RdTmp(both)), 0, 0);
   } else if (VG_(strcmp)(dirty->cee->name, "amd64g_dirtyhelper_RDTSC") == 0) {
      note_operation(SGXLENS_OP_RDTSC, SGXLENS_BASE_NONE, 0, 0);
   } else if (VG_(strcmp)(dirty->cee->name, "amd64g_dirtyhelper_RDTSCP") == 0) {
      note_operation(SGXLENS_OP_RDTSCP, SGXLENS_BASE_NONE, 0, 0);
   }
   if (dirty->mFx == Ifx_Read || dirty->mFx == Ifx_Modify)
      note_guarded(SGXLENS_OP_LOAD, dirty->mAddr, (UInt)dirty->mSize, dirty->guard);
   if (dirty->mFx == Ifx_Write || dirty->mFx == Ifx_Modify)
      note_guarded(SGXLENS_OP_STORE, dirty->mAddr, (UInt)dirty->mSize, dirty->guard);
}

static UInt size_of(IRExpr *value) {
   return (UInt)sizeofIRType(typeOfIRExpr(sb.out->tyenv, value));
}

static UInt loaded_size(IRLoadG *load) {
   IRType result, loaded;
   typeOfIRLoadGOp(load->cvt, &result, &loaded);
   return (UInt)sizeofIRType(loaded);
}

static Bool loaded_by_this_instruction(IRExpr *value) {
   return value->tag == Iex_RdTmp && sb.loaded_by[value->Iex.RdTmp.tmp] == sb.instruction_count;
}

/* What `statement` does to memory, noted before it is emitted. */
static void note_statement(IRStmt *statement) {
   switch (statement->tag) {
   case Ist_IMark:
      note_instruction(statement->Ist.IMark.addr, statement->Ist.IMark.len);
      break;
   case Ist_WrTmp: {
      IRExpr *value = statement->Ist.WrTmp.data;
      track_origin(statement->Ist.WrTmp.tmp, value);
      if (value->tag == Iex_Load) {
         note_access(SGXLENS_OP_LOAD, value->Iex.Load.addr, (UInt)sizeofIRType(value->Iex.Load.ty));
         sb.loaded_by[statement->Ist.WrTmp.tmp] = sb.instruction_count;
      }
      break;
   }
   case Ist_Store:
      note_access(SGXLENS_OP_STORE, statement->Ist.Store.addr, size_of(statement->Ist.Store.data));
      break;
   case Ist_LoadG: {
      IRLoadG *load = statement->Ist.LoadG.details;
      note_guarded(SGXLENS_OP_LOAD, load->addr, loaded_size(load), load->guard);
      break;
   }
   case Ist_StoreG: {
      IRStoreG *store = statement->Ist.StoreG.details;
      note_guarded(SGXLENS_OP_STORE, store->addr, size_of(store->data), store->guard);
      break;
   }
   case Ist_CAS: {
      /* The processor writes the old value back where the comparison fails
       * (Intel SDM, CMPXCHG), so this is a load and a store either way. VEX makes other locked
       * instructions of a load and a CAS that expects what it loaded: one load, too. */
      IRCAS *cas = statement->Ist.CAS.details;
      UInt size = size_of(cas->dataLo) * (cas->dataHi != NULL ? 2 : 1);
      if (!loaded_by_this_instruction(cas->expdLo))
         note_access(SGXLENS_OP_LOAD, cas->addr, size);
      note_access(SGXLENS_OP_STORE, cas->addr, size);
      break;
   }
   case Ist_LLSC:
      if (statement->Ist.LLSC.storedata == NULL)
         note_access(SGXLENS_OP_LOAD, statement->Ist.LLSC.addr,
                     (UInt)sizeofIRType(typeOfIRTemp(sb.out->tyenv, statement->Ist.LLSC.result)));
      else
         note_access(SGXLENS_OP_STORE, statement->Ist.LLSC.addr,
                     size_of(statement->Ist.LLSC.storedata));
      break;
   case Ist_Dirty:
      note_dirty(statement->Ist.Dirty.details);
      break;
   case Ist_Exit:
      note_exit();
      break;
   default:
      break;
   }
}

/* Temporaries that an instruction defines other than by WrTmp are their own origin. */
static void reset_origins(void) {
   Int i;
   tl_assert(sb.out->tyenv->types_used <= (Int)TEMPORARIES_MAX);
   for (i = 0; i < sb.out->tyenv->types_used; i++) {
      sb.origin[i].base = (IRTemp)i;
      sb.origin[i].offset = 0;
      sb.value_of[i] = -1;
      sb.loaded_by[i] = 0;
   }
}

static void define(Addr address) {
   UInt words = 2 + sb.exit_count + 2 * sb.operation_count;
   ULong *payload = ring_record(SGXLENS_DEFINE, words, exits_defined);
   *payload++ = address;
   *payload++ = (ULong)sb.exit_count | ((ULong)sb.operation_count << 32);
   UInt i;
   for (i = 0; i < sb.exit_count; i++)
      *payload++ = sb.exits[i];
   for (i = 0; i < sb.operation_count; i++) {
      *payload++ = sb.operations[i][0];
      *payload++ = sb.operations[i][1];
   }
   exits_defined += sb.exit_count;
}

/* With recording off only CPUID matters. */
static IRSB *instrument_silently(IRSB *in) {
   Int i;
   for (i = 0; i < in->stmts_used; i++)
      if (in->stmts[i]->tag == Ist_Dirty)
         isa_mask_cpuid(in->stmts[i]->Ist.Dirty.details);
   return in;
}

IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout,
                 const VexGuestExtents *extents, const VexArchInfo *host, IRType guest_word,
                 IRType host_word) {
   Int i = 0;
   if (!recording_on)
      return instrument_silently(in);

   sb.out = deepCopyIRSBExceptStmts(in);
   sb.operation_count = sb.exit_count = sb.value_count = sb.instruction_count = 0;
   sb.fetch_operation = -1;
   reset_origins();

   /* Statements before the first instruction are VEX's own (checks for
    * self-modifying code): not the program's. */
   while (i < in->stmts_used && in->stmts[i]->tag != Ist_IMark)
      emit(in->stmts[i++]);
   open_record();
   for (; i < in->stmts_used; i++) {
      note_statement(in->stmts[i]);
      emit(in->stmts[i]);
   }
   note_exit();
   define(closure->readdr);
   return sb.out;
}

void instrument_discard_all(void) {
   /* All of user space; what runs next is translated, and defined, anew. */
   VG_(discard_translations)(SGXLENS_PAGE_BYTES, 1ULL << 47, "sgxlens");
}
