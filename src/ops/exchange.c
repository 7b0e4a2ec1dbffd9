/* Begins the exchange of latents by features, for the contrast (contrast.exchange: features): rank r of
 * the group's N is to hold features r w .. (r + 1) w - 1 of every rank's samples, both tasks. `arrive`
 * ends it. What is beyond the last feature is zero. Backward ends the exchange of the gradients, the
 * other way, which arrive's backward began. BOX is what goes out, one block a rank, forward and, in
 * arrive's backward, again: its memory is in use up to here. Blocking on the CPU. */
#include "ops.h"

#include <string.h>

enum { E };            /* in[]: (2B,T,D) or images (2B,h,w,D), SR rows then FC rows */
enum { ARRIVED, BOX }; /* out[]: (N,B,2,w) both, block p from rank p, and for it */
enum { UNIT = 8 };     /* divides w: 16 bytes of bf16 */

typedef struct view {
    int64_t B, ranks, size, width; /* size: elements of one latent; width: w */
} view;

static view view_of(const fx_node *n)
{
    const int64_t rows = n->in[E]->dim[0], ranks = n->attrs.gather.ranks,
                  size = fx_count(n->in[E]) / rows;
    const int64_t share = (size + ranks - 1) / ranks;
    return (view){
        .B = rows / 2, .ranks = ranks, .size = size, .width = (share + UNIT - 1) / UNIT * UNIT};
}

static fx_status shape(fx_node *n)
{
    FX_REQUIRE(n->in[E] && n->in[E]->rank >= 3 && n->in[E]->dim[0] % 2 == 0, FX_EARG,
               "%s does not hold the latents of two tasks", fx_shape_text(n->in[E]));
    FX_REQUIRE(n->attrs.gather.ranks > 0, FX_EARG, "%d ranks", n->attrs.gather.ranks);
    const view v = view_of(n);
    FX_TRY(fx_out_shape(n, ARRIVED, 4, FX_DIMS(v.ranks, v.B, 2, v.width)));
    return fx_out_shape(n, BOX, 4, FX_DIMS(v.ranks, v.B, 2, v.width));
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    *scratch_bytes = 0;
    FX_REQUIRE(fx_group(exec)->size == n->attrs.gather.ranks, FX_EARG,
               "recorded for %d ranks, run by %d", n->attrs.gather.ranks, fx_group(exec)->size);
    return FX_OK;
}

/* Features of latent k of E, (task, sample), that go to rank p or come from it. */
static int64_t features_of(const view *v, int64_t p)
{
    const int64_t left = v->size - p * v->width;
    return left < 0 ? 0 : left < v->width ? left : v->width;
}
static int64_t place_of(const view *v, int64_t p, int64_t k)
{
    return ((p * v->B + k % v->B) * 2 + k / v->B) * v->width;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const float *e = fx_f32(n->in[E]);
    float *box = fx_f32(n->out[BOX]);
    fx_comm *group = fx_group(exec);
    memset(box, 0, fx_tensor_bytes(n->out[BOX]));
    for (int64_t p = 0; p < v.ranks; p++)
        for (int64_t k = 0; k < 2 * v.B && features_of(&v, p) > 0; k++)
            memcpy(box + place_of(&v, p, k), e + k * v.size + p * v.width,
                   sizeof *e * (size_t)features_of(&v, p));
    return group->ops->all_to_all(group, box, fx_tensor_bytes(n->out[BOX]) / (size_t)v.ranks,
                                  n->out[ARRIVED]->data);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const view v = view_of(n);
    const float *arrived = fx_f32(n->dout[ARRIVED]);
    float *de = fx_f32(n->din[E]);
    const unsigned adds = fx_adds(n, E);
    for (int64_t p = 0; p < v.ranks; p++)
        for (int64_t k = 0; k < 2 * v.B; k++)
            for (int64_t i = 0; i < features_of(&v, p); i++)
                fx_put(&de[k * v.size + p * v.width + i], arrived[place_of(&v, p, k) + i], adds);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "whole units", .attrs = {.gather = {.ranks = 1}}, .dim = {{6, 2, 8}}},
    {.name = "images", .attrs = {.gather = {.ranks = 1}}, .dim = {{4, 2, 3, 4}}},
    {.name = "a part of a unit", .attrs = {.gather = {.ranks = 1}}, .dim = {{4, 3, 5}}},
    {0},
};

const fx_op fx_op_exchange = {.name = "exchange",
                              .shape = shape,
                              .gradients = FX_IN(E),
                              .backward_reads = FX_OUT(BOX),
                              .communicates = true,
                              .cases = cases};
const fx_kernel fx_cpu_exchange = {.prepare = prepare, .forward = forward, .backward = backward};
