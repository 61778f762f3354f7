/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sgxlens tracer, a Valgrind tool: options and the life of the process.
 */
#include "pub_tool_libcbase.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_options.h"
#include "tool.h"

/* In coregrind, but not in the tool headers. */
extern Bool VG_(clo_trace_children);

Bool follow_children = False;
const HChar *session_folder = NULL;
const HChar *start_mark = NULL;
Sink sink_wanted = SINK_READER;

static Bool on_option(const HChar *argument) {
   const HChar *text;
   if VG_STR_CLO (argument, "--session", session_folder) {
   } else if VG_STR_CLO (argument, "--start-at-mark", start_mark) {
   } else if VG_BOOL_CLO (argument, "--follow-children", follow_children) {
   } else if VG_XACT_CLO (argument, "--sink=reader", sink_wanted, SINK_READER) {
   } else if VG_XACT_CLO (argument, "--sink=nowhere", sink_wanted, SINK_NOWHERE) {
   } else if VG_STR_CLO (argument, "--isa", text) {
      if (VG_(strcmp)(text, "sse") == 0)
         isa_shown = ISA_SSE;
      else if (VG_(strcmp)(text, "avx") == 0)
         isa_shown = ISA_AVX;
      else if (VG_(strcmp)(text, "avx2") == 0)
         isa_shown = ISA_AVX2;
      else
         VG_(fmsg_bad_option)(argument, "The instruction sets are sse, avx and avx2.\n");
   } else {
      return False;
   }
   return True;
}

static void print_usage(void) {
   VG_(printf)("    --session=FOLDER          where the reader listens\n"
               "    --sink=reader|nowhere     whether there is a reader [reader]\n"
               "    --isa=sse|avx|avx2        instruction set shown to the program [avx]\n"
               "    --start-at-mark=NAME      record from this mark on [from the start]\n"
               "    --follow-children=no|yes  record forked children too [no]\n");
}

static void print_debug_usage(void) { VG_(printf)("    (none)\n"); }

static void on_options_read(void) {
   if (sink_wanted == SINK_READER && session_folder == NULL)
      VG_(fmsg_bad_option)("--session", "It is needed: this program is started by sgxlens.\n");
   recording_on = start_mark == NULL;
   /* A process is followed when it replaces itself; forked ones see events.c. */
   VG_(clo_trace_children) = True;
   const HChar *problem = ring_open(sink_wanted, session_folder);
   if (problem != NULL)
      ring_give_up(problem);
}

static void on_end(Int always_zero) {
   ring_tick();
   if (!dying_of_signal)
      ring_record(SGXLENS_PROCESS_END, 0, exit_status);
   ring_close();
}

static void before_options(void) {
   VG_(details_name)("sgxlens");
   VG_(details_version)(NULL);
   VG_(details_description)("records memory accesses for an enclave model");
   VG_(details_copyright_author)("The authors of sgxlens; GPL version 2 or later.");
   VG_(details_bug_reports_to)("the authors of sgxlens");
   VG_(details_avg_translation_sizeB)(350);

   VG_(basic_tool_funcs)(on_options_read, instrument, on_end);
   VG_(needs_command_line_options)(on_option, print_usage, print_debug_usage);
   events_register();

   /* The program's registers must be exact where it touches memory, for
    * signal handlers and stack traces; nothing here needs them elsewhere.
    * The stricter default costs 12 to 18 %. */
   VG_(clo_vex_control).iropt_register_updates_default = VexRegUpdSpAtMemAccess;
   VG_(clo_px_file_backed) = VexRegUpdSpAtMemAccess;
}

VG_DETERMINE_INTERFACE_VERSION(before_options)
