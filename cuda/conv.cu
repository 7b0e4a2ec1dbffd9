/* CUDA twin of src/ops/conv.c: the same products, by cuDNN (conv_products.h, conv_plans.h). Here is
 * what is around them: weights and their gradients between the published layout, (Co,C,k,k), and the
 * library's, (Co,k,k,C) of one source, both in the type of the products but for gradients, which are
 * fp32; kernels folded for upsampling;
 * images with channels padded to multiples of 8, at both ends of a network; residual and bias where the
 * library does not add them.
 * The products are bound by arithmetic, what is here by memory. In bytes of fp32: 8 a weight, once
 * forward, once for the data gradient, once for its own gradient (a folded kernel: 100, for its 9); a
 * padded image is written and read once more; where the library does not add the residual, 5 to 8 a
 * value of the result, which the product reads again; the gradient of a residual 5 to 8, that of a bias
 * 4. Kernels for folding read or write 9 values in a run, a little more than half of what memory gives:
 * few layers have them. */
#include "columns.cuh"
#include "conv_layouts.cuh"
#include "conv_plans.h"
#include "launch.cuh"

enum { THREADS = 256 };

/* y (B,Ho,Wo,padded_Co) = residual, full-sized or half-sized and doubled, or NULL, + biases. A block
 * has a part of one line, a thread 16 bytes. */
template <typename T> FX_KERNEL void prefill(const T *residual, biases<T> bias, T *y, fx_conv_view v)
{
    enum { COUNT = fx_wide<T>::COUNT };
    const int i = (fx_block_y() * fx_threads() + fx_thread()) * COUNT, C = (int)v.padded_Co, x = i / C,
              c = i % C, ratio = v.residual_upsample ? 2 : 1;
    if (x >= v.Wo) return;
    float sum[COUNT] = {0};
    /* Ho is even where lines are halved, so that the images' lines halve with it */
    if (residual)
        fx_get_wide(residual + (fx_block() / ratio * (v.Wo / ratio) + x / ratio) * C + c, sum);
    for (int j = 0; bias.first && j < COUNT && c + j < v.Co; j++)
        sum[j] += added(bias, c + j);
    fx_set_wide(y + fx_block() * v.Wo * C + i, sum);
}

/* sum += 16 bytes. */
template <typename T> FX_DEVICE void add_wide(const T *p, float *sum)
{
    float v[fx_wide<T>::COUNT];
    fx_get_wide(p, v);
    for (int j = 0; j < fx_wide<T>::COUNT; j++)
        sum[j] += v[j];
}

/* dr = or += dy, or its sums over 2x2 pixels, both with padded_Co channels. A block has a part of one
 * line of dr, a thread 16 bytes. */
template <typename T> FX_KERNEL void residual_gradient(const T *dy, T *dr, fx_conv_view v, bool add)
{
    enum { COUNT = fx_wide<T>::COUNT };
    const int ratio = v.residual_upsample ? 2 : 1, C = (int)v.padded_Co,
              i = (fx_block_y() * fx_threads() + fx_thread()) * COUNT, x = i / C, c = i % C;
    const int64_t line = v.Wo * C;
    if (x >= v.Wo / ratio) return;
    const T *from = dy + fx_block() * ratio * line + x * ratio * C + c;
    T *to = dr + fx_block() * (line / ratio) + i;
    float sum[COUNT];
    fx_get_wide(from, sum);
    if (ratio == 2) {
        add_wide(from + C, sum);
        add_wide(from + line, sum);
        add_wide(from + line + C, sum);
    }
    if (add) add_wide((const T *)to, sum);
    fx_set_wide(to, sum);
}

/* Where things are in scratch, in bytes; what needs no copy has no room. `x`, `y`, `residual`: padded
 * copies of a source, the result, the residual, or of their gradients. */
typedef struct layout {
    size_t weights, bias, x, y, residual, parts, library;
} layout;

static size_t room(size_t *end, int64_t count, fx_dtype dtype)
{
    const size_t at = *end;
    *end += (((size_t)count * fx_dtype_bytes(dtype)) + 255) / 256 * 256;
    return at;
}

