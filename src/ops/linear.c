/* Fully connected layer of one or two sources, with bias, activation, dropout and residual:
 *   z = x W[:, :K]^T + x2 W[:, K:]^T + b        kept as PRE where there is an activation
 *   y = r + m act(z)                            m: 0 or 1 / (1 - p), computed again in backward
 * The products are oneDNN's sgemm: it reads weights as published, and slices of them, without packing.
 * In bf16, where operands are packed anyhow, they are its 1x1 convolutions of an image of one row. */
#include "act.h"
#include "columns.h"
#include "dropout.h"
#include "onednn.h"
#include "ops.h"

#include <string.h>

/* in[]: (..., K), (N, K + K2), which may go on (..., 1, 1), (N), (..., N), (..., K2) */
enum { X, W, BIAS, RESIDUAL, X2 };
enum { PRE };         /* saved[]: (..., N) */
enum { PIECE = 256 }; /* elements of a row worked on at once */

static const int SOURCE[2] = {X, X2};

typedef struct view {
    int64_t M, N, K[2], first[2], row, per_sample; /* rows in all, and in one element of dim[0] */
    int sources;
} view;

static view view_of(const fx_node *n)
{
    const fx_tensor *x = n->in[X];
    view v = {.N = n->in[W]->dim[0], .K = {x->dim[x->rank - 1]}, .row = n->in[W]->dim[1], .sources = 1};
    v.M = fx_count(x) / v.K[0];
    v.per_sample = x->rank > 1 ? v.M / x->dim[0] : 1;
    v.first[1] = v.K[0];
    if (n->in[X2]) {
        v.K[1] = n->in[X2]->dim[x->rank - 1];
        v.sources = 2;
    }
    return v;
}

static bool same_rows(const fx_tensor *a, const fx_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)(a->rank - 1)) == 0;
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X], *w = n->in[W], *x2 = n->in[X2], *r = n->in[RESIDUAL];
    const float p = n->attrs.linear.dropout;
    FX_REQUIRE(x && w && w->rank >= 2 && fx_count(w) == w->dim[0] * w->dim[1], FX_EARG,
               "%s: needs x and weights of 2 dimensions above 1", n->name);
    FX_REQUIRE(!x2 || same_rows(x, x2), FX_EARG, "%s: sources %s and %s have different rows", n->name,
               fx_shape_text(x), fx_shape_text(x2));
    const int64_t width = x->dim[x->rank - 1] + (x2 ? x2->dim[x->rank - 1] : 0), N = w->dim[0];
    FX_REQUIRE(w->dim[1] == width, FX_EARG, "%s: weights %s do not fit %lld features", n->name,
               fx_shape_text(w), (long long)width);
    FX_REQUIRE(!n->in[BIAS] || fx_has_shape(n->in[BIAS], 1, FX_DIMS(N)), FX_EARG,
               "%s: bias is not (%lld)", n->name, (long long)N);
    FX_REQUIRE(!r || (same_rows(x, r) && r->dim[r->rank - 1] == N), FX_EARG,
               "%s: residual %s does not fit x %s and %lld features", n->name, fx_shape_text(r),
               fx_shape_text(x), (long long)N);
    FX_REQUIRE(p >= 0.0f && p < 1.0f, FX_EARG, "%s: dropout %g", n->name, (double)p);
    int64_t dim[FX_MAX_RANK];
    memcpy(dim, x->dim, sizeof dim);
    dim[x->rank - 1] = N;
    FX_TRY(fx_out_shape(n, 0, x->rank, dim));
    return n->attrs.linear.act == FX_LINEAR ? FX_OK : fx_saved_shape(n, PRE, x->rank, dim);
}

static bool bends(const fx_node *n) /* whether dz differs from dy */
{
    return n->attrs.linear.act != FX_LINEAR || n->attrs.linear.dropout > 0.0f;
}

/* The product of a pass with source s, as a 1x1 convolution. */
static fx_dnn_conv shape_1x1(const fx_node *n, const view *v, int s, fx_dnn_pass pass)
{
    const bool adds = pass == FX_DNN_FORWARD ? s > 0 : fx_adds(n, pass == FX_DNN_DATA ? SOURCE[s] : W);
    return (fx_dnn_conv){.pass = pass,
                         .put = adds ? FX_DNN_ADD : FX_DNN_STORE,
                         .B = 1,
                         .H = 1,
                         .W = v->M,
                         .Ci = v->K[s],
                         .Co = v->N,
                         .k = 1,
                         .stride = 1,
                         .row = v->row};
}

/* Where things are in scratch; oneDNN's part, for bf16, comes last. */
typedef struct layout {
    size_t parts, library;
} layout;

