/* CUDA twin of src/ops/all_reduce.c: by NCCL, beside the kernels that follow, up to `join`. Rounding to
 * bf16 reads 4 bytes an element and writes 2, bound by memory, before the communication begins. */
#include "comm_nccl.h"
#include "launch.cuh"

enum { SLAB }; /* in[]: the gradients of all parameters, or other sums; attrs.reduce says which part */
enum { COPY }; /* out[]: (count), bf16, where attrs.reduce.bf16 says so */
enum { THREADS = 256 };

FX_KERNEL void narrow(const float *x, fx_bf16 *y, int64_t count)
{
    const int64_t i = fx_index();
    if (i < count) fx_set(y + i, fx_get(x + i));
}

static fx_comm *ranks_of(const fx_exec *exec, const fx_node *n)
{
    return n->attrs.reduce.group ? fx_group(exec) : exec->options.comm;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    *scratch_bytes = 0;
    return fx_nccl_prepare(exec, ranks_of(exec, n));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_reduce_attrs *a = &n->attrs.reduce;
    const fx_comm *over = ranks_of(exec, n);
    const bool alone = over->size == 1;
    float *part = fx_f32(n->in[SLAB]) + a->offset;
    if (!a->bf16) return alone ? FX_OK : fx_nccl_start_sum(exec, over, n, part, a->count, FX_F32);
    fx_bf16 *copy = fx_data<fx_bf16>(n->out[COPY]);
    FX_LAUNCH(exec, n, narrow, fx_grid(a->count, THREADS), THREADS, 0, part, copy, a->count);
    return alone ? FX_OK : fx_nccl_start_sum(exec, over, n, copy, a->count, FX_BF16);
}

const fx_kernel fx_cuda_all_reduce = {prepare, forward, NULL};
