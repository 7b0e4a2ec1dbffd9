/* SiLU on its own: y = x sigmoid(x). */
#include "act.cuh"
#include "launch.cuh"

enum { X, THREADS = 256 };

template <typename T> FX_KERNEL void silu(const T *x, T *y, int64_t count)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    fx_set(y + i, fx_silu(fx_get(x + i)));
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, silu<T>, fx_grid(count, THREADS), THREADS, 0, fx_data<T>(n->in[X]),
              fx_data<T>(n->out[0]), count);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T>
FX_KERNEL void silu_gradient(const T *x, const T *dy, T *dx, int64_t count, bool add)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    fx_put(dx + i, fx_get(dy + i) * fx_dsilu(fx_get(x + i)), add);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, silu_gradient<T>, fx_grid(count, THREADS), THREADS, 0, fx_data<T>(n->in[X]),
              fx_data<T>(n->dout[0]), fx_data<T>(n->din[X]), count, fx_adds(n, X));
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_silu = {NULL, forward, backward};
