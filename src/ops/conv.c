/* Convolution (cross-correlation, as everywhere in the field) of one or two sources, with bias and
 * residual: y = W[:, :Cx] * x + W[:, Cx:] * x2 + b + b2 + r   the concatenation [x, x2] is never built
 * b2 is the bias of a convolution that made r: it has the gradient of b, computed once.
 * conv_view.h says which products the passes are made of; here their weights are arranged, and what the
 * library's epilogues can't do is done around them.
 * upsample: the folded kernel is F = A w A^T. Per dimension output 2i + t - 1 takes f[t] x[i], f = A w
 * = (w2, w1 + w2, w0 + w1, w0). */
#include "columns.h"
#include "conv_view.h"
#include "ops.h"

static fx_status shape(fx_node *n)
{
    const fx_conv_attrs *a = &n->attrs.conv;
    const fx_tensor *x = n->in[X], *w = n->in[W], *x2 = n->in[X2], *r = n->in[RESIDUAL];
    FX_REQUIRE(x && w && x->rank == 4 && w->rank == 4, FX_EARG,
               "%s: needs an image and 4-dimensional weights", n->name);
    FX_REQUIRE(!x2 || fx_has_shape(x2, 4, FX_DIMS(x->dim[0], x->dim[1], x->dim[2], x2->dim[3])),
               FX_EARG, "%s: sources %s and %s differ in more than channels", n->name, fx_shape_text(x),
               fx_shape_text(x2));
    const int64_t channels = x->dim[3] + (x2 ? x2->dim[3] : 0);
    FX_REQUIRE(w->dim[1] == channels && w->dim[2] == w->dim[3], FX_EARG,
               "%s: weights %s do not fit %lld channels and a square kernel", n->name, fx_shape_text(w),
               (long long)channels);
    FX_REQUIRE(a->stride >= 1 && a->pad >= 0, FX_EARG, "%s: stride %d, pad %d", n->name, a->stride,
               a->pad);
    FX_REQUIRE(!a->upsample || (w->dim[2] == 3 && a->stride == 1 && a->pad == 1), FX_EARG,
               "%s: upsampling goes with kernel 3, stride 1, pad 1", n->name);
    const view v = view_of(n);
    FX_REQUIRE(v.Ho >= 1 && v.Wo >= 1, FX_EARG, "%s: kernel %lld is larger than the padded image %s",
               n->name, (long long)v.k, fx_shape_text(x));
    FX_REQUIRE(!n->in[BIAS] || fx_has_shape(n->in[BIAS], 1, FX_DIMS(v.Co)), FX_EARG,
               "%s: bias is not (%lld)", n->name, (long long)v.Co);
    FX_REQUIRE(!n->in[BIAS2] || (n->in[BIAS] && fx_has_shape(n->in[BIAS2], 1, FX_DIMS(v.Co))), FX_EARG,
               "%s: a second bias is not (%lld) beside a first", n->name, (long long)v.Co);
    const int64_t half = a->residual_upsample ? 2 : 1;
    FX_REQUIRE(!r || (v.Ho % half == 0 && v.Wo % half == 0 &&
                      fx_has_shape(r, 4, FX_DIMS(v.B, v.Ho / half, v.Wo / half, v.Co))),
               FX_EARG, "%s: residual %s does not fit the result (%lld, %lld, %lld, %lld)", n->name,
               fx_shape_text(r), (long long)v.B, (long long)v.Ho, (long long)v.Wo, (long long)v.Co);
    return fx_out_shape(n, 0, 4, FX_DIMS(v.B, v.Ho, v.Wo, v.Co));
}

/* Where things are in scratch; oneDNN's part comes last. bias: what both biases share, their sum or
 * their gradient. */
typedef struct layout {
    size_t weights, parts, bias, library;
} layout;

