/* 2x2 average pooling of (B, 2H, 2W, C) images. */
#include "launch.cuh"

enum { X, THREADS = 256 };

/* i: element of the pooled image, W and C its width and channels. Where it is read from: */
FX_DEVICE int64_t corner(int64_t i, int64_t W, int64_t C)
{
    return 4 * (i / (W * C)) * W * C + 2 * (i / C % W) * C + i % C;
}

template <typename T> FX_KERNEL void pool(const T *x, T *y, int64_t W, int64_t C, int64_t count)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    const T *above = x + corner(i, W, C), *below = above + 2 * W * C;
    fx_set(y + i, 0.25f * ((fx_get(above) + fx_get(above + C)) + (fx_get(below) + fx_get(below + C))));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->out[0]->dim, count = fx_count(n->out[0]);
    FX_LAUNCH(exec, n, pool<float>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->in[X]),
              fx_f32(n->out[0]), d[2], d[3], count);
    return FX_OK;
}

template <typename T>
FX_KERNEL void spread(const T *dy, T *dx, int64_t W, int64_t C, int64_t count, bool add)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    const float v = 0.25f * fx_get(dy + i);
    T *above = dx + corner(i, W, C), *below = above + 2 * W * C;
    fx_put(above, v, add);
    fx_put(above + C, v, add);
    fx_put(below, v, add);
    fx_put(below + C, v, add);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->out[0]->dim, count = fx_count(n->out[0]);
    FX_LAUNCH(exec, n, spread<float>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->dout[0]),
              fx_f32(n->din[X]), d[2], d[3], count, fx_adds(n, X));
    return FX_OK;
}

const fx_kernel fx_cuda_pool = {NULL, forward, backward};