static layout layout_of(const fx_node *n, const view *v, bool backward)
{
    layout l = {0};
    if (backward && bends(n)) l.parts = fx_aligned(sizeof(float) * (size_t)(v->M * v->N));
    const size_t parts = backward && n->din[BIAS] ? sizeof(float) * fx_column_scratch(v->N) : 0;
    l.library = l.parts + fx_aligned(parts);
    return l;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    const view v = view_of(n);
    size_t library = 0;
    for (int s = 0; exec->options.precision == FX_PRECISION_BF16 && s < v.sources; s++) {
        const fx_dnn_conv forward = shape_1x1(n, &v, s, FX_DNN_FORWARD),
                          data = shape_1x1(n, &v, s, FX_DNN_DATA),
                          weights = shape_1x1(n, &v, s, FX_DNN_WEIGHTS);
        if (!backward) FX_TRY(fx_dnn_conv_prepare(exec, &forward, &library));
        if (backward && n->din[SOURCE[s]]) FX_TRY(fx_dnn_conv_prepare(exec, &data, &library));
        if (backward && n->din[W]) FX_TRY(fx_dnn_conv_prepare(exec, &weights, &library));
    }
    *bytes = layout_of(n, &v, backward).library + library;
    return FX_OK;
}

/* One product of `d`, in scratch where oneDNN packs. */
static fx_status multiply(fx_exec *exec, const fx_node *n, const view *v, int s, fx_dnn_pass pass,
                          const fx_dnn_data *d, void *scratch)
{
    const fx_dnn_conv shape = shape_1x1(n, v, s, pass);
    const int64_t M = v->M, N = v->N, K = v->K[s];
    const float keep = shape.put == FX_DNN_ADD ? 1.0f : 0.0f;
    if (exec->options.precision == FX_PRECISION_BF16) return fx_dnn_conv_run(exec, &shape, d, scratch);
    if (pass == FX_DNN_FORWARD)
        return fx_dnn_sgemm('N', 'T', M, N, K, 1.0f, d->src, K, d->weights, v->row, keep, d->out, N);
    if (pass == FX_DNN_DATA)
        return fx_dnn_sgemm('N', 'N', M, K, N, 1.0f, d->dst, N, d->weights, v->row, keep, d->out, K);
    return fx_dnn_sgemm('T', 'N', N, K, M, 1.0f, d->dst, N, d->src, K, keep, d->dweights, v->row);
}

/* Elements first .. first + count - 1 of row m: mask factors in `factor` (1 where dropout is off). */
static void mask(const fx_dropout *d, const view *v, int64_t m, int64_t first, int64_t count,
                 float *factor)
{
    fx_dropout_factors(d, m / v->per_sample, m % v->per_sample * v->N + first, count, factor);
}

/* z (holding the products) += b; y = r + m act(z). z may be y. */
static void finish(const fx_node *n, const view *v, const fx_dropout *d, float *z)
{
    const float *b = fx_f32(n->in[BIAS]), *r = fx_f32(n->in[RESIDUAL]);
    float *y = fx_f32(n->out[0]);
#pragma omp parallel for collapse(2)
    for (int64_t m = 0; m < v->M; m++)
        for (int64_t c = 0; c < v->N; c += PIECE) {
            const int64_t at = m * v->N + c, count = v->N - c < PIECE ? v->N - c : PIECE;
            float factor[PIECE];
            for (int64_t i = 0; b && i < count; i++)
                z[at + i] += b[c + i];
            fx_activate(n->attrs.linear.act, z + at, y + at, count);
            if (fx_dropout_on(d)) {
                mask(d, v, m, c, count, factor);
                for (int64_t i = 0; i < count; i++)
                    y[at + i] *= factor[i];
            }
            for (int64_t i = 0; r && i < count; i++)
                y[at + i] += r[at + i];
        }
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const fx_dropout d = fx_dropout_of(exec, n, n->attrs.linear.dropout);
    float *z = fx_f32(n->saved[PRE] ? n->saved[PRE] : n->out[0]);
    for (int s = 0; s < v.sources; s++) {
        const fx_dnn_data data = {
            .src = fx_f32(n->in[SOURCE[s]]), .weights = fx_f32(n->in[W]) + v.first[s], .out = z};
        FX_TRY(multiply(exec, n, &v, s, FX_DNN_FORWARD, &data, fx_scratch(exec)));
    }
    finish(n, &v, &d, z);
    return FX_OK;
}

