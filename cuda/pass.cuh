/* pass.cuh: the gradient of an input that is only added: dx = or += dy. Bound by memory. */
#ifndef FX_CUDA_PASS_CUH
#define FX_CUDA_PASS_CUH

#include "launch.cuh"

enum { FX_PASS_THREADS = 256 };

template <typename T, int W>
FX_KERNEL void FX_BOUNDS(FX_PASS_THREADS) fx_pass_kernel(const T *dy, T *dx, int64_t count, bool add)
{
    const int64_t i = fx_index() * W;
    if (i >= count) return;
    float v[W];
    fx_get_all<W>(dy + i, v);
    fx_put_all<W>(dx + i, v, add);
}

template <typename T, int W>
static fx_status fx_pass_by(fx_exec *exec, const fx_node *n, int input, const T *dy)
{
    const int64_t count = fx_count(n->din[input]);
    FX_LAUNCH(exec, n, (fx_pass_kernel<T, W>), fx_grid(count, W * FX_PASS_THREADS), FX_PASS_THREADS, 0,
              dy, fx_data<T>(n->din[input]), count, fx_adds(n, input));
    return FX_OK;
}

/* Nothing where this gradient is not wanted. dy: the elements that belong to the input. */
template <typename T>
static fx_status fx_pass_gradient(fx_exec *exec, const fx_node *n, int input, const T *dy)
{
    enum { W = fx_wide<T>::COUNT };
    if (!n->din[input]) return FX_OK;
    const bool wide = fx_count(n->din[input]) % W == 0 && (uintptr_t)dy % (W * sizeof(T)) == 0;
    return wide ? fx_pass_by<T, W>(exec, n, input, dy) : fx_pass_by<T, 1>(exec, n, input, dy);
}

#endif
