/* autodiff.c: backward is the tape reversed. A tensor read by several nodes gets its gradient from the
 * last reader first; the others add to it, in tape order, so the sum has one order. */
#include "builder.h"

/* The gradient tensor of t, or NULL where nothing has been written yet. */
static fx_tensor *gradient_so_far(const fx_tensor *t, int replica)
{
    if (!t->param) return t->gradient;
    fx_tensor *gradient = &t->param->gradient[replica];
    return gradient->first >= 0 ? gradient : NULL;
}

static fx_tensor *gradient_start(fx_builder *g, fx_tensor *t, int replica)
{
    if (t->param) return &t->param->gradient[replica];
    fx_tensor *gradient = fx_builder_tensor(g, t->name, FX_GRADIENT);
    if (!gradient) return NULL;
    gradient->rank = t->rank;
    gradient->dtype = t->dtype;
    for (int i = 0; i < t->rank; i++)
        gradient->dim[i] = t->dim[i];
    t->gradient = gradient;
    return gradient;
}

/* The gradient of in[i] may be dout[0] itself: nothing reads dout[0] after this node's backward, so
 * whoever adds to it later adds to in[i]'s alone. One input a node: two would share what each adds. */
static bool passes_on(const fx_node *node, int i, bool passed)
{
    const fx_tensor *t = node->in[i];
    return !passed && (node->op->passes_gradient & FX_IN(i)) && !t->param &&
           fx_same_shape(t, node->out[0]) && t->dtype == node->out[0]->dtype;
}

/* Decides where the node's backward writes each gradient; false when it has nothing to write. */
static bool route_gradients(fx_builder *g, fx_node *node)
{
    bool passed = false, writes = false;
    const int replica = node->rows.micro % fx_params_replica_count(g->params);
    for (int i = 0; i < FX_MAX_IN; i++) {
        fx_tensor *t = node->in[i];
        if (!t || !t->wants_gradient || !(node->op->gradients & FX_IN(i))) continue;
        fx_tensor *gradient = gradient_so_far(t, replica);
        if (!gradient && passes_on(node, i, passed)) {
            t->gradient = node->dout[0];
            passed = true;
            continue;
        }
        if (gradient)
            node->accumulate |= FX_IN(i);
        else if (!(gradient = gradient_start(g, t, replica)))
            return false;
        node->din[i] = gradient;
        writes = true;
    }
    return writes;
}

/* Parameters' gradients remember where on the tape they are first and last written. */
static void stamp_parameters(fx_node *node, int at)
{
    for (int i = 0; i < FX_MAX_IN; i++) {
        if (!node->din[i] || !node->in[i]->param) continue;
        if (node->din[i]->first < 0) node->din[i]->first = at;
        node->din[i]->last = at;
    }
}

/* Parameters are shared by tapes: an earlier tape's stamps mean nothing here. */
static void forget_stamps(fx_builder *g)
{
    for (int k = 0; k < fx_params_count(g->params); k++)
        for (int r = 0; r < fx_params_replica_count(g->params); r++) {
            fx_tensor *gradient = &fx_params_at(g->params, k)->gradient[r];
            gradient->first = gradient->last = -1;
        }
}

/* Backward of an objective starts from a constant. */
static void seed(fx_builder *g, const fx_goal *goal)
{
    fx_tensor *t = goal->tensor;
    if (!t || !t->wants_gradient) {
        fx_builder_fail(g, FX_EARG, "the objective does not depend on a trained parameter");
        return;
    }
    if (t->gradient) {
        fx_builder_fail(g, FX_EARG, "%s is part of the objective twice", t->name);
        return;
    }
    if (t->dtype != FX_F32) {
        fx_builder_fail(g, FX_EARG, "the objective %s is not fp32", t->name);
        return;
    }
    fx_attrs attrs = {.fill = {.value = goal->weight, .rank = t->rank}};
    for (int i = 0; i < t->rank; i++)
        attrs.fill.dim[i] = t->dim[i];
    fx_node *fill = fx_record(g, FX_OP_fill, "objective", attrs, NULL, 0);
    if (!fill) return;
    fill->out[0]->role = FX_GRADIENT;
    t->gradient = fill->out[0];
}

static void mark_crossings(fx_builder *g)
{
    for (size_t e = g->differentiated; e < g->count; e++) {
        const fx_node *node = g->entries[e].node;
        for (int i = 0; i < FX_MAX_IN; i++) {
            fx_tensor *t = node->in[i];
            if (!t || !t->producer) continue;
            t->crosses_part = t->crosses_part || t->producer->part != node->part;
            t->crosses_section = t->crosses_section || t->producer->section != node->section;
        }
    }
}

void fx_autodiff(fx_builder *g, fx_recompute recompute)
{
    if (g->status != FX_OK) return;
    const size_t from = g->differentiated, forward = g->count;
    if (from == 0) forget_stamps(g);
    mark_crossings(g);
    for (size_t i = 0; i < g->goal_count; i++)
        seed(g, &g->goals[i]);
    g->goal_count = 0;
    for (size_t e = forward; e-- > from && g->status == FX_OK;) {
        const fx_node *node = g->entries[e].node;
        const fx_tensor *out = node->out[0];
        if (!out || !out->wants_gradient || !out->gradient) continue;
        fx_node *backward = fx_builder_copy(g, node);
        if (!backward) return;
        backward->dout[0] = out->gradient;
        if (!route_gradients(g, backward)) continue;
        fx_builder_restore(g, backward, recompute);
        if (g->status != FX_OK) return; /* a copy that could not be made is NULL */
        stamp_parameters(backward, (int)g->count);
        fx_builder_append(g, backward, FX_BACKWARD);
    }
    g->differentiated = g->count;
}

int fx_readiness(fx_builder *g, fx_param ***order)
{
    const int count = fx_params_count(g->params);
    if (g->status != FX_OK) return 0;
    fx_free(g->ready);
    g->ready_count = 0;
    if (!(g->ready = fx_calloc((size_t)count + 1, sizeof(*g->ready)))) {
        fx_builder_fail(g, FX_ENOMEM, "no memory for %d parameters", count);
        return 0;
    }
    for (int k = 0; k < count; k++) {
        fx_param *p = fx_params_at(g->params, k);
        if (!p->trained) continue;
        if (p->gradient[0].first < 0) {
            fx_builder_fail(g, FX_EARG, "%s: no gradient reaches it", p->name);
            return 0;
        }
        int i = g->ready_count++; /* insertion keeps equal times in order of creation */
        for (; i > 0 && g->ready[i - 1]->gradient[0].last > p->gradient[0].last; i--)
            g->ready[i] = g->ready[i - 1];
        g->ready[i] = p;
    }
    *order = g->ready;
    return g->ready_count;
}