static layout layout_of(const fx_node *n, const fx_conv_view *v, bool backward)
{
    layout l;
    size_t end = 0;
    const int64_t taps = v->upsample ? (int64_t)FOLDED : v->k * v->k, pixels = v->B * v->Ho * v->Wo;
    const fx_tensor *y = backward ? n->dout[0] : n->out[0],
                    *r = backward ? n->din[FX_CONV_RESIDUAL] : n->in[FX_CONV_RESIDUAL];
    const int64_t C = v->padded[0] > v->padded[1] ? v->padded[0] : v->padded[1];
    bool copies = false;
    for (int s = 0; s < v->sources; s++)
        copies = copies || !fx_conv_direct(v, fx_conv_source(n, s));
    l.weights = room(&end, taps * v->padded_Co * C, v->dtype);
    l.bias = room(&end, backward ? 0 : v->padded_Co, v->dtype);
    l.x = room(&end, copies ? v->B * v->H * v->W * C : 0, v->dtype);
    l.y = room(&end, fx_conv_direct(v, y) ? 0 : pixels * v->padded_Co, v->dtype);
    l.residual =
        room(&end, r && !fx_conv_direct(v, r) ? fx_count(r) / v->Co * v->padded_Co : 0, v->dtype);
    l.parts = end;
    if (backward && (n->din[FX_CONV_BIAS] || n->din[FX_CONV_BIAS2]))
        end += fx_column_scratch(pixels, v->Co) + sizeof(float) * (size_t)v->Co;
    l.library = (end + 255) / 256 * 256;
    return l;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    const fx_conv_view v = fx_conv_view_of(n);
    size_t library = 0;
    for (int s = 0; s < v.sources; s++) {
        const fx_product forward = fx_conv_forward(n, &v, s), weights = fx_conv_weights(&v, s);
        if (!backward) FX_TRY(fx_conv_plan(exec, &forward, &library));
        if (backward && n->din[FX_CONV_W]) FX_TRY(fx_conv_plan(exec, &weights, &library));
        if (!backward || !fx_conv_source_gradient(n, s)) continue;
        const fx_product data = fx_conv_data(n, &v, s);
        FX_TRY(fx_conv_plan(exec, &data, &library));
    }
    *bytes = layout_of(n, &v, backward).library + library;
    return FX_OK;
}

/* One node, with images of the products stored as T. */
template <typename T> struct work {
    fx_exec *exec;
    const fx_node *n;
    fx_conv_view v;
    layout l;
};

template <typename T> static T *scratch_at(const work<T> &k, size_t offset)
{
    return (T *)((char *)fx_scratch(k.exec) + offset);
}

template <typename T>
static fx_status run(const work<T> &k, const fx_product &product, T *src, T *weights, T *dst, T *z,
                     T *bias)
{
    void *const pointer[FX_GRAPH_TENSORS] = {src, weights, dst, z, bias};
    return fx_conv_run(k.exec, &product, pointer, scratch_at(k, k.l.library));
}

/* Copies a tensor to `to` (rows, width), padded. */
template <typename T>
static fx_status copy_in(const work<T> &k, const fx_tensor *t, T *to, int64_t width)
{
    const int64_t C = t->dim[3], count = fx_count(t) / C * (width / PAD);
    const unsigned grid = fx_grid(count, THREADS);
    if (t->dtype == FX_BF16)
        FX_LAUNCH(k.exec, k.n, (widen<fx_bf16, T>), grid, THREADS, 0, (const fx_bf16 *)t->data, to,
                  count, (int)C, (int)width);
    else
        FX_LAUNCH(k.exec, k.n, (widen<float, T>), grid, THREADS, 0, (const float *)t->data, to, count,
                  (int)C, (int)width);
    return FX_OK;
}

/* The way back: stores or adds. */
template <typename T>
static fx_status copy_out(const work<T> &k, const T *from, int64_t width, const fx_tensor *t, bool add)
{
    const int64_t C = t->dim[3], count = fx_count(t) / C * (width / PAD);
    const unsigned grid = fx_grid(count, THREADS);
    if (t->dtype == FX_BF16)
        FX_LAUNCH(k.exec, k.n, (narrow<T, fx_bf16>), grid, THREADS, 0, from, (fx_bf16 *)t->data, count,
                  (int)C, (int)width, add);
    else
        FX_LAUNCH(k.exec, k.n, (narrow<T, float>), grid, THREADS, 0, from, (float *)t->data, count,
                  (int)C, (int)width, add);
    return FX_OK;
}

/* *image: the tensor's own memory, or else `copy`, filled. */
template <typename T>
static fx_status image_of(const work<T> &k, const fx_tensor *t, T *copy, int64_t width, T **image)
{
    *image = fx_conv_direct(&k.v, t) ? (T *)t->data : copy;
    return fx_conv_direct(&k.v, t) ? FX_OK : copy_in(k, t, copy, width);
}

