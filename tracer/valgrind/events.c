/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What happens besides executing code: system calls and the memory that the
 * kernel touches in them, the address space, threads, signals, marks, fork.
 */
#include "pub_tool_aspacemgr.h"
#include "pub_tool_clientstate.h"
#include "pub_tool_clreq.h"
#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_machine.h"
#include "pub_tool_mallocfree.h"
#include "pub_tool_threadstate.h"
#include "pub_tool_vki.h"
#include "pub_tool_vkiscnums.h"
#include "tool.h"

#define NAME_MAX_BYTES 1000u
#define SYSCALL_ARGUMENTS 6u
/* What a program asks for; Linux moves at most this (MAX_RW_COUNT) in one system call. */
#define KERNEL_ACCESS_BYTES_MAX 0x7ffff000ULL

/* In coregrind, but not in the tool headers. */
extern Bool VG_(clo_trace_children);

static ThreadId running = VG_INVALID_THREADID; /* as last written to the stream */
static Addr first_stack_pointer;

/* Writes which thread the following records belong to, if it changed. */
static void note_thread(ThreadId tid) {
   if (tid != running && tid != VG_INVALID_THREADID) {
      running = tid;
      ring_record(SGXLENS_THREAD, 0, tid);
   }
}

/* ---- the address space ---- */

static UInt protection(Bool r, Bool w, Bool x) {
   return (r ? SGXLENS_PROT_READ : 0) | (w ? SGXLENS_PROT_WRITE : 0) | (x ? SGXLENS_PROT_EXEC : 0);
}

static void note_segment(const NSegment *segment, Addr start, SizeT size) {
   UInt value = protection(segment->hasR, segment->hasW, segment->hasX);
   const HChar *name = NULL;
   if (segment->kind == SkFileC) {
      value |= SGXLENS_MAP_FILE;
      name = VG_(am_get_filename)(segment);
   } else if (segment->kind == SkShmC) {
      value |= SGXLENS_MAP_SHARED_MEMORY;
   } else if (segment->isCH) {
      value |= SGXLENS_MAP_HEAP;
   } else if (first_stack_pointer >= segment->start && first_stack_pointer <= segment->end) {
      value |= SGXLENS_MAP_STACK;
   }
   SizeT name_size = name == NULL ? 0 : VG_(strlen)(name);
   if (name_size > NAME_MAX_BYTES)
      name_size = NAME_MAX_BYTES;
   ULong numbers[4] = {
       start, size,
       segment->kind == SkFileC ? (ULong)segment->offset + (start - segment->start) : 0, name_size};
   ring_record_text(SGXLENS_MAP, value, numbers, 4, name, name_size);
}

/* Notes every part of [start, start + size) that is mapped. */
static void note_mapping(Addr start, SizeT size) {
   Addr end = start + size;
   while (start < end) {
      const NSegment *segment = VG_(am_find_nsegment)(start);
      if (segment == NULL)
         return;
      Addr part_end = segment->end + 1 < end ? segment->end + 1 : end;
      if (segment->kind & (SkAnonC | SkFileC | SkShmC))
         note_segment(segment, start, part_end - start);
      start = part_end;
   }
}

static void note_whole_address_space(void) {
   Int room = 256;
   Int count, i;
   Addr *starts = NULL;
   do { /* a negative answer says how many there are */
      starts = VG_(realloc)("sgxlens.segments", starts, (SizeT)room * sizeof(Addr));
      count = VG_(am_get_segment_starts)(SkAnonC | SkFileC | SkShmC, starts, room);
      room = -count + 16;
   } while (count < 0);
   for (i = 0; i < count; i++) {
      const NSegment *segment = VG_(am_find_nsegment)(starts[i]);
      if (segment != NULL)
         note_segment(segment, segment->start, segment->end - segment->start + 1);
   }
   VG_(free)(starts);
}

static void on_new_mmap(Addr a, SizeT size, Bool r, Bool w, Bool x, ULong di) {
   note_mapping(a, size);
}

static void note_range(UInt kind, UInt value, Addr a, SizeT size) {
   ULong *payload = ring_record(kind, 2, value);
   payload[0] = a;
   payload[1] = size;
}

static void on_new_brk(Addr a, SizeT size, ThreadId tid) { note_range(SGXLENS_BREAK, 1, a, size); }
static void on_die_brk(Addr a, SizeT size) { note_range(SGXLENS_BREAK, 0, a, size); }
static void on_unmap(Addr a, SizeT size) { note_range(SGXLENS_UNMAP, 0, a, size); }

static void on_protect(Addr a, SizeT size, Bool r, Bool w, Bool x) {
   note_range(SGXLENS_PROTECT, protection(r, w, x), a, size);
}