static layout layout_of(const fx_node *n, const view *v, bool backward)
{
    layout l = {0};
    size_t weights = 0, parts = 0;
    for (int s = 0; s < v->sources; s++) {
        const bool turned = backward && n->din[SOURCE[s]] && turns(v);
        const size_t w = (size_t)(v->Co * v->C[s] * (v->upsample ? FOLDED : v->k * v->k));
        if ((v->upsample || turned) && weights < w) weights = w;
    }
    if (backward && (n->din[BIAS] || n->din[BIAS2])) parts = fx_column_scratch(v->Co);
    l.parts = fx_aligned(weights * sizeof(float));
    l.bias = l.parts + fx_aligned(parts * sizeof(float));
    l.library = l.bias + fx_aligned(n->in[BIAS2] ? (size_t)v->Co * sizeof(float) : 0);
    return l;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    const view v = view_of(n);
    size_t library = 0;
    for (int s = 0; s < v.sources; s++) {
        const fx_dnn_conv forward = forward_shape(n, &v, s), data = data_shape(n, &v, s),
                          weights = weights_shape(n, &v, s);
        if (!backward) FX_TRY(fx_dnn_conv_prepare(exec, &forward, &library));
        if (backward && n->din[SOURCE[s]]) FX_TRY(fx_dnn_conv_prepare(exec, &data, &library));
        if (backward && n->din[W]) FX_TRY(fx_dnn_conv_prepare(exec, &weights, &library));
    }
    *bytes = layout_of(n, &v, backward).library + library;
    return FX_OK;
}

/* F[ci][co] = A W[co][first + ci] A^T: weights of the folded correlation, (C,Co,4,4). */
static void fold(const view *v, int s, const float *w, float *F)
{
    static const float A[4][3] = {{0, 0, 1}, {0, 1, 1}, {1, 1, 0}, {1, 0, 0}};
#pragma omp parallel for
    for (int64_t ci = 0; ci < v->C[s]; ci++)
        for (int64_t co = 0; co < v->Co; co++) {
            const float *k = w + co * v->row + (v->first[s] + ci) * 9;
            float *f = F + (ci * v->Co + co) * FOLDED, wide[3][4];
            for (int y = 0; y < 3; y++)
                for (int t = 0; t < 4; t++)
                    wide[y][t] = A[t][0] * k[3 * y] + A[t][1] * k[3 * y + 1] + A[t][2] * k[3 * y + 2];
            for (int u = 0; u < 4; u++)
                for (int t = 0; t < 4; t++)
                    f[4 * u + t] = A[u][0] * wide[0][t] + A[u][1] * wide[1][t] + A[u][2] * wide[2][t];
        }
}

/* dW = A^T dF A: per dimension dw = (f2 + f3, f1 + f2, f0 + f1). */
static void unfold(const view *v, int s, const float *dF, float *dw, unsigned adds)
{
#pragma omp parallel for
    for (int64_t co = 0; co < v->Co; co++)
        for (int64_t ci = 0; ci < v->C[s]; ci++) {
            const float *f = dF + (ci * v->Co + co) * FOLDED;
            float *k = dw + co * v->row + (v->first[s] + ci) * 9;
            for (int y = 0; y < 3; y++)
                for (int x = 0; x < 3; x++) {
                    const float *q = f + 4 * (2 - y) + 2 - x;
                    fx_put(&k[3 * y + x], q[0] + q[1] + q[4] + q[5], adds);
                }
        }
}

/* T[ci][co][t] = W[co][first + ci][k k - 1 - t]: weights of the data gradient, (C,Co,k,k). */
static void turn(const view *v, int s, const float *w, float *T)
{
    const int64_t taps = v->k * v->k;
    enum { TILE = 16 };
#pragma omp parallel for
    for (int64_t c0 = 0; c0 < v->C[s]; c0 += TILE)
        for (int64_t co = 0; co < v->Co; co++)
            for (int64_t ci = c0; ci < c0 + TILE && ci < v->C[s]; ci++) {
                const float *from = w + co * v->row + (v->first[s] + ci) * taps;
                float *to = T + (ci * v->Co + co) * taps;
                for (int64_t t = 0; t < taps; t++)
                    to[t] = from[taps - 1 - t];
            }
}

