/* Starts the exchange of what each rank has updated: rank r's share of the weights, elements r n / N to
 * (r + 1) n / N, goes to the same place on every other rank, in place; the tape's `join` ends it. Bytes
 * move as they are. */
#include "ops.h"

enum { WEIGHTS }; /* in[]: (n), fp32 or bf16 */

static fx_status shape(fx_node *n)
{
    const int64_t ranks = n->attrs.all_gather.ranks;
    FX_REQUIRE(n->in[WEIGHTS] && ranks > 0 && fx_count(n->in[WEIGHTS]) % (2 * ranks) == 0, FX_EARG,
               "%s does not divide into pairs for %lld ranks", fx_shape_text(n->in[WEIGHTS]),
               (long long)ranks);
    return FX_OK;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    *scratch_bytes = 0;
    FX_REQUIRE(exec->options.comm->size == n->attrs.all_gather.ranks, FX_EARG,
               "recorded for %d ranks, run by %d", n->attrs.all_gather.ranks, exec->options.comm->size);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    fx_comm *comm = exec->options.comm;
    char *all = n->in[WEIGHTS]->data;
    const size_t bytes = fx_tensor_bytes(n->in[WEIGHTS]) / (size_t)comm->size;
    return comm->ops->start_gather(comm, all + (size_t)comm->rank * bytes, bytes, all);
}

static const fx_op_case cases[] = {
    {.name = "one rank", .attrs = {.all_gather = {1}}, .dim = {{10}}},
    {0},
};

const fx_op fx_op_all_gather = {
    .name = "all_gather", .shape = shape, .communicates = true, .cases = cases};
const fx_kernel fx_cpu_all_gather = {.prepare = prepare, .forward = forward};
