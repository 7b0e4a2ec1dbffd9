/* settings.c: which settings a run may change when it goes on, or begins with weights of another. */
#include "settings.h"

#include <string.h>

#include "flexhpc/checkpoint.h"
#include "flexhpc/log.h"
#include "flexhpc/train.h"

bool fx_setting_is_free(const char *line)
{
    static const char *const keys[] = {"run.",         "sample.",    "eval.",       "generate.",
                                       "pack.",        "bench.",     "data.path",   "data.prefetch",
                                       "data.readers", "data.stage", "checkpoint.", "cuda.",
                                       "train.shard",  "validate.",  "study."};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strncmp(line, keys[i], strlen(keys[i])) == 0) return true;
    return false;
}

static bool has_scale(const fx_config *c)
{
    return fx_residual_scale(c, FX_SR) > 0 && fx_residual_scale(c, FX_FC) > 0;
}

/* Fills in what `now` leaves open. */
static void take_scale(fx_config *now, const fx_config *then)
{
    fx_list both = {.count = 2};
    if (has_scale(now)) return;
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        both.value[task] = fx_residual_scale(now, task) > 0 ? fx_residual_scale(now, task)
                                                            : fx_residual_scale(then, task);
    now->diffusion_residual_scale = both;
}

/* The same of a run that goes on. Numbers that were found, or taken, are two: a single one was the
 * run's own choice, which to leave open is another setting. */
static void keep_scale(fx_config *now, const fx_config *then)
{
    if (then->diffusion_residual_scale.count == 2) take_scale(now, then);
}

fx_status fx_settings_find_scale(fx_comm *comm, fx_config *config, const char *checkpoint)
{
    char path[FX_PATH_MAX];
    fx_progress progress;
    fx_list *scale = &config->diffusion_residual_scale;
    if (has_scale(config)) return FX_OK;
    if (checkpoint[0]) {
        FX_TRY(fx_checkpoint_peek(comm, checkpoint, &progress));
        keep_scale(config, &progress.config);
        return FX_OK; /* what it does not say is refused as another setting than its own */
    }
    if (config->train_init_from[0]) {
        FX_TRY_CTX(fx_checkpoint_named(comm, config->train_init_from, path), "train.init_from");
        FX_TRY(fx_checkpoint_peek(comm, path, &progress));
        take_scale(config, &progress.config);
        return FX_OK;
    }
    FX_TRY(fx_agree(comm, comm->rank == 0 ? fx_targets_scale(config) : FX_OK));
    FX_TRY(comm->ops->broadcast(comm, scale, sizeof *scale, 0));
    fx_log(FX_INFO, "diffusion.residual_scale: %.4g of super-resolution, %.4g of the forecast",
           scale->value[0], scale->value[1]);
    return FX_OK;
}

static fx_status check(const fx_config *then, const fx_config *now, const char *path, bool tell)
{
    char text[8192], *rest = NULL;
    if (fx_config_diff(then, now, text, sizeof text) == 0) return FX_OK;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        FX_REQUIRE(fx_setting_is_free(line), FX_ECONFIG, "%s was made with other settings: %s", path,
                   line);
        if (tell) fx_log(FX_INFO, "resume: %s", line);
    }
    FX_REQUIRE(then->seed == now->seed, FX_ECONFIG, "%s was made with seed %lld, not %lld", path,
               (long long)then->seed, (long long)now->seed);
    return FX_OK;
}

fx_status fx_settings_check(const fx_config *then, const fx_config *now, const char *path)
{
    return check(then, now, path, true);
}

fx_status fx_run_step(fx_comm *comm, const char *folder, const fx_config *config, int64_t *step)
{
    char path[FX_PATH_MAX], checkpoints[FX_PATH_MAX];
    fx_progress progress;
    fx_config now = *config;
    *step = 0;
    FX_TRY(fx_path(checkpoints, "%s/ckpt", folder));
    FX_TRY(fx_checkpoint_find(comm, checkpoints, path));
    if (!path[0]) return FX_OK;
    FX_TRY(fx_checkpoint_peek(comm, path, &progress));
    if (now.data_scale == 0) now.data_scale = progress.config.data_scale;
    if (now.data_reynolds.count == 0) now.data_reynolds = progress.config.data_reynolds;
    keep_scale(&now, &progress.config);
    FX_TRY(check(&progress.config, &now, path, false));
    *step = progress.step;
    return FX_OK;
}

/* Whether a line is about a setting that decides what weights mean, though not what shapes they have.
 */
static bool is_meaning(const char *line)
{
    static const char *const keys[] = {"model.arch: ",           "model.heads: ",
                                       "model.weak_levels: ",    "model.attention_sides: ",
                                       "model.latent_patch: ",   "model.patch: ",
                                       "model.strong_scale: ",   "diffusion.predict: ",
                                       "diffusion.shift: ",      "diffusion.residual: ",
                                       "data.condition_scale: ", "diffusion.residual_scale: "};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strncmp(line, keys[i], strlen(keys[i])) == 0) return true;
    return false;
}

fx_status fx_settings_fit(const fx_config *then, const fx_config *now, const char *path)
{
    char text[8192], *rest = NULL;
    if (fx_config_diff(then, now, text, sizeof text) == 0) return FX_OK;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        FX_REQUIRE(!is_meaning(line), FX_ECONFIG, "%s was trained otherwise: %s", path, line);
        if (strncmp(line, "data.", 5) == 0) fx_log(FX_INFO, "fine-tuning: %s", line);
    }
    return FX_OK;
}