/* y = or += the half-sized `r` doubled, plus bias where there is one. */
static void put_doubled(const view *v, const float *r, const float *bias, float *y, unsigned adds)
{
#pragma omp parallel for
    for (int64_t line = 0; line < v->B * v->Ho; line++) {
        const int64_t b = line / v->Ho, h = line % v->Ho;
        for (int64_t w = 0; w < v->Wo; w++) {
            const float *from = r + ((b * (v->Ho / 2) + h / 2) * (v->Wo / 2) + w / 2) * v->Co;
            float *to = y + (line * v->Wo + w) * v->Co;
            for (int64_t c = 0; c < v->Co; c++)
                fx_put(&to[c], from[c] + (bias ? bias[c] : 0.0f), adds);
        }
    }
}

/* y += bias and a full-sized r, either of which may be NULL. */
static void add_epilogue(const view *v, const float *r, const float *bias, float *y)
{
#pragma omp parallel for
    for (int64_t p = 0; p < v->B * v->Ho * v->Wo; p++)
        for (int64_t c = 0; c < v->Co; c++)
            y[p * v->Co + c] += (r ? r[p * v->Co + c] : 0.0f) + (bias ? bias[c] : 0.0f);
}

/* All that is added by channel; NULL: nothing is. */
static const float *bias_of(const fx_exec *exec, const fx_node *n, const view *v)
{
    const float *bias = fx_f32(n->in[BIAS]), *second = fx_f32(n->in[BIAS2]);
    if (!second) return bias;
    float *sum = (void *)((char *)fx_scratch(exec) + layout_of(n, v, false).bias);
    for (int64_t c = 0; c < v->Co; c++)
        sum[c] = bias[c] + second[c];
    return sum;
}

static fx_status forward_upsampled(fx_exec *exec, const fx_node *n, const view *v)
{
    const layout l = layout_of(n, v, false);
    char *scratch = fx_scratch(exec);
    float *F = (void *)(scratch + l.weights), *y = fx_f32(n->out[0]);
    for (int s = 0; s < v->sources; s++) {
        const fx_dnn_conv shape = forward_shape(n, v, s);
        fold(v, s, fx_f32(n->in[W]), F);
        const fx_dnn_data data = {.dst = fx_f32(n->in[SOURCE[s]]), .weights = F, .out = y};
        FX_TRY(fx_dnn_conv_run(exec, &shape, &data, scratch + l.library));
    }
    const float *r = fx_f32(n->in[RESIDUAL]), *bias = bias_of(exec, n, v);
    if (r && v->residual_upsample)
        put_doubled(v, r, bias, y, true);
    else if (r || bias)
        add_epilogue(v, r, bias, y);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    if (v.upsample) return forward_upsampled(exec, n, &v);
    char *scratch = fx_scratch(exec);
    const float *bias = bias_of(exec, n, &v);
    float *y = fx_f32(n->out[0]);
    if (n->in[RESIDUAL] && v.residual_upsample)
        put_doubled(&v, fx_f32(n->in[RESIDUAL]), NULL, y, false);
    for (int s = 0; s < v.sources; s++) {
        const fx_dnn_conv shape = forward_shape(n, &v, s);
        const fx_dnn_data data = {.src = fx_f32(n->in[SOURCE[s]]),
                                  .weights = fx_f32(n->in[W]) + v.first[s] * v.k * v.k,
                                  .bias = bias,
                                  .other = fx_f32(n->in[RESIDUAL]),
                                  .out = y};
        FX_TRY(fx_dnn_conv_run(exec, &shape, &data, scratch + layout_of(n, &v, false).library));
    }
    return FX_OK;
}

