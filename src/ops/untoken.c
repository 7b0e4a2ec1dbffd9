/* Back from tokens to an image (spec 4, step 2): drops token 0; y[r, i, j] = x[r, 1 + i w + j]. */
#include "ops.h"

#include <string.h>

enum { X }; /* in[]: (R,1+hw,D) -> (R,h,w,D) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X];
    const int64_t h = n->attrs.untoken.height;
    FX_REQUIRE(x && x->rank == 3 && h > 0 && x->dim[1] > 1 && (x->dim[1] - 1) % h == 0, FX_EARG,
               "tokens %s are not one and an image %lld high", fx_shape_text(x), (long long)h);
    return fx_out_shape(n, 0, 4, FX_DIMS(x->dim[0], h, (x->dim[1] - 1) / h, x->dim[2]));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->in[X]->dim[0], D = n->in[X]->dim[2], row = n->in[X]->dim[1] * D;
    const float *x = fx_f32(n->in[X]);
    float *y = fx_f32(n->out[0]);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < R; r++)
        memcpy(y + r * (row - D), x + r * row + D, sizeof *y * (size_t)(row - D));
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->in[X]->dim[0], D = n->in[X]->dim[2], row = n->in[X]->dim[1] * D;
    const float *dy = fx_f32(n->dout[0]);
    float *dx = fx_f32(n->din[X]);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < R; r++) {
        for (int64_t k = 0; k < D; k++)
            fx_put(&dx[r * row + k], 0.0f, fx_adds(n, X));
        for (int64_t k = D; k < row; k++)
            fx_put(&dx[r * row + k], dy[r * (row - D) + k - D], fx_adds(n, X));
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "wide", .attrs = {.untoken = {2}}, .dim = {{3, 7, 5}}},
    {.name = "many tokens", .attrs = {.untoken = {5}}, .dim = {{2, 36, 16}}},
    {.name = "one pixel", .attrs = {.untoken = {1}}, .dim = {{1, 2, 4}}},
    {0},
};

const fx_op fx_op_untoken = {
    .name = "untoken",
    .shape = shape,
    .gradients = FX_IN(X),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_untoken = {.forward = forward, .backward = backward};
