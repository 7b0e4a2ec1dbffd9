/* program.c: a planned tape bound to a backend: prepare, plan, allocate, bind, run. */
#include <string.h>

#include "flexhpc/program.h"
#include "plan.h"

struct fx_program {
    fx_exec *exec;
    fx_builder *g;
    void *arena;
    fx_plan_summary summary;
};

static fx_status prepare(fx_program *p)
{
    for (size_t e = 0; e < p->g->count; e++) {
        fx_entry *entry = &p->g->entries[e];
        const fx_kernel *kernel = p->exec->backend->kernels[entry->node->id];
        FX_REQUIRE(entry->pass == FX_FORWARD || kernel->backward, FX_EARG,
                   "%s: %s has no backward on %s", entry->node->name, entry->node->op->name,
                   p->exec->backend->name);
        entry->scratch_bytes = 0;
        if (kernel->prepare)
            FX_TRY_CTX(kernel->prepare(p->exec, entry->node, entry->pass == FX_BACKWARD,
                                       &entry->scratch_bytes),
                       "%s (%s)", entry->node->name, entry->node->op->name);
    }
    return FX_OK;
}

static void count_entries(fx_program *p)
{
    fx_plan_summary *s = &p->summary;
    for (size_t e = 0; e < p->g->count; e++) {
        const fx_entry *entry = &p->g->entries[e];
        s->nodes++;
        if (entry->node->op->communicates)
            s->communication++;
        else if (entry->node->recomputed)
            s->recomputed++;
        else if (entry->pass == FX_BACKWARD)
            s->backward++;
        else
            s->forward++;
        s->flops += fx_node_flops(entry->node, entry->pass);
        s->bytes += fx_node_bytes(entry->node, entry->pass);
    }
    s->parameters = fx_params_elements(p->g->params, true) + fx_params_elements(p->g->params, false);
}

/* Every tensor that lives gets its address. Kept tensors have blocks of their own. */
static fx_status bind(fx_program *p)
{
    const fx_backend *backend = p->exec->backend;
    FX_TRY_CTX(backend->allocate(p->exec, p->summary.arena_bytes, &p->arena), "activations");
    for (size_t i = 0; i < p->g->tensor_count; i++) {
        fx_tensor *t = p->g->tensors[i];
        if (t->memory == FX_KEPT)
            FX_TRY_CTX(backend->allocate(p->exec, fx_tensor_bytes(t), &t->data), "%s", t->name);
        else if (t->memory == FX_PLANNED && t->first >= 0)
            t->data = (char *)p->arena + t->offset;
    }
    return FX_OK;
}

/* Ops read parameters through their tensors: all must have memory by now. */
static fx_status check_parameters(const fx_program *p)
{
    for (size_t e = 0; e < p->g->count; e++) {
        const fx_node *n = p->g->entries[e].node;
        for (int i = 0; i < FX_MAX_IN; i++) {
            FX_REQUIRE(!n->in[i] || n->in[i]->memory != FX_PARAMETER || n->in[i]->data, FX_EARG,
                       "%s: parameters have no memory yet", n->name);
            FX_REQUIRE(!n->din[i] || n->din[i]->memory != FX_PARAMETER || n->din[i]->data, FX_EARG,
                       "%s: gradients have no memory yet", n->name);
        }
    }
    return FX_OK;
}

fx_status fx_program_create(fx_exec *exec, fx_builder **g, bool plan_only, fx_program **out)
{
    fx_program *p = fx_calloc(1, sizeof *p);
    if (!p) {
        fx_builder_free(g);
        return FX_ENOMEM;
    }
    p->exec = exec;
    p->g = *g;
    *g = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_builder_status(p->g));
    FX_REQUIRE_DONE(fx_params_storage(p->g->params) == exec->storage, FX_EARG,
                    "recorded for another storage than that of this backend (%s)", exec->backend->name);
    FX_TRY_DONE(prepare(p));
    FX_TRY_DONE(fx_plan(p->g, &p->summary));
    count_entries(p);
    if (!plan_only) {
        FX_TRY_DONE(check_parameters(p));
        FX_TRY_DONE(bind(p));
    }
    *out = p;
    return FX_OK;
done:
    fx_program_free(&p);
    return status;
}

void fx_program_free(fx_program **program)
{
    fx_program *p = *program;
    if (!p) return;
    const fx_backend *backend = p->exec->backend;
    backend->forget(p->exec, p->g->entries);
    for (size_t i = 0; i < p->g->tensor_count; i++) {
        const fx_tensor *t = p->g->tensors[i];
        if (t->memory == FX_KEPT) backend->release(p->exec, t->data, fx_tensor_bytes(t));
    }
    backend->release(p->exec, p->arena, p->summary.arena_bytes);
    fx_builder_free(&p->g);
    fx_free(p);
    *program = NULL;
}

fx_status fx_program_run(fx_program *p, const fx_step *step, const fx_observer *observer)
{
    FX_REQUIRE(p->arena, FX_EARG, "a program that was only planned can't run");
    return p->exec->backend->run(p->exec, p->g->entries, (int)p->g->count, step, p->arena, observer);
}

static fx_status check_kept(const fx_tensor *t)
{
    FX_REQUIRE(t->memory == FX_KEPT && t->data, FX_EARG, "%s is not a tensor of the host's", t->name);
    return FX_OK;
}

fx_status fx_program_write(fx_program *p, fx_tensor *t, const float *values)
{
    FX_TRY(check_kept(t));
    return fx_tensor_write(p->exec, t, values);
}

fx_status fx_program_read(fx_program *p, const fx_tensor *t, float *values)
{
    FX_TRY(check_kept(t));
    return fx_tensor_read(p->exec, t, values);
}

fx_plan_summary fx_program_summary(const fx_program *p)
{
    return p->summary;
}

int fx_program_entries(const fx_program *p, const fx_entry **entries)
{
    return fx_builder_entries(p->g, entries);
}
