/* uvit.c: the UViT baseline (published code of FLEX; Bao et al., All are worth words: a ViT backbone
 * for diffusion models, 2023): every encoder is a transformer over p x p patches with the embedding as
 * token 0. Task features enter at the middle and at every skip of the decoder. */
#include "network.h"

static const float NORM_EPS = 1e-6f;

static fx_tensor *block(fx_builder *g, const fx_model *model, fx_tensor *x, fx_tensor *skip)
{
    return fx_transformer_block(g, x, skip,
                                (fx_transformer_options){.heads = model->heads,
                                                         .mlp_ratio = model->mlp_ratio,
                                                         .dropout = model->dropout,
                                                         .act = FX_GELU_ERF});
}

/* x (B, S, S, C), emb (M, D). */
static void encode(fx_builder *g, const fx_model *model, fx_tensor *x, fx_tensor *emb, fx_features *out)
{
    fx_section(g);
    x = fx_patch_conv(g, "patch_embed.proj", x, model->embed_dim, model->patch);
    x = fx_tokens(g, x, emb);
    for (int64_t i = 0; i < model->depth / 2; i++) {
        fx_scope_push(g, "in_blocks.%d", (int)i);
        x = block(g, model, x, NULL);
        fx_scope_pop(g);
        fx_keep_skip(g, out, x);
    }
    fx_scope_push(g, "mid_block");
    out->out = block(g, model, x, NULL);
    fx_scope_pop(g);
    fx_section(g);
}

static fx_tensor *time_embedding(fx_builder *g, const fx_model *model, fx_tensor *t)
{
    const int64_t width = model->embed_dim;
    return fx_embedding(g, "time_embed", fx_fourier(g, "MPFourier", t, width), width,
                        (fx_embedding_options){0});
}

static fx_tensor *condition(fx_builder *g, const fx_model *model, fx_tensor *re, fx_tensor *residual)
{
    return fx_embedding(g, "cond_embed", re, model->embed_dim,
                        (fx_embedding_options){.residual = residual});
}

static void task_encoder(fx_builder *g, const fx_model *model, fx_task task, fx_tensor *x,
                         fx_tensor *re, fx_features *out)
{
    (void)task;
    encode(g, model, x, condition(g, model, re, NULL), out);
}

static void shared_encoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                           fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_features *out)
{
    (void)conditions; /* no weak conditioning */
    encode(g, model, z, condition(g, model, re, time_embedding(g, model, t)), out);
}

/* Tokens to pixels: each token's p x p, then a convolution across their borders. */
static fx_tensor *to_image(fx_builder *g, const fx_model *model, fx_tensor *x)
{
    const int64_t p = model->patch;
    x = fx_untoken(g, x, model->image / p);
    x = fx_unpatch(g, fx_linear(g, "decoder_pred", x, p * p, (fx_linear_options){0}), p);
    return fx_conv3x3(g, "final_layer", x, 1, (fx_conv_options){0});
}

static fx_tensor *decoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                          const fx_features *features, fx_tensor *t, fx_tensor *re)
{
    const float scale = model->strong_scale;
    fx_tensor *time = time_embedding(g, model, t);
    fx_tensor *emb =
        fx_drop_rows(g, "condition", condition(g, model, re, NULL), time, model->condition_drop);
    fx_tensor *x = fx_add_conditions(g, "strong", features->out, conditions, FX_OUTPUT, scale);
    x = fx_add_token(g, x, emb);
    for (int j = 0; j < features->skips; j++) {
        const int k = features->skips - 1 - j;
        fx_scope_push(g, "out_blocks.%d", j);
        fx_tensor *skip = fx_add_conditions(g, "strong", features->skip[k], conditions, k, scale);
        x = block(g, model, x, skip);
        fx_scope_pop(g);
    }
    fx_section(g);
    return to_image(g, model, fx_layer_norm(g, "norm", x, NORM_EPS));
}

static fx_status check(const fx_model *m)
{
    FX_REQUIRE(m->embed_dim >= 1, FX_EARG, "model.embed_dim: %lld", (long long)m->embed_dim);
    FX_REQUIRE(m->patch >= 1, FX_EARG, "model.patch: %lld", (long long)m->patch);
    FX_TRY(fx_check_image(m, m->patch));
    return fx_check_transformer(m, m->embed_dim);
}

const fx_network fx_network_uvit = {
    .check = check,
    .task_encoder = task_encoder,
    .encoder = shared_encoder,
    .decoder = decoder,
};
