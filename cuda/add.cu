/* y = x + scale [a; b]: a's elements first, then b's. */
#include "pass.cuh"

enum { X, A, B, THREADS = 256 };

template <typename T>
FX_KERNEL void add(const T *x, const T *a, const T *b, float scale, T *y, int64_t first, int64_t count)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    const float v = i < first ? fx_get(a + i) : fx_get(b + i - first);
    fx_set(y + i, fx_get(x + i) + scale * v);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, add<float>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->in[X]),
              fx_f32(n->in[A]), fx_f32(n->in[B]), n->attrs.add.scale, fx_f32(n->out[0]),
              fx_count(n->in[A]), count);
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const float *dy = fx_f32(n->dout[0]), scale = n->attrs.add.scale;
    FX_TRY(fx_pass_gradient(exec, n, X, dy, 1.0f));
    FX_TRY(fx_pass_gradient(exec, n, A, dy, scale));
    return fx_pass_gradient(exec, n, B, dy + fx_count(n->in[A]), scale);
}

const fx_kernel fx_cuda_add = {NULL, forward, backward};