/* dz = dy m act'(z). */
static void backward_act(const fx_node *n, const view *v, const fx_dropout *d, float *dz)
{
    const float *dy = fx_f32(n->dout[0]), *z = fx_f32(n->saved[PRE]);
#pragma omp parallel for collapse(2)
    for (int64_t m = 0; m < v->M; m++)
        for (int64_t c = 0; c < v->N; c += PIECE) {
            const int64_t at = m * v->N + c, count = v->N - c < PIECE ? v->N - c : PIECE;
            float factor[PIECE];
            if (fx_dropout_on(d)) {
                mask(d, v, m, c, count, factor);
                for (int64_t i = 0; i < count; i++)
                    dz[at + i] = dy[at + i] * factor[i];
            } else {
                memcpy(dz + at, dy + at, sizeof *dz * (size_t)count);
            }
            if (z) fx_times_derivative(n->attrs.linear.act, z + at, dz + at, count);
        }
}

static void backward_residual(const fx_node *n)
{
    const float *dy = fx_f32(n->dout[0]);
    float *dr = fx_f32(n->din[RESIDUAL]);
    const unsigned adds = fx_adds(n, RESIDUAL);
    const int64_t count = fx_count(n->dout[0]);
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++)
        fx_put(&dr[i], dy[i], adds);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const fx_dropout d = fx_dropout_of(exec, n, n->attrs.linear.dropout);
    const layout l = layout_of(n, &v, true);
    const float *dz = fx_f32(n->dout[0]);
    char *scratch = fx_scratch(exec);
    if (bends(n)) {
        backward_act(n, &v, &d, (float *)(void *)scratch);
        dz = (const float *)(void *)scratch;
    }
    for (int s = 0; s < v.sources; s++) {
        const fx_dnn_data data = {.src = fx_f32(n->in[SOURCE[s]]),
                                  .out = fx_f32(n->din[SOURCE[s]]),
                                  .dst = dz,
                                  .weights = fx_f32(n->in[W]) + v.first[s],
                                  .dweights = n->din[W] ? fx_f32(n->din[W]) + v.first[s] : NULL};
        if (n->din[SOURCE[s]])
            FX_TRY(multiply(exec, n, &v, s, FX_DNN_DATA, &data, scratch + l.library));
        if (n->din[W]) FX_TRY(multiply(exec, n, &v, s, FX_DNN_WEIGHTS, &data, scratch + l.library));
    }
    if (n->din[BIAS])
        fx_column_sums(dz, v.M, v.N, (float *)(void *)(scratch + l.parts), fx_f32(n->din[BIAS]),
                       fx_adds(n, BIAS));
    if (n->din[RESIDUAL]) backward_residual(n);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "vector", .dim = {{3, 7}, {5, 7}, {5}}},
    {.name = "tokens, no bias", .dim = {{2, 5, 16}, {24, 16}}, .scale = 0.3f},
    {.name = "silu", .attrs.linear = {FX_SILU, 0.0f}, .dim = {{2, 3, 12}, {9, 12}, {9}}, .scale = 0.3f},
    {.name = "gelu (tanh), dropout",
     .attrs.linear = {FX_GELU_TANH, 0.3f},
     .dim = {{4, 3, 8}, {33, 8}, {33}},
     .rows = {2, 1, 0, 0},
     .scale = 0.3f},
    {.name = "a 1x1 convolution's weights",
     .dim = {{2, 3, 5, 8}, {6, 13, 1, 1}, {6}, {0}, {2, 3, 5, 5}},
     .scale = 0.3f},
    {.name = "gelu (erf)", .attrs.linear = {FX_GELU_ERF, 0.0f}, .dim = {{6, 8}, {10, 8}, {10}}},
    {.name = "dropout, residual",
     .attrs.linear = {FX_LINEAR, 0.2f},
     .dim = {{2, 3, 8}, {300, 8}, {300}, {2, 3, 300}},
     .scale = 0.3f},
    {.name = "two sources, residual",
     .dim = {{2, 3, 8}, {6, 13}, {6}, {2, 3, 6}, {2, 3, 5}},
     .scale = 0.3f},
    {.name = "two sources, silu, many rows",
     .attrs.linear = {FX_SILU, 0.0f},
     .dim = {{70, 8}, {13, 13}, {13}, {0}, {70, 5}}},
    {0},
};

const fx_op fx_op_linear = {
    .name = "linear",
    .shape = shape,
    .parameters = FX_IN(W) | FX_IN(BIAS),
    .gradients = FX_IN(X) | FX_IN(W) | FX_IN(BIAS) | FX_IN(RESIDUAL) | FX_IN(X2),
    .backward_reads = FX_IN(X) | FX_IN(W) | FX_IN(X2) | FX_SAVED(PRE),
    .passes_gradient = FX_IN(RESIDUAL),
    .cases = cases,
};
const fx_kernel fx_cpu_linear = {prepare, forward, backward};
