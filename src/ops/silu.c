/* SiLU on its own: y = x sigmoid(x). Used once a network, on the embedding that every residual block
 * reads. */
#include "ops.h"

enum { X }; /* in[]: any shape */

static fx_status shape(fx_node *n)
{
    FX_REQUIRE(n->in[X], FX_EARG, "needs x");
    return fx_out_shape(n, 0, n->in[X]->rank, n->in[X]->dim);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const float *x = fx_f32(n->in[X]);
    float *y = fx_f32(n->out[0]);
    const int64_t count = fx_count(n->in[X]);
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] / (1.0f + expf(-x[i]));
    return FX_OK;
}

/* With s = sigmoid(x): dy/dx = s (1 + x (1 - s)). */
static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const float *x = fx_f32(n->in[X]), *dy = fx_f32(n->dout[0]);
    float *dx = fx_f32(n->din[X]);
    const int64_t count = fx_count(n->in[X]);
    const unsigned adds = fx_adds(n, X);
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) {
        const float s = 1.0f / (1.0f + expf(-x[i]));
        fx_put(&dx[i], dy[i] * s * (1.0f + x[i] * (1.0f - s)), adds);
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "vector", .dim = {{3, 17}}},
    {0},
};

const fx_op fx_op_silu = {
    .name = "silu",
    .shape = shape,
    .gradients = FX_IN(X),
    .backward_reads = FX_IN(X),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_silu = {.forward = forward, .backward = backward};
