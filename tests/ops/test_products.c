/* test_products.c: forward of conv, every registered case, against plain loops in
 * double. (Backward is compared with forward by test_gradients.c.)
 *
 * Planted and caught, in conv.c: the second source multiplied by the first one's weights, the
 * residual's columns not advanced, the kernel turned while folded (which backward agrees with). */
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
    enum { X, W, BIAS, RESIDUAL, X2 };
    const fx_conv_attrs *a = &n->attrs.conv;
    const int64_t *d = n->in[W]->dim, c1 = n->in[X]->dim[3];
    double y = n->in[BIAS] ? (double)fx_f32(n->in[BIAS])[at[3]] : 0.0;
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

static void every_case(fx_test *t, fx_op_id id, void (*check)(fx_test *t, fx_op_run *r))
{
    for (const fx_op_case *c = fx_ops[id]->cases; c->name; c++) {
        fx_op_run *r = fx_test_open(t, id, c);
        fx_test_forward(t, r);
        check(t, r);
        fx_test_close(r);
    }
}

int main(void)
{
    fx_test t = fx_test_begin("cpu");
    every_case(&t, FX_OP_conv, conv);
    return fx_test_end(&t);
}
