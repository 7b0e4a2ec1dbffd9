/* matmul.h: products of fp32 or bf16 matrices by cuBLASLt, for every op that wants one. A product is
 * described, prepared once, before planning, and run as often as wanted. Private to cuda/. */
#ifndef FX_CUDA_MATMUL_H
#define FX_CUDA_MATMUL_H

#include "exec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix within a tensor, row after row. */
typedef struct fx_matrix {
    int64_t first, pitch; /* elements before it; from the start of one row to the next */
    bool transposed;      /* stored is the transpose */
} fx_matrix;

/* D (m, n) = A (m, k) B (k, n), + C, which lies in its tensor as D does, + bias (n) on every row. A and
 * B are of type `operands`; C, D and bias of type `result`: the same, or fp32. */
typedef struct fx_matmul {
    int64_t m, n, k;
    fx_matrix a, b, d; /* d is not transposed */
    bool adds, bias;
    fx_dtype operands, result;
} fx_matmul;

/* Picks the algorithm, the first time that this product is asked for; *workspace becomes at least what
 * it needs, in bytes. Local. */
fx_status fx_matmul_prepare(fx_exec *exec, const fx_matmul *product, size_t *workspace);

/* Starts a prepared product. Tensors begin at multiples of 16 bytes. c may be d: D += A B; c and bias
 * are looked at where the product has them. Local. */
fx_status fx_matmul_run(fx_exec *exec, const fx_matmul *product, const void *a, const void *b,
                        const void *c, const void *bias, void *d, void *workspace);

/* Frees the products and the library's handle. Local. */
void fx_matmul_close(fx_cuda *exec);

#ifdef __cplusplus
}
#endif
#endif
