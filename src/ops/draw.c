/* The random numbers of a step (spec 6): time t ~ U(0,1) and noise eps ~ N(0,I), one draw a sample of
 * the global batch, shared by its two tasks. Philox streams "t" and "eps" of the sample's slot, so they
 * depend on neither ranks nor threads. */
#include "ops.h"

#include "flexhpc/rng.h"
#include "flexhpc/str.h"

enum { T, EPS }; /* out[]: (B), (B,S,S,1) */

static fx_status shape(fx_node *n)
{
    const int64_t B = n->attrs.draw.samples, S = n->attrs.draw.side;
    FX_TRY(fx_out_shape(n, T, 1, FX_DIMS(B)));
    return fx_out_shape(n, EPS, 4, FX_DIMS(B, S, S, 1));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_step *step = exec->step;
    const int64_t B = n->attrs.draw.samples, pixels = n->attrs.draw.side * n->attrs.draw.side;
    const uint32_t stream_t = fx_crc32("t"), stream_eps = fx_crc32("eps");
    float *t = fx_f32(n->out[T]), *eps = fx_f32(n->out[EPS]);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < B; b++) {
        const uint32_t slot_task = 2 * (step->slot0 + (uint32_t)(n->rows.slot0 + b)); /* as task 0 */
        fx_fill_uniform(step->seed, slot_task, stream_t, step->step, t + b, 1);
        fx_fill_normal(step->seed, slot_task, stream_eps, step->step, eps + b * pixels, pixels);
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "three samples", .attrs = {.draw = {3, 4}}, .rows = {.samples = 3}},
    {.name = "odd side", .attrs = {.draw = {2, 5}}, .rows = {.samples = 2, .slot0 = 3}},
    {0},
};

const fx_op fx_op_draw = {
    .name = "draw", .shape = shape, .fp32 = FX_OUT(T) | FX_OUT(EPS), .cases = cases};
const fx_kernel fx_cpu_draw = {.forward = forward};
