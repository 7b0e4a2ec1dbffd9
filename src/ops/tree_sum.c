/* Sums the gradients of single samples over the whole global batch in one fixed tree, so that the
 * result has the same bits on any number of ranks (train.reduce: fixed; slow, a test oracle): g = sum
 * over samples in global order, pairwise: distance 1, 2, 4, ... Rank r holds the gradients of samples r
 * R .. r R + R - 1; the sum replaces the first of them, on every rank. */
#include "ops.h"

#include <string.h>

enum { ALL };             /* in[]: (R, n), one gradient slab a local sample */
enum { CHUNK = 1 << 16 }; /* elements gathered at a time */

static fx_status shape(fx_node *n)
{
    FX_REQUIRE(n->in[ALL] && n->in[ALL]->rank == 2, FX_EARG,
               "%s are not the gradients of single samples", fx_shape_text(n->in[ALL]));
    return FX_OK;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    const size_t samples = (size_t)n->in[ALL]->dim[0];
    *scratch_bytes = sizeof(float) * CHUNK * samples * (1 + (size_t)exec->options.comm->size);
    return FX_OK;
}

/* x (G, count): row 0 becomes the sum of all rows. */
static void sum_rows(float *x, int64_t rows, int64_t count)
{
    for (int64_t distance = 1; distance < rows; distance *= 2)
        for (int64_t g = 0; g + distance < rows; g += 2 * distance) {
            float *to = x + g * count;
            const float *from = x + (g + distance) * count;
            for (int64_t i = 0; i < count; i++)
                to[i] += from[i];
        }
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    fx_comm *comm = exec->options.comm;
    const int64_t samples = n->in[ALL]->dim[0], elements = n->in[ALL]->dim[1];
    float *slabs = fx_f32(n->in[ALL]), *mine = fx_scratch(exec), *all = mine + CHUNK * samples;
    for (int64_t at = 0; at < elements; at += CHUNK) {
        const int64_t count = elements - at < CHUNK ? elements - at : CHUNK;
        const size_t bytes = sizeof(float) * (size_t)count;
        for (int64_t s = 0; s < samples; s++)
            memcpy(mine + s * count, slabs + s * elements + at, bytes);
        FX_TRY(comm->ops->all_gather(comm, mine, bytes * (size_t)samples, all));
        sum_rows(all, samples * comm->size, count);
        memcpy(slabs + at, all, bytes);
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "three samples", .dim = {{3, 7}}},
    {.name = "thirteen samples", .dim = {{13, 300}}},
    {0},
};

const fx_op fx_op_tree_sum = {
    .name = "tree_sum", .shape = shape, .fp32 = FX_IN(ALL), .communicates = true, .cases = cases};
const fx_kernel fx_cpu_tree_sum = {.prepare = prepare, .forward = forward};
