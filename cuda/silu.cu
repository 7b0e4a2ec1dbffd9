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

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, silu<float>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->in[X]),
              fx_f32(n->out[0]), count);
    return FX_OK;
}

template <typename T>
FX_KERNEL void silu_gradient(const T *x, const T *dy, T *dx, int64_t count, bool add)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    fx_put(dx + i, fx_get(dy + i) * fx_dsilu(fx_get(x + i)), add);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, silu_gradient<float>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->in[X]),
              fx_f32(n->dout[0]), fx_f32(n->din[X]), count, fx_adds(n, X));
    return FX_OK;
}

const fx_kernel fx_cuda_silu = {NULL, forward, backward};
