/* step_inputs.c: what a training step, and sampling, begin with. */
#include "step_inputs.h"

void fx_record_inputs(fx_builder *g, const fx_step_options *o, int64_t n, bool noise, fx_batch *b)
{
    const int64_t side = o->model.image;
    b->snapshots = fx_input(g, "snapshots", 4, FX_DIMS(n, side, side, o->model.cond));
    b->re = fx_input_stored(g, "re", 2, FX_DIMS(n, 1));
    if (noise && (o->model.tasks & FX_TASK_FC))
        b->future = fx_input(g, "future", 4, FX_DIMS(n, side, side, 1));
    if (o->given) {
        if (o->model.tasks & FX_TASK_SR)
            b->lowres = fx_input(g, "lowres", 4, FX_DIMS(n, side, side, 1));
        if (!noise) return;
        b->t = fx_input(g, "t", 1, FX_DIMS(n));
        b->eps = fx_input(g, "eps", 4, FX_DIMS(n, side, side, 1));
        return;
    }
    if (o->model.tasks & FX_TASK_SR) {
        const int64_t low = side / o->factor;
        if (o->coarse) b->coarse = fx_input(g, "coarse", 4, FX_DIMS(n, low, low, 1));
        const fx_attrs attrs = {.interpolate = {o->upsampling, o->factor, o->coarse ? 1 : o->factor}};
        const fx_node *node =
            fx_record(g, FX_OP_interpolate, "lowres", attrs, o->coarse ? &b->coarse : &b->snapshots, 1);
        b->lowres = node ? fx_keep(g, node->out[0]) : NULL;
    }
    if (!noise) return;
    const fx_attrs attrs = {.draw = {.samples = n, .side = side}};
    const fx_node *node = fx_record(g, FX_OP_draw, "draw", attrs, NULL, 0);
    b->t = node ? node->out[0] : NULL;
    b->eps = node ? node->out[1] : NULL;
}
