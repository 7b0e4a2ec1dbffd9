/* Adds task features to both tasks' rows:
 *   y = x + scale [a; b]          a's rows first, then b's
 * One op for residual sums (b absent) and for conditioning, where x holds SR rows then FC rows. */
#include "ops.h"

enum { X, A, B }; /* in[]: (R, ...), (Ra, ...), (Rb, ...) with Ra + Rb = R; B may be NULL */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X], *a = n->in[A], *b = n->in[B];
    FX_REQUIRE(x && a, FX_EARG, "needs x and a");
    FX_REQUIRE(fx_count(a) + (b ? fx_count(b) : 0) == fx_count(x) &&
                   a->dim[a->rank - 1] == x->dim[x->rank - 1],
               FX_EARG, "%s and %s do not make up %s", fx_shape_text(a), fx_shape_text(b),
               fx_shape_text(x));
    return fx_out_shape(n, 0, x->rank, x->dim);
}

static void add(const float *x, const float *a, float scale, float *y, int64_t count)
{
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] + scale * a[i];
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t first = fx_count(n->in[A]);
    const float *x = fx_f32(n->in[X]), scale = n->attrs.add.scale;
    float *y = fx_f32(n->out[0]);
    add(x, fx_f32(n->in[A]), scale, y, first);
    if (n->in[B]) add(x + first, fx_f32(n->in[B]), scale, y + first, fx_count(n->in[B]));
    return FX_OK;
}

static void pass_on(const float *dy, float scale, float *dx, int64_t count, unsigned adds)
{
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++)
        fx_put(&dx[i], scale * dy[i], adds);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const float *dy = fx_f32(n->dout[0]), scale = n->attrs.add.scale;
    const int64_t first = fx_count(n->in[A]);
    if (n->din[X]) pass_on(dy, 1.0f, fx_f32(n->din[X]), fx_count(n->in[X]), fx_adds(n, X));
    if (n->din[A]) pass_on(dy, scale, fx_f32(n->din[A]), first, fx_adds(n, A));
    if (n->din[B]) pass_on(dy + first, scale, fx_f32(n->din[B]), fx_count(n->in[B]), fx_adds(n, B));
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "two tasks", .attrs = {.add = {0.5f}}, .dim = {{4, 3, 2, 5}, {2, 3, 2, 5}, {2, 3, 2, 5}}},
    {.name = "residual", .attrs = {.add = {1.0f}}, .dim = {{3, 7}, {3, 7}}},
    {0},
};

const fx_op fx_op_add = {
    .name = "add",
    .shape = shape,
    .gradients = FX_IN(X) | FX_IN(A) | FX_IN(B),
    .passes_gradient = FX_IN(X),
    .cases = cases,
};
const fx_kernel fx_cpu_add = {.forward = forward, .backward = backward};
