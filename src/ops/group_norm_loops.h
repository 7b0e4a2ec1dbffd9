/* group_norm_loops.h: the inner loops of group_norm.c, over some pixels of one source, TILE channels at
 * once: a tile's coefficients and sums stay in registers while the pixels pass. Channels are innermost
 * in memory, so a tile of a pixel is one line of cache. `silu` and `lanes`, and whether a pointer is
 * NULL, are constants of each caller, so that no loop holds a branch. Private to group_norm.c. Includes
 * ops.h, vecmath.h. */
#ifndef FX_GROUP_NORM_LOOPS_H
#define FX_GROUP_NORM_LOOPS_H

#include "ops.h"
#include "vecmath.h"

enum { TILE = 16 };

#define FX_LOOP static inline __attribute__((always_inline))

/* Adds the sums of x - K and (x - K)^2 in double. The chunk is shifted by its own first pixel, so that
 * a large mean loses nothing in fp32. */
FX_LOOP void moments_tile(const float *restrict x, int64_t pixels, int64_t C, int64_t lanes,
                          const float *restrict K, double *restrict total, double *restrict squares)
{
    float shift[TILE], sum[TILE] = {0}, square[TILE] = {0};
    for (int64_t k = 0; k < lanes; k++)
        shift[k] = x[k];
    for (int64_t p = 0; p < pixels; p++)
#pragma omp simd
        for (int64_t k = 0; k < lanes; k++) {
            const float d = x[p * C + k] - shift[k];
            sum[k] += d;
            square[k] = fx_fma(d, d, square[k]);
        }
#pragma omp simd
    for (int64_t k = 0; k < lanes; k++) {
        const double moved = (double)shift[k] - (double)K[k], whole = (double)pixels * moved;
        total[k] += (double)sum[k] + whole;
        squares[k] += (double)square[k] + moved * (2 * (double)sum[k] + whole);
    }
}

static inline void add_moments(const float *x, int64_t pixels, int64_t C, const float *K, double *total,
                               double *squares)
{
    int64_t c = 0;
    for (; c + TILE <= C; c += TILE)
        moments_tile(x + c, pixels, C, TILE, K + c, total + c, squares + c);
    if (c < C) moments_tile(x + c, pixels, C, C - c, K + c, total + c, squares + c);
}

/* One source's rows of the coefficients of sample b. */
typedef struct lines {
    const float *centre, *slope, *offset, *constant, *tilt;
} lines;

FX_LOOP float affine_silu(float x, float centre, float slope, float offset, bool silu)
{
    const float u = fx_fma(x - centre, slope, offset);
    return silu ? fx_silu(u) : u;
}

/* y = act(u) factor; y and factor have `stride` channels; factor may be NULL. */
FX_LOOP void normalise_tile(const float *restrict x, int64_t pixels, int64_t C, int64_t stride,
                            int64_t lanes, lines l, int64_t c, bool silu, const float *restrict factor,
                            float *restrict y)
{
    float centre[TILE], slope[TILE], offset[TILE];
    for (int64_t k = 0; k < lanes; k++) {
        centre[k] = l.centre[c + k];
        slope[k] = l.slope[c + k];
        offset[k] = l.offset[c + k];
    }
    for (int64_t p = 0; p < pixels; p++)
#pragma omp simd
        for (int64_t k = 0; k < lanes; k++) {
            const float z = affine_silu(x[p * C + c + k], centre[k], slope[k], offset[k], silu);
            y[p * stride + c + k] = factor ? z * factor[p * stride + c + k] : z;
        }
}

FX_LOOP void normalise(const float *x, int64_t pixels, int64_t C, int64_t stride, lines l, bool silu,
                       const float *factor, float *y)
{
    int64_t c = 0;
    for (; c + TILE <= C; c += TILE)
        normalise_tile(x, pixels, C, stride, TILE, l, c, silu, factor, y);
    if (c < C) normalise_tile(x, pixels, C, stride, C - c, l, c, silu, factor, y);
}

/* y of one output pixel, averaged over four: x, its right neighbour, and both below. */
FX_LOOP void normalise_four(const float *restrict x, int64_t right, int64_t down, lines l, int64_t C,
                            bool silu, float *restrict y)
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

FX_LOOP float du_of(float dy, float e, float slope, float offset, bool silu)
{
    return silu ? dy * fx_dsilu(fx_fma(e, slope, offset)) : dy;
}

/* Adds the sums of du and du (x - centre) in double, and keeps du (C channels) where `keep` is not
 * NULL. dy has `stride` channels. */
FX_LOOP void sums_tile(const float *restrict x, const float *restrict dy, int64_t pixels, int64_t C,
                       int64_t stride, int64_t lanes, lines l, int64_t c, bool silu, double *restrict S,
                       double *restrict Q, float *restrict keep)
{
    float centre[TILE], slope[TILE], offset[TILE], s[TILE] = {0}, q[TILE] = {0};
    for (int64_t k = 0; k < lanes; k++) {
        centre[k] = l.centre[c + k];
        slope[k] = l.slope[c + k];
        offset[k] = l.offset[c + k];
    }
    for (int64_t p = 0; p < pixels; p++)
#pragma omp simd
        for (int64_t k = 0; k < lanes; k++) {
            const float e = x[p * C + c + k] - centre[k];
            const float du = du_of(dy[p * stride + c + k], e, slope[k], offset[k], silu);
            s[k] += du;
            q[k] = fx_fma(du, e, q[k]);
            if (keep) keep[p * C + c + k] = du;
        }
#pragma omp simd
    for (int64_t k = 0; k < lanes; k++) {
        S[c + k] += (double)s[k];
        Q[c + k] += (double)q[k];
    }
}

FX_LOOP void add_sums(const float *x, const float *dy, int64_t pixels, int64_t C, int64_t stride,
                      lines l, bool silu, double *S, double *Q, float *keep)
{
    int64_t c = 0;
    for (; c + TILE <= C; c += TILE)
        sums_tile(x, dy, pixels, C, stride, TILE, l, c, silu, S, Q, keep);
    if (c < C) sums_tile(x, dy, pixels, C, stride, C - c, l, c, silu, S, Q, keep);
}

/* dx may be where dy (then du) is. */
FX_LOOP void write_dx(const float *x, const float *dy, int64_t pixels, int64_t C, int64_t stride,
                      lines l, bool silu, bool adds, float *dx)
{
    for (int64_t p = 0; p < pixels; p++, x += C, dx += C, dy += stride)
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            const float e = x[c] - l.centre[c], du = du_of(dy[c], e, l.slope[c], l.offset[c], silu);
            const float out = fx_fma(-e, l.tilt[c], fx_fma(l.slope[c], du, -l.constant[c]));
            dx[c] = adds ? dx[c] + out : out;
        }
}

#undef FX_LOOP

#endif
