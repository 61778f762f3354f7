/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The shared ring. One guest thread runs at a time under Valgrind, so there is
 * one writer and `ring_next` needs no lock.
 */
#include "pub_tool_aspacemgr.h"
#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_libcfile.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_vki.h"
#include "pub_tool_vkiscnums.h"
#include "tool.h"

/* In coregrind, but not in the tool headers; the archive is static, so it is there to call. */
extern SysRes VG_(am_shared_mmap_file_float_valgrind)(SizeT length, UInt prot, Int fd,
                                                      Off64T offset);
/* Moves a descriptor to where the program can neither use nor close it. */
extern Int VG_(safe_fd)(Int fd);

#define CHUNK_WORDS 32768u
#define CHUNK_COUNT 32u
#define RING_BYTES (SGXLENS_RING_CONTROL_BYTES + (SizeT)CHUNK_COUNT * CHUNK_WORDS * sizeof(ULong))

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define O_ASYNC 020000
#define RLIMIT_FSIZE 1
#define WAIT_NANOSECONDS 100000000L
#define EXIT_READER_GONE 125

_Static_assert(sizeof(struct sgxlens_ring) == SGXLENS_RING_CONTROL_BYTES, "control block");
_Static_assert(CHUNK_COUNT <= SGXLENS_CHUNKS_MAX, "used_words has an entry per chunk");

static ULong scratch[2 * SGXLENS_RECORD_WORDS_MAX];
static struct sgxlens_ring *ring; /* NULL: the words go to scratch */
static ULong *chunk = scratch;
static Int alive = -1; /* the reading end of SGXLENS_ALIVE_NAME */

/* Before ring_open, and for SINK_NOWHERE, all words go to scratch. */
ULong *ring_next = scratch;
ULong *ring_limit = scratch + SGXLENS_RECORD_WORDS_MAX;

Word raw_syscall(Word number, Word a, Word b, Word c, Word d, Word e, Word f) {
   register Word r10 __asm__("r10") = d;
   register Word r8 __asm__("r8") = e;
   register Word r9 __asm__("r9") = f;
   Word result;
   __asm__ volatile("syscall"
                    : "=a"(result)
                    : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                    : "rcx", "r11", "memory");
   return result;
}

static void use_scratch(void) {
   ring = NULL;
   chunk = scratch;
   ring_next = scratch;
   ring_limit = scratch + SGXLENS_RECORD_WORDS_MAX;
}

void ring_give_up(const HChar *why) {
   VG_(umsg)("sgxlens: %s; the program ends here.\n", why);
   VG_(exit)(EXIT_READER_GONE);
}

static Bool reader_is_alive(void) {
   HChar nothing;
   /* "Try again" while there is a writer; end of file when there is none. */
   return raw_syscall(__NR_read, alive, (Word)&nothing, 1, 0, 0, 0) != 0;
}

/* Whether a pipe wakes its reader only where its last writer is gone. Before Linux 5.6 it does so
 * whenever any process closes it. */
static Bool kernel_wakes_sparingly(void) {
   HChar about[6][65]; /* struct utsname; the third string is the release */
   HChar *rest;
   if (raw_syscall(__NR_uname, (Word)about, 0, 0, 0, 0, 0) < 0)
      return False;
   Long major = VG_(strtoll10)(about[2], &rest);
   Long minor = *rest == '.' ? VG_(strtoll10)(rest + 1, NULL) : 0;
   return major > 5 || (major == 5 && minor >= 6);
}

/* Ties the life of this process to the reader's. A process that writes finds out when its ring is
 * full; one that sleeps is killed by the kernel. */