static dim3 slab_grid(const fx_conv_view *v, int s)
{
    return dim3(fx_grid(v->padded[s], PART), (unsigned)v->padded_Co);
}

static size_t slab_bytes(const fx_conv_view *v)
{
    return sizeof(float) * (size_t)(PART * v->k * v->k);
}

template <typename T> static biases<T> biases_of(const fx_node *n)
{
    return {fx_data<T>(n->in[FX_CONV_BIAS]), fx_data<T>(n->in[FX_CONV_BIAS2])};
}

/* The weights of source s as its products read them, and the bias where `bias` has room for it. */
template <typename T> static fx_status pack_weights(const work<T> &k, int s, T *weights, T *bias)
{
    const T *w = fx_data<T>(k.n->in[FX_CONV_W]);
    if (k.v.upsample)
        FX_LAUNCH(k.exec, k.n, fold<T>, fx_grid(k.v.padded_Co * k.v.padded[s], THREADS), THREADS, 0, w,
                  weights, k.v, s);
    else
        FX_LAUNCH(k.exec, k.n, pack<T>, slab_grid(&k.v, s), PART, slab_bytes(&k.v), w, weights,
                  biases_of<T>(k.n), bias, k.v, s);
    return FX_OK;
}

template <typename T> static fx_status forward_as(const work<T> &k)
{
    const fx_conv_view *v = &k.v;
    const fx_tensor *r = k.n->in[FX_CONV_RESIDUAL], *out = k.n->out[0];
    T *weights = scratch_at(k, k.l.weights), *residual = nullptr;
    T *y = fx_conv_direct(v, out) ? (T *)out->data : scratch_at(k, k.l.y);
    if (r) FX_TRY(image_of(k, r, scratch_at(k, k.l.residual), v->padded_Co, &residual));
    if (fx_conv_prefills(k.n, v)) {
        const dim3 grid((unsigned)(v->B * v->Ho),
                        fx_grid(v->Wo * v->padded_Co, THREADS * fx_wide<T>::COUNT));
        FX_LAUNCH(k.exec, k.n, prefill<T>, grid, THREADS, 0, (const T *)residual, biases_of<T>(k.n), y,
                  k.v);
    }
    for (int s = 0; s < v->sources; s++) {
        const fx_product product = fx_conv_forward(k.n, v, s);
        T *x = nullptr, *bias = product.bias ? scratch_at(k, k.l.bias) : nullptr;
        FX_TRY(image_of(k, fx_conv_source(k.n, s), scratch_at(k, k.l.x), v->padded[s], &x));
        FX_TRY(pack_weights(k, s, weights, bias));
        if (v->upsample)
            FX_TRY(run(k, product, y, weights, x, (T *)nullptr, (T *)nullptr));
        else
            FX_TRY(run(k, product, x, weights, y, residual, bias));
    }
    return fx_conv_direct(v, out) ? FX_OK : copy_out(k, (const T *)y, v->padded_Co, out, false);
}

template <typename T> static fx_status backward_data(const work<T> &k, int s, T *dy)
{
    const fx_tensor *din = fx_conv_source_gradient(k.n, s);
    const fx_product product = fx_conv_data(k.n, &k.v, s);
    T *weights = scratch_at(k, k.l.weights);
    T *dx = fx_conv_direct(&k.v, din) ? (T *)din->data : scratch_at(k, k.l.x);
    FX_TRY(pack_weights(k, s, weights, (T *)nullptr));
    if (k.v.upsample)
        FX_TRY(run(k, product, dy, weights, dx, (T *)nullptr, (T *)nullptr));
    else
        FX_TRY(run(k, product, dx, weights, dy, (T *)nullptr, (T *)nullptr));
    if (fx_conv_direct(&k.v, din)) return FX_OK;
    return copy_out(k, (const T *)dx, k.v.padded[s], din, fx_conv_adds(k.n, s));
}

