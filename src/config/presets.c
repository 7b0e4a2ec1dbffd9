/* presets.c: what follows from other keys: the sizes of FLEX and of the baselines as published, decays
 * by optimizer; and what keys must say together. */
#include <math.h>
#include <string.h>

#include "keys.h"

enum { SNAPSHOTS_MAX = 10000000 };

enum { FLEX, UNET, UVIT, ARCHS, SIZES = 3 }; /* the words of model.arch; small, medium, big */

typedef struct preset {
    fx_list channels, blocks;
    int64_t embed_dim, depth, heads, mlp_ratio;
} preset;

static const preset presets[ARCHS][SIZES] = {
    [FLEX] = {{{4, {64, 128, 128, 256}}, {4, {2, 3, 3, 3}}, 0, 13, 4, 2},
              {{4, {64, 128, 256, 512}}, {4, {2, 3, 3, 4}}, 0, 13, 8, 2},
              {{4, {128, 256, 512, 1152}}, {4, {2, 3, 3, 3}}, 0, 21, 16, 2}},
    [UNET] = {{{5, {32, 64, 128, 128, 256}}, {5, {1, 2, 2, 2, 6}}, 0, 0, 4, 0},
              {{5, {64, 128, 256, 256, 512}}, {5, {1, 2, 2, 2, 6}}, 0, 0, 4, 0},
              {{5, {128, 256, 512, 512, 1024}}, {5, {1, 2, 2, 2, 6}}, 0, 0, 4, 0}},
    [UVIT] = {{.embed_dim = 384, .depth = 13, .heads = 8, .mlp_ratio = 4},
              {.embed_dim = 768, .depth = 13, .heads = 12, .mlp_ratio = 4},
              {.embed_dim = 1152, .depth = 29, .heads = 16, .mlp_ratio = 4}},
};

/* Which architectures (bits) have a key; `size`: it follows from the preset unless it is given. */
static const struct {
    const char *name;
    unsigned archs;
    bool size;
} model_keys[] = {
    {"model.channels", 1 << FLEX | 1 << UNET, true},
    {"model.blocks", 1 << FLEX | 1 << UNET, true},
    {"model.embed_dim", 1 << UVIT, true},
    {"model.depth", 1 << FLEX | 1 << UVIT, true},
    {"model.heads", 1 << FLEX | 1 << UNET | 1 << UVIT, true},
    {"model.mlp_ratio", 1 << FLEX | 1 << UVIT, true},
    {"model.weak_levels", 1 << FLEX, false},
    {"model.latent_patch", 1 << FLEX, false},
    {"model.decoder_channels", 1 << FLEX, false},
    {"model.attention_sides", 1 << UNET, false},
    {"model.patch", 1 << UVIT, false},
    {"model.condition_drop", 1 << UVIT, false},
};
enum { MODEL_KEYS = sizeof model_keys / sizeof *model_keys };

static int where(const fx_given *given, const char *name)
{
    return given->where[fx_key_find(name) - fx_keys];
}

static bool is_given(const fx_given *given, const char *name)
{
    return where(given, name) != 0;
}

/* A key that the network has not would do nothing. Its default may stand: config show prints all keys.
 */
static fx_status check_arch(const fx_config *c)
{
    enum { VALUE_MAX = 640 };
    fx_config defaults;
    char value[VALUE_MAX], first[VALUE_MAX], arch[VALUE_MAX];
    FX_TRY(fx_config_defaults(&defaults));
    fx_key_text(c, fx_key_find("model.arch"), arch, sizeof arch);
    for (int i = 0; i < MODEL_KEYS; i++) {
        const fx_key *key = fx_key_find(model_keys[i].name);
        if (model_keys[i].archs >> c->model_arch & 1) continue;
        fx_key_text(c, key, value, sizeof value);
        fx_key_text(&defaults, key, first, sizeof first);
        FX_REQUIRE(strcmp(value, first) == 0, FX_ECONFIG, "%s: model.arch: %s has no such key",
                   key->name, arch);
    }
    return FX_OK;
}

static fx_status apply_preset(fx_config *c, const fx_given *given)
{
    if (c->model_preset == SIZES) { /* custom */
        for (int i = 0; i < MODEL_KEYS; i++)
            FX_REQUIRE(!model_keys[i].size || !(model_keys[i].archs >> c->model_arch & 1) ||
                           is_given(given, model_keys[i].name),
                       FX_ECONFIG, "%s: needed with model.preset: custom", model_keys[i].name);
        return FX_OK;
    }
    const preset *p = &presets[c->model_arch][c->model_preset];
    if (!is_given(given, "model.channels")) c->model_channels = p->channels;
    if (!is_given(given, "model.blocks")) c->model_blocks = p->blocks;
    if (!is_given(given, "model.embed_dim")) c->model_embed_dim = p->embed_dim;
    if (!is_given(given, "model.depth")) c->model_depth = p->depth;
    if (!is_given(given, "model.heads")) c->model_heads = p->heads;
    if (!is_given(given, "model.mlp_ratio")) c->model_mlp_ratio = p->mlp_ratio;
    return FX_OK;
}

