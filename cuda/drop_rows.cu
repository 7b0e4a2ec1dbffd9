/* CUDA twin of src/ops/drop_rows.c. Every thread draws its row's number again. Memory binds what little
 * there is, a row a sample: 12 bytes an element forward, 8 for dx, in bf16 half. */
#include "dropout.cuh"
#include "launch.cuh"
#include "pass.cuh"

enum { X, BASE }; /* in[]: (B,D) twice -> (B,D) */
enum { THREADS = 128 };

typedef struct view {
    int64_t B, D;
    fx_masked masked;
} view;

static view view_of(const fx_node *n)
{
    const int64_t *d = n->in[X]->dim;
    return view{d[0], d[1], fx_masked_of(n, n->attrs.drop_rows.p)};
}

/* y = or += base + m x; base may be NULL. A thread has W elements of a row. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS)
    mix(view v, const fx_step *step, const T *x, const T *base, T *y, bool add)
{
    const int64_t i = fx_index() * W, b = i / v.D;
    float value[W], sum[W] = {0}, factor[4];
    if (b >= v.B) return;
    fx_mask_factors(fx_mask_of(v.masked, step), b, 0, factor);
    fx_get_all<W>(x + i, value);
    if (base) fx_get_all<W>(base + i, sum);
    for (int k = 0; k < W; k++)
        sum[k] += factor[0] > 0.0f ? value[k] : 0.0f;
    fx_put_all<W>(y + i, sum, add);
}

template <typename T>
static fx_status mix_in(fx_exec *exec, const fx_node *n, const T *x, const T *base, T *y, bool add)
{
    enum { WIDE = fx_wide<T>::COUNT };
    const view v = view_of(n);
    const fx_step *step = fx_cuda_step(exec);
    if (v.D % WIDE == 0)
        FX_LAUNCH(exec, n, (mix<T, WIDE>), fx_grid(v.B * v.D, WIDE * THREADS), THREADS, 0, v, step, x,
                  base, y, add);
    else
        FX_LAUNCH(exec, n, (mix<T, 1>), fx_grid(v.B * v.D, THREADS), THREADS, 0, v, step, x, base, y,
                  add);
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    return mix_in(exec, n, (const T *)fx_data<T>(n->in[X]), (const T *)fx_data<T>(n->in[BASE]),
                  fx_data<T>(n->out[0]), false);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const T *dy = fx_data<T>(n->dout[0]);
    if (n->din[X]) FX_TRY(mix_in(exec, n, dy, (const T *)NULL, fx_data<T>(n->din[X]), fx_adds(n, X)));
    return fx_pass_gradient(exec, n, BASE, dy);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->dout[0]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_drop_rows = {NULL, forward, backward};
