/* encoder.c: the convolutional half that FLEX's shared and task encoders have in common, and the shared
 * encoder with the first half of the transformer. */
#include "flex.h"

typedef struct encoder {
    fx_builder *g;
    const fx_model *model;
    const fx_conditions *weak;
    fx_features *out;
} encoder;

/* Adds weak conditioning where this level has it, and keeps the sum as the next skip. */
static fx_tensor *keep(encoder *e, fx_tensor *x, int level)
{
    if (e->weak && level < e->model->weak_levels)
        x = fx_add_conditions(e->g, "weak", x, e->weak, e->out->skips, 1.0f);
    return fx_keep_skip(e->g, e->out, x);
}

static fx_tensor *block(encoder *e, fx_tensor *x, fx_tensor *silu_emb, int level, fx_resample resample)
{
    fx_scope_push(e->g, "input_blocks.%d.0", e->out->skips);
    x = fx_resblock(e->g, x, NULL, silu_emb, e->model->channels[level],
                    (fx_resblock_options){.dropout = e->model->dropout, .resample = resample});
    x = keep(e, x, level);
    fx_scope_pop(e->g);
    return x;
}

void fx_encoder_blocks(fx_builder *g, const fx_model *model, fx_tensor *x, fx_tensor *silu_emb,
                       const fx_conditions *weak, fx_features *out)
{
    encoder e = {g, model, weak, out};
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
    fx_tensor *time = fx_embedding(g, "time_embed", fx_fourier(g, "MPFourier", t, width), width,
                                   (fx_embedding_options){0});
    return fx_embedding(g, "cond_embed", re, width, (fx_embedding_options){.residual = time});
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
    return fx_tokens(g, x, emb);
}

void fx_shared_encoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                       fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_features *out)
{
    fx_tensor *emb = fx_time_condition(g, model->channels[model->levels - 1], t, re);
    fx_encoder_blocks(g, model, z, fx_apply(g, FX_OP_silu, "silu", emb), conditions, out);
    fx_tensor *x = to_tokens(g, model, out->out, emb);
    for (int64_t i = 0; i < model->depth / 2; i++) {
        fx_scope_push(g, "tr_blocks.%d", (int)i);
        x = fx_transformer_block(g, x, NULL, fx_flex_transformer(model));
        fx_scope_pop(g);
        out->token_skip[out->token_skips++] = x;
    }
    fx_scope_push(g, "mid_block");
    out->out = fx_transformer_block(g, x, NULL, fx_flex_transformer(model));
    fx_scope_pop(g);
    fx_section(g);
}
