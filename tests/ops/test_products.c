/* test_products.c: forward of conv, linear, attention and drop_rows, every registered case, against
 * plain loops in double. (Backward is compared with forward by test_gradients.c.)
 *
 * Planted and caught, in conv.c: the second source multiplied by the first one's weights, the
 * residual's columns not advanced, an upsampled second source stored over the first, the kernel turned
 * while folded (which backward agrees with); in linear.c the token left out of the mask's element; in
 * dropout.h samples not counted anew for the second task; in attention.c sums not rescaled to a new
 * maximum, keys behind the last one counted; in
 * drop_rows.c what is kept rescaled, nothing ever dropped, a number an element. */
#include "harness.h"

static const double TOLERANCE = 2e-6; /* of the largest element */

static void compare(fx_test *t, fx_op_run *r, const double *want)
{
    const float *y = fx_f32(r->node.out[0]);
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < fx_count(r->node.out[0]); i++) {
        worst = fmax(worst, fabs((double)y[i] - want[i]));
        largest = fmax(largest, fabs(want[i]));
    }
    char what[100];
    snprintf(what, sizeof what, "forward is off by %.2g of its largest element", worst / largest);
    fx_test_check(t, worst <= TOLERANCE * largest, r, what);
}

/* Element (b, h, w, c) of an image read as if doubled, zero outside. */
static double pixel(const fx_tensor *x, bool doubled, int64_t b, int64_t h, int64_t w, int64_t c)
{
    const int64_t scale = doubled ? 2 : 1;
    if (h < 0 || w < 0 || h >= scale * x->dim[1] || w >= scale * x->dim[2]) return 0;
    return (double)fx_f32(x)[((b * x->dim[1] + h / scale) * x->dim[2] + w / scale) * x->dim[3] + c];
}

static double conv_at(const fx_node *n, const int64_t at[4])
{
    enum { X, W, BIAS, RESIDUAL, X2, BIAS2 };
    const fx_conv_attrs *a = &n->attrs.conv;
    const int64_t *d = n->in[W]->dim, c1 = n->in[X]->dim[3];
    double y = n->in[BIAS] ? (double)fx_f32(n->in[BIAS])[at[3]] : 0.0;
    if (n->in[BIAS2]) y += (double)fx_f32(n->in[BIAS2])[at[3]];
    if (n->in[RESIDUAL]) y += pixel(n->in[RESIDUAL], a->residual_upsample, at[0], at[1], at[2], at[3]);
    for (int64_t c = 0; c < d[1]; c++)
        for (int64_t i = 0; i < d[2]; i++)
            for (int64_t j = 0; j < d[3]; j++) {
                const double w = (double)fx_f32(n->in[W])[((at[3] * d[1] + c) * d[2] + i) * d[3] + j];
                y += w * pixel(n->in[c < c1 ? X : X2], a->upsample, at[0],
                               at[1] * a->stride + i - a->pad, at[2] * a->stride + j - a->pad,
                               c < c1 ? c : c - c1);
            }
    return y;
}

static void conv(fx_test *t, fx_op_run *r)
{
    const int64_t *d = r->node.out[0]->dim, count = fx_count(r->node.out[0]);
    double *want = fx_calloc((size_t)count, sizeof *want);
    for (int64_t i = 0; i < count; i++) {
        const int64_t at[4] = {i / d[3] / d[2] / d[1], i / d[3] / d[2] % d[1], i / d[3] % d[2],
                               i % d[3]};
        want[i] = conv_at(&r->node, at);
    }
    compare(t, r, want);
    fx_free(want);
}

/* The number in [0, 1) of element i of row b, by rng.h, as dropout.h says. */
static double random_of(const fx_test *t, const fx_node *n, int64_t b, int64_t i)
{
    const fx_step *step = t->exec->step;
    const uint32_t slot = (uint32_t)(step->slot0 + n->rows.slot0 + b % n->rows.samples);
    const uint32_t task = (uint32_t)(n->rows.task0 + b / n->rows.samples);
    const fx_philox random = fx_philox4x32(
        step->seed, (const uint32_t[4]){(uint32_t)i / 4, 2 * slot + task, n->stream, step->step});
    return (double)fx_uniform(random.word[i % 4]);
}

