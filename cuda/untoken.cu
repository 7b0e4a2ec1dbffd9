/* CUDA twin of src/ops/untoken.c: copies, the same bits. Memory binds: 8 bytes an element each way, 12
 * where dx is added to, in bf16 half. */
#include "launch.cuh"

enum { X }; /* in[]: (R,1+hw,D) -> (R,h,w,D) */
enum { THREADS = 128 };

/* Block (x, y): row y of both. `row`: elements of x's rows, the first D of them token 0. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS) drop(const T *x, T *y, int64_t row, int64_t D)
{
    const int64_t i = fx_index() * W, r = fx_block_y();
    if (i >= row - D) return;
    float value[W];
    fx_get_all<W>(x + r * row + D + i, value);
    fx_set_all<W>(y + r * (row - D) + i, value);
}

template <typename T, int W> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->in[X]->dim, row = d[1] * d[2];
    FX_LAUNCH(exec, n, (drop<T, W>), dim3(fx_grid(row - d[2], W * THREADS), (unsigned)d[0]), THREADS, 0,
              fx_data<T>(n->in[X]), fx_data<T>(n->out[0]), row, d[2]);
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->in[X]->dim[2] % WIDE == 0 ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS) lead(const T *dy, T *dx, int64_t row, int64_t D, bool add)
{
    const int64_t i = fx_index() * W, r = fx_block_y();
    if (i >= row) return;
    float value[W] = {};
    if (i >= D) fx_get_all<W>(dy + r * (row - D) + i - D, value);
    fx_put_all<W>(dx + r * row + i, value, add);
}

template <typename T, int W> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->in[X]->dim, row = d[1] * d[2];
    FX_LAUNCH(exec, n, (lead<T, W>), dim3(fx_grid(row, W * THREADS), (unsigned)d[0]), THREADS, 0,
              fx_data<T>(n->dout[0]), fx_data<T>(n->din[X]), row, d[2], fx_adds(n, X));
    return FX_OK;
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->in[X]->dim[2] % WIDE == 0 ? backward_by<T, WIDE>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->dout[0]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_untoken = {NULL, forward, backward};
