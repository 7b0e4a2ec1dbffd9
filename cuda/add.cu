/* y = x + scale [a; b]: a's elements first, then b's. Memory binds: three arrays forward, backward dy
 * and each gradient. */
#include "launch.cuh"

enum { X, A, B, THREADS = 256 };

/* W divides `first`, where b begins, and `count`. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS)
    add(const T *x, const T *a, const T *b, float scale, T *y, int64_t first, int64_t count)
{
    const int64_t i = fx_index() * W;
    if (i >= count) return;
    float sum[W], v[W];
    fx_get_all<W>(x + i, sum);
    fx_get_all<W>(i < first ? a + i : b + i - first, v);
    for (int k = 0; k < W; k++)
        sum[k] += scale * v[k];
    fx_set_all<W>(y + i, sum);
}

template <typename T, int W> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, (add<T, W>), fx_grid(count, W * THREADS), THREADS, 0, fx_data<T>(n->in[X]),
              fx_data<T>(n->in[A]), fx_data<T>(n->in[B]), n->attrs.add.scale, fx_data<T>(n->out[0]),
              fx_count(n->in[A]), count);
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { W = fx_wide<T>::COUNT };
    return fx_count(n->in[A]) % W == 0 && fx_count(n->in[X]) % W == 0 ? forward_by<T, W>(exec, n)
                                                                      : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> struct gradients {
    T *dx[3]; /* NULL: not wanted */
    bool adds[3];
};

/* dx = or += dy, and scale times it the element of a or b. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS)
    spread(const T *dy, float scale, gradients<T> to, int64_t first, int64_t count)
{
    const int64_t i = fx_index() * W;
    if (i >= count) return;
    const bool second = i >= first;
    T *added = second ? to.dx[B] : to.dx[A];
    float v[W];
    fx_get_all<W>(dy + i, v);
    if (to.dx[X]) fx_put_all<W>(to.dx[X] + i, v, to.adds[X]);
    if (!added) return;
    for (int k = 0; k < W; k++)
        v[k] *= scale;
    fx_put_all<W>(added + (second ? i - first : i), v, second ? to.adds[B] : to.adds[A]);
}

template <typename T, int W> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->dout[0]);
    gradients<T> to = {};
    for (int i = X; i <= B; i++)
        to.dx[i] = fx_data<T>(n->din[i]), to.adds[i] = fx_adds(n, i);
    FX_LAUNCH(exec, n, (spread<T, W>), fx_grid(count, W * THREADS), THREADS, 0, fx_data<T>(n->dout[0]),
              n->attrs.add.scale, to, fx_count(n->in[A]), count);
    return FX_OK;
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { W = fx_wide<T>::COUNT };
    return fx_count(n->in[A]) % W == 0 && fx_count(n->in[X]) % W == 0 ? backward_by<T, W>(exec, n)
                                                                      : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->dout[0]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_add = {NULL, forward, backward};
