/* A constant tensor: where backward of an objective starts, and the time of a sampling step. */
#include "ops.h"

static fx_status shape(fx_node *n)
{
    return fx_out_shape(n, 0, n->attrs.fill.rank, n->attrs.fill.dim);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    float *y = fx_f32(n->out[0]);
    const int64_t count = fx_count(n->out[0]);
    for (int64_t i = 0; i < count; i++)
        y[i] = n->attrs.fill.value;
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "vector", .attrs = {.fill = {.value = 0.25f, .rank = 1, .dim = {5}}}},
    {0},
};

const fx_op fx_op_fill = {.name = "fill", .shape = shape, .fp32 = FX_OUT(0), .cases = cases};
const fx_kernel fx_cpu_fill = {.forward = forward};
