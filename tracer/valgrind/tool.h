/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Parts of the tracer, and what each owns:
 *   main.c        options, the life of the process, registration with Valgrind
 *   ring.c        the shared ring: where words go, back-pressure, fork
 *   instrument.c  superblocks: what the translated code writes
 *   isa.c         which instruction set the program is shown
 *   events.c      system calls, the address space, threads, signals, marks
 *   death.c       how the process dies
 *   fast_fma.c    fused multiply-add in hardware, in place of VEX's software
 */
#ifndef SGXLENS_TOOL_H
#define SGXLENS_TOOL_H

#include "pub_tool_basics.h"
#include "pub_tool_tooliface.h"
#include "sgxlens/stream.h"

/* ---- ring.c ---- */

/* The next free word. Translated code loads and stores this variable itself. */
extern ULong *ring_next;
/* A superblock or an event may start as long as ring_next <= ring_limit. */
extern ULong *ring_limit;

/* Where the stream goes. */
typedef enum {
   SINK_READER, /* a ring that a reader empties */
   SINK_NOWHERE /* a scratch chunk: measurements, children that are not followed */
} Sink;

/* Returns NULL, or what went wrong: then the words go nowhere. */
const HChar *ring_open(Sink sink, const HChar *folder);
void ring_close(void);
/* Ends the program, because there is nothing to record into. */
void ring_give_up(const HChar *why) __attribute__((noreturn));
/* Publishes the current chunk and takes the next; waits for the reader. Called
 * from translated code and from ring_append. */
void ring_advance(void);
/* Tells a reader how far the unpublished chunk is valid, for the case that this
 * process is killed. */
void ring_note_partial(void);
/* In a child after fork: gives up the parent's ring. */
void ring_forget(void);
/* Writes what time it is. */
void ring_tick(void);
/* Makes room for a record and writes its head; returns where its payload goes. */
ULong *ring_record(UInt kind, UInt payload_words, UInt value);
/* Writes a record whose payload is `count` numbers and then a string of `size` bytes. */
void ring_record_text(UInt kind, UInt value, const ULong *numbers, UInt count, const HChar *text,
                      SizeT size);

/* ---- instrument.c ---- */

/* Whether translated code records. Changing it needs instrument_discard_all. */
extern Bool recording_on;
IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout,
                 const VexGuestExtents *extents, const VexArchInfo *host, IRType guest_word,
                 IRType host_word);
void instrument_discard_all(void);

/* ---- isa.c ---- */

typedef enum { ISA_SSE, ISA_AVX, ISA_AVX2 } Isa;
extern Isa isa_shown;
/* If `dirty` executes CPUID, makes it answer with the instruction set shown. */
Bool isa_mask_cpuid(IRDirty *dirty);

/* ---- events.c ---- */

void events_register(void);
/* The first records of a stream: the process and its address space as it is now. */
void events_open_stream(UInt how);
/* Continues in a forked child, into a stream of its own or into none. */
extern Bool follow_children;
extern const HChar *session_folder;
extern const HChar *start_mark;
extern Sink sink_wanted;

/* ---- death.c ---- */

/* Whether a signal that the program does not handle ends it. */
extern Bool dying_of_signal;
/* What the program gave to exit, once it did. */
extern UInt exit_status;

/* ---- raw system calls, for what Valgrind's tool interface lacks ---- */
Word raw_syscall(Word number, Word a, Word b, Word c, Word d, Word e, Word f);

#endif
