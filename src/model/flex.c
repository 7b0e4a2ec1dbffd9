/* flex.c: FLEX as a network: its task encoders and its limits (arXiv 2505.17351, section 3, and the
 * published code). */
#include "flex.h"

static void task_encoder(fx_builder *g, const fx_model *model, fx_task task, fx_tensor *x,
                         fx_tensor *re, fx_features *out)
{
    (void)task;
    fx_tensor *emb = fx_embedding(g, "cond_embed", re, model->channels[model->levels - 1],
                                  (fx_embedding_options){0});
    fx_encoder_blocks(g, model, x, fx_apply(g, FX_OP_silu, "silu", emb), NULL, out);
}

static fx_status check(const fx_model *m)
{
    FX_TRY(fx_check_levels(m, 1 + m->levels));
    FX_TRY(fx_check_widths("model.decoder_channels", m->decoder_channels, m->levels));
    FX_REQUIRE(m->latent_patch == 1 || m->latent_patch == 2 || m->latent_patch == 4, FX_EARG,
               "model.latent_patch: %lld is none of 1, 2, 4", (long long)m->latent_patch);
    FX_TRY(fx_check_image(m, (1LL << m->levels) * m->latent_patch));
    FX_TRY(fx_check_transformer(m, m->channels[m->levels - 1]));
    FX_REQUIRE(m->weak_levels >= 0 && m->weak_levels <= m->levels, FX_EARG,
               "model.weak_levels: %d of %d levels", m->weak_levels, m->levels);
    return FX_OK;
}

const fx_network fx_network_flex = {
    .check = check,
    .task_encoder = task_encoder,
    .encoder = fx_shared_encoder,
    .decoder = fx_decoder,
};
