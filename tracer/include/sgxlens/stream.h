/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
 *
 * THE stream format: what the tracer writes and the native core reads.
 *
 * A traced process owns one ring: a control block of SGXLENS_RING_CONTROL_BYTES
 * followed by `chunk_count` chunks of `chunk_words` 64-bit words. The tracer fills one chunk at a
 * time and publishes it whole; no record straddles two chunks. All integers are little-endian
 * (x86-64 is the only platform).
 *
 * A record is one head word and `payload` further words:
 *
 *     63      56 55           32 31             0
 *    +----------+---------------+----------------+
 *    |   kind   |    payload    |     value      |
 *    +----------+---------------+----------------+
 *
 * Memory accesses are not spelled out one by one. When Valgrind translates a
 * superblock, the tracer writes one SGXLENS_DEFINE record that lists what the
 * superblock does, in order ("operations"). When the superblock runs, it
 * writes one SGXLENS_RUN record that names the exit by which it was left and
 * carries only the values that are not known before: one word per distinct
 * address base. The address of an operation is its base plus a constant.
 */
#ifndef SGXLENS_STREAM_H
#define SGXLENS_STREAM_H

#define SGXLENS_STREAM_MAGIC 0x314d52534e454c53ULL /* "SLENSRM1" */
#define SGXLENS_STREAM_VERSION 2u

#define SGXLENS_PAGE_BYTES 4096u
#define SGXLENS_LINE_BYTES 64u

/* ---- the ring ----------------------------------------------------------- */

/* A chunk holds at least this many words; a superblock or an event never needs more. */
#define SGXLENS_RECORD_WORDS_MAX 4096u

enum sgxlens_ring_state {
    SGXLENS_RING_OPEN = 1,   /* the process runs */
    SGXLENS_RING_CLOSED = 2, /* the process ended in order: no word will follow */
};

/* The control block, at offset 0. `published` counts chunks handed to the reader, `consumed` chunks
 * given back; both only grow, and are waited for as futexes. A process killed outright publishes
 * nothing more: `partial_words` then says how much of the chunk after the last published one is
 * valid. */
struct sgxlens_ring {
    unsigned long long magic;
    unsigned int version;
    unsigned int chunk_count; /* <= SGXLENS_CHUNKS_MAX */
    unsigned int chunk_words;
    int pid;
    int parent_pid;
    unsigned int state; /* enum sgxlens_ring_state */
    unsigned int partial_words;
    unsigned int reserved0[7];
    unsigned int published; /* own cache line: written by the tracer */
    unsigned int reserved1[15];
    unsigned int consumed; /* own cache line: written by the reader */
    unsigned int reserved2[15];
    unsigned int used_words[64]; /* of chunk i, valid once it is published */
    unsigned int reserved3[912];
};
#define SGXLENS_CHUNKS_MAX 64u
#define SGXLENS_RING_CONTROL_BYTES 4096u

/* ---- records ------------------------------------------------------------ */

#define SGXLENS_HEAD(kind, payload, value)                                                         \
    (((unsigned long long)(kind) << 56) | ((unsigned long long)(payload) << 32) |                  \
     (unsigned long long)(unsigned int)(value))
#define SGXLENS_KIND(head) ((unsigned int)((head) >> 56))
#define SGXLENS_PAYLOAD(head) ((unsigned int)(((head) >> 32) & 0xffffffu))
#define SGXLENS_VALUE(head) ((unsigned int)(head))

enum sgxlens_kind {
    /* value: exit number (global); payload: the values of its superblock, up to that exit */
    SGXLENS_RUN = 1,
    /* value: number of the first exit. payload: guest address,
     * exit count | operation count << 32, one word per exit (SGXLENS_EXIT),
     * two words per operation (SGXLENS_OPERATION, then its offset) */
    SGXLENS_DEFINE = 2,
    /* value: thread that runs from here on. No payload. Threads are numbered by
     * Valgrind from 1; a number is reused after its thread has ended. */
    SGXLENS_THREAD = 3,
    /* value: new thread; payload: thread that made it (0: the first), stack pointer, kernel tid */
    SGXLENS_THREAD_START = 4,
    /* value: thread that ends */
    SGXLENS_THREAD_EXIT = 5,
    /* value: number; payload: address after the instruction, six arguments as passed */
    SGXLENS_SYSCALL_ENTER = 6,
    /* value: number; payload: result, negated errno on failure */
    SGXLENS_SYSCALL_EXIT = 7,
    /* the kernel reads (writes) the program's memory; payload: address, size */
    SGXLENS_KERNEL_READ = 8,
    SGXLENS_KERNEL_WRITE = 9,
    /* a path passed to the system call that was entered last in this thread;
     * value: bytes; payload: the bytes, zero-padded */
    SGXLENS_PATH = 10,
    /* a clock was read by system call; value: clock id as in clock_gettime;
     * payload: seconds, nanoseconds as returned to the program */
    SGXLENS_CLOCK = 11,
    /* a mapping exists from here on; value: SGXLENS_MAP_* | SGXLENS_PROT_*;
     * payload: address, size, file offset, name bytes, the name zero-padded */
    SGXLENS_MAP = 12,
    /* payload: address, size */
    SGXLENS_UNMAP = 13,
    /* value: SGXLENS_PROT_*; payload: address, size */
    SGXLENS_PROTECT = 14,
    /* payload: old address, new address, size */
    SGXLENS_REMAP = 15,
    /* the heap grew (value 1) or shrank (value 0); payload: address, size of the difference */
    SGXLENS_BREAK = 16,
    /* value: bytes of the name; payload: the name, zero-padded */
    SGXLENS_MARK = 17,
    /* a signal is delivered to a handler; value: number */
    SGXLENS_SIGNAL = 18,
    /* first record of a stream; value: SGXLENS_PROCESS_*; payload: pid, parent pid,
     * name bytes, the path of the program, zero-padded */
    SGXLENS_PROCESS = 19,
    /* the process ends in order; value: exit status as the program gave it */
    SGXLENS_PROCESS_END = 20,
    /* value: 1 recording is on from here, 0 off */
    SGXLENS_RECORDING = 21,
    /* payload: CLOCK_MONOTONIC of the host, nanoseconds; at the start of each chunk,
     * before each mark and before the end */
    SGXLENS_TICK = 22,
    /* the program says something of itself; value: enum sgxlens_annotation;
     * payload: address, size (0 where the annotation is not about memory), bytes of the text,
     * the text, zero-padded */
    SGXLENS_ANNOTATION = 23,
};
#define SGXLENS_KIND_LAST SGXLENS_ANNOTATION

