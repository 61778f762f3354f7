/* SPDX-License-Identifier: Apache-2.0
 *
 * `memory`: maps, uses and gives back memory of known sizes, a phase for each step, and writes the
 * most memory that it had resident, in KiB, as the kernel says.
 */
#define _GNU_SOURCE
#include "sgxlens/mark.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB (1ul << 20)
#define THREADS 3

static pthread_barrier_t all_live;

static void *map(size_t size, int protection, int flags) {
    void *block = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (block == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return block;
}

static void *live(void *unused) {
    pthread_barrier_wait(&all_live);
    return unused;
}

/* getrusage(2) would also count what this process was before it became this program. */
static void write_peak(void) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            puts(line + 6);
}

int main(void) {
    const int both = PROT_READ | PROT_WRITE;
    pthread_t threads[THREADS];
    pthread_attr_t attributes;

    sgxlens_mark("base");
    sgxlens_mark("reserve"); /* 40 MiB, of which 2 can be used and 1 is */
    char *reserved = map(40 * MIB, PROT_NONE, MAP_NORESERVE);
    mprotect(reserved, 2 * MIB, both);
    memset(reserved, 1, MIB);
    sgxlens_mark("use"); /* 24 MiB more, all used */
    char *block = map(24 * MIB, both, 0);
    memset(block, 1, 24 * MIB);
    sgxlens_mark("discard"); /* the same, 16 MiB of it without content */
    madvise(block, 16 * MIB, MADV_DONTNEED);
    sgxlens_mark("grow"); /* 8 MiB more at another place: another mapping is behind it */
    char *middle = block + 8 * MIB;
    mmap(middle, 8 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    block = mremap(block, 8 * MIB, 12 * MIB, MREMAP_MAYMOVE);
    sgxlens_mark("threads"); /* 3 stacks of 1 MiB, mapped by hand */
    pthread_barrier_init(&all_live, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, map(MIB, both, MAP_STACK), MIB);
        pthread_create(&threads[i], &attributes, live, NULL);
    }
    pthread_barrier_wait(&all_live);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sgxlens_mark("end");
    write_peak();
    return block == MAP_FAILED;
}
