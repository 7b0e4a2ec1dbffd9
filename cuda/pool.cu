/* 2x2 average pooling of (B, 2H, 2W, C) images. Memory binds: forward reads four elements for one, and
 * backward writes them. */
#include "launch.cuh"

enum { X, THREADS = 256 };

/* i: element of the pooled image, W and C its width and channels. Where it is read from: */
FX_DEVICE int64_t corner(int64_t i, int64_t W, int64_t C)
{
    return 4 * (i / (W * C)) * W * C + 2 * (i / C % W) * C + i % C;
}

/* A thread has N neighbouring channels; N divides C. */
template <typename T, int N>
FX_KERNEL void FX_BOUNDS(THREADS) pool(const T *x, T *y, int64_t W, int64_t C, int64_t count)
{
    const int64_t i = fx_index() * N;
    if (i >= count) return;
    const T *above = x + corner(i, W, C), *below = above + 2 * W * C;
    float a[N], b[N], c[N], d[N];
    fx_get_all<N>(above, a);
    fx_get_all<N>(above + C, b);
    fx_get_all<N>(below, c);
    fx_get_all<N>(below + C, d);
    for (int k = 0; k < N; k++)
        a[k] = 0.25f * ((a[k] + b[k]) + (c[k] + d[k]));
    fx_set_all<N>(y + i, a);
}

template <typename T, int N> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->out[0]->dim, count = fx_count(n->out[0]);
    FX_LAUNCH(exec, n, (pool<T, N>), fx_grid(count, N * THREADS), THREADS, 0, fx_data<T>(n->in[X]),
              fx_data<T>(n->out[0]), d[2], d[3], count);
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { N = fx_wide<T>::COUNT };
    return n->out[0]->dim[3] % N == 0 ? forward_by<T, N>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T, int N>
FX_KERNEL void FX_BOUNDS(THREADS)
    spread(const T *dy, T *dx, int64_t W, int64_t C, int64_t count, bool add)
{
    const int64_t i = fx_index() * N;
    if (i >= count) return;
    T *above = dx + corner(i, W, C), *below = above + 2 * W * C;
    float v[N];
    fx_get_all<N>(dy + i, v);
    for (int k = 0; k < N; k++)
        v[k] *= 0.25f;
    fx_put_all<N>(above, v, add);
    fx_put_all<N>(above + C, v, add);
    fx_put_all<N>(below, v, add);
    fx_put_all<N>(below + C, v, add);
}

template <typename T, int N> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->out[0]->dim, count = fx_count(n->out[0]);
    FX_LAUNCH(exec, n, (spread<T, N>), fx_grid(count, N * THREADS), THREADS, 0, fx_data<T>(n->dout[0]),
              fx_data<T>(n->din[X]), d[2], d[3], count, fx_adds(n, X));
    return FX_OK;
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { N = fx_wide<T>::COUNT };
    return n->out[0]->dim[3] % N == 0 ? backward_by<T, N>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->dout[0]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_pool = {NULL, forward, backward};