/* An annotation belongs to the thread that makes it. */
enum sgxlens_annotation {
    /* an operator starts (ends); text: a plain name, or a JSON object. They nest. */
    SGXLENS_OPERATOR_BEGIN = 1,
    SGXLENS_OPERATOR_END = 2,
    /* [address, address + size) is from here on (no longer) what the text says: ROLE:NAME */
    SGXLENS_REGION = 3,
    SGXLENS_REGION_END = 4,
    /* text: a JSON object with more about the operator that ended last in this thread */
    SGXLENS_OPERATOR_NOTE = 5,
};
#define SGXLENS_ANNOTATION_LAST SGXLENS_OPERATOR_NOTE
#define SGXLENS_ANNOTATION_TEXT_BYTES_MAX 8000u

/* How a process came to be. */
enum { SGXLENS_PROCESS_STARTED = 0, SGXLENS_PROCESS_FORKED = 1 };

enum {
    SGXLENS_PROT_READ = 1,
    SGXLENS_PROT_WRITE = 2,
    SGXLENS_PROT_EXEC = 4,
    SGXLENS_MAP_FILE = 16,
    SGXLENS_MAP_SHARED_MEMORY = 32,
    SGXLENS_MAP_HEAP = 64,  /* the brk heap */
    SGXLENS_MAP_STACK = 128 /* the stack of the first thread */
};

/* An exit of a superblock: what has happened when it is left there. */
#define SGXLENS_EXIT(operations, values, instructions)                                             \
    ((unsigned long long)(operations) | ((unsigned long long)(values) << 16) |                     \
     ((unsigned long long)(instructions) << 32))
#define SGXLENS_EXIT_OPERATIONS(w) ((unsigned int)((w) & 0xffffu))
#define SGXLENS_EXIT_VALUES(w) ((unsigned int)(((w) >> 16) & 0xffffu))
#define SGXLENS_EXIT_INSTRUCTIONS(w) ((unsigned int)(((w) >> 32) & 0xffffu))

/* An operation: kind, size in bytes, and which value its address starts from.
 * The word after it is the offset (signed): address = value + offset, or the
 * offset alone where the base is SGXLENS_BASE_NONE. */
#define SGXLENS_OPERATION(kind, base, size)                                                        \
    ((unsigned long long)(kind) | ((unsigned long long)(base) << 16) |                             \
     ((unsigned long long)(size) << 32))
#define SGXLENS_OPERATION_KIND(w) ((unsigned int)((w) & 0xffffu))
#define SGXLENS_OPERATION_BASE(w) ((unsigned int)(((w) >> 16) & 0xffffu))
#define SGXLENS_OPERATION_SIZE(w) ((unsigned int)((w) >> 32))
#define SGXLENS_BASE_NONE 0xffffu

enum sgxlens_operation_kind {
    /* straight-line code enters a line: [address, address + size) of it is executed,
     * within one line. Never has a base. */
    SGXLENS_OP_FETCH = 0,
    SGXLENS_OP_LOAD = 1,
    SGXLENS_OP_STORE = 2,
    /* happens only if its value is not 0; the value is its address */
    SGXLENS_OP_LOAD_IF = 3,
    SGXLENS_OP_STORE_IF = 4,
    /* no access, but a trap inside an enclave; the value is leaf | subleaf << 32 */
    SGXLENS_OP_CPUID = 5,
    SGXLENS_OP_RDTSC = 6,
    SGXLENS_OP_RDTSCP = 7,
};
#define SGXLENS_OP_LAST SGXLENS_OP_RDTSCP

/* ---- requests of the program (see mark.h) ------------------------------- */

/* 'S','L' in the upper half, as Valgrind's client requests are numbered. */
#define SGXLENS_REQUEST_MARK 0x534c0001UL
/* arguments: enum sgxlens_annotation, address, size, text, bytes of the text */
#define SGXLENS_REQUEST_ANNOTATE 0x534c0002UL

/* ---- the session folder ------------------------------------------------- */
/* The tracer is given a folder. It makes its ring there under a name of its own,
 * then writes one line "NAME PID\n" to the FIFO SGXLENS_CONTROL_NAME.
 *
 * Nothing is ever written to the FIFO SGXLENS_ALIVE_NAME. The reader holds its writing end, each
 * traced process its reading end: each side learns from the kernel that the other is gone, however
 * it ended. */
#define SGXLENS_CONTROL_NAME "control"
#define SGXLENS_ALIVE_NAME "alive"

#endif
