/* Tokens of the transformer (spec 3): the embedding as token 0, then the pixels row by row, plus
 * positions. M divides R: both tasks of a sample share an embedding.
 *   y[r, 0] = emb[r % M] + pos[0],  y[r, 1 + p] = x[r, p] + pos[1 + p] */
#include "ops.h"

enum { X, EMB, POS }; /* in[]: (R,h,w,D), (M,D), (1,1+hw,D) -> (R,1+hw,D) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X], *emb = n->in[EMB];
    FX_REQUIRE(x && emb && n->in[POS] && x->rank == 4, FX_EARG,
               "needs an image, an embedding and positions");
    const int64_t *d = x->dim, T = 1 + d[1] * d[2];
    FX_REQUIRE(emb->rank == 2 && emb->dim[1] == d[3] && d[0] % emb->dim[0] == 0, FX_EARG,
               "embedding %s does not fit %s", fx_shape_text(emb), fx_shape_text(x));
    FX_REQUIRE(fx_has_shape(n->in[POS], 3, FX_DIMS(1, T, d[3])), FX_EARG,
               "positions %s do not fit %s: the side of the image is part of a trained model",
               fx_shape_text(n->in[POS]), fx_shape_text(x));
    return fx_out_shape(n, 0, 3, FX_DIMS(d[0], T, d[3]));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->out[0]->dim[0], T = n->out[0]->dim[1], D = n->out[0]->dim[2],
                  M = n->in[EMB]->dim[0];
    const float *x = fx_f32(n->in[X]), *emb = fx_f32(n->in[EMB]), *pos = fx_f32(n->in[POS]);
    float *y = fx_f32(n->out[0]);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < R * T; i++) {
        const int64_t r = i / T, t = i % T;
        const float *from = t == 0 ? emb + r % M * D : x + (r * (T - 1) + t - 1) * D;
        for (int64_t k = 0; k < D; k++)
            y[i * D + k] = from[k] + pos[t * D + k];
    }
    return FX_OK;
}

/* dpos is the sum over rows, in order; demb[m] that over the rows r with r % M = m. */
static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->out[0]->dim[0], T = n->out[0]->dim[1], D = n->out[0]->dim[2],
                  M = n->in[EMB]->dim[0];
    const float *dy = fx_f32(n->dout[0]);
    float *dx = fx_f32(n->din[X]), *demb = fx_f32(n->din[EMB]), *dpos = fx_f32(n->din[POS]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < T; t++) {
        for (int64_t r = 0; dx && t > 0 && r < R; r++)
            for (int64_t k = 0; k < D; k++)
                fx_put(&dx[(r * (T - 1) + t - 1) * D + k], dy[(r * T + t) * D + k], fx_adds(n, X));
        for (int64_t r = 0; dpos && r < R; r++)
            for (int64_t k = 0; k < D; k++)
                fx_put(&dpos[t * D + k], dy[(r * T + t) * D + k], r > 0 || fx_adds(n, POS));
        for (int64_t r = 0; demb && t == 0 && r < R; r++)
            for (int64_t k = 0; k < D; k++)
                fx_put(&demb[r % M * D + k], dy[r * T * D + k], r >= M || fx_adds(n, EMB));
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "shared embedding", .dim = {{4, 2, 3, 5}, {2, 5}, {1, 7, 5}}},
    {.name = "many rows", .dim = {{6, 5, 7, 16}, {3, 16}, {1, 36, 16}}},
    {.name = "one pixel", .dim = {{1, 1, 1, 8}, {1, 8}, {1, 2, 8}}},
    {0},
};

const fx_op fx_op_tokens = {
    .name = "tokens",
    .shape = shape,
    .parameters = FX_IN(POS),
    .gradients = FX_IN(X) | FX_IN(EMB) | FX_IN(POS),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_tokens = {.forward = forward, .backward = backward};