static void on_remap(Addr from, Addr to, SizeT size) {
   ULong *payload = ring_record(SGXLENS_REMAP, 3, 0);
   payload[0] = from;
   payload[1] = to;
   payload[2] = size;
}

/* ---- memory that the kernel touches ---- */

static void note_kernel(UInt kind, CorePart part, ThreadId tid, Addr a, SizeT size) {
   if (!recording_on || size == 0 || (part != Vg_CoreSysCall && part != Vg_CoreSignal))
      return;
   note_thread(tid);
   note_range(kind, 0, a, size < KERNEL_ACCESS_BYTES_MAX ? size : KERNEL_ACCESS_BYTES_MAX);
}

static void on_pre_read(CorePart part, ThreadId tid, const HChar *what, Addr a, SizeT size) {
   note_kernel(SGXLENS_KERNEL_READ, part, tid, a, size);
}

static void on_pre_read_string(CorePart part, ThreadId tid, const HChar *what, Addr a) {
   const HChar *text = (const HChar *)a;
   if (part != Vg_CoreSysCall || !VG_(am_is_valid_for_client)(a, 1, VKI_PROT_READ))
      return;
   /* The string ends somewhere in mapped memory: look page by page. */
   SizeT size = 0;
   while (size < NAME_MAX_BYTES) {
      if ((a + size) % VKI_PAGE_SIZE == 0 &&
          !VG_(am_is_valid_for_client)(a + size, 1, VKI_PROT_READ))
         break;
      if (text[size] == '\0')
         break;
      size++;
   }
   note_kernel(SGXLENS_KERNEL_READ, part, tid, a, size + 1);
   note_thread(tid);
   ring_record_text(SGXLENS_PATH, (UInt)size, NULL, 0, text, size);
}

static void on_post_write(CorePart part, ThreadId tid, Addr a, SizeT size) {
   note_kernel(SGXLENS_KERNEL_WRITE, part, tid, a, size);
}

/* ---- system calls ---- */

static void on_syscall(ThreadId tid, UInt number, UWord *arguments, UInt argument_count) {
   UInt i;
   note_thread(tid);
   ULong *payload = ring_record(SGXLENS_SYSCALL_ENTER, 1 + SYSCALL_ARGUMENTS, number);
   payload[0] = VG_(get_IP)(tid);
   for (i = 0; i < SYSCALL_ARGUMENTS; i++)
      payload[1 + i] = i < argument_count ? arguments[i] : 0;
   if (number == __NR_exit_group || number == __NR_exit)
      exit_status = (UInt)arguments[0] & 0xff;
   /* It may block for long, or be this process's last. */
   ring_note_partial();
}

static void note_clock(UInt clock, ULong seconds, ULong nanoseconds) {
   ULong *payload = ring_record(SGXLENS_CLOCK, 2, clock);
   payload[0] = seconds;
   payload[1] = nanoseconds;
}

static void on_syscall_result(ThreadId tid, UInt number, UWord *arguments, UInt argument_count,
                              SysRes result) {
   note_thread(tid);
   ULong *payload = ring_record(SGXLENS_SYSCALL_EXIT, 1, number);
   payload[0] = sr_isError(result) ? (ULong)(-(Long)sr_Err(result)) : (ULong)sr_Res(result);
   if (sr_isError(result))
      return;
   if (number == __NR_clock_gettime) {
      const struct vki_timespec *now = (const struct vki_timespec *)arguments[1];
      note_clock((UInt)arguments[0], (ULong)now->tv_sec, (ULong)now->tv_nsec);
   } else if (number == __NR_gettimeofday && arguments[0] != 0) {
      const struct vki_timeval *now = (const struct vki_timeval *)arguments[0];
      note_clock(0, (ULong)now->tv_sec, 1000ULL * (ULong)now->tv_usec);
   } else if (number == __NR_time) {
      note_clock(0, (ULong)sr_Res(result), 0);
   }
}

/* ---- threads and signals ---- */

static void on_start_code(ThreadId tid, ULong blocks_done) { note_thread(tid); }

static void on_stop_code(ThreadId tid, ULong blocks_done) { ring_note_partial(); }

static ThreadId creator;

static void on_thread_create(ThreadId tid, ThreadId child) { creator = tid; }

static void on_thread_first_instruction(ThreadId tid) {
   if (first_stack_pointer == 0) {
      first_stack_pointer = VG_(get_SP)(tid);
      events_open_stream(SGXLENS_PROCESS_STARTED);
   }
   ULong *payload = ring_record(SGXLENS_THREAD_START, 3, tid);
   payload[0] = creator;
   payload[1] = VG_(get_SP)(tid);
   payload[2] = (ULong)VG_(gettid)();
   note_thread(tid);
}

