/* Contrastive alignment of the two tasks' latents over the G samples of the global batch, or of a group
 * of ranks, to which then "global", "all" and "every" below refer (spec 6). With
 * unit vectors a_i (SR) and b_j (FC) of the flattened latents (norms floored at 1e-12) and tau the
 * temperature:
 *   L_ij = a_i . b_j / tau
 *   loss = 1/(2G) sum_i [(lse_j L_ij - L_ii) + (lse_j L_ji - L_ii)],  0 for G < 2
 *   dloss/dL_ij = W_ij = (softmax_j L_ij + softmax_i L_ij - 2 delta_ij) / (2G)
 *   dloss/da_i = u_i = 1/tau sum_j W_ij b_j, of which a_i . u_i = sum_j W_ij L_ij lies along a_i
 * This rank's rows come from E, all others from ALL; the gradient, of the global loss, is for E only,
 * so that the ranks' gradients add up. Sums in double: tau = 0.01 makes logits of 100. Every rank
 * computes all G^2 logits; contrast_dots.c is the other form. */
#include "ops.h"

#include "contrast.h"
#include "vecmath.h"

/* in[]: (2B,T,D) or images (2B,h,w,D), SR rows then FC rows; (G,2,T,D) as of gather */
enum { E, ALL };
enum { WEIGHT, INVERSE, ALONG }; /* saved[]: (G,G) W; (2,G) 1 / norm; (2,G) a_i . u_i, b_j . u_j */
enum { CHUNK = 512 };            /* numbers of a latent that backward has at a time */

typedef struct view {
    int64_t B, G, size, first; /* size: elements of one latent; first: global slot of local sample 0 */
    const float *e, *all;
} view;

static view view_of(const fx_exec *exec, const fx_node *n)
{
    const fx_contrast_attrs *a = &n->attrs.contrast;
    const int64_t *d = n->in[E]->dim;
    return (view){.B = d[0] / 2,
                  .G = n->in[ALL]->dim[0],
                  .size = fx_count(n->in[E]) / d[0],
                  .first = fx_group(exec)->rank * a->stride + a->offset,
                  .e = fx_f32(n->in[E]),
                  .all = fx_f32(n->in[ALL])};
}

static const float *latent(const view *v, int task, int64_t slot)
{
    const int64_t i = slot - v->first;
    return i >= 0 && i < v->B ? v->e + (task * v->B + i) * v->size
                              : v->all + (2 * slot + task) * v->size;
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *e = n->in[E], *all = n->in[ALL];
    const fx_contrast_attrs *a = &n->attrs.contrast;
    FX_REQUIRE(e && all && e->rank >= 3 && e->dim[0] % 2 == 0 && all->rank == 4 && all->dim[1] == 2 &&
                   fx_count(all) / all->dim[0] / 2 == fx_count(e) / e->dim[0],
               FX_EARG, "own latents %s do not fit all latents %s", fx_shape_text(e),
               fx_shape_text(all));
    FX_REQUIRE(a->temperature > 0 && a->offset >= 0 && a->offset <= a->stride - e->dim[0] / 2 &&
                   all->dim[0] % a->stride == 0,
               FX_EARG, "%lld samples at %lld do not fit in %lld of %lld", (long long)(e->dim[0] / 2),
               (long long)a->offset, (long long)a->stride, (long long)all->dim[0]);
    FX_TRY(fx_out_shape(n, 0, 1, FX_DIMS(1)));
    FX_TRY(fx_saved_shape(n, WEIGHT, 2, FX_DIMS(all->dim[0], all->dim[0])));
    FX_TRY(fx_saved_shape(n, INVERSE, 2, FX_DIMS(2, all->dim[0])));
    return fx_saved_shape(n, ALONG, 2, FX_DIMS(2, all->dim[0]));
}

