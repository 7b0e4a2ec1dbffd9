/* encoder.c: the convolutional half that shared and task encoders have in common, and the shared
 * encoder with the first half of the transformer. */
#include "flex.h"

fx_tensor *fx_add_conditions(fx_builder *g, const char *name, fx_tensor *x,
                             const fx_conditions *conditions, int k, float scale)
{
    const fx_features *sr = &conditions->task[FX_SR], *fc = &conditions->task[FX_FC];
    fx_tensor *first = sr->skips > 0 ? sr->skip[k] : fc->skip[k];
    return fx_add(g, name, x, first, sr->skips > 0 && fc->skips > 0 ? fc->skip[k] : NULL, scale);
}

typedef struct encoder {
    fx_builder *g;
    const fx_model *model;
    const fx_conditions *weak;
    fx_features *out;
} encoder;

/* Adds weak conditioning where this level has it, and keeps the sum as the next skip. */
static fx_tensor *keep(encoder *e, fx_tensor *x, int level)
{
    const int k = e->out->skips;
    if (k == FX_MAX_SKIPS) {
        fx_builder_fail(e->g, FX_EARG, "more than %d skips", FX_MAX_SKIPS);
        return NULL;
    }
    if (e->weak && level < e->model->weak_levels)
        x = fx_add_conditions(e->g, "weak", x, e->weak, k, 1.0f);
    e->out->skip[e->out->skips++] = x;
    return x;
}

static fx_tensor *block(encoder *e, fx_tensor *x, fx_tensor *silu_emb, int level, fx_resample resample)
{
    fx_scope_push(e->g, "input_blocks.%d.0", e->out->skips);
    x = fx_resblock(e->g, x, NULL, silu_emb, e->model->channels[level], e->model->dropout, resample);
    x = keep(e, x, level);
    fx_scope_pop(e->g);
    return x;
}

void fx_encoder_blocks(fx_builder *g, const fx_model *model, fx_tensor *x, fx_tensor *silu_emb,
                       const fx_conditions *weak, fx_features *out)
{
    encoder e = {g, model, weak, out};
    *out = (fx_features){0};
    fx_section(g);
    fx_scope_push(g, "input_blocks.0");
    x = keep(&e, fx_conv3x3(g, "0", x, model->channels[0], (fx_conv_options){0}), 0);
    fx_scope_pop(g);
    for (int level = 0; level < model->levels; level++) {
        for (int64_t i = 0; i < model->blocks[level]; i++)
            x = block(&e, x, silu_emb, level, FX_SAME_SIZE);
        x = block(&e, x, silu_emb, level, FX_DOWN);
        fx_section(g);
    }
    out->out = x;
}

fx_tensor *fx_time_condition(fx_builder *g, int64_t width, fx_tensor *t, fx_tensor *re)
{
    fx_tensor *frequencies =
        fx_weight(g, "MPFourier.freqs", (fx_init){FX_INIT_FREQUENCIES, 0, 0}, 1, FX_DIMS(width));
    fx_tensor *phases =
        fx_weight(g, "MPFourier.phases", (fx_init){FX_INIT_PHASES, 0, 0}, 1, FX_DIMS(width));
    const fx_node *fourier = fx_record(g, FX_OP_fourier, "MPFourier", (fx_attrs){0},
                                       (fx_tensor *[]){t, frequencies, phases}, 3);
    if (!fourier) return NULL;
    fx_tensor *time = fx_embedding(g, "time_embed", fourier->out[0], width, NULL);
    return fx_embedding(g, "cond_embed", re, width, time);
}

/* Latent image (R, s, s, D) to tokens (R, 1 + T, D): emb first, positions added. Patches wider than a
 * pixel are flattened and mapped to D by patch_embed. */
static fx_tensor *to_tokens(fx_builder *g, const fx_model *model, fx_tensor *x, fx_tensor *emb)
{
    const int64_t d = fx_channels(x), p = model->latent_patch;
    if (p > 1) {
        const fx_attrs attrs = {.patch = {.size = p}};
        const fx_node *patches = fx_record(g, FX_OP_patch, "patches", attrs, &x, 1);
        if (!patches) return NULL;
        x = fx_linear(g, "patch_embed", patches->out[0], d, (fx_linear_options){0});
    }
    if (!x) return NULL;
    fx_tensor *positions = fx_weight(g, "pos_embed", (fx_init){FX_INIT_NORMAL_002, 0, 0}, 3,
                                     FX_DIMS(1, 1 + x->dim[1] * x->dim[2], d));
    const fx_node *tokens =
        fx_record(g, FX_OP_tokens, "tokens", (fx_attrs){0}, (fx_tensor *[]){x, emb, positions}, 3);
    return tokens ? tokens->out[0] : NULL;
}

void fx_shared_encoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                       fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_features *out)
{
    fx_scope_push(g, "encoder");
    fx_tensor *emb = fx_time_condition(g, model->channels[model->levels - 1], t, re);
    fx_encoder_blocks(g, model, z, fx_apply(g, FX_OP_silu, "silu", emb), conditions, out);
    fx_tensor *x = to_tokens(g, model, out->out, emb);
    for (int64_t i = 0; i < model->depth / 2; i++) {
        fx_scope_push(g, "tr_blocks.%d", (int)i);
        x = fx_transformer_block(g, x, NULL, model->heads, model->mlp_ratio, model->dropout);
        fx_scope_pop(g);
        out->token_skip[out->token_skips++] = x;
    }
    fx_scope_push(g, "mid_block");
    out->out = fx_transformer_block(g, x, NULL, model->heads, model->mlp_ratio, model->dropout);
    fx_scope_pop(g);
    fx_scope_pop(g);
    fx_section(g);
}
