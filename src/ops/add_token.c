/* The decoder's embedding (spec 4, step 1): y = x, and y[r, 0] += emb[r % M]. M divides R. */
#include "ops.h"

#include <string.h>

enum { X, EMB }; /* in[]: (R,T,D), (M,D) -> (R,T,D) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X], *emb = n->in[EMB];
    FX_REQUIRE(x && emb && x->rank == 3 && emb->rank == 2 && emb->dim[1] == x->dim[2] &&
                   x->dim[0] % emb->dim[0] == 0,
               FX_EARG, "embedding %s does not fit tokens %s", fx_shape_text(emb), fx_shape_text(x));
    return fx_out_shape(n, 0, 3, x->dim);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->in[X]->dim[0], D = n->in[X]->dim[2], row = n->in[X]->dim[1] * D,
                  M = n->in[EMB]->dim[0];
    const float *x = fx_f32(n->in[X]), *emb = fx_f32(n->in[EMB]);
    float *y = fx_f32(n->out[0]);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < R; r++) {
        for (int64_t k = 0; k < D; k++)
            y[r * row + k] = x[r * row + k] + emb[r % M * D + k];
        memcpy(y + r * row + D, x + r * row + D, sizeof *y * (size_t)(row - D));
    }
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->in[X]->dim[0], D = n->in[X]->dim[2], row = n->in[X]->dim[1] * D,
                  M = n->in[EMB]->dim[0];
    const float *dy = fx_f32(n->dout[0]);
    float *dx = fx_f32(n->din[X]), *demb = fx_f32(n->din[EMB]);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < (dx ? R * row : 0); i++)
        fx_put(&dx[i], dy[i], fx_adds(n, X));
    for (int64_t r = 0; demb && r < R; r++)
        for (int64_t k = 0; k < D; k++)
            fx_put(&demb[r % M * D + k], dy[r * row + k], r >= M || fx_adds(n, EMB));
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "shared embedding", .dim = {{4, 3, 5}, {2, 5}}},
    {.name = "four at once", .dim = {{4, 3, 8}, {2, 8}}},
    {.name = "only token 0", .dim = {{2, 1, 6}, {2, 6}}},
    {0},
};

const fx_op fx_op_add_token = {
    .name = "add_token",
    .shape = shape,
    .gradients = FX_IN(X) | FX_IN(EMB),
    .passes_gradient = FX_IN(X),
    .cases = cases,
};
const fx_kernel fx_cpu_add_token = {.forward = forward, .backward = backward};
