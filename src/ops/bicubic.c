/* The low-resolution input (spec 7): every f-th pixel of the last snapshot (the first of each block,
 * no filter), then bicubic interpolation back to the full side S: A = -0.75, half-pixel centres, edges
 * clamped. Coefficients and sums in double. Data, so there is no gradient.
 *   centre of output i in source pixels: (i + 0.5) / f - 0.5 = base + d, 0 <= d < 1
 *   taps: base - 1 .. base + 2 */
#include "ops.h"

enum { X }; /* in[]: (B,S,S,C), f divides S -> (B,S,S,1) */

typedef struct taps {
    int64_t at[4]; /* pixel of the full image that holds the source pixel */
    double weight[4];
} taps;

static double near(double x, double A) /* |x| <= 1 */
{
    return ((A + 2) * x - (A + 3)) * x * x + 1;
}

static double far(double x, double A) /* 1 < |x| < 2 */
{
    return ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
}

static taps taps_of(int64_t i, int64_t f, int64_t S)
{
    const double A = -0.75, centre = ((double)i + 0.5) / (double)f - 0.5, base = floor(centre),
                 d = centre - base;
    taps t = {.weight = {far(d + 1, A), near(d, A), near(1 - d, A), far(2 - d, A)}};
    for (int k = 0; k < 4; k++) {
        const int64_t source = (int64_t)base - 1 + k, last = S / f - 1;
        t.at[k] = (source < 0 ? 0 : source > last ? last : source) * f;
    }
    return t;
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X];
    const int64_t f = n->attrs.bicubic.factor;
    FX_REQUIRE(x && x->rank == 4 && f > 0 && x->dim[1] % f == 0 && x->dim[2] % f == 0, FX_EARG,
               "factor %lld does not divide the sides of %s", (long long)f, fx_shape_text(x));
    return fx_out_shape(n, 0, 4, FX_DIMS(x->dim[0], x->dim[1], x->dim[2], 1));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t *d = n->in[X]->dim, H = d[1], W = d[2], C = d[3], f = n->attrs.bicubic.factor;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < d[0] * H; row++) {
        const float *x = fx_f32(n->in[X]) + row / H * H * W * C + C - 1;
        float *y = fx_f32(n->out[0]) + row * W;
        const taps v = taps_of(row % H, f, H);
        for (int64_t j = 0; j < W; j++) {
            const taps h = taps_of(j, f, W);
            double sum = 0;
            for (int a = 0; a < 4; a++) {
                double line = 0;
                for (int b = 0; b < 4; b++)
                    line += h.weight[b] * (double)x[(v.at[a] * W + h.at[b]) * C];
                sum += v.weight[a] * line;
            }
            y[j] = (float)sum;
        }
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "factor 2", .attrs = {.bicubic = {2}}, .dim = {{2, 8, 8, 2}}},
    {.name = "long rows", .attrs = {.bicubic = {2}}, .dim = {{1, 4, 132, 1}}},
    {.name = "factor 4", .attrs = {.bicubic = {4}}, .dim = {{1, 8, 8, 1}}},
    {0},
};

const fx_op fx_op_bicubic = {
    .name = "bicubic", .shape = shape, .fp32 = FX_IN(X) | FX_OUT(0), .cases = cases};
const fx_kernel fx_cpu_bicubic = {.forward = forward};
