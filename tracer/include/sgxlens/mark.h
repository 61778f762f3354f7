/* SPDX-License-Identifier: Apache-2.0
 *
 * sgxlens_mark("name") starts a new phase of the recording. It is a handful of
 * instructions without effect when the program is not being recorded. One
 * header, no library: copy it into your project or add
 * `python -m sgxlens.include` to the include path.
 */
#ifndef SGXLENS_MARK_H
#define SGXLENS_MARK_H

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

/* Starts the phase `name` (zero-terminated, at most 1,000 bytes are kept).
 * Returns 1 where a recording runs, else 0. */
static inline int sgxlens_mark(const char *name) {
    unsigned long size = 0;
    while (name[size] != '\0')
        size++;
    return (int)sgxlens_request(0x534c0001UL, name, size);
}

#endif
