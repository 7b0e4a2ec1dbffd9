/* CUDA twin of src/ops/all_gather.c: by NCCL, in place, up to `join`. NCCL is told of fp32 numbers, two
 * bf16 in one: it moves bytes. Bound by the network: ranks - 1 shares come in. */
#include "comm_nccl.h"

enum { WEIGHTS }; /* in[]: (n), fp32 or bf16 */

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    *scratch_bytes = 0;
    FX_REQUIRE(exec->options.comm->size == n->attrs.all_gather.ranks, FX_EARG,
               "recorded for %d ranks, run by %d", n->attrs.all_gather.ranks, exec->options.comm->size);
    return fx_nccl_prepare(exec, exec->options.comm);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_comm *comm = exec->options.comm;
    float *all = n->in[WEIGHTS]->data;
    const int64_t count =
        (int64_t)(fx_tensor_bytes(n->in[WEIGHTS]) / ((size_t)comm->size * sizeof *all));
    if (comm->size == 1) return FX_OK;
    return fx_nccl_start_gather(exec, exec->options.comm, n, all + comm->rank * count, count, all);
}

const fx_kernel fx_cuda_all_gather = {.prepare = prepare, .forward = forward};
