/* SPDX-License-Identifier: Apache-2.0
 *
 * `marks COUNT`: touches 100 pages in each of three phases, and marks COUNT times more.
 */
#include "sgxlens/mark.h"

#include <stdio.h>
#include <stdlib.h>

#define BYTES (100 * 4096)

static void touch(volatile char *block) {
    for (int i = 0; i < BYTES; i += 4096)
        block[i]++;
}

int main(int count, char **arguments) {
    char *block = aligned_alloc(4096, 3 * BYTES);
    int listening = sgxlens_mark("first");
    touch(block);
    sgxlens_mark("second");
    touch(block + BYTES);
    sgxlens_mark("third");
    touch(block + 2 * BYTES);
    sgxlens_mark("end");
    for (long i = count > 1 ? atol(arguments[1]) : 0; i > 0; i--)
        sgxlens_mark("loop");
    /* On standard error, so that standard output is the same with and without a recording. */
    fprintf(stderr, "%d\n", listening);
    puts("done");
    return 0;
}
