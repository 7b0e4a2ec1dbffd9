/* One step of DDIM sampling, eta 0, from time t to t' (spec 6):
 *   v, eps: mean = alpha x - sigma net,  e = alpha net + sigma x    (the network outputs v)
 *   x:      mean = net,                  e = (x - alpha mean) / sigma
 *   x' = alpha' mean + sigma' e */
#include "ops.h"

#include "flexhpc/schedule.h"

enum { X, NET };      /* in[]: (R,S,S,1) twice */
enum { XNEXT, MEAN }; /* out[]: the same */

static fx_status shape(fx_node *n)
{
    FX_REQUIRE(n->in[X] && n->in[NET] && fx_same_shape(n->in[X], n->in[NET]), FX_EARG,
               "x %s and the network's output %s differ", fx_shape_text(n->in[X]),
               fx_shape_text(n->in[NET]));
    FX_TRY(fx_out_shape(n, XNEXT, n->in[X]->rank, n->in[X]->dim));
    return fx_out_shape(n, MEAN, n->in[X]->rank, n->in[X]->dim);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const fx_ddim_attrs *a = &n->attrs.ddim;
    const fx_noise_level now = fx_schedule(a->t, a->shift), next = fx_schedule(a->t_next, a->shift);
    const float alpha = (float)now.alpha, sigma = (float)now.sigma;
    const float alpha_next = (float)next.alpha, sigma_next = (float)next.sigma;
    const bool net_is_mean = a->predict == FX_PREDICT_X;
    const float *x = fx_f32(n->in[X]), *net = fx_f32(n->in[NET]);
    float *x_next = fx_f32(n->out[XNEXT]), *mean = fx_f32(n->out[MEAN]);
    const int64_t count = fx_count(n->in[X]);
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float m = net_is_mean ? net[i] : alpha * x[i] - sigma * net[i];
        const float e = net_is_mean ? (x[i] - alpha * m) / sigma : alpha * net[i] + sigma * x[i];
        mean[i] = m;
        x_next[i] = alpha_next * m + sigma_next * e;
    }
    return FX_OK;
}

#define IMAGE                                                                                          \
    {                                                                                                  \
        2, 3, 3, 1                                                                                     \
    }
static const fx_op_case cases[] = {
    {.name = "v", .attrs = {.ddim = {FX_PREDICT_V, 1.0, 1.0, 0.5}}, .dim = {IMAGE, IMAGE}},
    {.name = "x", .attrs = {.ddim = {FX_PREDICT_X, 0.5, 0.5, 0.0}}, .dim = {IMAGE, IMAGE}},
    {.name = "eps",
     .attrs = {.ddim = {FX_PREDICT_EPS, 0.8, 0.75, 0.25}},
     .dim = {{2, 4, 4, 1}, {2, 4, 4, 1}}},
    {0},
};

const fx_op fx_op_ddim = {
    .name = "ddim", .shape = shape, .fp32 = FX_IN(X) | FX_OUT(XNEXT) | FX_OUT(MEAN), .cases = cases};
const fx_kernel fx_cpu_ddim = {.forward = forward};
