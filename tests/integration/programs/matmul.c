/* SPDX-License-Identifier: Apache-2.0
 *
 * c += a * b, blocked. The matrices are volatile, so that the loops access them exactly as they are
 * written; what the compiler makes of the rest is its business.
 */
#include <sgxlens/mark.h>

enum { N = 32, BLOCK = 8 };

volatile double a[N][N] __attribute__((aligned(4096)));
volatile double b[N][N] __attribute__((aligned(4096)));
volatile double c[N][N] __attribute__((aligned(4096)));

static __attribute__((noinline)) void multiply(void) {
    for (int i0 = 0; i0 < N; i0 += BLOCK)
        for (int j0 = 0; j0 < N; j0 += BLOCK)
            for (int k0 = 0; k0 < N; k0 += BLOCK)
                for (int i = i0; i < i0 + BLOCK; i++)
                    for (int j = j0; j < j0 + BLOCK; j++) {
                        double sum = c[i][j];
                        for (int k = k0; k < k0 + BLOCK; k++)
                            sum += a[i][k] * b[k][j];
                        c[i][j] = sum;
                    }
}

int main(void) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = i + j;
            b[i][j] = i - j;
        }
    sgxlens_mark("multiply");
    multiply();
    sgxlens_mark("again");
    multiply();
    sgxlens_mark("rest");
    return 0;
}
