/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sgxlens/mark.h>

#define KERNELS(X)                                                                                 \
    X(empty)                                                                                       \
    X(code)                                                                                        \
    X(stream_load)                                                                                 \
    X(stream_store)                                                                                \
    X(indexed_load)                                                                                \
    X(push)                                                                                        \
    X(pop)                                                                                         \
    X(call)                                                                                        \
    X(load_twice)                                                                                  \
    X(load_unused)                                                                                 \
    X(cyclic)                                                                                      \
    X(permutation)                                                                                 \
    X(crossing_load)                                                                               \
    X(crossing_store)                                                                              \
    X(add_memory)                                                                                  \
    X(lock_add)                                                                                    \
    X(lock_xadd)                                                                                   \
    X(exchange)                                                                                    \
    X(lock_cmpxchg)                                                                                \
    X(lock_cmpxchg16b)                                                                             \
    X(rep_movs)                                                                                    \
    X(traps)
#define VECTOR_KERNELS(X)                                                                          \
    X(crossing_vector)                                                                             \
    X(masked_load)                                                                                 \
    X(masked_load_over)                                                                            \
    X(masked_store)                                                                                \
    X(masked_nothing)

#define DECLARE(name) extern void kernel_##name(void);
#define CALL(name) kernel_##name();
KERNELS(DECLARE)
VECTOR_KERNELS(DECLARE)
extern void kernel_transfer(long from, long to);

int main(void) {
    KERNELS(CALL)
    kernel_transfer(open("/dev/zero", O_RDONLY), open("/dev/null", O_WRONLY));
    if (__builtin_cpu_supports("avx")) {
        VECTOR_KERNELS(CALL)
    }
    sgxlens_mark("done");
    return 0;
}
