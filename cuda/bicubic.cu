/* CUDA twin of src/ops/bicubic.c: every f-th pixel of the last snapshot, back to full size by bicubic
 * interpolation, coefficients and sums in double as there. A thread makes a pixel. Fp64 arithmetic
 * binds, some 150 instructions a pixel: by count 5 us on an H100 for 8 images of 256^2. Memory: 4 bytes
 * a pixel written; a source pixel has a sector of 32 bytes to itself and is read from memory once: 32 /
 * f^2. */
#include "launch.cuh"

enum { X }; /* in[]: (B,H,W,C), f divides H and W -> (B,H,W,1) */
enum { THREADS = 128 };

typedef struct view {
    int64_t H, W, C, f;
    int blocks; /* of a row */
} view;

typedef struct taps {
    int64_t at[4]; /* pixel of the full image that holds the source pixel */
    double weight[4];
} taps;

FX_DEVICE double near_weight(double x, double A) /* |x| <= 1 */
{
    return ((A + 2) * x - (A + 3)) * x * x + 1;
}

FX_DEVICE double far_weight(double x, double A) /* 1 < |x| < 2 */
{
    return ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
}

FX_DEVICE taps taps_of(int64_t i, int64_t f, int64_t side)
{
    const double A = -0.75, centre = ((double)i + 0.5) / (double)f - 0.5, base = floor(centre),
                 d = centre - base;
    taps t = {{0, 0, 0, 0},
              {far_weight(d + 1, A), near_weight(d, A), near_weight(1 - d, A), far_weight(2 - d, A)}};
    for (int k = 0; k < 4; k++) {
        const int64_t source = (int64_t)base - 1 + k, last = side / f - 1;
        t.at[k] = (source < 0 ? 0 : source > last ? last : source) * f;
    }
    return t;
}

template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) bicubic(view v, const T *x, T *y)
{
    const int64_t row = fx_block() / v.blocks,
                  j = (int64_t)(fx_block() % v.blocks) * THREADS + fx_thread();
    if (j >= v.W) return;
    const taps down = taps_of(row % v.H, v.f, v.H), across = taps_of(j, v.f, v.W);
    const T *image = x + row / v.H * v.H * v.W * v.C + v.C - 1;
    double sum = 0;
    for (int a = 0; a < 4; a++) {
        double line = 0;
        for (int b = 0; b < 4; b++)
            line += across.weight[b] * (double)fx_get(image + (down.at[a] * v.W + across.at[b]) * v.C);
        sum += down.weight[a] * line;
    }
    fx_set(y + row * v.W + j, (float)sum);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->in[X]->dim;
    const view v = {d[1], d[2], d[3], n->attrs.bicubic.factor, (int)fx_grid(d[2], THREADS)};
    FX_LAUNCH(exec, n, bicubic<float>, (unsigned)(d[0] * d[1] * v.blocks), THREADS, 0, v,
              fx_f32(n->in[X]), fx_f32(n->out[0]));
    return FX_OK;
}

const fx_kernel fx_cuda_bicubic = {NULL, forward, NULL};
