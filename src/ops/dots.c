/* Inner products of the two tasks' latents over the features that this rank holds, of all G samples:
 *   S_ij = a_i . b_j for i, j < G;  S_Gj = a_j . a_j;  S_(G+1)j = b_j . b_j
 * Summed over the ranks of a group (all_reduce), they are what `contrast_dots` needs. Sums in double,
 * rounded at the end.
 *   da_i = sum_j dS_ij b_j + 2 dS_Gi a_i;  db_j = sum_i dS_ij a_i + 2 dS_(G+1)j b_j */
#include "ops.h"

#include "vecmath.h"

enum { PART };        /* in[]: (G,2,w), as of arrive */
enum { SUMS };        /* out[]: (G+2,G) */
enum { CHUNK = 512 }; /* numbers of a latent that backward has at a time */

static fx_status shape(fx_node *n)
{
    const fx_tensor *part = n->in[PART];
    FX_REQUIRE(part && part->rank == 3 && part->dim[1] == 2, FX_EARG,
               "%s are not features of two tasks", fx_shape_text(part));
    return fx_out_shape(n, SUMS, 2, FX_DIMS(part->dim[0] + 2, part->dim[0]));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t G = n->in[PART]->dim[0], w = n->in[PART]->dim[2];
    const float *x = fx_f32(n->in[PART]);
    float *sums = fx_f32(n->out[SUMS]);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < (G + 2) * G; k++) {
        const int64_t i = k / G, j = k % G;
        const float *a = x + 2 * (i < G ? i : j) * w, *b = x + (2 * j + 1) * w;
        sums[k] = (float)fx_dot(i <= G ? a : b, i == G ? a : b, w);
    }
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t G = n->in[PART]->dim[0], w = n->in[PART]->dim[2], chunks = (w + CHUNK - 1) / CHUNK;
    const float *x = fx_f32(n->in[PART]), *d = fx_f32(n->dout[SUMS]);
    float *dx = fx_f32(n->din[PART]);
    const unsigned adds = fx_adds(n, PART);
#pragma omp parallel for schedule(static)
    for (int64_t piece = 0; piece < 2 * G * chunks; piece++) {
        const int64_t row = piece / chunks, k = row / 2, task = row % 2, at = piece % chunks * CHUNK;
        const int64_t count = w - at < CHUNK ? w - at : CHUNK;
        const double own = 2 * (double)d[(G + task) * G + k];
        double u[CHUNK];
        for (int64_t i = 0; i < count; i++)
            u[i] = own * (double)x[row * w + at + i];
        for (int64_t j = 0; j < G; j++) {
            const float *y = x + (2 * j + 1 - task) * w + at;
            const double c = (double)d[task == 0 ? k * G + j : j * G + k];
            for (int64_t i = 0; i < count; i++)
                u[i] += c * (double)y[i];
        }
        for (int64_t i = 0; i < count; i++)
            fx_put(&dx[row * w + at + i], (float)u[i], adds);
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "few", .dim = {{3, 2, 8}}},
    {.name = "one sample", .dim = {{1, 2, 16}}},
    {.name = "many", .dim = {{70, 2, 104}}, .scale = 0.2f},
    {.name = "long", .dim = {{5, 2, 1600}}, .scale = 0.05f},
    {0},
};

const fx_op fx_op_dots = {.name = "dots",
                          .shape = shape,
                          .fp32 = FX_OUT(SUMS),
                          .gradients = FX_IN(PART),
                          .backward_reads = FX_IN(PART),
                          .cases = cases};
const fx_kernel fx_cpu_dots = {.forward = forward, .backward = backward};
