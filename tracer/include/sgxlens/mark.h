/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program may say of itself to a recording: which phase starts, which operator runs, what a
 * range of memory holds. Each call is a handful of instructions without effect when the program is
 * not being recorded. One header, no library: copy it into your project or add
 * `python -m sgxlens.include` to the include path.
 *
 * Where sgxlens runs the program natively to time its phases, it says so by the
 * environment variable SGXLENS_NATIVE_MARKS (looked up once, at the first mark),
 * and each mark adds its time to the file named there. Define
 * SGXLENS_NO_NATIVE_TIMES to leave that out.
 */
#ifndef SGXLENS_MARK_H
#define SGXLENS_MARK_H

#if !defined(SGXLENS_NO_NATIVE_TIMES) &&                                                           \
    !(defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && __STDC_HOSTED__)
#define SGXLENS_NO_NATIVE_TIMES 1
#endif
#ifndef SGXLENS_NO_NATIVE_TIMES
#include <stdlib.h>
#endif

#if defined(__x86_64__) && defined(__GNUC__)
/* The instruction sequence by which Valgrind recognises a request of its
 * client: four rotations of rdi that add up to 128 bits, then a no-op
 * exchange. rax points to six words (request and arguments), rdx holds the
 * answer if nobody listens. */
static inline unsigned long sgxlens_request(unsigned long request, unsigned long a, unsigned long b,
                                            unsigned long c, unsigned long d, unsigned long e) {
    volatile unsigned long block[6];
    unsigned long answer = 0;
    block[0] = request;
    block[1] = a;
    block[2] = b;
    block[3] = c;
    block[4] = d;
    block[5] = e;
    __asm__ volatile("rolq $3, %%rdi\n\trolq $13, %%rdi\n\t"
                     "rolq $61, %%rdi\n\trolq $51, %%rdi\n\t"
                     "xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(&block[0])
                     : "cc", "memory");
    return answer;
}
#else
static inline unsigned long sgxlens_request(unsigned long request, unsigned long a, unsigned long b,
                                            unsigned long c, unsigned long d, unsigned long e) {
    (void)request;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    (void)e;
    return 0;
}
#endif

#ifndef SGXLENS_NO_NATIVE_TIMES
/* System calls by themselves, so that no feature macro of the C library is needed. */
static inline long sgxlens_system_call(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "cc", "memory");
    return result;
}

/* Adds one record to the file that SGXLENS_NATIVE_MARKS names: the time of
 * CLOCK_MONOTONIC in nanoseconds, the process id and the size of the name, 8
 * bytes each, and the name. The file is opened anew each time: a descriptor that
 * is kept could become one of the program's. */
__attribute__((noinline, cold, unused)) static int sgxlens_native_mark(const char *name,
                                                                       unsigned long size) {
    enum { WRITE = 1, OPEN = 2, CLOSE = 3, GETPID = 39, CLOCK_GETTIME = 228 };
    const long append = 02002001, monotonic = 1; /* O_WRONLY | O_APPEND | O_CLOEXEC */
    struct {
        unsigned long time_ns, pid, size;
        char name[1000];
    } record;
    long time[2], file;
    unsigned long i;
    const char *path = getenv("SGXLENS_NATIVE_MARKS");
    if (path == NULL || path[0] == '\0')
        return 0;
    sgxlens_system_call(CLOCK_GETTIME, monotonic, (long)time, 0);
    record.time_ns = (unsigned long)time[0] * 1000000000UL + (unsigned long)time[1];
    record.pid = (unsigned long)sgxlens_system_call(GETPID, 0, 0, 0);
    record.size = size < sizeof record.name ? size : sizeof record.name;
    for (i = 0; i < record.size; i++)
        record.name[i] = name[i];
    file = sgxlens_system_call(OPEN, (long)path, append, 0);
    if (file >= 0) {
        sgxlens_system_call(WRITE, file, (long)&record, (long)(24 + record.size));
        sgxlens_system_call(CLOSE, file, 0, 0);
    }
    return 1;
}
#endif

static inline unsigned long sgxlens_text_bytes(const char *text) {
    unsigned long size = 0;
    while (text[size] != '\0')
        size++;
    return size;
}

static inline int sgxlens_annotate(unsigned long kind, const volatile void *address,
                                   unsigned long size, const char *text, unsigned long text_size) {
    return (int)sgxlens_request(0x534c0002UL, kind, (unsigned long)address, size,
                                (unsigned long)text, text_size);
}

/* Each of the following returns 1 where a recording runs, else 0. Texts are zero-terminated. */

/* Starts the phase `name` (at most 1,000 bytes are kept). */
static inline int sgxlens_mark(const char *name) {
    const unsigned long size = sgxlens_text_bytes(name);
    if (sgxlens_request(0x534c0001UL, (unsigned long)name, size, 0, 0, 0) != 0)
        return 1;
#ifndef SGXLENS_NO_NATIVE_TIMES
    {
        /* Whether nobody times the program, once that is known. */
        static int is_off = 0;
        if (__builtin_expect(!__atomic_load_n(&is_off, __ATOMIC_RELAXED), 0) &&
            !sgxlens_native_mark(name, size))
            __atomic_store_n(&is_off, 1, __ATOMIC_RELAXED);
    }
#endif
    return 0;
}

/* This thread starts the operator `name` (at most 8,000 bytes are kept): one that it is in already
 * holds the new one. A JSON object says more: {"name": "conv1", "type": "Conv", "inputs":
 * [{"type": "float32", "shape": [1, 3, 224, 224]}], "outputs": [...], "parameter_bytes": 9408,
 * "activation_bytes": 602112, "output_bytes": 3211264}. */
static inline int sgxlens_operator_begin(const char *name) {
    return sgxlens_annotate(1, 0, 0, name, sgxlens_text_bytes(name));
}

/* This thread ends the operator that it began last. */
static inline int sgxlens_operator_end(void) {
    return sgxlens_annotate(2, 0, 0, "", 0);
}

/* [address, address + size) is from here on what `text` says: "ROLE:NAME", where the role is one of
 * weights, activations, input, output, scratch, runtime. */
static inline int sgxlens_region(const volatile void *address, unsigned long size,
                                 const char *text) {
    return sgxlens_annotate(3, address, size, text, sgxlens_text_bytes(text));
}

/* [address, address + size) is from here on ordinary memory again. */
static inline int sgxlens_region_end(const volatile void *address, unsigned long size) {
    return sgxlens_annotate(4, address, size, "", 0);
}

#endif
