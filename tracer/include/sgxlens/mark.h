/* SPDX-License-Identifier: Apache-2.0
 *
 * sgxlens_mark("name") starts a new phase of the recording. It is a handful of
 * instructions without effect when the program is not being recorded. One
 * header, no library: copy it into your project or add
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
static inline unsigned long sgxlens_request(unsigned long request, const void *argument,
                                            unsigned long size) {
    volatile unsigned long block[6];
    unsigned long answer = 0;
    block[0] = request;
    block[1] = (unsigned long)argument;
    block[2] = size;
    block[3] = 0;
    block[4] = 0;
    block[5] = 0;
    __asm__ volatile("rolq $3, %%rdi\n\trolq $13, %%rdi\n\t"
                     "rolq $61, %%rdi\n\trolq $51, %%rdi\n\t"
                     "xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(&block[0])
                     : "cc", "memory");
    return answer;
}
#else
static inline unsigned long sgxlens_request(unsigned long request, const void *argument,
                                            unsigned long size) {
    (void)request;
    (void)argument;
    (void)size;
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

/* Starts the phase `name` (zero-terminated, at most 1,000 bytes are kept).
 * Returns 1 where a recording runs, else 0. */
static inline int sgxlens_mark(const char *name) {
    unsigned long size = 0;
    while (name[size] != '\0')
        size++;
    if (sgxlens_request(0x534c0001UL, name, size) != 0)
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

#endif
