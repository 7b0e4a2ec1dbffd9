/* Layer normalisation of tokens (spec 2): y = (x - mean) rstd gamma + beta, statistics over the D
 * channels of each token, variance with divisor D, rstd = 1 / sqrt(variance + eps). */
#include "ops.h"

#include "vecmath.h"

enum { X, GAMMA, BETA }; /* in[]: (R,T,D), (D), (D) -> (R,T,D) */
enum { MEAN, RSTD };     /* saved[]: (R,T) twice */
enum { BLOCK = 64 };     /* tokens whose parameter gradients are summed together */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X];
    FX_REQUIRE(x && x->rank == 3 && n->in[GAMMA] && n->in[BETA] &&
                   fx_has_shape(n->in[GAMMA], 1, &x->dim[2]) &&
                   fx_has_shape(n->in[BETA], 1, &x->dim[2]),
               FX_EARG, "weight %s and bias %s do not fit %s", fx_shape_text(n->in[GAMMA]),
               fx_shape_text(n->in[BETA]), fx_shape_text(x));
    FX_TRY(fx_out_shape(n, 0, 3, x->dim));
    FX_TRY(fx_saved_shape(n, MEAN, 2, x->dim));
    return fx_saved_shape(n, RSTD, 2, x->dim);
}

static int64_t blocks(const fx_node *n)
{
    return (n->in[X]->dim[0] * n->in[X]->dim[1] + BLOCK - 1) / BLOCK;
}

/* backward: a block's sums of dy xhat and of dy, (blocks,2,D). */
static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec;
    *scratch_bytes = backward ? sizeof(float) * (size_t)(2 * blocks(n) * n->in[X]->dim[2]) : 0;
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t tokens = n->in[X]->dim[0] * n->in[X]->dim[1], D = n->in[X]->dim[2];
    const float *gamma = fx_f32(n->in[GAMMA]), *beta = fx_f32(n->in[BETA]);
    const double eps = (double)n->attrs.layer_norm.eps;
    float *mean = fx_f32(n->saved[MEAN]), *rstd = fx_f32(n->saved[RSTD]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const float *x = fx_f32(n->in[X]) + t * D;
        float *y = fx_f32(n->out[0]) + t * D;
        const float m = mean[t] = (float)(fx_sum(x, D) / (double)D);
        for (int64_t k = 0; k < D; k++) /* exact differences: x is near m where the variance is small */
            y[k] = x[k] - m;
        const double off = fx_sum(y, D) / (double)D; /* what rounding m left */
        const float r = rstd[t] = (float)(1 / sqrt(fx_dot(y, y, D) / (double)D - off * off + eps));
        for (int64_t k = 0; k < D; k++)
            y[k] = y[k] * r * gamma[k] + beta[k];
    }
    return FX_OK;
}

/* dx = rstd (dy gamma - m1 - xhat m2), m1 and m2 the means over D of dy gamma and dy gamma xhat. Adds
 * the token's dy xhat and dy to the block's sums. */
static void token(const fx_node *n, int64_t t, float *dgamma, float *dbeta)
{
    const int64_t D = n->in[X]->dim[2];
    const float *x = fx_f32(n->in[X]) + t * D, *dy = fx_f32(n->dout[0]) + t * D,
                *gamma = fx_f32(n->in[GAMMA]);
    const float m = fx_f32(n->saved[MEAN])[t], r = fx_f32(n->saved[RSTD])[t];
    double lane1[FX_LANES] = {0}, lane2[FX_LANES] = {0};
    for (int64_t k = 0; k < D; k += FX_LANES) {
        const int lanes = D - k < FX_LANES ? (int)(D - k) : FX_LANES;
        for (int i = 0; i < lanes; i++) {
            const float xhat = (x[k + i] - m) * r, d = dy[k + i];
            dgamma[k + i] += d * xhat;
            dbeta[k + i] += d;
            lane1[i] += (double)(d * gamma[k + i]);
            lane2[i] += (double)(d * gamma[k + i] * xhat);
        }
    }
    if (!n->din[X]) return;
    float *dx = fx_f32(n->din[X]) + t * D;
    const float m1 = (float)(fx_fold(lane1) / (double)D), m2 = (float)(fx_fold(lane2) / (double)D);
    const unsigned adds = fx_adds(n, X);
    for (int64_t k = 0; k < D; k++)
        fx_put(&dx[k], r * (dy[k] * gamma[k] - m1 - (x[k] - m) * r * m2), adds);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const int64_t tokens = n->in[X]->dim[0] * n->in[X]->dim[1], D = n->in[X]->dim[2], parts = blocks(n);
    float *part = fx_scratch(exec), *dgamma = fx_f32(n->din[GAMMA]), *dbeta = fx_f32(n->din[BETA]);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < parts; b++) {
        memset(part + 2 * b * D, 0, sizeof *part * (size_t)(2 * D));
        for (int64_t t = b * BLOCK; t < tokens && t < (b + 1) * BLOCK; t++)
            token(n, t, part + 2 * b * D, part + (2 * b + 1) * D);
    }
    for (int64_t k = 0; k < D; k++) {
        double sum_gamma = 0, sum_beta = 0;
        for (int64_t b = 0; b < parts; b++) {
            sum_gamma += (double)part[2 * b * D + k];
            sum_beta += (double)part[(2 * b + 1) * D + k];
        }
        if (dgamma) fx_put(&dgamma[k], (float)sum_gamma, fx_adds(n, GAMMA));
        if (dbeta) fx_put(&dbeta[k], (float)sum_beta, fx_adds(n, BETA));
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "tokens", .attrs = {.layer_norm = {1e-6f}}, .dim = {{2, 5, 24}, {24}, {24}}},
    {.name = "several blocks", .attrs = {.layer_norm = {1e-5f}}, .dim = {{3, 50, 7}, {7}, {7}}},
    {.name = "wide", .attrs = {.layer_norm = {1e-5f}}, .dim = {{1, 5, 1100}, {1100}, {1100}}},
    {.name = "small values",
     .attrs = {.layer_norm = {1e-6f}},
     .dim = {{2, 3, 40}, {40}, {40}},
     .scale = 1e-3f},
    {0},
};

const fx_op fx_op_layer_norm = {
    .name = "layer_norm",
    .shape = shape,
    .parameters = FX_IN(GAMMA) | FX_IN(BETA),
    .fp32 = FX_SAVED(MEAN) | FX_SAVED(RSTD),
    .gradients = FX_IN(X) | FX_IN(GAMMA) | FX_IN(BETA),
    .backward_reads = FX_IN(X) | FX_IN(GAMMA) | FX_SAVED(MEAN) | FX_SAVED(RSTD),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_layer_norm = {.prepare = prepare, .forward = forward, .backward = backward};