/* `last` is the shape of the run before, zeros at first; becomes that of this one. */
static fx_status backward_data(fx_exec *exec, const fx_node *n, const view *v, const layout *l, int s,
                               fx_dnn_conv *last)
{
    char *scratch = fx_scratch(exec);
    float *turned = (void *)(scratch + l->weights);
    const float *w = fx_f32(n->in[W]), *dy = fx_f32(n->dout[0]);
    float *dx = fx_f32(n->din[SOURCE[s]]);
    const fx_dnn_conv shape = data_shape(n, v, s);
    fx_dnn_data data = {.src = dy, .dst = dy, .weights = turned, .out = dx, .after = last};
    if (v->upsample)
        fold(v, s, w, turned);
    else if (turns(v))
        turn(v, s, w, turned);
    else
        data.weights = w + v->first[s] * v->k * v->k;
    FX_TRY(fx_dnn_conv_run(exec, &shape, &data, scratch + l->library));
    *last = shape;
    return FX_OK;
}

static fx_status backward_weights(fx_exec *exec, const fx_node *n, const view *v, const layout *l,
                                  int s, fx_dnn_conv *last)
{
    char *scratch = fx_scratch(exec);
    const float *x = fx_f32(n->in[SOURCE[s]]), *dy = fx_f32(n->dout[0]);
    float *dF = (void *)(scratch + l->weights), *dw = fx_f32(n->din[W]);
    const fx_dnn_conv shape = weights_shape(n, v, s);
    fx_dnn_data data = {.src = x, .dst = dy, .dweights = dw + v->first[s] * v->k * v->k};
    if (v->upsample) data = (fx_dnn_data){.src = dy, .dst = x, .dweights = dF};
    data.after = last;
    FX_TRY(fx_dnn_conv_run(exec, &shape, &data, scratch + l->library));
    *last = shape;
    if (v->upsample) unfold(v, s, dF, dw, fx_adds(n, W));
    return FX_OK;
}

static void backward_bias(fx_exec *exec, const fx_node *n, const view *v, const layout *l)
{
    char *scratch = fx_scratch(exec);
    float *parts = (void *)(scratch + l->parts), *sums = (void *)(scratch + l->bias);
    const float *dy = fx_f32(n->dout[0]);
    const int64_t rows = v->B * v->Ho * v->Wo;
    if (!n->din[BIAS2]) {
        fx_column_sums(dy, rows, v->Co, parts, fx_f32(n->din[BIAS]), fx_adds(n, BIAS));
        return;
    }
    fx_column_sums(dy, rows, v->Co, parts, sums, 0);
    for (int64_t c = 0; c < v->Co; c++) {
        if (n->din[BIAS]) fx_put(fx_f32(n->din[BIAS]) + c, sums[c], fx_adds(n, BIAS));
        fx_put(fx_f32(n->din[BIAS2]) + c, sums[c], fx_adds(n, BIAS2));
    }
}

