/* decoder.c: FLEX's decoder: the second half of the transformer, then the convolutional decoder with
 * strong conditioning: every skip is the encoder's plus the task encoder's. */
#include "flex.h"

static const float NORM_EPS = 1e-5f; /* of the decoder's own norm; the blocks' is 1e-6 */

/* Tokens (R, 1 + T, D) to the latent image (R, s, s, D). */
static fx_tensor *to_image(fx_builder *g, const fx_model *model, fx_tensor *x)
{
    const int64_t side = (model->image >> model->levels) / model->latent_patch, p = model->latent_patch;
    const int64_t d = fx_channels(x);
    x = fx_untoken(g, x, side);
    if (p == 1) return x;
    x = fx_linear(g, "patch_unembed", x, p * p * d, (fx_linear_options){0});
    return fx_unpatch(g, x, p);
}

static fx_tensor *transform(fx_builder *g, const fx_model *model, const fx_features *features,
                            fx_tensor *emb)
{
    fx_tensor *x = fx_add_token(g, features->out, emb);
    for (int j = 0; j < features->token_skips; j++) {
        fx_scope_push(g, "tr_blocks.%d", j);
        x = fx_transformer_block(g, x, features->token_skip[features->token_skips - 1 - j],
                                 fx_flex_transformer(model));
        fx_scope_pop(g);
    }
    return to_image(g, model, fx_layer_norm(g, "norm", x, NORM_EPS));
}

typedef struct decoder {
    fx_builder *g;
    const fx_model *model;
    const fx_conditions *conditions;
    const fx_features *features;
    fx_tensor *silu_emb;
    int entries, next_skip; /* output_blocks so far; skips run backwards */
} decoder;

/* One output_blocks entry: ResBlock on [x, skip + task skip]; `up_after`: an up block as its second
 * element. */
static fx_tensor *entry(decoder *d, fx_tensor *x, int level, fx_resample resample, bool up_after)
{
    fx_builder *g = d->g;
    const int64_t cout = d->model->decoder_channels[level];
    const int k = d->next_skip--;
    fx_scope_push(g, "output_blocks.%d", d->entries++);
    fx_tensor *skip =
        fx_add_conditions(g, "strong", d->features->skip[k], d->conditions, k, d->model->strong_scale);
    fx_scope_push(g, "0");
    x = fx_resblock(g, x, skip, d->silu_emb, cout,
                    (fx_resblock_options){.dropout = d->model->dropout, .resample = resample});
    fx_scope_pop(g);
    if (up_after) {
        fx_scope_push(g, "1");
        x = fx_resblock(g, x, NULL, d->silu_emb, cout,
                        (fx_resblock_options){.dropout = d->model->dropout, .resample = FX_UP});
        fx_scope_pop(g);
    }
    fx_scope_pop(g);
    return x;
}

fx_tensor *fx_decoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                      const fx_features *features, fx_tensor *t, fx_tensor *re)
{
    const int last = model->levels - 1;
    fx_tensor *emb = fx_time_condition(g, model->channels[last], t, re);
    decoder d = {g, model, conditions, features, NULL, 0, features->skips - 1};
    d.silu_emb = fx_apply(g, FX_OP_silu, "silu", emb);
    fx_tensor *x = transform(g, model, features, emb);
    x = fx_add_conditions(g, "strong", x, conditions, features->skips - 1, model->strong_scale);
    fx_section(g);
    x = entry(&d, x, last, FX_UP, false);
    for (int level = last; level >= 0; level--) {
        fx_section(g);
        for (int64_t i = 0; i <= model->blocks[level]; i++)
            x = entry(&d, x, level, FX_SAME_SIZE, level > 0 && i == model->blocks[level]);
    }
    fx_section(g);
    x = fx_norm_silu(g, "final_layer.0", x, (fx_norm_options){0});
    return fx_conv3x3(g, "final_layer.2", x, 1, (fx_conv_options){.zero = true});
}
