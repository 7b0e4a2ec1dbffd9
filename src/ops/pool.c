/* 2x2 average pooling: y[i, j] = (x[2i, 2j] + x[2i, 2j+1] + x[2i+1, 2j] + x[2i+1, 2j+1]) / 4, on the
 * unnormalised branch of a block that halves its image. */
#include "ops.h"

enum { X }; /* in[]: (B,H,W,C), H and W even -> (B,H/2,W/2,C) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X];
    FX_REQUIRE(x && x->rank == 4 && x->dim[1] % 2 == 0 && x->dim[2] % 2 == 0, FX_EARG,
               "%s is not an image with even sides", fx_shape_text(x));
    return fx_out_shape(n, 0, 4, FX_DIMS(x->dim[0], x->dim[1] / 2, x->dim[2] / 2, x->dim[3]));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t *d = n->out[0]->dim, rows = d[0] * d[1], W = d[2], C = d[3];
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *above = fx_f32(n->in[X]) + 4 * r * W * C, *below = above + 2 * W * C;
        float *y = fx_f32(n->out[0]) + r * W * C;
        for (int64_t w = 0; w < W; w++, y += C, above += 2 * C, below += 2 * C)
            for (int64_t c = 0; c < C; c++)
                y[c] = 0.25f * ((above[c] + above[C + c]) + (below[c] + below[C + c]));
    }
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t *d = n->out[0]->dim, rows = 2 * d[0] * d[1], W = d[2], C = d[3];
    const unsigned adds = fx_adds(n, X);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *dy = fx_f32(n->dout[0]) + r / 2 * W * C;
        float *dx = fx_f32(n->din[X]) + r * 2 * W * C;
        for (int64_t w = 0; w < 2 * W; w++)
            for (int64_t c = 0; c < C; c++)
                fx_put(&dx[w * C + c], 0.25f * dy[w / 2 * C + c], adds);
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "small", .dim = {{2, 4, 6, 5}}},
    {.name = "one block", .dim = {{1, 2, 2, 1}}},
    {0},
};

const fx_op fx_op_pool = {
    .name = "pool", .shape = shape, .gradients = FX_IN(X), .cheap = true, .cases = cases};
const fx_kernel fx_cpu_pool = {.forward = forward, .backward = backward};
