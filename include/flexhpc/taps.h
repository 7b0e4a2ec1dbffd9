/* taps.h: weights of interpolation along one axis, for both twins of op interpolate and for what makes
 * coarse fields on the host. Half-pixel centres, edges clamped, as PyTorch's interpolate without
 * align_corners. In double. Includes attrs.h.
 *   centre of output i in source pixels: (i + 0.5) / f - 0.5 = base + d, 0 <= d < 1
 *   bicubic: base - 1 .. base + 2 (Keys 1981, A = -0.75); bilinear: base, base + 1 */
#ifndef FLEXHPC_TAPS_H
#define FLEXHPC_TAPS_H

#include <math.h>
#include "flexhpc/attrs.h"

#ifdef __CUDACC__
#define FX_TWIN __host__ __device__ __forceinline__
#else
#define FX_TWIN inline
#endif

enum { FX_TAPS_BICUBIC = 4, FX_TAPS_BILINEAR = 2 };

typedef struct fx_taps {
    int64_t at[FX_TAPS_BICUBIC]; /* pixels along the axis; the last two unused by bilinear */
    double weight[FX_TAPS_BICUBIC];
} fx_taps;

/* Cubic convolution at a distance of x pixels: |x| <= 1, and 1 <= |x| <= 2. */
static FX_TWIN double fx_cubic_near(double x, double A)
{
    return ((A + 2) * x - (A + 3)) * x * x + 1;
}

static FX_TWIN double fx_cubic_far(double x, double A)
{
    return ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
}

/* Of output pixel i; source pixel k of `sources` stands at pixel k * stride. */
static FX_TWIN fx_taps fx_taps_of(fx_interpolate_attrs attrs, int64_t i, int64_t sources)
{
    const double A = -0.75, centre = ((double)i + 0.5) / (double)attrs.factor - 0.5,
                 base = floor(centre), d = centre - base;
    const int bicubic = attrs.kind == FX_BICUBIC;
    fx_taps t = {{0, 0, 0, 0}, {1 - d, d, 0, 0}};
    if (bicubic) {
        t.weight[0] = fx_cubic_far(d + 1, A);
        t.weight[1] = fx_cubic_near(d, A);
        t.weight[2] = fx_cubic_near(1 - d, A);
        t.weight[3] = fx_cubic_far(2 - d, A);
    }
    for (int k = 0; k < (bicubic ? FX_TAPS_BICUBIC : FX_TAPS_BILINEAR); k++) {
        const int64_t source = (int64_t)base - bicubic + k, last = sources - 1;
        t.at[k] = (source < 0 ? 0 : source > last ? last : source) * attrs.stride;
    }
    return t;
}

#endif
