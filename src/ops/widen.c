/* Puts the sums of one bucket, which went between the ranks in bf16, back among the gradients:
 * slab[offset + i] = sums[i]. Behind the `join` that ended them. */
#include "ops.h"

enum { SUMS, SLAB }; /* in[]: (count), as all_reduce made it; (n), the gradients of all parameters */

static fx_status shape(fx_node *n)
{
    const fx_reduce_attrs a = n->attrs.reduce;
    const fx_tensor *sums = n->in[SUMS], *slab = n->in[SLAB];
    FX_REQUIRE(sums && slab && a.offset >= 0 && fx_count(sums) == a.count &&
                   a.offset <= fx_count(slab) - a.count,
               FX_EARG, "%s is not elements %lld and %lld more of %s", fx_shape_text(sums),
               (long long)a.offset, (long long)a.count, fx_shape_text(slab));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    float *to = fx_f32(n->in[SLAB]) + n->attrs.reduce.offset;
    const int64_t count = n->attrs.reduce.count;
    const uint16_t *from = n->in[SUMS]->data;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++)
        to[i] = fx_float_of(from[i]);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "middle", .attrs = {.reduce = {3, 517, true}}, .dim = {{517}, {600}}},
    {0},
};

const fx_op fx_op_widen = {
    .name = "widen", .shape = shape, .fp32 = FX_IN(SLAB), .bf16 = FX_IN(SUMS), .cases = cases};
const fx_kernel fx_cpu_widen = {.forward = forward};
