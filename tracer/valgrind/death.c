/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How the process dies, and its children do not. The linker puts these functions in the place of
 * coregrind's (see --wrap in CMakeLists.txt), because a tool is told of none of this.
 */
#include "pub_tool_basics.h"
#include "pub_tool_vki.h"
#include "tool.h"

/* As in coregrind's pub_core_threadstate.h. */
typedef enum { RETURN_NONE, RETURN_EXIT_THREAD, RETURN_EXIT_PROCESS, RETURN_FATAL_SIGNAL } Return;

Bool dying_of_signal = False;
UInt exit_status = 0;

void __real_vgPlain_nuke_all_threads_except(ThreadId survivor, Return reason);
void __wrap_vgPlain_nuke_all_threads_except(ThreadId survivor, Return reason);
void __wrap_vgPlain_make_coredump(ThreadId tid, const vki_siginfo_t *information, ULong size_max);
void __wrap_vgPlain_logging_atfork_child(ThreadId tid);
void __wrap_vgPlain_am_show_nsegments(Int level, const HChar *who);

void __wrap_vgPlain_nuke_all_threads_except(ThreadId survivor, Return reason) {
   if (reason == RETURN_FATAL_SIGNAL)
      dying_of_signal = True;
   __real_vgPlain_nuke_all_threads_except(survivor, reason);
}

/* Valgrind would write its core dump beside its log: into shared memory, where nobody looks. */
void __wrap_vgPlain_make_coredump(ThreadId tid, const vki_siginfo_t *information, ULong size_max) {}

/* Valgrind would open a log of the child's own, and end a child that cannot: one that forks when
 * its session is over. */
void __wrap_vgPlain_logging_atfork_child(ThreadId tid) {}

/* Out of memory, Valgrind would list its address space on the program's standard error. */
void __wrap_vgPlain_am_show_nsegments(Int level, const HChar *who) {}
