/* SPDX-License-Identifier: Apache-2.0
 *
 * `transitions FOLDER`: a known list of system calls and traps, in phases. FOLDER holds
 * data.bin of 40,000 bytes. The list is repeated in test_transitions.py with what each becomes.
 */
#define _GNU_SOURCE
#include "sgxlens/mark.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, strerror(errno));                           \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static char block[700000];
static int word;

static long futex(int operation, int value, const struct timespec *timeout) {
    return syscall(SYS_futex, &word, operation, value, timeout, NULL, 0);
}

static long raw_syscall(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

static void sleep_ms(long ms) {
    struct timespec time = {0, ms * 1000000};
    CHECK(nanosleep(&time, NULL) == 0);
}

static void trusted_file(void) {
    struct stat status;
    int file = open("data.bin", O_RDONLY);
    CHECK(file >= 0);
    CHECK(read(file, block, 100) == 100);
    CHECK(read(file, block, 20000) == 20000);
    CHECK(pread(file, block, 16384, 8192) == 16384);
    CHECK(pread(file, block, 5000, 39000) == 1000);
    CHECK(lseek(file, 0, SEEK_END) == 40000);
    CHECK(read(file, block, 100) == 0);
    CHECK(fstat(file, &status) == 0 && status.st_size == 40000);
    char *mapped = mmap(NULL, 40000, PROT_READ, MAP_PRIVATE, file, 0);
    CHECK(mapped != MAP_FAILED);
    CHECK(munmap(mapped, 40000) == 0);
    int other = dup(file);
    CHECK(close(other) == 0);
    CHECK(close(file) == 0);
    CHECK(open("data.bin", O_RDONLY) == file && close(file) == 0);
    CHECK(stat("data.bin", &status) == 0);
    CHECK(open("missing", O_RDONLY) == -1);
    CHECK(open("missing", O_RDONLY) == -1);
    CHECK(access("no/such/path", F_OK) == -1);
    int maps = open("/proc/self/maps", O_RDONLY);
    CHECK(maps >= 0 && read(maps, block, 100) > 0 && close(maps) == 0);
}

static void allowed_file(void) {
    int file = open("out.bin", O_CREAT | O_EXCL | O_RDWR, 0600);
    CHECK(file >= 0);
    CHECK(write(file, block, 10) == 10);
    CHECK(pwrite(file, block, 5, 3) == 5);
    CHECK(write(file, block, 600000) == 600000);
    CHECK(write(file, block, 600000) == 600000);
    CHECK(write(file, block, 700000) == 700000);
    CHECK(pread(file, block, 100, 0) == 100);
    CHECK(ftruncate(file, 10) == 0);
    CHECK(pread(file, block, 100, 10) == 0);
    CHECK(fsync(file) == 0);
    CHECK(close(file) == 0);
    CHECK(unlink("out.bin") == 0);
    CHECK(write(STDOUT_FILENO, "hello\n", 6) == 6);
    struct iovec pieces[2] = {{"hello", 5}, {"\n", 1}};
    CHECK(writev(STDOUT_FILENO, pieces, 2) == 6);
}

static void *waiter(void *unused) {
    CHECK(futex(FUTEX_WAIT, 0, NULL) == 0);
    return unused;
}

static void threads(void) {
    struct timespec soon = {0, 1000000};
    pthread_t thread;
    CHECK(futex(FUTEX_WAKE, 1, NULL) == 0);
    CHECK(futex(FUTEX_WAIT, 1, NULL) == -1 && errno == EAGAIN);
    CHECK(futex(FUTEX_WAIT, 0, &soon) == -1 && errno == ETIMEDOUT);
    CHECK(pthread_create(&thread, NULL, waiter, NULL) == 0);
    sleep_ms(300); /* it waits now */
    CHECK(futex(FUTEX_WAKE, 5, NULL) == 1);
    sleep_ms(300); /* it has ended now, so that joining it waits for nothing */
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(sched_yield() == 0);
    CHECK(sched_yield() == 0);
}

static void rest(void) {
    struct timespec time;
    unsigned a, b, c, d;
    int pair[2];
    char byte = 0;
    uint64_t value = 1;
    for (int i = 0; i < 5; i++)
        CHECK(syscall(SYS_getpid) > 0);
    for (int i = 0; i < 7; i++)
        CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(raw_syscall(SYS_getppid, 0, 0, 0) > 0);
    CHECK(raw_syscall(SYS_write, STDOUT_FILENO, (long)"x\n", 2) == 2);
    for (int i = 0; i < 3; i++)
        __cpuid_count(0x80000002, 0, a, b, c, d);
    for (int i = 0; i < 2; i++)
        __cpuid_count(1, i, a, b, c, d);
    for (int i = 0; i < 4; i++)
        value += __rdtsc() & 1;
    CHECK(pipe2(pair, O_CLOEXEC) == 0);
    CHECK(write(pair[1], &byte, 1) == 1);
    CHECK(read(pair[0], &byte, 1) == 1);
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
    int event = eventfd(0, 0);
    CHECK(event >= 0);
    CHECK(write(event, &value, sizeof value) == sizeof value);
    CHECK(read(event, &value, sizeof value) == sizeof value);
    CHECK(close(event) == 0);
    CHECK(poll(NULL, 0, 0) == 0);
    char *memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(mprotect(memory, 65536, PROT_READ) == 0);
    CHECK(munmap(memory, 65536) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 2 && chdir(arguments[1]) == 0);
    sgxlens_mark("trusted file");
    trusted_file();
    sgxlens_mark("allowed file");
    allowed_file();
    sgxlens_mark("threads");
    threads();
    sgxlens_mark("rest");
    rest();
    sgxlens_mark("end");
    return 0;
}
