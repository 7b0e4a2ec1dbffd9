/* network.c: a model's networks put together: task encoders, shared encoder, decoder. The only place
 * that asks which architecture a model has. Both tasks run through the shared networks in one batch, SR
 * rows first. */
#include "network.h"

#include <string.h>

static const fx_network *network_of(const fx_model *model)
{
    static const fx_network *const networks[] = {
        [FX_FLEX] = &fx_network_flex, [FX_UNET] = &fx_network_unet, [FX_UVIT] = &fx_network_uvit};
    return networks[model->arch];
}

fx_status fx_model_check(const fx_model *m)
{
    FX_REQUIRE(m->cond >= 1, FX_EARG, "model.cond: %lld snapshots", (long long)m->cond);
    FX_REQUIRE(m->tasks >= 1 && m->tasks <= (FX_TASK_SR | FX_TASK_FC), FX_EARG, "model.tasks: none");
    return network_of(m)->check(m);
}

fx_tensor *fx_keep_skip(fx_builder *g, fx_features *features, fx_tensor *x)
{
    if (features->skips == FX_MAX_SKIPS)
        fx_builder_fail(g, FX_EARG, "more than %d skips", FX_MAX_SKIPS);
    else
        features->skip[features->skips++] = x;
    return x;
}

static fx_tensor *feature(const fx_features *features, int k)
{
    return k == FX_OUTPUT ? features->out : features->skip[k];
}

fx_tensor *fx_add_conditions(fx_builder *g, const char *name, fx_tensor *x,
                             const fx_conditions *conditions, int k, float scale)
{
    const fx_features *sr = &conditions->task[FX_SR], *fc = &conditions->task[FX_FC];
    fx_tensor *first = feature(sr->out ? sr : fc, k);
    return fx_add(g, name, x, first, sr->out && fc->out ? feature(fc, k) : NULL, scale);
}

/* Opens a network's scope, with rows of the tasks from `first` on; returns the rows before. */
static fx_rows enter(fx_builder *g, const char *name, fx_task first)
{
    const fx_rows before = fx_builder_rows_now(g);
    fx_rows rows = before;
    rows.task0 = first;
    fx_builder_rows(g, rows);
    fx_scope_push(g, "%s", name);
    return before;
}

static void leave(fx_builder *g, fx_rows before)
{
    fx_scope_pop(g);
    fx_builder_rows(g, before);
}

void fx_model_conditions(fx_builder *g, const fx_model *model, fx_tensor *lowres, fx_tensor *snapshots,
                         fx_tensor *re, fx_conditions *out)
{
    static const char *const names[] = {[FX_SR] = "superres_encoder", [FX_FC] = "forecast_encoder"};
    fx_tensor *const x[] = {[FX_SR] = lowres, [FX_FC] = snapshots};
    memset(out, 0, sizeof *out);
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        if (!(model->tasks & (task == FX_SR ? FX_TASK_SR : FX_TASK_FC))) continue;
        const fx_rows before = enter(g, names[task], task);
        network_of(model)->task_encoder(g, model, task, x[task], re, &out->task[task]);
        leave(g, before);
    }
}

static fx_task first_task(const fx_model *model)
{
    return model->tasks & FX_TASK_SR ? FX_SR : FX_FC;
}

void fx_model_encode(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                     fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_features *out)
{
    const fx_rows before = enter(g, "encoder", first_task(model));
    memset(out, 0, sizeof *out);
    network_of(model)->encoder(g, model, conditions, z, t, re, out);
    leave(g, before);
}

fx_tensor *fx_model_decode(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                           const fx_features *features, fx_tensor *t, fx_tensor *re)
{
    const fx_rows before = enter(g, "decoder", first_task(model));
    fx_tensor *velocity = network_of(model)->decoder(g, model, conditions, features, t, re);
    leave(g, before);
    return velocity;
}

fx_tensor *fx_model_velocity(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                             fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_tensor **latent)
{
    fx_features features;
    fx_model_encode(g, model, conditions, z, t, re, &features);
    if (latent) *latent = features.out;
    return fx_model_decode(g, model, conditions, &features, t, re);
}
