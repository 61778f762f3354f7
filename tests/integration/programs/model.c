/* SPDX-License-Identifier: Apache-2.0
 *
 * A model of two operators and known accesses. Each buffer has a mapping of its own. Loads and
 * stores touch each line of a buffer once, in order, and nothing but code and stack besides.
 */
#define _GNU_SOURCE
#include "sgxlens/mark.h"

#include <stdio.h>
#include <sys/mman.h>

#define LINE 64

struct buffer {
    const char *name;
    unsigned long lines;
    char *start;
};

static struct buffer weights_a = {"weights:a", 512, 0};
static struct buffer weights_b = {"weights:b", 1024, 0};
static struct buffer scratch = {"scratch:s", 64, 0};
static struct buffer activations = {"activations:x", 256, 0};
static struct buffer output = {"output:y", 128, 0};

static void make(struct buffer *b) {
    b->start = (char *)mmap(0, b->lines * LINE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            -1, 0);
    fprintf(stderr, "%s %lu %lu\n", b->name, (unsigned long)b->start, b->lines);
}

static void load(const struct buffer *b) {
    const char *p = b->start, *end = b->start + b->lines * LINE;
    for (; p < end; p += LINE)
        __asm__ volatile("movq (%0), %%rax" : : "r"(p) : "rax", "memory");
}

static void store(const struct buffer *b) {
    char *p = b->start, *end = b->start + b->lines * LINE;
    for (; p < end; p += LINE)
        __asm__ volatile("movq %%rax, (%0)" : : "r"(p) : "rax", "memory");
}

static void infer(void) {
    sgxlens_operator_begin("first");
    load(&weights_a);
    store(&scratch);
    load(&scratch);
    store(&activations);
    sgxlens_operator_end();
    sgxlens_operator_begin("second");
    load(&activations);
    load(&weights_b);
    store(&output);
    sgxlens_operator_end();
}

int main(int count, char **arguments) {
    struct buffer *all[] = {&weights_a, &weights_b, &scratch, &activations, &output};
    (void)arguments;
    for (unsigned i = 0; i < 5; i++)
        make(all[i]);
    sgxlens_mark("load");
    store(&weights_a);
    store(&weights_b);
    for (unsigned i = 0; i < 5 && count > 1; i++)
        sgxlens_region(all[i]->start, all[i]->lines * LINE, all[i]->name);
    sgxlens_mark("warm-up 1");
    infer();
    sgxlens_mark("inference 1");
    infer();
    sgxlens_mark("inference 2");
    infer();
    sgxlens_mark("end");
    load(&output);
    return 0;
}
