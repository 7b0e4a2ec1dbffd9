/* The contrastive term, as contrast.c has it, from the inner products of all latents, which are the
 * same on every rank (contrast.exchange: features):
 *   L_ij = S_ij r_i q_j / tau,  r_i = 1 / |a_i| = S_Gi^-1/2, q_j = 1 / |b_j| = S_(G+1)j^-1/2, the
 *   norms floored at 1e-12;  loss and W of contrast.c
 *   dloss/dS_ij = W_ij r_i q_j / tau
 *   dloss/dS_Gi = -1/2 r_i^2 sum_j W_ij L_ij, and 0 where the norm is at its floor; S_(G+1)j likewise
 * Backward multiplies what forward has made of that. Logits in double. */
#include "ops.h"

#include "contrast.h"

enum { SUMS };     /* in[]: (G+2,G), as of dots, summed over the ranks */
enum { GRADIENT }; /* saved[]: (G+2,G) dloss/dS */

static fx_status shape(fx_node *n)
{
    const fx_tensor *sums = n->in[SUMS];
    FX_REQUIRE(sums && sums->rank == 2 && sums->dim[0] == sums->dim[1] + 2, FX_EARG,
               "%s are not the inner products of two tasks' latents", fx_shape_text(sums));
    FX_REQUIRE(n->attrs.contrast.temperature > 0, FX_EARG, "temperature %g",
               (double)n->attrs.contrast.temperature);
    FX_TRY(fx_out_shape(n, 0, 1, FX_DIMS(1)));
    return fx_saved_shape(n, GRADIENT, 2, sums->dim);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec;
    const int64_t G = n->in[SUMS]->dim[1];
    *scratch_bytes = sizeof(double) * (size_t)(backward ? 0 : (G + 4) * G);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t G = n->in[SUMS]->dim[1];
    const float *sums = fx_f32(n->in[SUMS]);
    const double temperature = (double)n->attrs.contrast.temperature;
    double *logit = fx_scratch(exec), *inverse = logit + G * G, *line = inverse + 2 * G;
    float *gradient = fx_f32(n->saved[GRADIENT]), *along = gradient + G * G;
    for (int64_t k = 0; k < 2 * G; k++)
        inverse[k] = 1 / fmax(sqrt((double)sums[G * G + k]), FX_SMALLEST_NORM);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < G * G; k++)
        logit[k] = (double)sums[k] * (inverse[k / G] * inverse[G + k % G]) / temperature;
    fx_f32(n->out[0])[0] = fx_contrast_weights(logit, G, line, gradient, along);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < G * G; k++)
        gradient[k] =
            (float)((double)gradient[k] * (inverse[k / G] * inverse[G + k % G]) / temperature);
    for (int64_t k = 0; k < 2 * G; k++) {
        const bool floored = inverse[k] >= 1 / FX_SMALLEST_NORM;
        along[k] = floored ? 0 : (float)(-0.5 * (double)along[k] * inverse[k] * inverse[k]);
    }
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t count = fx_count(n->in[SUMS]), G = n->in[SUMS]->dim[1];
    const float *gradient = fx_f32(n->saved[GRADIENT]), dloss = G < 2 ? 0 : fx_f32(n->dout[0])[0];
    float *dsums = fx_f32(n->din[SUMS]);
    const unsigned adds = fx_adds(n, SUMS);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < count; k++)
        fx_put(&dsums[k], dloss * gradient[k], adds);
    return FX_OK;
}

/* Of latents of unit length but for a factor: S = (3 delta_ij + normal) / 4, squares near 1. */
static fx_status make_input(const fx_op_case *c, int input, float *x, int64_t count)
{
    (void)input;
    const int64_t G = c->dim[SUMS][1];
    for (int64_t k = 0; k < count; k++)
        x[k] = k >= G * G ? 1 + 0.1f * fabsf(x[k]) : 0.25f * x[k] + (k / G == k % G ? 0.75f : 0);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "few", .attrs = {.contrast = {.temperature = 0.5f}}, .dim = {{5, 3}}},
    {.name = "one sample", .attrs = {.contrast = {.temperature = 0.01f}}, .dim = {{3, 1}}},
    {.name = "many", .attrs = {.contrast = {.temperature = 0.2f}}, .dim = {{72, 70}}},
    {0},
};

const fx_op fx_op_contrast_dots = {.name = "contrast_dots",
                                   .shape = shape,
                                   .fp32 = FX_IN(SUMS) | FX_OUT(0) | FX_SAVED(GRADIENT),
                                   .gradients = FX_IN(SUMS),
                                   .backward_reads = FX_SAVED(GRADIENT),
                                   .cases = cases,
                                   .make_input = make_input};
const fx_kernel fx_cpu_contrast_dots = {.prepare = prepare, .forward = forward, .backward = backward};