static void on_thread_exit(ThreadId tid) {
   ring_record(SGXLENS_THREAD_EXIT, 0, tid);
   if (running == tid)
      running = VG_INVALID_THREADID;
}

static void on_signal(ThreadId tid, Int number, Bool alternate_stack) {
   note_thread(tid);
   ring_record(SGXLENS_SIGNAL, 0, (UInt)number);
}

/* ---- what the program says: marks and annotations ---- */

/* How much of a text can be kept: all, what the limit allows, or nothing that cannot be read. */
static SizeT readable_bytes(const HChar *text, SizeT size, SizeT limit) {
   if (size > limit)
      size = limit;
   return size > 0 && VG_(am_is_valid_for_client)((Addr)text, size, VKI_PROT_READ) ? size : 0;
}

static void note_mark(ThreadId tid, const HChar *name, SizeT size) {
   size = readable_bytes(name, size, NAME_MAX_BYTES);
   if (!recording_on && start_mark != NULL && size == VG_(strlen)(start_mark) &&
       VG_(memcmp)(name, start_mark, size) == 0) {
      recording_on = True;
      ring_record(SGXLENS_RECORDING, 0, 1);
      instrument_discard_all();
   }
   note_thread(tid);
   ring_tick();
   ring_record_text(SGXLENS_MARK, (UInt)size, NULL, 0, name, size);
}

static void note_annotation(ThreadId tid, UInt kind, Addr a, SizeT bytes, const HChar *text,
                            SizeT size) {
   size = readable_bytes(text, size, SGXLENS_ANNOTATION_TEXT_BYTES_MAX);
   note_thread(tid);
   ULong numbers[3] = {a, bytes, size};
   ring_record_text(SGXLENS_ANNOTATION, kind, numbers, 3, text, size);
}

static Bool on_request(ThreadId tid, UWord *request, UWord *answer) {
   if (request[0] == SGXLENS_REQUEST_MARK)
      note_mark(tid, (const HChar *)request[1], request[2]);
   else if (request[0] == SGXLENS_REQUEST_ANNOTATE && request[1] >= 1 &&
            request[1] <= SGXLENS_ANNOTATION_LAST)
      note_annotation(tid, (UInt)request[1], request[2], request[3], (const HChar *)request[4],
                      request[5]);
   else
      return False;
   *answer = 1;
   return True;
}

/* ---- the process ---- */

void events_open_stream(UInt how) {
   const HChar *name = VG_(args_the_exename);
   SizeT name_size = VG_(strlen)(name);
   if (name_size > NAME_MAX_BYTES)
      name_size = NAME_MAX_BYTES;
   ULong numbers[3] = {(ULong)VG_(getpid)(), (ULong)VG_(getppid)(), name_size};
   ring_record_text(SGXLENS_PROCESS, how, numbers, 3, name, name_size);
   ring_record(SGXLENS_RECORDING, 0, recording_on);
   note_whole_address_space();
}

static void on_fork_child(ThreadId tid) {
   ring_forget();
   running = VG_INVALID_THREADID;
   const HChar *problem = NULL;
   if (follow_children) {
      problem = ring_open(sink_wanted, session_folder);
      if (problem != NULL)
         VG_(umsg)("sgxlens: a child process is not recorded: %s\n", problem);
      else
         events_open_stream(SGXLENS_PROCESS_FORKED);
   }
   if (!follow_children || problem != NULL) {
      recording_on = False;
      start_mark = NULL;
      /* What it executes then runs natively. */
      VG_(clo_trace_children) = False;
   }
   /* The translations at hand write what only the parent's stream defines. */
   instrument_discard_all();
}

void events_register(void) {
   VG_(track_new_mem_mmap)(on_new_mmap);
   VG_(track_new_mem_brk)(on_new_brk);
   VG_(track_die_mem_brk)(on_die_brk);
   VG_(track_die_mem_munmap)(on_unmap);
   VG_(track_change_mem_mprotect)(on_protect);
   VG_(track_copy_mem_remap)(on_remap);
   VG_(track_pre_mem_read)(on_pre_read);
   VG_(track_pre_mem_read_asciiz)(on_pre_read_string);
   VG_(track_post_mem_write)(on_post_write);
   VG_(needs_syscall_wrapper)(on_syscall, on_syscall_result);
   VG_(track_start_client_code)(on_start_code);
   VG_(track_stop_client_code)(on_stop_code);
   VG_(track_pre_thread_ll_create)(on_thread_create);
   VG_(track_pre_thread_first_insn)(on_thread_first_instruction);
   VG_(track_pre_thread_ll_exit)(on_thread_exit);
   VG_(track_pre_deliver_signal)(on_signal);
   VG_(needs_client_requests)(on_request);
   VG_(atfork)(NULL, NULL, on_fork_child);
}