/* The masked, activated element plus residual. */
static double linear_at(const fx_test *t, const fx_node *n, int64_t m, int64_t c)
{
    enum { X, W, BIAS, RESIDUAL, X2, BIAS2 };
    const fx_linear_attrs *a = &n->attrs.linear;
    const int64_t N = n->in[W]->dim[0], width = n->in[W]->dim[1], K = n->in[X]->dim[n->in[X]->rank - 1];
    const int64_t per_sample = fx_count(n->out[0]) / n->out[0]->dim[0] / N;
    double z = n->in[BIAS] ? (double)fx_f32(n->in[BIAS])[c] : 0.0;
    for (int64_t k = 0; k < width; k++) {
        const float x =
            k < K ? fx_f32(n->in[X])[m * K + k] : fx_f32(n->in[X2])[m * (width - K) + k - K];
        z += (double)x * (double)fx_f32(n->in[W])[c * width + k];
    }
    const double u = sqrt(2 / 3.14159265358979323846) * (z + 0.044715 * z * z * z);
    double y = a->act == FX_SILU        ? z / (1 + exp(-z))
               : a->act == FX_GELU_TANH ? z / 2 * (1 + tanh(u))
               : a->act == FX_GELU_ERF  ? z / 2 * (1 + erf(z / sqrt(2)))
                                        : z;
    const int64_t b = m / per_sample, i = m % per_sample * N + c;
    y *= random_of(t, n, b, i) >= (double)a->dropout ? 1 / (1 - (double)a->dropout) : 0;
    return y + (n->in[RESIDUAL] ? (double)fx_f32(n->in[RESIDUAL])[m * N + c] : 0.0);
}

static void linear(fx_test *t, fx_op_run *r)
{
    const int64_t count = fx_count(r->node.out[0]), N = r->node.in[1]->dim[0];
    double *want = fx_calloc((size_t)count, sizeof *want);
    for (int64_t i = 0; i < count; i++)
        want[i] = linear_at(t, &r->node, i / N, i % N);
    compare(t, r, want);
    fx_free(want);
}

/* One query of one head: o (d) and its log-sum-exp. */
static double attention_row(const fx_node *n, int64_t b, int64_t h, int64_t i, double *o)
{
    const fx_tensor *x = n->in[0];
    const int64_t row = x->dim[x->rank - 1], T = fx_count(x) / x->dim[0] / row, D = row / 3,
                  d = D / n->attrs.attention.heads;
    const float *q = fx_f32(n->in[0]) + (b * T + i) * row + h * d,
                *k = fx_f32(n->in[0]) + b * T * row + D + h * d;
    double *s = fx_calloc((size_t)T, sizeof *s), most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < T; j++) {
        for (int64_t c = 0; c < d; c++)
            s[j] += (double)q[c] * (double)k[j * row + c] / sqrt((double)d);
        most = fmax(most, s[j]);
    }
    for (int64_t j = 0; j < T; j++)
        sum += exp(s[j] - most);
    for (int64_t c = 0; c < d; c++) {
        o[c] = 0;
        for (int64_t j = 0; j < T; j++)
            o[c] += exp(s[j] - most) / sum * (double)k[j * row + D + c];
    }
    fx_free(s);
    return most + log(sum);
}

static void attention(fx_test *t, fx_op_run *r)
{
    const fx_tensor *y = r->node.out[0];
    const int64_t B = y->dim[0], D = y->dim[y->rank - 1], T = fx_count(y) / B / D,
                  heads = r->node.attrs.attention.heads, d = D / heads;
    double *want = fx_calloc((size_t)(B * T * D), sizeof *want), off = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < T; i++) {
                const double lse = attention_row(&r->node, b, h, i, want + (b * T + i) * D + h * d);
                off = fmax(off, fabs(lse - (double)fx_f32(r->node.saved[0])[(b * heads + h) * T + i]) /
                                    fmax(1, fabs(lse)));
            }
    compare(t, r, want);
    fx_test_check(t, off <= TOLERANCE, r, "log-sum-exp");
    fx_free(want);
}

static void drop_rows(fx_test *t, fx_op_run *r)
{
    enum { X, BASE };
    const fx_node *n = &r->node;
    const int64_t count = fx_count(n->out[0]), D = n->out[0]->dim[1];
    double *want = fx_calloc((size_t)count, sizeof *want);
    int64_t dropped = 0;
    for (int64_t i = 0; i < count; i++) {
        const bool drop = random_of(t, n, i / D, 0) < (double)n->attrs.drop_rows.p;
        dropped += drop && i % D == 0;
        want[i] = (double)fx_f32(n->in[BASE])[i] + (drop ? 0 : (double)fx_f32(n->in[X])[i]);
    }
    compare(t, r, want);
    fx_test_check(t, n->attrs.drop_rows.p > 0 ? dropped > 0 && dropped < count / D : dropped == 0, r,
                  "some rows are dropped, not all");
    fx_free(want);
}

static void every_case(fx_test *t, fx_op_id id, void (*check)(fx_test *t, fx_op_run *r))
{
    for (const fx_op_case *c = fx_ops[id]->cases; c->name && fx_test_has(t, id); c++) {
        fx_op_run *r = fx_test_open(t, id, c);
        fx_test_forward(t, r);
        check(t, r);
        fx_test_close(r);
    }
}

int main(void)
{
    fx_test t = fx_test_begin(fx_test_backend());
    every_case(&t, FX_OP_conv, conv);
    every_case(&t, FX_OP_linear, linear);
    every_case(&t, FX_OP_attention, attention);
    every_case(&t, FX_OP_drop_rows, drop_rows);
    return fx_test_end(&t);
}
