/* presets.c: what follows from other keys: the sizes of FLEX (flex-model, table of presets), decays by
 * optimizer; and what keys must say together. */
#include <math.h>
#include <string.h>

#include "keys.h"

enum { SNAPSHOTS_MAX = 10000000 };

typedef struct preset {
    fx_list channels, blocks;
    int64_t depth, heads, mlp_ratio;
} preset;

static const preset presets[] = {
    {{4, {64, 128, 128, 256}}, {4, {2, 3, 3, 3}}, 13, 4, 2},
    {{4, {64, 128, 256, 512}}, {4, {2, 3, 3, 4}}, 13, 8, 2},
    {{4, {128, 256, 512, 1152}}, {4, {2, 3, 3, 3}}, 21, 16, 2},
};

static int where(const fx_given *given, const char *name)
{
    return given->where[fx_key_find(name) - fx_keys];
}

static bool is_given(const fx_given *given, const char *name)
{
    return where(given, name) != 0;
}

static fx_status apply_preset(fx_config *c, const fx_given *given)
{
    static const char *const keys[] = {"model.channels", "model.blocks", "model.depth", "model.heads",
                                       "model.mlp_ratio"};
    const int custom = (int)(sizeof presets / sizeof *presets);
    if (c->model_preset == custom) {
        for (int i = 0; i < 5; i++)
            FX_REQUIRE(is_given(given, keys[i]), FX_ECONFIG, "%s: needed with model.preset: custom",
                       keys[i]);
        return FX_OK;
    }
    const preset *p = &presets[c->model_preset];
    if (!is_given(given, keys[0])) c->model_channels = p->channels;
    if (!is_given(given, keys[1])) c->model_blocks = p->blocks;
    if (!is_given(given, keys[2])) c->model_depth = p->depth;
    if (!is_given(given, keys[3])) c->model_heads = p->heads;
    if (!is_given(given, keys[4])) c->model_mlp_ratio = p->mlp_ratio;
    return FX_OK;
}

static fx_status check_model(const fx_config *c)
{
    const int levels = c->model_channels.count;
    FX_REQUIRE(levels >= 1 && levels <= 8, FX_ECONFIG, "model.channels: %d levels, not 1 to 8", levels);
    FX_REQUIRE(c->model_blocks.count == levels, FX_ECONFIG, "model.blocks: %d entries for %d levels",
               c->model_blocks.count, levels);
    FX_REQUIRE(c->model_decoder_channels.count == levels, FX_ECONFIG,
               "model.decoder_channels: %d entries for %d levels", c->model_decoder_channels.count,
               levels);
    for (int l = 0; l < levels; l++) {
        const int64_t wide = (int64_t)c->model_channels.value[l],
                      out = (int64_t)c->model_decoder_channels.value[l];
        FX_REQUIRE(wide % 32 == 0 && (double)wide == c->model_channels.value[l], FX_ECONFIG,
                   "model.channels: %g is no multiple of 32", c->model_channels.value[l]);
        FX_REQUIRE(out % 32 == 0 && (double)out == c->model_decoder_channels.value[l], FX_ECONFIG,
                   "model.decoder_channels: %g is no multiple of 32",
                   c->model_decoder_channels.value[l]);
    }
    FX_REQUIRE(c->model_depth % 2 == 1, FX_ECONFIG, "model.depth: %lld is not odd",
               (long long)c->model_depth);
    FX_REQUIRE(c->model_latent_patch != 3, FX_ECONFIG, "model.latent_patch: 3 is none of 1, 2, 4");
    const int64_t unit = ((int64_t)1 << levels) * c->model_latent_patch;
    FX_REQUIRE(c->data_patch % unit == 0, FX_ECONFIG,
               "data.patch: %lld is no multiple of %lld (2^levels x model.latent_patch)",
               (long long)c->data_patch, (long long)unit);
    const int64_t width = (int64_t)c->model_channels.value[levels - 1];
    FX_REQUIRE(c->model_heads >= 1 && width % c->model_heads == 0, FX_ECONFIG,
               "model.heads: %lld does not divide the last of model.channels, %lld",
               (long long)c->model_heads, (long long)width);
    FX_REQUIRE(c->model_mlp_ratio >= 1, FX_ECONFIG, "model.mlp_ratio: 0 is below 1");
    return FX_OK;
}

