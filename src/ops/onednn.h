/* onednn.h: the few things that convolutions and products want from oneDNN, without its types, so that
 * onednn.c alone knows the library's version, and how bf16 is had. Handles and primitives belong to the
 * fx_exec and are found by shape: prepare() makes them, the passes create nothing. Called from one
 * thread at a time. */
#ifndef FX_ONEDNN_H
#define FX_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexhpc/backend.h"

/* With S the correlation that the weights make from src to dst:
 *   FORWARD  dst = S src (+ bias), stored, added to dst, or stored with `other` added
 *   DATA     src = S^T dst, stored or added: the gradient; and, with folded weights, upsampling
 *   WEIGHTS  weights = gradient of <dst, S src>, stored or added */
typedef enum fx_dnn_pass { FX_DNN_FORWARD, FX_DNN_DATA, FX_DNN_WEIGHTS } fx_dnn_pass;
typedef enum fx_dnn_put { FX_DNN_STORE, FX_DNN_ADD, FX_DNN_STORE_SUM } fx_dnn_put;

/* A convolution by shape. src (B,H,W,Ci), dst (B,H',W',Co) in NHWC; weights (Co,Ci,k,k) with `row`
 * elements from one output channel to the next, so that they may be a slice of larger ones. */
typedef struct fx_dnn_conv {
    fx_dnn_pass pass;
    fx_dnn_put put;
    bool bias;      /* FORWARD only */
    bool dst_first; /* a packed dst comes first in scratch, else src: for `after` */
    int64_t B, H, W, Ci, Co, k, stride, pad, row;
} fx_dnn_conv;

typedef struct fx_dnn_data {
    const float *src, *other; /* other: as dst, FX_DNN_STORE_SUM only */
    float *out;               /* dst of FORWARD, src of DATA */
    const float *dst;         /* of DATA and WEIGHTS */
    const float *weights, *bias;
    float *dweights; /* of WEIGHTS */
    const fx_dnn_conv
        *after; /* the run just before, in the same scratch; NULL or zeros, none: the operand that comes
                 * first was the same then, and isn't packed again where formats agree */
} fx_dnn_data;

/* Side of dst for a side of src. */
static inline int64_t fx_dnn_side(int64_t side, int64_t k, int64_t stride, int64_t pad)
{
    return (side + 2 * pad - k) / stride + 1;
}

/* Makes the primitives of this shape, or finds them, and raises *scratch_bytes to what a run needs.
 * FX_EDEVICE when the library refuses the shape. Local. */
fx_status fx_dnn_conv_prepare(fx_exec *exec, const fx_dnn_conv *shape, size_t *scratch_bytes);

/* Runs a prepared shape; packs weights and activations into `scratch` (64-byte aligned) as the library
 * wants them. Deterministic for a fixed number of threads. Local. */
fx_status fx_dnn_conv_run(fx_exec *exec, const fx_dnn_conv *shape, const fx_dnn_data *data,
                          void *scratch);

/* C (m,n) = alpha op(A) op(B) + beta C, row-major, op by 'N' or 'T'; in fp32 whatever the precision.
 * Uses all threads. Local. */
fx_status fx_dnn_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *A,
                       int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

#endif
