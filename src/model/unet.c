/* unet.c: the U-Net baseline (published code of FLEX): residual blocks at every level, attention where
 * maps are small, no weak conditioning. Task features enter at the bottleneck and at every skip of the
 * decoder. Linear layers start uniform, as convolutions do; 1x1 convolutions are linear layers here. */
#include "network.h"

static const float FORECAST_DROPOUT = 1.5f; /* of the forecast encoder, times the others' (0.15, 0.1) */

typedef struct unet {
    fx_builder *g;
    const fx_model *model;
    fx_tensor *silu_emb;
    float dropout;
} unet;

static fx_tensor *block(const unet *u, const char *name, fx_tensor *x, fx_tensor *skip, int level,
                        fx_resample resample)
{
    fx_scope_push(u->g, "%s", name);
    x = fx_resblock(u->g, x, skip, u->silu_emb, u->model->channels[level],
                    (fx_resblock_options){.dropout = u->dropout, .resample = resample, .unet = true});
    fx_scope_pop(u->g);
    return x;
}

/* x (B, h, w, C), whose pixels are the tokens: x + proj_out(attention(qkv(norm(x)))). */
static fx_tensor *attention(const unet *u, const char *name, fx_tensor *x)
{
    const int64_t c = fx_channels(x);
    const fx_attrs attrs = {.attention = {.heads = u->model->heads}};
    fx_scope_push(u->g, "%s", name);
    fx_part(u->g);
    fx_tensor *h = fx_norm_silu(u->g, "norm", x, (fx_norm_options){.linear = true});
    h = fx_linear(u->g, "qkv", h, 3 * c,
                  (fx_linear_options){.init = FX_START_UNIFORM, .kernel_rank = 1});
    const fx_node *node = fx_record(u->g, FX_OP_attention, "attention", attrs, &h, 1);
    x = fx_linear(u->g, "proj_out", node ? node->out[0] : NULL, c,
                  (fx_linear_options){.residual = x, .init = FX_START_ZERO, .kernel_rank = 1});
    fx_scope_pop(u->g);
    return x;
}

static bool attends(const fx_model *model, int level)
{
    return model->attention >> level & 1;
}

/* Input convolution; then, level by level, the blocks and what halves the side; then the middle.
 * `shared`: with attention and a residual block that averages, else without and a convolution of
 * stride 2. */
static void encode(const unet *u, fx_tensor *x, bool shared, fx_features *out)
{
    fx_builder *g = u->g;
    const fx_model *m = u->model;
    fx_section(g);
    x = fx_conv3x3(g, "input_blocks.0.0", x, m->channels[0], (fx_conv_options){0});
    fx_keep_skip(g, out, x);
    for (int level = 0; level < m->levels; level++) {
        for (int64_t i = 0; i < m->blocks[level]; i++) {
            fx_scope_push(g, "input_blocks.%d", out->skips);
            x = block(u, "0", x, NULL, level, FX_SAME_SIZE);
            if (shared && attends(m, level)) x = attention(u, "1", x);
            fx_scope_pop(g);
            fx_keep_skip(g, out, x);
        }
        fx_section(g);
        if (level == m->levels - 1) break;
        fx_scope_push(g, "input_blocks.%d", out->skips);
        x = shared ? block(u, "0", x, NULL, level, FX_DOWN)
                   : fx_conv3x3(g, "0.op", x, m->channels[level], (fx_conv_options){.halve = true});
        fx_scope_pop(g);
        fx_keep_skip(g, out, x);
    }
    x = block(u, "middle_block.0", x, NULL, m->levels - 1, FX_SAME_SIZE);
    out->out = block(u, "middle_block.1", x, NULL, m->levels - 1, FX_SAME_SIZE);
    fx_section(g);
}

/* SiLU of cond_embed(re), plus time_embed(F(t)) where there is t; hidden: of time_embed. */
static fx_tensor *embedding(fx_builder *g, const fx_model *model, fx_tensor *t, fx_tensor *re,
                            int64_t hidden)
{
    const int64_t b = model->channels[0], width = 2 * b;
    fx_tensor *features = fx_fourier(g, "emb", t, b), *time = NULL;
    if (t)
        time = fx_embedding(g, "time_embed", features, width,
                            (fx_embedding_options){.hidden = hidden, .init = FX_START_UNIFORM});
    fx_tensor *emb = fx_embedding(
        g, "cond_embed", re, width,
        (fx_embedding_options){.residual = time, .hidden = width, .init = FX_START_UNIFORM});
    return fx_apply(g, FX_OP_silu, "silu", emb);
}

static void task_encoder(fx_builder *g, const fx_model *model, fx_task task, fx_tensor *x,
                         fx_tensor *re, fx_features *out)
{
    const unet u = {g, model, embedding(g, model, NULL, re, 0),
                    task == FX_FC ? FORECAST_DROPOUT * model->dropout : model->dropout};
    encode(&u, x, false, out);
}

static void shared_encoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                           fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_features *out)
{
    (void)conditions; /* no weak conditioning */
    const unet u = {g, model, embedding(g, model, t, re, 2 * model->channels[0]), model->dropout};
    encode(&u, z, true, out);
}

static fx_tensor *decoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                          const fx_features *features, fx_tensor *t, fx_tensor *re)
{
    const unet u = {g, model, embedding(g, model, t, re, 4 * model->channels[0]), model->dropout};
    const float scale = model->strong_scale;
    int next_skip = features->skips - 1, entry = 0;
    fx_tensor *x = fx_add_conditions(g, "strong", features->out, conditions, FX_OUTPUT, scale);
    for (int level = model->levels - 1; level >= 0; level--) {
        fx_section(g);
        for (int64_t i = 0; i <= model->blocks[level]; i++) {
            const int k = next_skip--;
            fx_scope_push(g, "output_blocks.%d", entry++);
            fx_tensor *skip = fx_add_conditions(g, "strong", features->skip[k], conditions, k, scale);
            x = block(&u, "0", x, skip, level, FX_SAME_SIZE);
            if (attends(model, level)) x = attention(&u, "1", x);
            if (level > 0 && i == model->blocks[level])
                x = block(&u, attends(model, level) ? "2" : "1", x, NULL, level, FX_UP);
            fx_scope_pop(g);
        }
    }
    fx_section(g);
    x = fx_norm_silu(g, "out.0", x, (fx_norm_options){0});
    return fx_conv3x3(g, "out.2", x, 1, (fx_conv_options){.zero = true});
}

static fx_status check(const fx_model *m)
{
    FX_TRY(fx_check_levels(m, m->levels));
    FX_TRY(fx_check_image(m, 1LL << (m->levels - 1)));
    FX_REQUIRE(m->attention >> m->levels == 0, FX_EARG,
               "model.attention_sides: attention below the last of %d levels", m->levels);
    for (int l = 0; l < m->levels; l++)
        if (attends(m, l)) FX_TRY(fx_check_heads(m, m->channels[l]));
    FX_REQUIRE((double)(FORECAST_DROPOUT * m->dropout) < 1, FX_EARG,
               "model.dropout: the forecast encoder of a unet has %g times as much: %g is too much",
               (double)FORECAST_DROPOUT, (double)m->dropout);
    return FX_OK;
}

const fx_network fx_network_unet = {
    .check = check,
    .task_encoder = task_encoder,
    .encoder = shared_encoder,
    .decoder = decoder,
};
