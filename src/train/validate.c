/* validate.c: validation of a model in training, as an evaluation with few patches. */
#include "validate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "evaluate.h"
#include "event_images.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

/* Fields of one sample: rank 0 has sample 0 of every Reynolds number. */
typedef struct example {
    float *input, *estimate, *target; /* (side, side); NULL: none yet */
} example;

struct fx_validation {
    fx_config config; /* the run's, as an evaluation is asked for */
    fx_evaluation *evaluation;
    double shown;       /* the largest Reynolds number */
    example example[2]; /* by task */
};

static fx_status keep_field(const fx_validation *v, const float *field, float **kept)
{
    const int64_t pixels = v->evaluation->trained->pixels;
    if (!*kept) FX_TRY(FX_ALLOC(*kept, pixels));
    memcpy(*kept, field, (size_t)pixels * sizeof *field);
    return FX_OK;
}

static fx_status keep_example(void *keeper, const fx_sample_score *score, const float *input,
                              const float *estimate, const float *target)
{
    fx_validation *v = keeper;
    example *e = &v->example[score->task];
    if (score->index != 0 || score->reynolds != v->shown) return FX_OK;
    FX_TRY(keep_field(v, input, &e->input));
    FX_TRY(keep_field(v, estimate, &e->estimate));
    return keep_field(v, target, &e->target);
}

/* Samples of the largest Reynolds number are kept: what is hardest to make shows most. */
static void keep_examples(fx_validation *v)
{
    fx_evaluation *e = v->evaluation;
    v->shown = -INFINITY;
    for (int r = 0; r < e->reynolds; r++)
        if (fx_evaluates(e, r))
            v->shown = fmax(v->shown, fx_pack_manifest(e->pack)->reynolds[r].reynolds);
    e->keep = keep_example;
    e->keeper = v;
}

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
    if (status == FX_OK) keep_examples(*out);
    return status == FX_OK ? FX_OK : fx_context(status, "validation");
}

void fx_validation_close(fx_validation **validation)
{
    if (!*validation) return;
    fx_evaluation_close(&(*validation)->evaluation);
    for (int task = 0; task < 2; task++) {
        fx_free((*validation)->example[task].input);
        fx_free((*validation)->example[task].estimate);
        fx_free((*validation)->example[task].target);
    }
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

fx_status fx_validation_show(const fx_validation *v, int64_t step, fx_tfevents *events)
{
    const int64_t side = v->evaluation->trained->options.model.image;
    for (int task = 0; task < 2; task++) {
        const example *e = &v->example[task];
        const fx_panel panel = {.input = e->input,
                                .model = e->estimate,
                                .truth = e->target,
                                .input_side = side,
                                .side = side};
        char tag[FX_NAME_MAX];
        if (!e->target) continue;
        FX_TRY(fx_print(tag, sizeof tag, "validation/%s_re%g", fx_task_names[task], v->shown));
        const fx_status status = fx_event_image(events, step, tag, &panel);
        if (status != FX_EVALUE) FX_TRY(status);
        if (status == FX_EVALUE)
            fx_log(FX_WARN, "step %lld: no picture: %s", (long long)step, fx_error_message());
        fx_error_clear();
    }
    return FX_OK;
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
