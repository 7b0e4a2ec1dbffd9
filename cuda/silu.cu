/* SiLU on its own: y = x sigmoid(x). */
#include "launch.cuh"

enum { X, THREADS = 256 };

template <typename T> FX_KERNEL void silu(const T *x, T *y, int64_t count)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    const float v = fx_get(x + i);
    fx_set(y + i, v / (1.0f + expf(-v)));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, silu<float>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->in[X]),
              fx_f32(n->out[0]), count);
    return FX_OK;
}

/* With s = sigmoid(x): dy/dx = s (1 + x (1 - s)). */
template <typename T>
FX_KERNEL void silu_gradient(const T *x, const T *dy, T *dx, int64_t count, bool add)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    const float v = fx_get(x + i), s = 1.0f / (1.0f + expf(-v));
    fx_put(dx + i, fx_get(dy + i) * s * (1.0f + v * (1.0f - s)), add);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, silu_gradient<float>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->in[X]),
              fx_f32(n->dout[0]), fx_f32(n->din[X]), count, fx_adds(n, X));
    return FX_OK;
}

const fx_kernel fx_cuda_silu = {NULL, forward, backward};
