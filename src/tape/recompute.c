/* recompute.c: activations that are computed again in backward instead of kept. A pass over what
 * backward reads: where the plan does not keep a tensor, forward nodes that make it again are put in
 * front of the reader. Dropout masks come from counters, so a second forward makes the same tensor. */
#include "builder.h"

static bool keeps(const fx_tensor *t, fx_recompute mode)
{
    if (!t->producer || t->memory != FX_PLANNED || t->producer->op->gradients == 0) return true;
    if (t->producer->op->communicates) return true;
    switch (mode) {
    case FX_RECOMPUTE_NONE:
        return true;
    case FX_RECOMPUTE_CHEAP:
        return !t->producer->op->cheap || t != t->producer->out[0];
    case FX_RECOMPUTE_RESBLOCK:
        return t->crosses_part;
    case FX_RECOMPUTE_ALL:
        return t->crosses_section;
    }
    return true;
}

static fx_tensor *copy_tensor(fx_builder *g, fx_tensor *t)
{
    if (!t) return NULL;
    fx_tensor *copy = fx_builder_tensor(g, t->name, FX_RECOMPUTED);
    if (!copy) return NULL;
    copy->rank = t->rank;
    copy->dtype = t->dtype;
    for (int i = 0; i < t->rank; i++)
        copy->dim[i] = t->dim[i];
    t->again = copy;
    return copy;
}

/* t as backward may read it: itself where kept, else a copy whose makers are on the tape now. */
static fx_tensor *restored(fx_builder *g, fx_tensor *t, fx_recompute mode)
{
    if (!t || keeps(t, mode)) return t;
    if (t->again) return t->again;
    fx_node *node = fx_builder_copy(g, t->producer);
    if (!node) return NULL;
    node->recomputed = true;
    for (int i = 0; i < FX_MAX_IN; i++)
        node->in[i] = restored(g, node->in[i], mode);
    for (int i = 0; i < FX_MAX_OUT; i++)
        node->out[i] = copy_tensor(g, node->out[i]);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        node->saved[i] = copy_tensor(g, node->saved[i]);
    if (g->status != FX_OK) return NULL;
    fx_builder_append(g, node, FX_FORWARD);
    return t->again;
}

void fx_builder_restore(fx_builder *g, fx_node *node, fx_recompute mode)
{
    if (mode == FX_RECOMPUTE_NONE) return;
    const unsigned reads = node->op->backward_reads;
    for (int i = 0; i < FX_MAX_IN; i++)
        if (reads & FX_IN(i)) node->in[i] = restored(g, node->in[i], mode);
    for (int i = 0; i < FX_MAX_OUT; i++)
        if (reads & FX_OUT(i)) node->out[i] = restored(g, node->out[i], mode);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (reads & FX_SAVED(i)) node->saved[i] = restored(g, node->saved[i], mode);
}