static Bool watch_reader(const HChar *folder) {
   HChar path[512];
   VG_(snprintf)(path, sizeof path, "%s/%s", folder, SGXLENS_ALIVE_NAME);
   Word fd = raw_syscall(__NR_open, (Word)path, VKI_O_RDONLY | VKI_O_NONBLOCK, 0, 0, 0, 0);
   if (fd < 0)
      return False;
   alive = VG_(safe_fd)((Int)fd);
   if (kernel_wakes_sparingly()) {
      raw_syscall(__NR_fcntl, alive, VKI_F_SETOWN, VG_(getpid)(), 0, 0, 0);
      raw_syscall(__NR_fcntl, alive, VKI_F_SETSIG, VKI_SIGKILL, 0, 0, 0);
      raw_syscall(__NR_fcntl, alive, VKI_F_SETFL, VKI_O_NONBLOCK | O_ASYNC, 0, 0, 0);
   }
   return True;
}

static void stop_watching(void) {
   if (alive >= 0)
      VG_(close)(alive);
   alive = -1;
}

void ring_tick(void) {
   struct vki_timespec now = {0, 0};
   raw_syscall(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, (Word)&now, 0, 0, 0, 0);
   ULong *payload = ring_record(SGXLENS_TICK, 1, 0);
   payload[0] = (ULong)now.tv_sec * 1000000000ULL + (ULong)now.tv_nsec;
}

static void take_chunk(void) {
   UInt number = ring->published;
   UInt seen;
   while (number - (seen = __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE)) >= CHUNK_COUNT) {
      struct vki_timespec patience = {0, WAIT_NANOSECONDS};
      Word waited =
          raw_syscall(__NR_futex, (Word)&ring->consumed, FUTEX_WAIT, seen, (Word)&patience, 0, 0);
      if (waited != 0 && !reader_is_alive())
         ring_give_up("the recorder is gone");
   }
   chunk = (ULong *)((UChar *)ring + SGXLENS_RING_CONTROL_BYTES) +
           (SizeT)(number % CHUNK_COUNT) * CHUNK_WORDS;
   ring_next = chunk;
   ring_limit = chunk + CHUNK_WORDS - SGXLENS_RECORD_WORDS_MAX;
   ring->partial_words = 0;

   ring_tick();
}

static void publish(void) {
   UInt number = ring->published;
   tl_assert(ring_next <= chunk + CHUNK_WORDS);
   ring->partial_words = 0;
   ring->used_words[number % CHUNK_COUNT] = (UInt)(ring_next - chunk);
   __atomic_store_n(&ring->published, number + 1, __ATOMIC_RELEASE);
   raw_syscall(__NR_futex, (Word)&ring->published, FUTEX_WAKE, 1, 0, 0, 0);
}

void ring_advance(void) {
   if (ring == NULL) {
      ring_next = scratch;
      return;
   }
   publish();
   take_chunk();
}

void ring_note_partial(void) {
   if (ring != NULL)
      ring->partial_words = (UInt)(ring_next - chunk);
}

static Bool announce(const HChar *folder, const HChar *name) {
   HChar line[128];
   HChar path[512];
   VG_(snprintf)(path, sizeof path, "%s/%s", folder, SGXLENS_CONTROL_NAME);
   Word fd = raw_syscall(__NR_open, (Word)path, VKI_O_WRONLY | VKI_O_NONBLOCK, 0, 0, 0, 0);
   if (fd < 0)
      return False;
   UInt size = VG_(snprintf)(line, sizeof line, "%s %d\n", name, VG_(getpid)());
   Word written = raw_syscall(__NR_write, fd, (Word)line, size, 0, 0, 0);
   raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
   return written == (Word)size;
}

/* Takes the memory of the ring now: a full /dev/shm must be an error here, not a SIGBUS later.
 * Returns what went wrong, or NULL. */
static const HChar *reserve(Word fd) {
   ULong limit[2]; /* the soft and the hard one on the size of files; beyond it comes SIGXFSZ */
   ULong unlimited[2];
   raw_syscall(__NR_getrlimit, RLIMIT_FSIZE, (Word)limit, 0, 0, 0, 0);
   if (limit[1] < RING_BYTES)
      return "the limit on the size of files (ulimit -f) leaves no room for a ring of 9 MB";
   unlimited[0] = unlimited[1] = limit[1];
   raw_syscall(__NR_setrlimit, RLIMIT_FSIZE, (Word)unlimited, 0, 0, 0, 0);
   Word result = raw_syscall(__NR_fallocate, fd, 0, 0, RING_BYTES, 0, 0);
   raw_syscall(__NR_setrlimit, RLIMIT_FSIZE, (Word)limit, 0, 0, 0, 0);
   return result < 0 ? "no space left for a ring in the session folder (in /dev/shm or TMPDIR)"
                     : NULL;
}