/* dr = dy, or its sums over 2x2 pixels. */
static void backward_residual(const fx_node *n, const view *v)
{
    const float *dy = fx_f32(n->dout[0]);
    float *dr = fx_f32(n->din[RESIDUAL]);
    const int64_t half = v->residual_upsample ? 2 : 1, H = v->Ho / half, width = v->Wo / half;
    const unsigned adds = fx_adds(n, RESIDUAL);
#pragma omp parallel for
    for (int64_t line = 0; line < v->B * H; line++)
        for (int64_t w = 0; w < width; w++) {
            const float *from = dy + (line * half * v->Wo + w * half) * v->Co,
                        *below = from + v->Wo * v->Co;
            float *to = dr + (line * width + w) * v->Co;
            for (int64_t c = 0; c < v->Co; c++)
                fx_put(&to[c],
                       half == 1 ? from[c] : from[c] + from[v->Co + c] + below[c] + below[v->Co + c],
                       adds);
        }
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const layout l = layout_of(n, &v, true);
    fx_dnn_conv last = {0};
    for (int s = 0; s < v.sources; s++) {
        if (n->din[SOURCE[s]]) FX_TRY(backward_data(exec, n, &v, &l, s, &last));
        if (n->din[W]) FX_TRY(backward_weights(exec, n, &v, &l, s, &last));
    }
    if (n->din[BIAS] || n->din[BIAS2]) backward_bias(exec, n, &v, &l);
    if (n->din[RESIDUAL]) backward_residual(n, &v);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "3x3, bias",
     .attrs.conv = {1, 1, false, false},
     .dim = {{2, 5, 6, 8}, {16, 8, 3, 3}, {16}},
     .scale = 0.3f},
    {.name = "3x3, residual",
     .attrs.conv = {1, 1, false, false},
     .dim = {{1, 6, 4, 8}, {8, 8, 3, 3}, {8}, {1, 6, 4, 8}},
     .scale = 0.3f},
    {.name = "3x3, 1 to 3 channels, no bias",
     .attrs.conv = {1, 1, false, false},
     .dim = {{2, 5, 4, 1}, {3, 1, 3, 3}},
     .scale = 0.3f},
    {.name = "3x3, 40 to 1 channels",
     .attrs.conv = {1, 1, false, false},
     .dim = {{1, 5, 7, 40}, {1, 40, 3, 3}, {1}},
     .scale = 0.3f},
    {.name = "1x1, two sources, residual doubled",
     .attrs.conv = {1, 0, false, true},
     .dim = {{2, 4, 6, 8}, {16, 20, 1, 1}, {16}, {2, 2, 3, 16}, {2, 4, 6, 12}},
     .scale = 0.3f},
    {.name = "3x3, two sources, residual",
     .attrs.conv = {1, 1, false, false},
     .dim = {{1, 5, 3, 6}, {8, 9, 3, 3}, {8}, {1, 5, 3, 8}, {1, 5, 3, 3}},
     .scale = 0.3f},
    {.name = "upsample",
     .attrs.conv = {1, 1, true, false},
     .dim = {{2, 3, 5, 8}, {16, 8, 3, 3}, {16}},
     .scale = 0.3f},
    {.name = "upsample, residual doubled",
     .attrs.conv = {1, 1, true, true},
     .dim = {{1, 4, 3, 5}, {8, 5, 3, 3}, {8}, {1, 4, 3, 8}},
     .scale = 0.3f},
    {.name = "upsample, two sources, residual",
     .attrs.conv = {1, 1, true, false},
     .dim = {{2, 2, 3, 3}, {4, 5, 3, 3}, {0}, {2, 4, 6, 4}, {2, 2, 3, 2}},
     .scale = 0.3f},
    {.name = "3x3, two biases, residual",
     .attrs.conv = {1, 1, false, false},
     .dim = {{2, 6, 4, 8}, {16, 8, 3, 3}, {16}, {2, 6, 4, 16}, {0}, {16}},
     .scale = 0.3f},
    {.name = "3x3, two biases, residual doubled, two sources",
     .attrs.conv = {1, 1, false, true},
     .dim = {{1, 4, 6, 5}, {7, 8, 3, 3}, {7}, {1, 2, 3, 7}, {1, 4, 6, 3}, {7}},
     .scale = 0.3f},
    {.name = "upsample, two biases, residual",
     .attrs.conv = {1, 1, true, false},
     .dim = {{2, 2, 3, 8}, {8, 8, 3, 3}, {8}, {2, 4, 6, 8}, {0}, {8}},
     .scale = 0.3f},
    {.name = "stride 2",
     .attrs.conv = {2, 1, false, false},
     .dim = {{2, 6, 7, 8}, {8, 8, 3, 3}, {8}},
     .scale = 0.3f},
    {.name = "patches of 2",
     .attrs.conv = {2, 0, false, false},
     .dim = {{1, 4, 6, 3}, {16, 3, 2, 2}, {16}},
     .scale = 0.3f},
    {0},
};

const fx_op fx_op_conv = {
    .name = "conv",
    .shape = shape,
    .parameters = FX_IN(W) | FX_IN(BIAS) | FX_IN(BIAS2),
    .converts = FX_IN(X),
    .gradients = FX_IN(X) | FX_IN(W) | FX_IN(BIAS) | FX_IN(RESIDUAL) | FX_IN(X2) | FX_IN(BIAS2),
    .backward_reads = FX_IN(X) | FX_IN(W) | FX_IN(X2),
    .passes_gradient = FX_IN(RESIDUAL),
    .cases = cases,
};
const fx_kernel fx_cpu_conv = {prepare, forward, backward};
