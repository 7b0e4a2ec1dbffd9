/* CUDA twin of src/ops/widen.c. Bound by memory: reads 2 bytes an element, writes 4. */
#include "launch.cuh"

enum { SUMS, SLAB }; /* in[]: (count), as all_reduce made it; (n), the gradients of all parameters */
enum { THREADS = 256 };

FX_KERNEL void widen(const fx_bf16 *x, float *y, int64_t count)
{
    const int64_t i = fx_index();
    if (i < count) fx_set(y + i, fx_get(x + i));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_reduce_attrs *a = &n->attrs.reduce;
    FX_LAUNCH(exec, n, widen, fx_grid(a->count, THREADS), THREADS, 0, fx_data<fx_bf16>(n->in[SUMS]),
              fx_f32(n->in[SLAB]) + a->offset, a->count);
    return FX_OK;
}

const fx_kernel fx_cuda_widen = {NULL, forward, NULL};
