/* The low-resolution input at full size (spec 7): from every stride-th pixel of the last channel (the
 * first of each block, no filter), `factor` times as many by bicubic or bilinear interpolation
 * (taps.h). stride = factor: from the full image itself; stride = 1: from a coarse one. Sums in double.
 * Data, so there is no gradient. */
#include "flexhpc/taps.h"
#include "ops.h"

enum { X }; /* in[]: (B,H,W,C), the stride divides H and W -> (B, H factor / stride, likewise, 1) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X];
    const int64_t f = n->attrs.interpolate.factor, s = n->attrs.interpolate.stride;
    FX_REQUIRE(x && x->rank == 4 && f > 0 && s > 0 && x->dim[1] % s == 0 && x->dim[2] % s == 0, FX_EARG,
               "factor %lld does not divide the sides of %s", (long long)s, fx_shape_text(x));
    return fx_out_shape(n, 0, 4, FX_DIMS(x->dim[0], x->dim[1] / s * f, x->dim[2] / s * f, 1));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const fx_interpolate_attrs attrs = n->attrs.interpolate;
    const int64_t *d = n->in[X]->dim, h = d[1], w = d[2], C = d[3], H = n->out[0]->dim[1],
                  W = n->out[0]->dim[2];
    const int taps = attrs.kind == FX_BICUBIC ? FX_TAPS_BICUBIC : FX_TAPS_BILINEAR;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < d[0] * H; row++) {
        const float *x = fx_f32(n->in[X]) + row / H * h * w * C + C - 1;
        float *y = fx_f32(n->out[0]) + row * W;
        const fx_taps down = fx_taps_of(attrs, row % H, h / attrs.stride);
        for (int64_t j = 0; j < W; j++) {
            const fx_taps across = fx_taps_of(attrs, j, w / attrs.stride);
            double sum = 0;
            for (int a = 0; a < taps; a++) {
                double line = 0;
                for (int b = 0; b < taps; b++)
                    line += across.weight[b] * (double)x[(down.at[a] * w + across.at[b]) * C];
                sum += down.weight[a] * line;
            }
            y[j] = (float)sum;
        }
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "factor 2", .attrs = {.interpolate = {FX_BICUBIC, 2, 2}}, .dim = {{2, 8, 8, 2}}},
    {.name = "long rows", .attrs = {.interpolate = {FX_BICUBIC, 2, 2}}, .dim = {{1, 4, 132, 1}}},
    {.name = "factor 4", .attrs = {.interpolate = {FX_BICUBIC, 4, 4}}, .dim = {{1, 8, 8, 1}}},
    {.name = "coarse", .attrs = {.interpolate = {FX_BICUBIC, 3, 1}}, .dim = {{2, 3, 4, 1}}},
    {.name = "bilinear", .attrs = {.interpolate = {FX_BILINEAR, 4, 4}}, .dim = {{2, 8, 12, 2}}},
    {.name = "bilinear, coarse", .attrs = {.interpolate = {FX_BILINEAR, 2, 1}}, .dim = {{1, 3, 70, 1}}},
    {0},
};

const fx_op fx_op_interpolate = {
    .name = "interpolate", .shape = shape, .fp32 = FX_IN(X) | FX_OUT(0), .cases = cases};
const fx_kernel fx_cpu_interpolate = {.forward = forward};
