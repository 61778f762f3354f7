/* SPDX-License-Identifier: Apache-2.0
 *
 * Something of each kind of event: threads, a signal, mappings made, moved, protected and removed,
 * a heap that grows and shrinks, files read and written, clocks, traps, marks, a system call that
 * fails.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sgxlens/mark.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum { THREADS = 3, BYTES = 20000 };

static volatile sig_atomic_t signals;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long sum;

static void on_signal(int number) {
    (void)number;
    signals++;
}

static void *work(void *value) {
    char *memory = malloc(BYTES);
    for (int i = 0; i < 10; i++) {
        memset(memory, i + (int)(long)value, BYTES);
        pthread_mutex_lock(&mutex);
        sum += memory[i * 7];
        pthread_mutex_unlock(&mutex);
    }
    free(memory);
    return NULL;
}

static int run_threads(void) {
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
            return 1;
    raise(SIGUSR1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return signals != 1;
}

static int change_mappings(void) {
    const size_t size = 1 << 16;
    char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return 1;
    memset(mapped, 1, size);
    mapped = mremap(mapped, size, 4 * size, MREMAP_MAYMOVE);
    if (mapped == MAP_FAILED || mprotect(mapped, 4096, PROT_READ) != 0)
        return 1;
    void *heap = sbrk(1 << 16);
    if (heap == (void *)-1 || brk(heap) != 0)
        return 1;
    return munmap(mapped, 4 * size);
}

static int use_files(const char *path) {
    char text[200];
    int file = open(path, O_RDONLY);
    if (file < 0 || read(file, text, sizeof text) <= 0 || close(file) != 0)
        return 1;
    return read(-1, text, sizeof text) != -1;
}

int main(int count, char **arguments) {
    struct timespec now;
    if (count < 2)
        return 2;
    signal(SIGUSR1, on_signal);
    sgxlens_mark("threads");
    if (run_threads() != 0)
        return 1;
    sgxlens_mark("mappings");
    if (change_mappings() != 0)
        return 1;
    sgxlens_mark("files");
    if (use_files(arguments[1]) != 0)
        return 1;
    sgxlens_mark("clocks");
    clock_gettime(CLOCK_MONOTONIC, &now);
    return __rdtsc() == 0;
}
