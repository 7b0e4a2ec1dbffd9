/* validate.c: validation of a model in training, as an evaluation with few patches. */
#include "validate.h"

#include <stdio.h>

#include "evaluate.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

struct fx_validation {
    fx_config config; /* the run's, as an evaluation is asked for */
    fx_evaluation *evaluation;
};

static fx_config as_evaluation(const fx_config *config)
{
    fx_config c = *config;
    c.eval_patches = config->validate_patches;
    if (c.eval_batch > c.eval_patches) c.eval_batch = c.eval_patches;
    if (config->validate_path[0])
        snprintf(c.data_path, sizeof c.data_path, "%s", config->validate_path);
    return c;
}

fx_status fx_validation_open(fx_comm *comm, const fx_config *config, const fx_trainee *trainee,
                             const fx_progress *progress, fx_validation **out)
{
    FX_TRY(fx_agree(comm, FX_ALLOC(*out, 1)));
    (*out)->config = as_evaluation(config);
    const fx_status status =
        fx_evaluation_of(comm, &(*out)->config, trainee, progress, &(*out)->evaluation);
    return status == FX_OK ? FX_OK : fx_context(status, "validation");
}

void fx_validation_close(fx_validation **validation)
{
    if (!*validation) return;
    fx_evaluation_close(&(*validation)->evaluation);
    fx_free(*validation);
    *validation = NULL;
}

static fx_status run(fx_validation *v, fx_validation_report *out)
{
    fx_evaluation *e = v->evaluation;
    fx_scores_free(&e->scores);
    FX_TRY(fx_evaluation_run(e));
    FX_TRY(fx_scores_merge(&e->scores, e->comm));
    FX_TRY(fx_scores_summarise(&e->scores, (uint64_t)v->config.seed, out->score, FX_EVALUATION_ROWS,
                               &out->scores));
    FX_REQUIRE(out->scores > 0, FX_ECONFIG, "eval.reynolds: the pack %s holds none of them",
               v->config.data_path);
    out->loss = out->rfne = 0;
    out->upsampling = fx_upsampling_name(&e->trained->progress.config);
    for (int i = 0; i < out->scores; i++) {
        out->loss += out->score[i].loss / out->scores;
        out->rfne += out->score[i].rfne / out->scores;
    }
    return FX_OK;
}

fx_status fx_validation_run(fx_validation *v, fx_validation_report *out)
{
    fx_beat_phase(FX_PHASE_VALIDATE, v->config.data_path);
    const fx_status status = run(v, out);
    return status == FX_OK ? FX_OK : fx_context(status, "validation");
}

void fx_validation_print(const fx_validation_report *r, int64_t step, double seconds)
{
    char line[896];
    int used = snprintf(line, sizeof line, "step %lld: validation loss %.4f, RFNE %.4f (%.1f s)",
                        (long long)step, r->loss, r->rfne, seconds);
    for (int i = 0; i < r->scores && used < (int)sizeof line; i++)
        used +=
            snprintf(line + used, sizeof line - (size_t)used, "  %s Re %g %.4f, %s %.4f",
                     r->score[i].task == FX_SR ? "SR" : "FC", r->score[i].reynolds, r->score[i].rfne,
                     r->score[i].task == FX_SR ? r->upsampling : "persistence", r->score[i].floor[0]);
    fx_log(FX_INFO, "%s", line);
}

fx_status fx_validation_bytes(const fx_trainee *trainee, const fx_config *config, size_t *bytes)
{
    const fx_progress progress = {.config = *config};
    const fx_config c = as_evaluation(config);
    fx_evaluation e = {.config = &c};
    fx_status status = FX_OK;
    *bytes = 0;
    FX_TRY_DONE(fx_trained_of(trainee, &c, &progress, &e.trained));
    FX_TRY_DONE(fx_evaluation_programs(&e, true));
    const fx_sampler *sr = &e.trained->sampler[FX_SR], *fc = &e.trained->sampler[FX_FC];
    const fx_program *programs[] = {e.probe[0].program, e.probe[1].program, sr->encoder,
                                    sr->denoiser,       fc->encoder,        fc->denoiser};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        if (!programs[i]) continue;
        const fx_plan_summary s = fx_program_summary(programs[i]);
        *bytes += s.arena_bytes + s.kept_bytes;
    }
done:
    for (int task = 0; task < 2; task++)
        fx_program_free(&e.probe[task].program);
    fx_trained_close(&e.trained);
    return status;
}
