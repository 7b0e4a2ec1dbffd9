/* check.c: the limits of the model, and the model that a configuration describes. */
#include <string.h>

#include "flexhpc/model.h"

static fx_status check_level(const fx_model *m, int l)
{
    FX_REQUIRE(m->channels[l] > 0 && m->channels[l] % 32 == 0, FX_EARG,
               "model.channels: %lld at level %d is no multiple of 32", (long long)m->channels[l], l);
    FX_REQUIRE(m->decoder_channels[l] > 0 && m->decoder_channels[l] % 32 == 0, FX_EARG,
               "model.decoder_channels: %lld at level %d is no multiple of 32",
               (long long)m->decoder_channels[l], l);
    FX_REQUIRE(m->blocks[l] >= 1, FX_EARG, "model.blocks: %lld at level %d", (long long)m->blocks[l],
               l);
    return FX_OK;
}

fx_status fx_model_check(const fx_model *m)
{
    FX_REQUIRE(m->levels >= 1 && m->levels <= FX_MAX_LEVELS, FX_EARG,
               "model.channels: %d levels, at most %d", m->levels, FX_MAX_LEVELS);
    int64_t skips = 1;
    for (int l = 0; l < m->levels; l++) {
        FX_TRY(check_level(m, l));
        skips += m->blocks[l] + 1;
    }
    FX_REQUIRE(skips <= FX_MAX_SKIPS, FX_EARG, "model.blocks: %lld skips, at most %d", (long long)skips,
               FX_MAX_SKIPS);
    FX_REQUIRE(m->latent_patch == 1 || m->latent_patch == 2 || m->latent_patch == 4, FX_EARG,
               "model.latent_patch: %lld is none of 1, 2, 4", (long long)m->latent_patch);
    const int64_t unit = (1LL << m->levels) * m->latent_patch, d = m->channels[m->levels - 1];
    FX_REQUIRE(m->image >= unit && m->image % unit == 0, FX_EARG,
               "data.patch: %lld is no multiple of %lld", (long long)m->image, (long long)unit);
    FX_REQUIRE(m->depth >= 1 && m->depth % 2 == 1 && m->depth < 128, FX_EARG,
               "model.depth: %lld is not odd and below 128", (long long)m->depth);
    FX_REQUIRE(m->heads >= 1 && d % m->heads == 0, FX_EARG,
               "model.heads: %lld does not divide the width %lld", (long long)m->heads, (long long)d);
    FX_REQUIRE(m->mlp_ratio >= 1, FX_EARG, "model.mlp_ratio: %lld", (long long)m->mlp_ratio);
    FX_REQUIRE(m->cond >= 1, FX_EARG, "model.cond: %lld snapshots", (long long)m->cond);
    FX_REQUIRE(m->tasks >= 1 && m->tasks <= (FX_TASK_SR | FX_TASK_FC), FX_EARG, "model.tasks: none");
    FX_REQUIRE(m->weak_levels >= 0 && m->weak_levels <= m->levels, FX_EARG,
               "model.weak_levels: %d of %d levels", m->weak_levels, m->levels);
    return FX_OK;
}

static fx_status levels_from(const fx_list *list, const char *key, int levels, int64_t *out)
{
    FX_REQUIRE(list->count == levels, FX_ECONFIG, "%s: %d entries for %d levels", key, list->count,
               levels);
    for (int l = 0; l < levels; l++)
        out[l] = (int64_t)list->value[l];
    return FX_OK;
}

fx_status fx_model_from_config(const fx_config *c, fx_model *out)
{
    static const unsigned tasks[] = {FX_TASK_SR | FX_TASK_FC, FX_TASK_SR, FX_TASK_FC};
    fx_model m = {.image = c->data_patch,
                  .cond = c->model_cond,
                  .levels = c->model_channels.count,
                  .depth = c->model_depth,
                  .heads = c->model_heads,
                  .mlp_ratio = c->model_mlp_ratio,
                  .tasks = tasks[c->model_tasks],
                  .weak_levels = (int)c->model_weak_levels,
                  .latent_patch = c->model_latent_patch,
                  .strong_scale = (float)c->model_strong_scale,
                  .dropout = (float)c->model_dropout};
    FX_REQUIRE(m.levels >= 1 && m.levels <= FX_MAX_LEVELS, FX_ECONFIG, "model.channels: %d levels",
               m.levels);
    FX_TRY(levels_from(&c->model_channels, "model.channels", m.levels, m.channels));
    FX_TRY(levels_from(&c->model_blocks, "model.blocks", m.levels, m.blocks));
    FX_TRY(
        levels_from(c->model_decoder_channels.count ? &c->model_decoder_channels : &c->model_channels,
                    "model.decoder_channels", m.levels, m.decoder_channels));
    if (m.weak_levels > m.levels) m.weak_levels = m.levels; /* the default, 4, means all */
    FX_REQUIRE(fx_model_check(&m) == FX_OK, FX_ECONFIG, "%s", fx_error_message());
    *out = m;
    return FX_OK;
}
