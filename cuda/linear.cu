/* CUDA twin of src/ops/linear.c. The products are cuBLASLt's and compute-bound (2 M N K flops, of 67
 * Tflop/s in fp32, of about 800 in bf16, where gradients of weights are fp32 and a second source's
 * product is added to the first's rounded one): bias and, where nothing bends the result, residual are
 * in their epilogues. An activation or dropout costs one pass of ours more, bound by memory: forward
 * reads z and the residual and writes y, 8 or 12 bytes an element (in bf16 half); backward reads dy and
 * z and writes dz, 12. (The library's GELU epilogue would not save it: whether there is dropout is
 * known in the run only.) The bias' gradient reads dz once. */
#include "act.cuh"
#include "columns.cuh"
#include "dropout.cuh"
#include "matmul.h"
#include "pass.cuh"

enum { X, W, BIAS, RESIDUAL, X2 }; /* in[]: (..., K), (N, K + K2), (N), (..., N), (..., K2) */
enum { PRE };                      /* saved[]: (..., N) */
enum { THREADS = 256, ALIGNED = 64 };

static const int SOURCE[2] = {X, X2};

typedef struct view {
    int64_t M, N, K[2], first[2], row, samples; /* rows in all; elements of dim[0] */
    int sources;
} view;

static view view_of(const fx_node *n)
{
    const fx_tensor *x = n->in[X];
    view v = {};
    v.N = n->in[W]->dim[0];
    v.row = n->in[W]->dim[1];
    v.K[0] = v.first[1] = x->dim[x->rank - 1];
    v.K[1] = v.row - v.K[0];
    v.M = fx_count(x) / v.K[0];
    v.samples = x->rank > 1 ? x->dim[0] : v.M;
    v.sources = n->in[X2] ? 2 : 1;
    return v;
}

/* Whether y differs from the products with bias and residual, and so dz from dy. */
static bool bends(const fx_node *n)
{
    return n->attrs.linear.act != FX_LINEAR || n->attrs.linear.dropout > 0.0f;
}

static fx_dtype storage(const fx_node *n)
{
    return n->in[W]->dtype;
}

/* z = x W^T + bias, or, of the second source, z += x2 W2^T. */
static fx_matmul forward_product(const fx_node *n, const view *v, int s)
{
    return fx_matmul{v->M,
                     v->N,
                     v->K[s],
                     {0, v->K[s], false},
                     {v->first[s], v->row, true},
                     {0, v->N, false},
                     s > 0 || (!bends(n) && n->in[RESIDUAL]),
                     s == 0 && n->in[BIAS],
                     storage(n),
                     storage(n)};
}

/* dx = or += dz W */
static fx_matmul input_product(const fx_node *n, const view *v, int s)
{
    return fx_matmul{v->M,
                     v->K[s],
                     v->N,
                     {0, v->N, false},
                     {v->first[s], v->row, false},
                     {0, v->K[s], false},
                     fx_adds(n, SOURCE[s]),
                     false,
                     storage(n),
                     storage(n)};
}

/* dW = or += dz^T x, in fp32 */
static fx_matmul weight_product(const fx_node *n, const view *v, int s)
{
    return fx_matmul{v->N,
                     v->K[s],
                     v->M,
                     {0, v->N, true},
                     {0, v->K[s], false},
                     {v->first[s], v->row, false},
                     fx_adds(n, W),
                     false,
                     storage(n),
                     FX_F32};
}

/* Backward's scratch: dz where it is not dy, then room for the products and for sums of columns, which
 * come one after the other. */
static size_t bent_bytes(const fx_node *n, const view *v)
{
    const size_t bytes = bends(n) ? fx_dtype_bytes(storage(n)) * (size_t)(v->M * v->N) : 0;
    return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    const view v = view_of(n);
    size_t room = 0;
    for (int s = 0; s < v.sources; s++) {
        const fx_matmul forward = forward_product(n, &v, s), input = input_product(n, &v, s),
                        weight = weight_product(n, &v, s);
        if (!backward) FX_TRY(fx_matmul_prepare(exec, &forward, &room));
        if (backward && n->din[SOURCE[s]]) FX_TRY(fx_matmul_prepare(exec, &input, &room));
        if (backward && n->din[W]) FX_TRY(fx_matmul_prepare(exec, &weight, &room));
    }
    if (backward && n->din[BIAS] && room < fx_column_scratch(v.M, v.N))
        room = fx_column_scratch(v.M, v.N);
    *bytes = room + (backward ? bent_bytes(n, &v) : 0);
    return FX_OK;
}

/* The passes over z: a thread has the next 16 bytes' worth of one sample's elements. */
typedef struct bend {
    int64_t samples, size; /* size: elements of a sample */
    fx_act act;
    fx_masked masked;
} bend;

static bend bend_of(const fx_node *n, const view *v)
{
    return bend{v->samples, v->M / v->samples * v->N, n->attrs.linear.act,
                fx_masked_of(n, n->attrs.linear.dropout)};
}

template <typename T> static unsigned bend_grid(const bend *v)
{
    enum { N = fx_wide<T>::COUNT };
    return fx_grid(v->samples * ((v->size + N - 1) / N), THREADS);
}

