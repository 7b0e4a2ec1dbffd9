/* Ends the exchange of latents that `exchange` began: what came from every rank goes to its rows of
 * PART, part[rank * stride + offset + i] = arrived[rank][i], so that several micro-batches fill one
 * PART, each with its own offset, as with gather. Backward begins the way back: those rows of the
 * gradient go out by BOX, and to the gradient of ARRIVED comes, from every rank, what is this rank's.
 * Blocking on the CPU. */
#include "ops.h"

#include <string.h>

enum { ARRIVED, BOX }; /* in[]: (N,B,2,w) both, as exchange made them */
enum { PART };         /* out[]: (G,2,w), G = N * stride */

typedef struct view {
    int64_t B, ranks, stride, offset, row; /* row: elements of one sample, both tasks */
} view;

static view view_of(const fx_node *n)
{
    const int64_t *d = n->in[ARRIVED]->dim;
    const fx_gather_attrs *a = &n->attrs.gather;
    return (view){
        .B = d[1], .ranks = d[0], .stride = a->stride, .offset = a->offset, .row = d[2] * d[3]};
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *arrived = n->in[ARRIVED], *box = n->in[BOX];
    FX_REQUIRE(arrived && box && arrived->rank == 4 && arrived->dim[2] == 2 &&
                   fx_same_shape(arrived, box) && arrived->dim[0] == n->attrs.gather.ranks,
               FX_EARG, "%s and %s are not what an exchange of %d ranks makes", fx_shape_text(arrived),
               fx_shape_text(box), n->attrs.gather.ranks);
    const view v = view_of(n);
    FX_REQUIRE(v.offset >= 0 && v.offset <= v.stride - v.B, FX_EARG,
               "%lld samples at %lld do not fit in %lld a rank", (long long)v.B, (long long)v.offset,
               (long long)v.stride);
    return fx_out_shape(n, PART, 3, FX_DIMS(v.ranks * v.stride, 2, arrived->dim[3]));
}

/* One reader alone has the gradient of ARRIVED: what comes in is stored, not added. */
static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    *scratch_bytes = 0;
    FX_REQUIRE(fx_group(exec)->size == n->attrs.gather.ranks, FX_EARG,
               "recorded for %d ranks, run by %d", n->attrs.gather.ranks, fx_group(exec)->size);
    FX_REQUIRE(!backward || !fx_adds(n, ARRIVED) || n->attrs.gather.ranks == 1, FX_EARG,
               "what comes from %d ranks can't be added", n->attrs.gather.ranks);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const view v = view_of(n);
    const float *arrived = fx_f32(n->in[ARRIVED]);
    float *part = fx_f32(n->out[PART]);
    for (int64_t p = 0; p < v.ranks; p++)
        memcpy(part + (p * v.stride + v.offset) * v.row, arrived + p * v.B * v.row,
               sizeof *part * (size_t)(v.B * v.row));
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const float *part = fx_f32(n->dout[PART]);
    float *box = fx_f32(n->in[BOX]), *arrived = fx_f32(n->din[ARRIVED]);
    fx_comm *group = fx_group(exec);
    for (int64_t i = 0; v.ranks == 1 && i < v.B * v.row; i++)
        fx_put(&arrived[i], part[v.offset * v.row + i], fx_adds(n, ARRIVED));
    if (v.ranks == 1) return FX_OK;
    for (int64_t p = 0; p < v.ranks; p++)
        memcpy(box + p * v.B * v.row, part + (p * v.stride + v.offset) * v.row,
               sizeof *box * (size_t)(v.B * v.row));
    return group->ops->all_to_all(group, box, sizeof *box * (size_t)(v.B * v.row), arrived);
}

static const fx_op_case cases[] = {
    {.name = "one rank", .attrs = {.gather = {3, 0, 1}}, .dim = {{1, 3, 2, 8}, {1, 3, 2, 8}}},
    {0},
};

const fx_op fx_op_arrive = {.name = "arrive",
                            .shape = shape,
                            .gradients = FX_IN(ARRIVED),
                            .backward_reads = FX_IN(BOX),
                            .communicates = true,
                            .cases = cases};
const fx_kernel fx_cpu_arrive = {.prepare = prepare, .forward = forward, .backward = backward};
