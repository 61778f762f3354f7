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

#define CHUNK_WORDS 32768u
#define CHUNK_COUNT 32u
#define RING_BYTES (SGXLENS_RING_CONTROL_BYTES + (SizeT)CHUNK_COUNT * CHUNK_WORDS * sizeof(ULong))

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define LOCK_SH 1
#define LOCK_NB 4
#define WAIT_NANOSECONDS 100000000L
#define EXIT_READER_GONE 125

_Static_assert(sizeof(struct sgxlens_ring) == SGXLENS_RING_CONTROL_BYTES, "control block");
_Static_assert(CHUNK_COUNT <= SGXLENS_CHUNKS_MAX, "used_words has an entry per chunk");

static ULong scratch[2 * SGXLENS_RECORD_WORDS_MAX];
static struct sgxlens_ring *ring; /* NULL: the words go to scratch */
static ULong *chunk = scratch;
static HChar lock_path[512];

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

static void give_up(const HChar *what) __attribute__((noreturn));
static void give_up(const HChar *what) {
   VG_(umsg)("sgxlens: %s; the program ends here.\n", what);
   VG_(exit)(EXIT_READER_GONE);
}

static Bool reader_is_alive(void) {
   Word fd = raw_syscall(__NR_open, (Word)lock_path, VKI_O_RDONLY, 0, 0, 0, 0);
   if (fd < 0)
      return False;
   /* The reader holds this lock while it lives. */
   Word got = raw_syscall(__NR_flock, fd, LOCK_SH | LOCK_NB, 0, 0, 0, 0);
   raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
   return got != 0;
}

void ring_tick(void) {
   struct vki_timespec now = {0, 0};
   raw_syscall(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, (Word)&now, 0, 0, 0, 0);
   ULong *payload = ring_record(SGXLENS_TICK, 1, 0);
   payload[0] = (ULong)now.tv_sec * 1000000000ULL + (ULong)now.tv_nsec;
}

static void take_chunk(void) {
   UInt number = ring->published;
   while (number - __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE) >= CHUNK_COUNT) {
      UInt seen = __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE);
      if (number - seen < CHUNK_COUNT)
         break;
      struct vki_timespec patience = {0, WAIT_NANOSECONDS};
      Word waited =
          raw_syscall(__NR_futex, (Word)&ring->consumed, FUTEX_WAIT, seen, (Word)&patience, 0, 0);
      if (waited != 0 && !reader_is_alive())
         give_up("the recorder is gone");
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

static void announce(const HChar *folder, const HChar *name) {
   HChar line[128];
   HChar path[512];
   VG_(snprintf)(path, sizeof path, "%s/%s", folder, SGXLENS_CONTROL_NAME);
   Word fd = raw_syscall(__NR_open, (Word)path, VKI_O_WRONLY | VKI_O_NONBLOCK, 0, 0, 0, 0);
   if (fd < 0)
      give_up("the recorder does not listen");
   UInt size = VG_(snprintf)(line, sizeof line, "%s %d\n", name, VG_(getpid)());
   Word written = raw_syscall(__NR_write, fd, (Word)line, size, 0, 0, 0);
   raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
   if (written != (Word)size)
      give_up("the recorder does not listen");
}

void ring_open(Sink sink, const HChar *folder) {
   static UInt opened; /* a process that execs or forks may open several */
   HChar name[64];
   HChar path[512];

   if (sink == SINK_NOWHERE) {
      use_scratch();
      return;
   }
   VG_(snprintf)(lock_path, sizeof lock_path, "%s/%s", folder, SGXLENS_LOCK_NAME);
   Word fd;
   do { /* the same process has the same number again after exec */
      VG_(snprintf)(name, sizeof name, "ring.%d.%u", VG_(getpid)(), opened++);
      VG_(snprintf)(path, sizeof path, "%s/%s", folder, name);
      fd = raw_syscall(__NR_open, (Word)path, VKI_O_RDWR | VKI_O_CREAT | VKI_O_EXCL, 0600, 0, 0, 0);
   } while (fd == -VKI_EEXIST && opened < 1000000);
   if (fd < 0)
      give_up("cannot make the ring in the session folder");
   /* Reserve the memory now: a full /dev/shm must be an error here, not a SIGBUS later. */
   if (raw_syscall(__NR_fallocate, fd, 0, 0, RING_BYTES, 0, 0) < 0)
      give_up("no space left for the ring in the session folder");
   SysRes mapped = VG_(am_shared_mmap_file_float_valgrind)(
       RING_BYTES, VKI_PROT_READ | VKI_PROT_WRITE, (Int)fd, 0);
   if (sr_isError(mapped))
      give_up("cannot map the ring");
   raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);

   ring = (struct sgxlens_ring *)sr_Res(mapped);
   ring->version = SGXLENS_STREAM_VERSION;
   ring->chunk_count = CHUNK_COUNT;
   ring->chunk_words = CHUNK_WORDS;
   ring->pid = VG_(getpid)();
   ring->parent_pid = VG_(getppid)();
   ring->state = SGXLENS_RING_OPEN;
   __atomic_store_n(&ring->magic, SGXLENS_STREAM_MAGIC, __ATOMIC_RELEASE);
   take_chunk();
   announce(folder, name);
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
