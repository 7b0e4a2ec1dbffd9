/* CUDA twin of src/ops/interpolate.c: the last channel's every stride-th pixel, back to full size by
 * bicubic or bilinear interpolation, weights (taps.h) and sums in double as there. A thread makes a
 * pixel. Fp64 arithmetic binds, some 150 instructions a pixel for bicubic: by count 5 us on an H100 for
 * 8 images of 256^2. Memory: 4 bytes a pixel written; with stride > 1 a source pixel has a sector of 32
 * bytes to itself and is read from memory once: 32 / factor^2. */
#include "flexhpc/taps.h"
#include "launch.cuh"

enum { X }; /* in[]: (B,h,w,C), the stride divides h and w -> (B,H,W,1) */
enum { THREADS = 128 };

typedef struct view {
    fx_interpolate_attrs attrs;
    int64_t h, w, C, H, W;
    int blocks; /* of a row of the output */
} view;

template <int TAPS> FX_KERNEL void FX_BOUNDS(THREADS) interpolate(view v, const float *x, float *y)
{
    const int64_t row = fx_block() / v.blocks,
                  j = (int64_t)(fx_block() % v.blocks) * THREADS + fx_thread();
    if (j >= v.W) return;
    v.attrs.kind = TAPS == FX_TAPS_BICUBIC ? FX_BICUBIC : FX_BILINEAR; /* known to the compiler */
    const fx_taps down = fx_taps_of(v.attrs, row % v.H, v.h / v.attrs.stride),
                  across = fx_taps_of(v.attrs, j, v.w / v.attrs.stride);
    const float *image = x + row / v.H * v.h * v.w * v.C + v.C - 1;
    double sum = 0;
    for (int a = 0; a < TAPS; a++) {
        double line = 0;
        for (int b = 0; b < TAPS; b++)
            line += across.weight[b] * (double)fx_get(image + (down.at[a] * v.w + across.at[b]) * v.C);
        sum += down.weight[a] * line;
    }
    fx_set(y + row * v.W + j, (float)sum);
}

template <int TAPS> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->in[X]->dim, *e = n->out[0]->dim;
    const view v = {n->attrs.interpolate, d[1], d[2], d[3], e[1], e[2], (int)fx_grid(e[2], THREADS)};
    FX_LAUNCH(exec, n, interpolate<TAPS>, (unsigned)(e[0] * e[1] * v.blocks), THREADS, 0, v,
              fx_f32(n->in[X]), fx_f32(n->out[0]));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return n->attrs.interpolate.kind == FX_BICUBIC ? forward_by<FX_TAPS_BICUBIC>(exec, n)
                                                   : forward_by<FX_TAPS_BILINEAR>(exec, n);
}

const fx_kernel fx_cuda_interpolate = {NULL, forward, NULL};
