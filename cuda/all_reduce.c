/* CUDA twin of src/ops/all_reduce.c: by NCCL, beside the kernels that follow, up to `join`. */
#include "comm_nccl.h"

enum { SLAB }; /* in[]: (n), the gradients of all parameters; attrs.reduce says which part */

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)n, (void)backward;
    *scratch_bytes = 0;
    return fx_nccl_prepare(exec);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_reduce_attrs *a = &n->attrs.reduce;
    if (exec->options.comm->size == 1) return FX_OK;
    return fx_nccl_start_sum(exec, n, fx_f32(n->in[SLAB]) + a->offset, a->count);
}

const fx_kernel fx_cuda_all_reduce = {.prepare = prepare, .forward = forward};