const HChar *ring_open(Sink sink, const HChar *folder) {
   static UInt opened; /* a process that execs or forks may open several */
   HChar name[64];
   HChar path[512];

   if (sink == SINK_NOWHERE) {
      use_scratch();
      return NULL;
   }
   if (!watch_reader(folder))
      return "the session folder is gone";
   Word fd;
   do { /* the same process has the same number again after exec */
      VG_(snprintf)(name, sizeof name, "ring.%d.%u", VG_(getpid)(), opened++);
      VG_(snprintf)(path, sizeof path, "%s/%s", folder, name);
      fd = raw_syscall(__NR_open, (Word)path, VKI_O_RDWR | VKI_O_CREAT | VKI_O_EXCL, 0600, 0, 0, 0);
   } while (fd == -VKI_EEXIST && opened < 1000000);
   if (fd < 0) {
      stop_watching();
      return "cannot make a ring in the session folder";
   }
   const HChar *problem = reserve(fd);
   if (problem == NULL) {
      SysRes mapped = VG_(am_shared_mmap_file_float_valgrind)(
          RING_BYTES, VKI_PROT_READ | VKI_PROT_WRITE, (Int)fd, 0);
      if (sr_isError(mapped))
         problem = "no address space left to map a ring";
      else
         ring = (struct sgxlens_ring *)sr_Res(mapped);
   }
   raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
   if (problem != NULL) {
      raw_syscall(__NR_unlink, (Word)path, 0, 0, 0, 0, 0);
      stop_watching();
      return problem;
   }

   ring->version = SGXLENS_STREAM_VERSION;
   ring->chunk_count = CHUNK_COUNT;
   ring->chunk_words = CHUNK_WORDS;
   ring->pid = VG_(getpid)();
   ring->parent_pid = VG_(getppid)();
   ring->state = SGXLENS_RING_OPEN;
   __atomic_store_n(&ring->magic, SGXLENS_STREAM_MAGIC, __ATOMIC_RELEASE);
   take_chunk();
   if (!announce(folder, name))
      ring_give_up("the recorder is gone");
   return NULL;
}

void ring_close(void) {
   if (ring == NULL)
      return;
   publish();
   __atomic_store_n(&ring->state, SGXLENS_RING_CLOSED, __ATOMIC_RELEASE);
   raw_syscall(__NR_futex, (Word)&ring->published, FUTEX_WAKE, 1, 0, 0, 0);
   use_scratch();
}

void ring_forget(void) {
   if (ring != NULL)
      VG_(am_munmap_valgrind)((Addr)ring, RING_BYTES);
   stop_watching();
   use_scratch();
}

ULong *ring_record(UInt kind, UInt payload_words, UInt value) {
   tl_assert(payload_words < SGXLENS_RECORD_WORDS_MAX);
   if (ring_next > ring_limit)
      ring_advance();
   ULong *record = ring_next;
   record[0] = SGXLENS_HEAD(kind, payload_words, value);
   ring_next = record + 1 + payload_words;
   return record + 1;
}

void ring_record_text(UInt kind, UInt value, const ULong *numbers, UInt count, const HChar *text,
                      SizeT size) {
   UInt text_words = (UInt)((size + 7) / 8);
   ULong *payload = ring_record(kind, count + text_words, value);
   UInt i;
   for (i = 0; i < count; i++)
      payload[i] = numbers[i];
   if (text_words > 0) {
      payload[count + text_words - 1] = 0;
      VG_(memcpy)(payload + count, text, size);
   }
}