/* What a thread works on. */
template <int N> struct piece {
    int64_t sample, first,
        count; /* elements first .. first + N - 1 of the sample, `count` of them there */
    bool wide; /* all N, on 16 bytes */
};

template <int N> FX_DEVICE piece<N> piece_of(const bend &v)
{
    const int64_t pieces = (v.size + N - 1) / N, sample = fx_index() / pieces,
                  first = fx_index() % pieces * N;
    return piece<N>{sample, first, sample < v.samples ? v.size - first : 0, v.size % N == 0};
}

template <typename T, int N>
FX_DEVICE void load(const T *p, const bend &v, const piece<N> &at, float (&x)[N])
{
    p += at.sample * v.size + at.first;
    if (at.wide) return fx_get_wide(p, x);
    for (int k = 0; k < N; k++)
        x[k] = k < at.count ? fx_get(p + k) : 0.0f;
}

template <typename T, int N>
FX_DEVICE void store(T *p, const bend &v, const piece<N> &at, const float (&x)[N])
{
    p += at.sample * v.size + at.first;
    if (at.wide) return fx_set_wide(p, x);
    for (int k = 0; k < N; k++)
        if (k < at.count) fx_set(p + k, x[k]);
}

template <int N>
FX_DEVICE void factors(const bend &v, const fx_step *step, const piece<N> &at, float (&factor)[N])
{
    const fx_mask m = fx_mask_of(v.masked, step);
    for (int k = 0; k < N; k += 4)
        fx_mask_factors(m, at.sample, (at.first + k) / 4, factor + k);
}

/* y = r + m act(z); y may be z. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS)
    finish(bend v, const fx_step *step, const T *z, const T *residual, T *y)
{
    enum { N = fx_wide<T>::COUNT };
    const piece<N> at = piece_of<N>(v);
    float x[N], r[N] = {0}, factor[N];
    if (at.count <= 0) return;
    load(z, v, at, x);
    if (residual) load(residual, v, at, r);
    factors(v, step, at, factor);
    for (int k = 0; k < N; k++)
        x[k] = r[k] + factor[k] * fx_activate(v.act, x[k]);
    store(y, v, at, x);
}

/* dz = dy m act'(z); z is NULL where there is no activation. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS) unbend(bend v, const fx_step *step, const T *z, const T *dy, T *dz)
{
    enum { N = fx_wide<T>::COUNT };
    const piece<N> at = piece_of<N>(v);
    float x[N] = {0}, d[N], factor[N];
    if (at.count <= 0) return;
    load(dy, v, at, d);
    if (z) load(z, v, at, x);
    factors(v, step, at, factor);
    for (int k = 0; k < N; k++)
        d[k] *= factor[k] * fx_act_derivative(v.act, x[k]);
    store(dz, v, at, d);
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const T *residual = fx_data<T>(n->in[RESIDUAL]);
    T *y = fx_data<T>(n->out[0]), *z = n->saved[PRE] ? fx_data<T>(n->saved[PRE]) : y;
    for (int s = 0; s < v.sources; s++) {
        const fx_matmul product = forward_product(n, &v, s);
        FX_TRY(fx_matmul_run(exec, &product, fx_data<T>(n->in[SOURCE[s]]), fx_data<T>(n->in[W]),
                             s == 0 ? residual : z, fx_data<T>(n->in[BIAS]), z, fx_scratch(exec)));
    }
    if (!bends(n)) return FX_OK;
    const bend b = bend_of(n, &v);
    FX_LAUNCH(exec, n, finish<T>, bend_grid<T>(&b), THREADS, 0, b, fx_cuda_step(exec), (const T *)z,
              residual, y);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[W]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const T *dy = fx_data<T>(n->dout[0]), *dz = dy;
    char *room = (char *)fx_scratch(exec) + bent_bytes(n, &v);
    if (bends(n)) {
        const bend b = bend_of(n, &v);
        T *bent = (T *)fx_scratch(exec);
        FX_LAUNCH(exec, n, unbend<T>, bend_grid<T>(&b), THREADS, 0, b, fx_cuda_step(exec),
                  (const T *)fx_data<T>(n->saved[PRE]), dy, bent);
        dz = bent;
    }
    for (int s = 0; s < v.sources; s++) {
        const fx_matmul input = input_product(n, &v, s), weight = weight_product(n, &v, s);
        const T *x = fx_data<T>(n->in[SOURCE[s]]);
        T *dx = fx_data<T>(n->din[SOURCE[s]]);
        float *dw = fx_f32(n->din[W]);
        if (dx) FX_TRY(fx_matmul_run(exec, &input, dz, fx_data<T>(n->in[W]), dx, NULL, dx, room));
        if (dw) FX_TRY(fx_matmul_run(exec, &weight, dz, x, dw, NULL, dw, room));
    }
    if (n->din[BIAS])
        FX_TRY(fx_column_sums(exec, n, dz, v.M, v.N, room, fx_f32(n->din[BIAS]), fx_adds(n, BIAS)));
    return fx_pass_gradient(exec, n, RESIDUAL, dy);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[W]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_linear = {prepare, forward, backward};
