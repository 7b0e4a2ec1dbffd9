/* Fourier features of the diffusion time (spec 2): y = sqrt(2) cos(t f + p). Frequencies and phases are
 * buffers and t is data, so there is no gradient. The angle reaches tens of radians: in double. */
#include "ops.h"

enum { T, FREQS, PHASES }; /* in[]: (B), (D), (D) -> (B,D) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *t = n->in[T], *f = n->in[FREQS];
    FX_REQUIRE(t && f && n->in[PHASES] && t->rank == 1 && f->rank == 1 &&
                   fx_same_shape(f, n->in[PHASES]),
               FX_EARG, "t %s, frequencies %s, phases %s: three vectors, the last two alike",
               fx_shape_text(t), fx_shape_text(f), fx_shape_text(n->in[PHASES]));
    return fx_out_shape(n, 0, 2, FX_DIMS(t->dim[0], f->dim[0]));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const double root2 = 1.4142135623730951;
    const int64_t B = n->out[0]->dim[0], D = n->out[0]->dim[1];
    const float *t = fx_f32(n->in[T]), *freqs = fx_f32(n->in[FREQS]), *phases = fx_f32(n->in[PHASES]);
    float *y = fx_f32(n->out[0]);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < B * D; i++)
        y[i] = (float)(root2 * cos((double)t[i / D] * (double)freqs[i % D] + (double)phases[i % D]));
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "two samples", .dim = {{2}, {7}, {7}}},
    {0},
};

const fx_op fx_op_fourier = {
    .name = "fourier", .shape = shape, .fp32 = FX_IN(T) | FX_IN(FREQS) | FX_IN(PHASES), .cases = cases};
const fx_kernel fx_cpu_fourier = {.forward = forward};
