/* Starts the sum of one bucket of gradients over all ranks, in place and in a fixed order of ranks; the
 * tape's `join` ends it. The objective is a mean over the global batch already, so a sum is what is
 * wanted. */
#include "ops.h"

enum { SLAB }; /* in[]: (n), the gradients of all parameters; attrs.reduce says which part */

static fx_status shape(fx_node *n)
{
    const fx_reduce_attrs a = n->attrs.reduce;
    FX_REQUIRE(n->in[SLAB] && a.offset >= 0 && a.count > 0 &&
                   a.offset <= fx_count(n->in[SLAB]) - a.count,
               FX_EARG, "elements %lld and %lld more are not all in %s", (long long)a.offset,
               (long long)a.count, fx_shape_text(n->in[SLAB]));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    fx_comm *comm = exec->options.comm;
    return comm->ops->start_sum(comm, fx_f32(n->in[SLAB]) + n->attrs.reduce.offset,
                                n->attrs.reduce.count);
}

static const fx_op_case cases[] = {
    {.name = "middle", .attrs = {.reduce = {3, 5}}, .dim = {{10}}},
    {0},
};

const fx_op fx_op_all_reduce = {
    .name = "all_reduce", .shape = shape, .fp32 = FX_IN(SLAB), .communicates = true, .cases = cases};
const fx_kernel fx_cpu_all_reduce = {.forward = forward};
