/* Every rank's latents, for the contrast over the global batch, or over a group of ranks (spec 6). The
 * local block of B samples, both tasks, goes to B rows of ALL, on every rank; several micro-batches
 * fill one ALL, each with its own offset: all[rank * stride + offset + i][task] = e[task * B + i] of
 * that rank. The tape's `join` ends it; on the CPU it is blocking. */
#include "ops.h"

#include <string.h>

enum { E };   /* in[]: (2B,T,D) or images (2B,h,w,D), T = h w; SR rows then FC rows */
enum { ALL }; /* out[]: (G,2,T,D), G = ranks * stride */

typedef struct view {
    int64_t B, stride, offset, ranks, size; /* size: elements of one latent */
} view;

static view view_of(const fx_node *n)
{
    const int64_t *d = n->in[E]->dim;
    const fx_gather_attrs *a = &n->attrs.gather;
    return (view){.B = d[0] / 2,
                  .stride = a->stride,
                  .offset = a->offset,
                  .ranks = a->ranks,
                  .size = fx_count(n->in[E]) / d[0]};
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *e = n->in[E];
    FX_REQUIRE(e && e->rank >= 3 && e->dim[0] % 2 == 0, FX_EARG,
               "%s does not hold the latents of two tasks", fx_shape_text(e));
    const view v = view_of(n);
    FX_REQUIRE(v.ranks > 0 && v.offset >= 0 && v.offset <= v.stride - v.B, FX_EARG,
               "%lld samples at %lld do not fit in %lld a rank", (long long)v.B, (long long)v.offset,
               (long long)v.stride);
    const int64_t D = e->dim[e->rank - 1];
    return fx_out_shape(n, ALL, 4, FX_DIMS(v.ranks * v.stride, 2, v.size / D, D));
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    const view v = view_of(n);
    FX_REQUIRE(fx_group(exec)->size == v.ranks, FX_EARG, "recorded for %lld ranks, run by %d",
               (long long)v.ranks, fx_group(exec)->size);
    *scratch_bytes = sizeof(float) * (size_t)((1 + v.ranks) * v.B * 2 * v.size);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const int64_t block = v.B * 2 * v.size;
    const size_t latent = sizeof(float) * (size_t)v.size;
    const float *e = fx_f32(n->in[E]);
    float *all = fx_f32(n->out[ALL]), *mine = fx_scratch(exec), *blocks = mine + block;
    for (int64_t k = 0; k < 2 * v.B; k++) /* (task, sample) to (sample, task) */
        memcpy(mine + (k % v.B * 2 + k / v.B) * v.size, e + k * v.size, latent);
    fx_comm *group = fx_group(exec);
    FX_TRY(group->ops->all_gather(group, mine, sizeof(float) * (size_t)block, blocks));
    for (int64_t rank = 0; rank < v.ranks; rank++)
        memcpy(all + (rank * v.stride + v.offset) * 2 * v.size, blocks + rank * block,
               sizeof(float) * (size_t)block);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "one rank", .attrs = {.gather = {3, 0, 1}}, .dim = {{6, 2, 4}}},
    {.name = "images", .attrs = {.gather = {2, 0, 1}}, .dim = {{4, 2, 3, 4}}},
    {0},
};

const fx_op fx_op_gather = {.name = "gather", .shape = shape, .communicates = true, .cases = cases};
const fx_kernel fx_cpu_gather = {.prepare = prepare, .forward = forward};
