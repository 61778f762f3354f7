/* SPDX-License-Identifier: Apache-2.0
 *
 * Annotations between known accesses: each step stores to one page of its own. Prints on standard
 * error where the pages are and whether a recording runs.
 */
#include "sgxlens/mark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096

static char long_name[10000];

int main(void) {
    char *pages = (char *)aligned_alloc(PAGE, 8 * PAGE);
    volatile char *block = pages;
    memset(long_name, 'x', sizeof long_name - 1);
    int listening = sgxlens_region(block, PAGE, "weights:first");
    sgxlens_mark("run");
    sgxlens_operator_begin("outer");
    block[0] = 1;
    sgxlens_operator_begin("{\"name\": \"inner\", \"type\": \"Store\"}");
    block[PAGE] = 1;
    sgxlens_operator_end();
    block[2 * PAGE] = 1;
    sgxlens_operator_end();
    block[3 * PAGE] = 1;
    sgxlens_region_end(block, PAGE);
    sgxlens_mark("does not nest");
    sgxlens_operator_end();
    block[4 * PAGE] = 1;
    sgxlens_operator_begin(long_name);
    block[5 * PAGE] = 1;
    sgxlens_operator_begin("never ends");
    sgxlens_region((void *)16, ~0ul, "no such role");
    sgxlens_mark("end");
    fprintf(stderr, "%d %lu\n", listening, (unsigned long)pages);
    puts("done");
    return 0;
}
