// SPDX-License-Identifier: Apache-2.0
// Walks over more pages than any filter holds, so that each access to a page is a visit.

#include "sgxlens/mark.h"

#include <stddef.h>
#include <stdlib.h>

enum { PAGE_BYTES = 4096, PAGE_COUNT = 20000, WALK_COUNT = 260 };

static void walk(volatile unsigned char *memory, int count) {
    for (int number = 0; number < count; number++)
        for (size_t page = 0; page < PAGE_COUNT; page++)
            memory[page * PAGE_BYTES]++;
}

int main(void) {
    unsigned char *memory = malloc((size_t)PAGE_COUNT * PAGE_BYTES);
    if (memory == NULL)
        return 1;
    sgxlens_mark("warm-up");
    walk(memory, WALK_COUNT);
    sgxlens_mark("inference");
    walk(memory, WALK_COUNT);
    sgxlens_mark("end");
    free(memory);
    return 0;
}
