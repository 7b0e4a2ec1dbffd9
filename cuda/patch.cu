/* CUDA twin of src/ops/patch.c: copies, the same bits. In a band of an image, p rows high, pixels are
 * (p, w/p, run) and patches (w/p, p, run) with run = p C consecutive values: two axes trade places.
 * Memory binds: 8 bytes an element, 12 where the gradient is added to, in bf16 half; writes are
 * consecutive, reads too in runs, and what is left of a read sector is in L1 when the neighbour asks
 * for it. */
#include "launch.cuh"

enum { X, THREADS = 128 };

typedef struct view {
    int64_t bands;
    uint32_t rows, columns, run, blocks; /* a band of `from` is (rows, columns, run); its blocks */
} view;

/* Bands (rows, columns, run) to (columns, rows, run). */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS) trade(view v, const T *from, T *to, bool add)
{
    const uint32_t block = (uint32_t)fx_block(), band = block / v.blocks, size = v.rows * v.columns,
                   i = (block % v.blocks * THREADS + (uint32_t)fx_thread()) * W, at = i / v.run;
    if (at >= size) return;
    const uint32_t row = at % v.rows, column = at / v.rows;
    const int64_t first = (int64_t)band * size * v.run;
    float value[W];
    fx_get_all<W>(from + first + (int64_t)(row * v.columns + column) * v.run + i % v.run, value);
    fx_put_all<W>(to + first + i, value, add);
}

template <typename T, int W>
static fx_status trade_by(fx_exec *exec, const fx_node *n, view v, const T *from, T *to, bool add)
{
    v.blocks = fx_grid((int64_t)v.rows * v.columns * v.run, W * THREADS);
    FX_LAUNCH(exec, n, (trade<T, W>), (unsigned)(v.bands * v.blocks), THREADS, 0, v, from, to, add);
    return FX_OK;
}

/* `image`: (R,H,W,C); to_image: `to` is the image, else the patches. */
template <typename T>
static fx_status permute(fx_exec *exec, const fx_node *n, const fx_tensor *image, const fx_tensor *from,
                         const fx_tensor *to, bool to_image, bool add)
{
    enum { WIDE = fx_wide<T>::COUNT };
    const int64_t *d = image->dim, p = n->attrs.patch.size, run = p * d[3];
    FX_REQUIRE(p * d[2] * d[3] < INT32_MAX, FX_EARG, "%lld rows of %s are too many values",
               (long long)p, fx_shape_text(image));
    const uint32_t high = (uint32_t)p, wide = (uint32_t)(d[2] / p);
    const view v = {d[0] * d[1] / p, to_image ? wide : high, to_image ? high : wide, (uint32_t)run, 0};
    return run % WIDE == 0 ? trade_by<T, WIDE>(exec, n, v, fx_data<T>(from), fx_data<T>(to), add)
                           : trade_by<T, 1>(exec, n, v, fx_data<T>(from), fx_data<T>(to), add);
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const bool inverse = n->attrs.patch.inverse;
    return permute<T>(exec, n, inverse ? n->out[0] : n->in[X], n->in[X], n->out[0], inverse, false);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const bool inverse = n->attrs.patch.inverse;
    return permute<T>(exec, n, inverse ? n->out[0] : n->in[X], n->dout[0], n->din[X], !inverse,
                      fx_adds(n, X));
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->dout[0]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_patch = {NULL, forward, backward};