static fx_status check_widths(const char *name, const fx_list *list)
{
    for (int l = 0; l < list->count; l++) {
        const int64_t wide = (int64_t)list->value[l];
        FX_REQUIRE(wide % 32 == 0 && (double)wide == list->value[l], FX_ECONFIG,
                   "%s: %g is no multiple of 32", name, list->value[l]);
    }
    return FX_OK;
}

static fx_status check_levels(const fx_config *c)
{
    const int levels = c->model_channels.count;
    FX_REQUIRE(levels >= 1 && levels <= 8, FX_ECONFIG, "model.channels: %d levels, not 1 to 8", levels);
    FX_REQUIRE(c->model_blocks.count == levels, FX_ECONFIG, "model.blocks: %d entries for %d levels",
               c->model_blocks.count, levels);
    return check_widths("model.channels", &c->model_channels);
}

/* `what`: the key or keys that the unit follows from. */
static fx_status check_patch(const fx_config *c, int64_t unit, const char *what)
{
    FX_REQUIRE(c->data_patch % unit == 0, FX_ECONFIG, "data.patch: %lld is no multiple of %lld (%s)",
               (long long)c->data_patch, (long long)unit, what);
    return FX_OK;
}

static fx_status check_transformer(const fx_config *c, int64_t width, const char *what)
{
    FX_REQUIRE(c->model_depth % 2 == 1, FX_ECONFIG, "model.depth: %lld is not odd",
               (long long)c->model_depth);
    FX_REQUIRE(c->model_heads >= 1 && width % c->model_heads == 0, FX_ECONFIG,
               "model.heads: %lld does not divide %s, %lld", (long long)c->model_heads, what,
               (long long)width);
    FX_REQUIRE(c->model_mlp_ratio >= 1, FX_ECONFIG, "model.mlp_ratio: 0 is below 1");
    return FX_OK;
}

static fx_status check_flex(const fx_config *c)
{
    FX_TRY(check_levels(c));
    const int levels = c->model_channels.count;
    FX_REQUIRE(c->model_decoder_channels.count == levels, FX_ECONFIG,
               "model.decoder_channels: %d entries for %d levels", c->model_decoder_channels.count,
               levels);
    FX_TRY(check_widths("model.decoder_channels", &c->model_decoder_channels));
    FX_REQUIRE(c->model_latent_patch != 3, FX_ECONFIG, "model.latent_patch: 3 is none of 1, 2, 4");
    FX_TRY(check_patch(c, ((int64_t)1 << levels) * c->model_latent_patch,
                       "2^levels x model.latent_patch"));
    return check_transformer(c, (int64_t)c->model_channels.value[levels - 1],
                             "the last of model.channels");
}

static fx_status check_unet(const fx_config *c)
{
    FX_TRY(check_levels(c));
    return check_patch(c, (int64_t)1 << (c->model_channels.count - 1), "2^(levels - 1)");
}

static fx_status check_uvit(const fx_config *c)
{
    FX_REQUIRE(c->model_embed_dim >= 1, FX_ECONFIG, "model.embed_dim: 0 is below 1");
    FX_TRY(check_patch(c, c->model_patch, "model.patch"));
    return check_transformer(c, c->model_embed_dim, "model.embed_dim");
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

static fx_status check_residual_scale(const fx_config *c)
{
    const int count = c->diffusion_residual_scale.count;
    FX_REQUIRE(count == 1 || count == 2, FX_ECONFIG,
               "diffusion.residual_scale: %d numbers: one, or one for each task, are needed", count);
    return FX_OK;
}

fx_status fx_config_complete(fx_config *c, const fx_given *given)
{
    static fx_status (*const checks[ARCHS])(const fx_config *) = {check_flex, check_unet, check_uvit};
    const bool adamw = c->train_optimizer == 1;
    FX_TRY(check_arch(c));
    FX_TRY(apply_preset(c, given));
    if (c->model_arch == FLEX && c->model_decoder_channels.count == 0)
        c->model_decoder_channels = c->model_channels;
    if (c->train_beta1 == 0) c->train_beta1 = 0.9;
    if (c->train_beta2 == 0) c->train_beta2 = adamw ? 0.999 : 0.98;
    FX_TRY(complete_times(c, given));
    if (c->generate_output_grid == 0) c->generate_output_grid = c->generate_grid;
    FX_REQUIRE(c->generate_output_grid <= c->generate_grid, FX_ECONFIG,
               "generate.output_grid: %lld is above generate.grid, %lld",
               (long long)c->generate_output_grid, (long long)c->generate_grid);
    FX_TRY(check_keep_every(c));
    FX_TRY(check_residual_scale(c));
    return checks[c->model_arch](c);
}
