/* Patches of p x p pixels as channels and back (the baselines' patch embedding, and latent patches):
 *   y[r, i, j, (a p + b) C + c] = x[r, i p + a, j p + b, c]
 * `inverse` goes from right to left. A permutation: each pass copies runs of C values, its gradient
 * back. */
#include "ops.h"

enum { X }; /* in[]: (R,h,w,C) -> (R,h/p,w/p,p p C); inverse: (R,h,w,p p C) -> (R,h p,w p,C) */

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X];
    const int64_t p = n->attrs.patch.size;
    FX_REQUIRE(x && x->rank == 4 && p > 0, FX_EARG, "needs an image and a patch size");
    const int64_t *d = x->dim;
    if (n->attrs.patch.inverse) {
        FX_REQUIRE(d[3] % (p * p) == 0, FX_EARG, "the channels of %s are no patches of %lld x %lld",
                   fx_shape_text(x), (long long)p, (long long)p);
        return fx_out_shape(n, 0, 4, FX_DIMS(d[0], d[1] * p, d[2] * p, d[3] / (p * p)));
    }
    FX_REQUIRE(d[1] % p == 0 && d[2] % p == 0, FX_EARG,
               "%s does not divide into patches of %lld x %lld", fx_shape_text(x), (long long)p,
               (long long)p);
    return fx_out_shape(n, 0, 4, FX_DIMS(d[0], d[1] / p, d[2] / p, p * p * d[3]));
}

/* to = from in the other order. `image`: (R,H,W,C); `to_image`: `to` is the image, else the patches. */
static void permute(const fx_tensor *image, int64_t p, const float *from, float *to, bool to_image,
                    unsigned adds)
{
    const int64_t R = image->dim[0], H = image->dim[1], W = image->dim[2], C = image->dim[3];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < R * H; row++)
        for (int64_t w = 0; w < W; w++) {
            const int64_t h = row % H, a = h % p, b = w % p;
            const int64_t pixel = (row * W + w) * C;
            const int64_t patch = (row / H * (H / p) + h / p) * (W / p) + w / p;
            const int64_t part = (patch * p * p + a * p + b) * C;
            const float *source = from + (to_image ? part : pixel);
            float *target = to + (to_image ? pixel : part);
            for (int64_t c = 0; c < C; c++)
                fx_put(&target[c], source[c], adds);
        }
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const bool inverse = n->attrs.patch.inverse;
    permute(inverse ? n->out[0] : n->in[X], n->attrs.patch.size, fx_f32(n->in[X]), fx_f32(n->out[0]),
            inverse, 0);
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const bool inverse = n->attrs.patch.inverse;
    permute(inverse ? n->out[0] : n->in[X], n->attrs.patch.size, fx_f32(n->dout[0]), fx_f32(n->din[X]),
            !inverse, fx_adds(n, X));
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "to patches", .attrs = {.patch = {2, false}}, .dim = {{2, 4, 6, 3}}},
    {.name = "to pixels", .attrs = {.patch = {2, true}}, .dim = {{2, 2, 3, 8}}},
    {.name = "wide band", .attrs = {.patch = {2, false}}, .dim = {{2, 4, 66, 4}}},
    {.name = "odd size", .attrs = {.patch = {3, false}}, .dim = {{1, 3, 6, 1}}},
    {0},
};

const fx_op fx_op_patch = {
    .name = "patch", .shape = shape, .gradients = FX_IN(X), .cheap = true, .cases = cases};
const fx_kernel fx_cpu_patch = {.forward = forward, .backward = backward};
