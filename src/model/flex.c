/* flex.c: FLEX put together: task encoders, shared encoder, decoder (arXiv 2505.17351, section 3, and
 * the published code). Both tasks run through the shared networks in one batch, SR rows first. */
#include "flex.h"

#include <string.h>

static void task_encoder(fx_builder *g, const fx_model *model, const char *name, fx_task task,
                         fx_tensor *x, fx_tensor *re, fx_features *out)
{
    const fx_rows all = fx_builder_rows_now(g);
    fx_rows rows = all;
    rows.task0 = task;
    fx_builder_rows(g, rows);
    fx_scope_push(g, "%s", name);
    fx_tensor *emb = fx_embedding(g, "cond_embed", re, model->channels[model->levels - 1], NULL);
    fx_encoder_blocks(g, model, x, fx_apply(g, FX_OP_silu, "silu", emb), NULL, out);
    fx_scope_pop(g);
    fx_builder_rows(g, all);
}

void fx_flex_conditions(fx_builder *g, const fx_model *model, fx_tensor *lowres, fx_tensor *snapshots,
                        fx_tensor *re, fx_conditions *out)
{
    memset(out, 0, sizeof *out);
    if (model->tasks & FX_TASK_SR)
        task_encoder(g, model, "superres_encoder", FX_SR, lowres, re, &out->task[FX_SR]);
    if (model->tasks & FX_TASK_FC)
        task_encoder(g, model, "forecast_encoder", FX_FC, snapshots, re, &out->task[FX_FC]);
}

fx_tensor *fx_flex_velocity(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                            fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_tensor **latent)
{
    fx_features features;
    const fx_rows all = fx_builder_rows_now(g);
    fx_rows rows = all;
    rows.task0 = model->tasks & FX_TASK_SR ? FX_SR : FX_FC;
    fx_builder_rows(g, rows);
    fx_shared_encoder(g, model, conditions, z, t, re, &features);
    if (latent) *latent = features.out;
    fx_tensor *velocity = fx_decoder(g, model, conditions, &features, t, re);
    fx_builder_rows(g, all);
    return velocity;
}
