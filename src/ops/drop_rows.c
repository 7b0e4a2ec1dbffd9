/* A condition that is left out at times (UViT's decoder): y[b] = base[b] + m[b] x[b] with m[b] = 0 with
 * probability p and else 1, not rescaled; one number a sample, whose mask element 0 is (dropout.h).
 * Outside training m = 1. */
#include "dropout.h"
#include "ops.h"

enum { X, BASE }; /* in[]: (B,D) twice -> (B,D) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X], *base = n->in[BASE];
    const float p = n->attrs.drop_rows.p;
    FX_REQUIRE(x && base && x->rank == 2 && fx_has_shape(base, 2, x->dim), FX_EARG,
               "%s: rows %s do not fit %s", n->name, fx_shape_text(x), fx_shape_text(base));
    FX_REQUIRE(p >= 0.0f && p < 1.0f, FX_EARG, "%s: probability %g", n->name, (double)p);
    return fx_out_shape(n, 0, 2, x->dim);
}

static float kept(const fx_dropout *d, int64_t b)
{
    float factor = 1.0f;
    if (fx_dropout_on(d)) fx_dropout_factors(d, b, 0, 1, &factor);
    return factor > 0.0f ? 1.0f : 0.0f;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_dropout d = fx_dropout_of(exec, n, n->attrs.drop_rows.p);
    const int64_t B = n->in[X]->dim[0], D = n->in[X]->dim[1];
    const float *x = fx_f32(n->in[X]), *base = fx_f32(n->in[BASE]);
    float *y = fx_f32(n->out[0]);
    for (int64_t b = 0; b < B; b++) {
        const float m = kept(&d, b);
        for (int64_t k = 0; k < D; k++)
            y[b * D + k] = base[b * D + k] + m * x[b * D + k];
    }
    return FX_OK;
}

/* dx = m dy; dbase = dy */
static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const fx_dropout d = fx_dropout_of(exec, n, n->attrs.drop_rows.p);
    const int64_t B = n->in[X]->dim[0], D = n->in[X]->dim[1];
    const float *dy = fx_f32(n->dout[0]);
    float *dx = fx_f32(n->din[X]), *dbase = fx_f32(n->din[BASE]);
    for (int64_t b = 0; b < B; b++) {
        const float m = kept(&d, b);
        for (int64_t k = 0; k < D; k++) {
            if (dx) fx_put(&dx[b * D + k], m * dy[b * D + k], fx_adds(n, X));
            if (dbase) fx_put(&dbase[b * D + k], dy[b * D + k], fx_adds(n, BASE));
        }
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "half dropped",
     .attrs = {.drop_rows = {0.5f}},
     .dim = {{12, 16}, {12, 16}},
     .rows = {12, 3, 1, 0}},
    {.name = "odd width",
     .attrs = {.drop_rows = {0.6f}},
     .dim = {{7, 5}, {7, 5}},
     .rows = {7, 0, 0, 0}},
    {.name = "never", .attrs = {.drop_rows = {0.0f}}, .dim = {{2, 8}, {2, 8}}},
    {0},
};

const fx_op fx_op_drop_rows = {
    .name = "drop_rows",
    .shape = shape,
    .gradients = FX_IN(X) | FX_IN(BASE),
    .passes_gradient = FX_IN(BASE),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_drop_rows = {.forward = forward, .backward = backward};
