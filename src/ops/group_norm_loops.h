/* group_norm_loops.h: the inner loops of group_norm.c, over the channels of some pixels of one source:
 * channels are innermost in memory, so these vectorise over them. `silu` is a constant of each caller,
 * so that no loop holds a branch. Private to group_norm.c. Includes ops.h, vecmath.h. */
#ifndef FX_GROUP_NORM_LOOPS_H
#define FX_GROUP_NORM_LOOPS_H

#include "ops.h"
#include "vecmath.h"

/* Adds (x - shift) and its square, pixel by pixel, four at once. */
static inline void chunk_moments(const float *restrict x, int64_t pixels, int64_t C,
                                 float *restrict sum, float *restrict square)
{
    const float *shift = x;
    int64_t p = 0;
    for (; p + 4 <= pixels; p += 4, x += 4 * C)
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            const float d0 = x[c] - shift[c], d1 = x[C + c] - shift[c], d2 = x[2 * C + c] - shift[c],
                        d3 = x[3 * C + c] - shift[c];
            sum[c] += (d0 + d1) + (d2 + d3);
            square[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    for (; p < pixels; p++, x += C)
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            const float d = x[c] - shift[c];
            sum[c] += d;
            square[c] += d * d;
        }
}

/* One source's rows of the coefficients of sample b. */
typedef struct lines {
    const float *centre, *slope, *offset, *constant, *tilt;
} lines;

static inline float affine_silu(float x, float centre, float slope, float offset, bool silu)
{
    const float u = fx_fma(x - centre, slope, offset);
    return silu ? fx_silu(u) : u;
}

/* y of one pixel and source. */
static inline void normalise(const float *restrict x, lines l, int64_t C, bool silu, float *restrict y)
{
#pragma omp simd
    for (int64_t c = 0; c < C; c++)
        y[c] = affine_silu(x[c], l.centre[c], l.slope[c], l.offset[c], silu);
}

/* The same, averaged over four pixels: x, its right neighbour, and both below. */
static inline void normalise_four(const float *restrict x, int64_t right, int64_t down, lines l,
                                  int64_t C, bool silu, float *restrict y)
{
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        const float m = l.centre[c], a = l.slope[c], d = l.offset[c];
        const float above = affine_silu(x[c], m, a, d, silu) + affine_silu(x[right + c], m, a, d, silu);
        const float below =
            affine_silu(x[down + c], m, a, d, silu) + affine_silu(x[down + right + c], m, a, d, silu);
        y[c] = 0.25f * (above + below);
    }
}

static inline float du_of(float dy, float e, float slope, float offset, bool silu)
{
    return silu ? dy * fx_dsilu(fx_fma(e, slope, offset)) : dy;
}

/* Adds du and du (x - centre) of some pixels of one source, and keeps du where `keep` is not NULL (a
 * constant of each caller as well). dy has `stride` channels. */
static inline void add_sums(const float *restrict x, const float *restrict dy, int64_t pixels,
                            int64_t stride, lines l, int64_t C, bool silu, float *restrict S,
                            float *restrict Q, float *restrict keep)
{
    for (int64_t p = 0; p < pixels; p++)
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            const float e = x[p * C + c] - l.centre[c];
            const float du = du_of(dy[p * stride + c], e, l.slope[c], l.offset[c], silu);
            S[c] += du;
            Q[c] += du * e;
            if (keep) keep[p * C + c] = du;
        }
}

/* dx may be where dy (then du) is. */
static inline void write_dx(const float *x, const float *dy, int64_t pixels, int64_t stride, lines l,
                            int64_t C, bool silu, unsigned adds, float *dx)
{
    for (int64_t p = 0; p < pixels; p++, x += C, dx += C, dy += stride)
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            const float e = x[c] - l.centre[c], du = du_of(dy[c], e, l.slope[c], l.offset[c], silu);
            fx_put(&dx[c], l.slope[c] * du - l.constant[c] - e * l.tilt[c], adds);
        }
}

#endif
