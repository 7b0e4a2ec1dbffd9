/* The norm of all gradients and the factor that clips it (spec 8). With s = step.gradient_scale:
 *   norm = s |g|,  factor = s min(1, max_norm / (norm + 1e-6)), s where max_norm is 0
 * The factor is applied by `update`, which does nothing where the norm is not finite. Sums in double,
 * over blocks of a fixed size, then over the blocks in order. */
#include "ops.h"

#include "vecmath.h"

enum { GRADIENT }; /* in[]: (n), the slab */
enum { BLOCK = 1 << 16 };

static int64_t blocks(const fx_node *n)
{
    return (fx_count(n->in[GRADIENT]) + BLOCK - 1) / BLOCK;
}

/* out[0]: (4): norm, factor, 1 where the norm is finite and else 0, unused (0) */
static fx_status shape(fx_node *n)
{
    FX_REQUIRE(n->in[GRADIENT], FX_EARG, "needs the gradients");
    return fx_out_shape(n, 0, 1, FX_DIMS(4));
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec, (void)backward;
    *scratch_bytes = sizeof(double) * (size_t)blocks(n);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const float *g = fx_f32(n->in[GRADIENT]);
    const int64_t count = fx_count(n->in[GRADIENT]), parts = blocks(n);
    double *part = fx_scratch(exec), square = 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < parts; i++) {
        const int64_t start = i * BLOCK, size = count - start < BLOCK ? count - start : BLOCK;
        part[i] = fx_dot(g + start, g + start, size);
    }
    for (int64_t i = 0; i < parts; i++)
        square += part[i];
    const double scale = (double)exec->step->gradient_scale, norm = scale * sqrt(square);
    const double max_norm = (double)n->attrs.clip.max_norm, clipped = max_norm / (norm + 1e-6);
    float *out = fx_f32(n->out[0]);
    out[0] = (float)norm;
    out[1] = (float)(max_norm > 0 && clipped < 1 ? scale * clipped : scale);
    out[2] = isfinite(out[0]) ? 1.0f : 0.0f;
    out[3] = 0;
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "clipped", .attrs = {.clip = {1.0f}}, .dim = {{1000}}},
    {.name = "not", .attrs = {.clip = {0.0f}}, .dim = {{3}}},
    {.name = "many", .attrs = {.clip = {1000.0f}}, .dim = {{70001}}},
    {0},
};

const fx_op fx_op_clip = {
    .name = "clip", .shape = shape, .fp32 = FX_IN(GRADIENT) | FX_OUT(0), .cases = cases};
const fx_kernel fx_cpu_clip = {.prepare = prepare, .forward = forward};