/* forward: (G,G) logits, (2,G) log-sums of rows and columns. */
static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec;
    const int64_t G = n->in[ALL]->dim[0];
    *scratch_bytes = sizeof(double) * (size_t)(backward ? 0 : G * (G + 2));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(exec, n);
    const int64_t G = v.G;
    const double temperature = (double)n->attrs.contrast.temperature;
    double *logit = fx_scratch(exec), *row = logit + G * G, *column = row + G;
    float *weight = fx_f32(n->saved[WEIGHT]), *inverse = fx_f32(n->saved[INVERSE]);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < 2 * G; k++) { /* row holds the norms until the logits are there */
        const float *x = latent(&v, (int)(k / G), k % G);
        row[k] = fmax(sqrt(fx_dot(x, x, v.size)), FX_SMALLEST_NORM);
        inverse[k] = (float)(1 / row[k]);
    }
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < G * G; k++)
        logit[k] = fx_dot(latent(&v, 0, k / G), latent(&v, 1, k % G), v.size) /
                   (row[k / G] * column[k % G]) / temperature;
    fx_f32(n->out[0])[0] = fx_contrast_weights(logit, G, row, weight, fx_f32(n->saved[ALONG]));
    return FX_OK;
}

/* With y_k the unit vector and r_k = 1 / norm: dx_k = r_k (u_k - y_k (y_k . u_k)), without the second
 * term where the norm is at its floor. */
static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(exec, n);
    const float *weight = fx_f32(n->saved[WEIGHT]), *inverse = fx_f32(n->saved[INVERSE]);
    const float *along = fx_f32(n->saved[ALONG]);
    const unsigned adds = fx_adds(n, E);
    const double dloss = (double)fx_f32(n->dout[0])[0];
    const double scale = dloss / (double)n->attrs.contrast.temperature;
    const int64_t chunks = (v.size + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static)
    for (int64_t piece = 0; piece < 2 * v.B * chunks; piece++) {
        const int64_t k = piece / chunks, at = piece % chunks * CHUNK, slot = v.first + k % v.B;
        const int64_t count = v.size - at < CHUNK ? v.size - at : CHUNK;
        const int task = (int)(k / v.B);
        const float *x = latent(&v, task, slot) + at;
        const double r = (double)inverse[task * v.G + slot];
        const double c = r < (double)(float)(1 / FX_SMALLEST_NORM)
                             ? dloss * (double)along[task * v.G + slot] * r
                             : 0;
        float *dx = fx_f32(n->din[E]) + k * v.size + at;
        double u[CHUNK] = {0};
        for (int64_t j = 0; v.G > 1 && j < v.G; j++) {
            const float *y = latent(&v, 1 - task, j) + at;
            const double w = (double)weight[task == 0 ? slot * v.G + j : j * v.G + slot];
            const double f = scale * w * (double)inverse[(1 - task) * v.G + j];
            for (int64_t i = 0; i < count; i++)
                u[i] += f * (double)y[i];
        }
        for (int64_t i = 0; i < count; i++)
            fx_put(&dx[i], (float)(r * (u[i] - c * (double)x[i])), adds);
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "all own", .attrs = {.contrast = {0.5f, 3, 0}}, .dim = {{6, 2, 4}, {3, 2, 2, 4}}},
    {.name = "some own", .attrs = {.contrast = {0.2f, 4, 1}}, .dim = {{4, 3, 5}, {8, 2, 3, 5}}},
    {.name = "images", .attrs = {.contrast = {0.4f, 2, 0}}, .dim = {{4, 2, 3, 4}, {4, 2, 6, 4}}},
    {.name = "one sample", .attrs = {.contrast = {0.01f, 1, 0}}, .dim = {{2, 2, 4}, {1, 2, 2, 4}}},
    {.name = "many", .attrs = {.contrast = {0.1f, 70, 3}}, .dim = {{20, 3, 100}, {70, 2, 3, 100}}},
    {0},
};

const fx_op fx_op_contrast = {
    .name = "contrast",
    .shape = shape,
    .fp32 = FX_OUT(0) | FX_SAVED(WEIGHT) | FX_SAVED(INVERSE) | FX_SAVED(ALONG),
    .gradients = FX_IN(E),
    .backward_reads = FX_IN(E) | FX_IN(ALL) | FX_SAVED(WEIGHT) | FX_SAVED(INVERSE) | FX_SAVED(ALONG),
    .cases = cases,
};
const fx_kernel fx_cpu_contrast = {.prepare = prepare, .forward = forward, .backward = backward};