template <typename T> static fx_status backward_weights(const work<T> &k, int s, T *dy)
{
    const fx_product product = fx_conv_weights(&k.v, s);
    const bool add = fx_adds(k.n, FX_CONV_W);
    float *dw = fx_f32(k.n->din[FX_CONV_W]);
    T *packed = scratch_at(k, k.l.weights), *x = nullptr;
    FX_TRY(image_of(k, fx_conv_source(k.n, s), scratch_at(k, k.l.x), k.v.padded[s], &x));
    if (k.v.upsample) {
        FX_TRY(run(k, product, dy, packed, x, (T *)nullptr, (T *)nullptr));
        FX_LAUNCH(k.exec, k.n, unfold<T>, fx_grid(k.v.Co * k.v.C[s], THREADS), THREADS, 0,
                  (const T *)packed, dw, k.v, s, add);
    } else {
        FX_TRY(run(k, product, x, packed, dy, (T *)nullptr, (T *)nullptr));
        FX_LAUNCH(k.exec, k.n, unpack<T>, slab_grid(&k.v, s), PART, slab_bytes(&k.v), (const T *)packed,
                  dw, k.v, s, add);
    }
    return FX_OK;
}

template <typename T> static fx_status backward_residual(const work<T> &k, const T *dy)
{
    const fx_tensor *din = k.n->din[FX_CONV_RESIDUAL];
    const bool direct = fx_conv_direct(&k.v, din), add = fx_adds(k.n, FX_CONV_RESIDUAL);
    const dim3 grid((unsigned)(din->dim[0] * din->dim[1]),
                    fx_grid(din->dim[2] * k.v.padded_Co, THREADS * fx_wide<T>::COUNT));
    T *dr = direct ? (T *)din->data : scratch_at(k, k.l.residual);
    FX_LAUNCH(k.exec, k.n, residual_gradient<T>, grid, THREADS, 0, dy, dr, k.v, direct && add);
    return direct ? FX_OK : copy_out(k, (const T *)dr, k.v.padded_Co, din, add);
}

/* The biases' one gradient to both; `first` may be NULL. */
FX_KERNEL void share(const float *sums, float *first, bool first_adds, float *second, bool second_adds,
                     int64_t count)
{
    const int64_t c = fx_index();
    if (c >= count) return;
    if (first) fx_put(first + c, sums[c], first_adds);
    fx_put(second + c, sums[c], second_adds);
}

/* From dy as it is stored. */
template <typename T, typename S> static fx_status backward_bias(const work<T> &k, const S *dy)
{
    const int64_t rows = k.v.B * k.v.Ho * k.v.Wo, Co = k.v.Co;
    float *parts = (float *)scratch_at(k, k.l.parts),
          *sums = (float *)((char *)parts + fx_column_scratch(rows, Co)),
          *first = fx_f32(k.n->din[FX_CONV_BIAS]), *second = fx_f32(k.n->din[FX_CONV_BIAS2]);
    const bool adds = fx_adds(k.n, FX_CONV_BIAS);
    if (!second) return fx_column_sums(k.exec, k.n, dy, rows, Co, parts, first, adds);
    FX_TRY(fx_column_sums(k.exec, k.n, dy, rows, Co, parts, sums, false));
    FX_LAUNCH(k.exec, k.n, share, fx_grid(Co, THREADS), THREADS, 0, (const float *)sums, first, adds,
              second, fx_adds(k.n, FX_CONV_BIAS2), Co);
    return FX_OK;
}

template <typename T> static fx_status backward_as(const work<T> &k)
{
    const fx_tensor *dout = k.n->dout[0];
    T *dy = nullptr;
    FX_TRY(image_of(k, dout, scratch_at(k, k.l.y), k.v.padded_Co, &dy));
    for (int s = 0; s < k.v.sources; s++) {
        if (fx_conv_source_gradient(k.n, s)) FX_TRY(backward_data(k, s, dy));
        if (k.n->din[FX_CONV_W]) FX_TRY(backward_weights(k, s, dy));
    }
    if (k.n->din[FX_CONV_RESIDUAL]) FX_TRY(backward_residual(k, dy));
    if (!k.n->din[FX_CONV_BIAS] && !k.n->din[FX_CONV_BIAS2]) return FX_OK;
    return dout->dtype == FX_BF16 ? backward_bias(k, (const fx_bf16 *)dout->data)
                                  : backward_bias(k, (const float *)dout->data);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_conv_view v = fx_conv_view_of(n);
    const layout l = layout_of(n, &v, false);
    return v.dtype == FX_BF16 ? forward_as(work<fx_bf16>{exec, n, v, l})
                              : forward_as(work<float>{exec, n, v, l});
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const fx_conv_view v = fx_conv_view_of(n);
    const layout l = layout_of(n, &v, true);
    return v.dtype == FX_BF16 ? backward_as(work<fx_bf16>{exec, n, v, l})
                              : backward_as(work<float>{exec, n, v, l});
}

const fx_kernel fx_cuda_conv = {prepare, forward, backward};
