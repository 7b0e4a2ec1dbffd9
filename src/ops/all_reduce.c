/* Starts the sum of one bucket of gradients over all ranks, or of other numbers over the ranks of a
 * group, in a fixed order of ranks; the tape's `join` ends it. The objective is a mean over the global
 * batch already, so a sum is what is wanted. fp32: in place. bf16: in a rounded copy, which `widen`
 * takes back behind the join; each of the N - 1 additions rounds to 8 bits. */
#include "ops.h"

enum { SLAB }; /* in[]: the gradients of all parameters, or other sums; attrs.reduce says which part */
enum { COPY }; /* out[]: (count), bf16, where attrs.reduce.bf16 says so */

static fx_status shape(fx_node *n)
{
    const fx_reduce_attrs a = n->attrs.reduce;
    FX_REQUIRE(n->in[SLAB] && a.offset >= 0 && a.count > 0 &&
                   a.offset <= fx_count(n->in[SLAB]) - a.count,
               FX_EARG, "elements %lld and %lld more are not all in %s", (long long)a.offset,
               (long long)a.count, fx_shape_text(n->in[SLAB]));
    if (!a.bf16) return FX_OK;
    return fx_out_shape(n, COPY, 1, &a.count);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_reduce_attrs *a = &n->attrs.reduce;
    fx_comm *comm = a->group ? fx_group(exec) : exec->options.comm;
    float *part = fx_f32(n->in[SLAB]) + a->offset;
    if (!a->bf16) return comm->ops->start_sum(comm, part, a->count, FX_F32);
    uint16_t *copy = n->out[COPY]->data;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < a->count; i++)
        copy[i] = fx_bf16_of(part[i]);
    return comm->ops->start_sum(comm, copy, a->count, FX_BF16);
}

static const fx_op_case cases[] = {
    {.name = "middle", .attrs = {.reduce = {3, 5, false}}, .dim = {{10}}},
    {.name = "bf16", .attrs = {.reduce = {3, 517, true}}, .dim = {{600}}},
    {0},
};

const fx_op fx_op_all_reduce = {.name = "all_reduce",
                                .shape = shape,
                                .fp32 = FX_IN(SLAB),
                                .bf16 = FX_OUT(COPY),
                                .communicates = true,
                                .cases = cases};
const fx_kernel fx_cpu_all_reduce = {.forward = forward};
