/* check.c: the limits of the model, and the model that a configuration describes. */
#include "network.h"

fx_status fx_check_widths(const char *key, const int64_t *channels, int levels)
{
    for (int l = 0; l < levels; l++)
        FX_REQUIRE(channels[l] > 0 && channels[l] % 32 == 0, FX_EARG,
                   "%s: %lld at level %d is no multiple of 32", key, (long long)channels[l], l);
    return FX_OK;
}

fx_status fx_check_levels(const fx_model *m, int64_t skips)
{
    FX_REQUIRE(m->levels >= 1 && m->levels <= FX_MAX_LEVELS, FX_EARG,
               "model.channels: %d levels, at most %d", m->levels, FX_MAX_LEVELS);
    FX_TRY(fx_check_widths("model.channels", m->channels, m->levels));
    for (int l = 0; l < m->levels; l++) {
        FX_REQUIRE(m->blocks[l] >= 1, FX_EARG, "model.blocks: %lld at level %d",
                   (long long)m->blocks[l], l);
        skips += m->blocks[l];
    }
    FX_REQUIRE(skips <= FX_MAX_SKIPS, FX_EARG, "model.blocks: %lld skips, at most %d", (long long)skips,
               FX_MAX_SKIPS);
    return FX_OK;
}

fx_status fx_check_image(const fx_model *m, int64_t unit)
{
    FX_REQUIRE(m->image >= unit && m->image % unit == 0, FX_EARG,
               "data.patch: %lld is no multiple of %lld", (long long)m->image, (long long)unit);
    return FX_OK;
}

fx_status fx_check_heads(const fx_model *m, int64_t width)
{
    FX_REQUIRE(m->heads >= 1 && width % m->heads == 0, FX_EARG,
               "model.heads: %lld does not divide the width %lld", (long long)m->heads,
               (long long)width);
    return FX_OK;
}

fx_status fx_check_transformer(const fx_model *m, int64_t width)
{
    FX_REQUIRE(m->depth >= 1 && m->depth % 2 == 1 && m->depth < 128, FX_EARG,
               "model.depth: %lld is not odd and below 128", (long long)m->depth);
    FX_REQUIRE(m->mlp_ratio >= 1, FX_EARG, "model.mlp_ratio: %lld", (long long)m->mlp_ratio);
    return fx_check_heads(m, width);
}

static fx_status levels_from(const fx_list *list, const char *key, int levels, int64_t *out)
{
    FX_REQUIRE(list->count == levels, FX_ECONFIG, "%s: %d entries for %d levels", key, list->count,
               levels);
    for (int l = 0; l < levels; l++)
        out[l] = (int64_t)list->value[l];
    return FX_OK;
}

/* Bits of the levels whose maps have one of the sides. */
static unsigned levels_of_sides(const fx_model *m, const fx_list *sides)
{
    unsigned bits = 0;
    for (int l = 0; l < m->levels; l++)
        for (int i = 0; i < sides->count; i++)
            if ((double)(m->image >> l) == sides->value[i]) bits |= 1u << l;
    return bits;
}

fx_status fx_model_from_config(const fx_config *c, fx_model *out)
{
    static const unsigned tasks[] = {FX_TASK_SR | FX_TASK_FC, FX_TASK_SR, FX_TASK_FC};
    fx_model m = {.arch = (fx_arch)c->model_arch,
                  .image = c->data_patch,
                  .cond = c->model_cond,
                  .levels = c->model_channels.count,
                  .depth = c->model_depth,
                  .heads = c->model_heads,
                  .mlp_ratio = c->model_mlp_ratio,
                  .tasks = tasks[c->model_tasks],
                  .weak_levels = (int)c->model_weak_levels,
                  .latent_patch = c->model_latent_patch,
                  .embed_dim = c->model_embed_dim,
                  .patch = c->model_patch,
                  .condition_drop = (float)c->model_condition_drop,
                  .strong_scale = (float)c->model_strong_scale,
                  .dropout = (float)c->model_dropout};
    FX_REQUIRE(m.levels <= FX_MAX_LEVELS, FX_ECONFIG, "model.channels: %d levels, at most %d", m.levels,
               FX_MAX_LEVELS);
    FX_TRY(levels_from(&c->model_channels, "model.channels", m.levels, m.channels));
    FX_TRY(levels_from(&c->model_blocks, "model.blocks", m.levels, m.blocks));
    if (m.arch == FX_FLEX)
        FX_TRY(levels_from(&c->model_decoder_channels, "model.decoder_channels", m.levels,
                           m.decoder_channels));
    if (m.weak_levels > m.levels) m.weak_levels = m.levels; /* the default, 4, means all */
    m.attention = levels_of_sides(&m, &c->model_attention_sides);
    FX_REQUIRE(fx_model_check(&m) == FX_OK, FX_ECONFIG, "%s", fx_error_message());
    *out = m;
    return FX_OK;
}
