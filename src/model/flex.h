/* flex.h: the parts of FLEX, shared by its files. Private to src/model. */
#ifndef FX_FLEX_H
#define FX_FLEX_H

#include "network.h"

/* Input convolution, then a level's residual blocks and the block that halves the side, for every
 * level. `weak`: the task encoders' skips are added at the first model->weak_levels levels; NULL: no
 * weak conditioning. */
void fx_encoder_blocks(fx_builder *g, const fx_model *model, fx_tensor *x, fx_tensor *silu_emb,
                       const fx_conditions *weak, fx_features *out);

/* emb = time_embed(F(t)) + cond_embed(re): (B, D). */
fx_tensor *fx_time_condition(fx_builder *g, int64_t width, fx_tensor *t, fx_tensor *re);

static inline fx_transformer_options fx_flex_transformer(const fx_model *model)
{
    return (fx_transformer_options){.heads = model->heads,
                                    .mlp_ratio = model->mlp_ratio,
                                    .dropout = model->dropout,
                                    .act = FX_GELU_TANH};
}

/* The shared encoder and the decoder. */
void fx_shared_encoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                       fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_features *out);
fx_tensor *fx_decoder(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                      const fx_features *features, fx_tensor *t, fx_tensor *re);

#endif