/* How strongly a key was said: 0 means "follows from others", the command line goes before the file. */
static int strength(const fx_given *given, const char *name, double value)
{
    return value == 0 || !is_given(given, name) ? 0 : where(given, name) == FX_ON_COMMAND_LINE ? 2 : 1;
}

/* The number of snapshots and the time of the last one say the same thing. */
static fx_status complete_times(fx_config *c, const fx_given *given)
{
    enum { PUBLISHED = 1500 };
    const int by_end = strength(given, "generate.end", c->generate_end),
              by_count = strength(given, "generate.snapshots", (double)c->generate_snapshots);
    if (by_end > 0 && by_end >= by_count) {
        const double length = (c->generate_end - c->generate_start) / c->generate_interval;
        FX_REQUIRE(length >= 0 && length < SNAPSHOTS_MAX, FX_ECONFIG,
                   "generate.end: %g, generate.start %g, generate.interval %g: not 1 to %d snapshots",
                   c->generate_end, c->generate_start, c->generate_interval, SNAPSHOTS_MAX);
        FX_REQUIRE(
            fabs(length - round(length)) < 1e-6 * (length + 1), FX_ECONFIG,
            "generate.end: %g is not generate.start, %g, plus a multiple of generate.interval, %g",
            c->generate_end, c->generate_start, c->generate_interval);
        const int64_t count = llround(length) + 1;
        FX_REQUIRE(by_end > by_count || count == c->generate_snapshots, FX_ECONFIG,
                   "generate.end: %g makes %lld snapshots, generate.snapshots says %lld",
                   c->generate_end, (long long)count, (long long)c->generate_snapshots);
        c->generate_snapshots = count;
    }
    if (c->generate_snapshots == 0) c->generate_snapshots = PUBLISHED;
    c->generate_end = c->generate_start + (double)(c->generate_snapshots - 1) * c->generate_interval;
    return FX_OK;
}

static fx_status check_keep_every(const fx_config *c)
{
    const int64_t keep = c->checkpoint_keep_every, every = c->checkpoint_every;
    FX_REQUIRE(keep == 0 || (every > 0 && keep % every == 0), FX_ECONFIG,
               "checkpoint.keep_every: %lld is no multiple of checkpoint.every, %lld", (long long)keep,
               (long long)every);
    return FX_OK;
}

fx_status fx_config_complete(fx_config *c, const fx_given *given)
{
    static const char *const archs[] = {"flex", "unet", "uvit"};
    const bool adamw = c->train_optimizer == 1;
    FX_REQUIRE(c->model_arch == 0, FX_ECONFIG,
               "model.arch: %s is not part of this build; there is flex", archs[c->model_arch]);
    FX_TRY(apply_preset(c, given));
    if (c->model_decoder_channels.count == 0) c->model_decoder_channels = c->model_channels;
    if (c->train_beta1 == 0) c->train_beta1 = 0.9;
    if (c->train_beta2 == 0) c->train_beta2 = adamw ? 0.999 : 0.98;
    FX_TRY(complete_times(c, given));
    if (c->generate_output_grid == 0) c->generate_output_grid = c->generate_grid;
    FX_REQUIRE(c->generate_output_grid <= c->generate_grid, FX_ECONFIG,
               "generate.output_grid: %lld is above generate.grid, %lld",
               (long long)c->generate_output_grid, (long long)c->generate_grid);
    FX_TRY(check_keep_every(c));
    return check_model(c);
}
