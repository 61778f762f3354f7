// SPDX-License-Identifier: Apache-2.0
//
// Accesses to known bytes of a buffer at BUFFER: each loop in a phase of its own.
#define _GNU_SOURCE
#include "sgxlens/mark.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFER ((char *)0x200000000)
#define SIZE_BYTES (1 << 18)

int main(void) {
    char *const buffer = mmap(BUFFER, SIZE_BYTES, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    const int zero = open("/dev/zero", O_RDONLY);
    if (buffer != BUFFER || zero < 0) {
        perror("line_use");
        return 1;
    }
    sgxlens_mark("loads of 4 at 24");
    for (int at = 0; at + 4 <= SIZE_BYTES; at += 24)
        (void)*(volatile uint32_t *)(buffer + at);
    sgxlens_mark("stores of 8 at 192");
    for (int at = 60; at + 8 <= SIZE_BYTES; at += 192) // across two lines
        *(volatile uint64_t *)(buffer + at) = 1;
    sgxlens_mark("both");
    for (int turn = 0; turn < 3; turn++)
        for (int at = 0; at < SIZE_BYTES; at += 64) {
            (void)*(volatile uint8_t *)(buffer + at + 7);
            *(volatile uint16_t *)(buffer + at + 32) = 1;
        }
    sgxlens_mark("kernel");
    if (read(zero, buffer + 100, 5000) != 5000)
        return 1;
    sgxlens_mark("end");
    return 0;
}
