/* pass.cuh: the gradient of an input that is only added: dx = or += scale dy. Bound by memory. */
#ifndef FX_CUDA_PASS_CUH
#define FX_CUDA_PASS_CUH

#include "launch.cuh"

template <typename T>
FX_KERNEL void fx_pass_kernel(const T *dy, float scale, T *dx, int64_t count, bool add)
{
    const int64_t i = fx_index();
    if (i < count) fx_put(dx + i, scale * fx_get(dy + i), add);
}

/* Nothing where this gradient is not wanted. dy: the elements that belong to the input. */
template <typename T>
static fx_status fx_pass_gradient(fx_exec *exec, const fx_node *n, int input, const T *dy, float scale)
{
    enum { THREADS = 256 };
    if (!n->din[input]) return FX_OK;
    const int64_t count = fx_count(n->din[input]);
    FX_LAUNCH(exec, n, fx_pass_kernel<T>, fx_grid(count, THREADS), THREADS, 0, dy, scale,
              (T *)n->din[input]->data, count, fx_adds(n, input));
    return FX_OK;
}

#endif
