/* evaluate_samples.c: which patches are sampled, and their scores. Sample i of a Reynolds number is a
 * function of i alone, its noise too. */
#include <math.h>
#include <string.h>

#include "evaluate.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

/* Sample i of n: times evenly spread over the run, the place at random. */
typedef struct place {
    int64_t patch, snapshot;
    double time;
} place;

static place place_of(const fx_evaluation *e, const fx_pack_reynolds *r, int64_t i)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const uint32_t counter[4] = {(uint32_t)i, 0, fx_crc32("evaluation"), 0};
    const fx_philox random = fx_philox4x32((uint64_t)r->reynolds, counter);
    place p = {.patch = r->first + (int64_t)(random.word[0] % (uint64_t)r->patches)};
    const fx_patch patch = fx_manifest_patch(m, p.patch);
    const int64_t cond = e->options.model.cond, ahead = e->progress.config.data_forecast_step;
    const int64_t choices = patch.snapshots - ahead - cond + 1;
    p.snapshot = cond - 1 + (2 * i + 1) * choices / (2 * e->config->eval_patches);
    p.time = patch.start + (double)p.snapshot * patch.interval;
    return p;
}

/* Row b of the batch: inputs, target and noise, divided by the checkpoint's scale. */
static fx_status load(fx_evaluation *e, const fx_pack_reynolds *r, int64_t i, int64_t b)
{
    const place p = place_of(e, r, i);
    const int64_t cond = e->options.model.cond, ahead = e->progress.config.data_forecast_step,
                  n = e->pixels;
    float *window = NULL;
    FX_TRY(FX_ALLOC(window, (cond + ahead) * n));
    const fx_status status =
        fx_pack_read(e->pack, p.patch, p.snapshot - cond + 1, cond + ahead, window);
    const float scale = (float)(1.0 / e->progress.data_scale);
    for (int64_t k = 0; status == FX_OK && k < n; k++) {
        for (int64_t c = 0; c < cond; c++)
            e->snapshots[(b * n + k) * cond + c] = scale * window[c * n + k];
        e->future[b * n + k] = scale * window[(cond + ahead - 1) * n + k];
    }
    fx_free(window);
    e->re[b] = (float)(r->reynolds / e->progress.config.data_condition_scale);
    for (uint32_t task = 0; task < 2; task++)
        fx_fill_normal((uint64_t)e->config->seed, 2 * (uint32_t)i + task, fx_crc32("x_T"),
                       (uint32_t)r->reynolds, e->noise + (task * e->batch + b) * n, n);
    return status;
}

static fx_status sample(fx_evaluation *e)
{
    const fx_step step = {.seed = (uint64_t)e->config->seed, .gradient_scale = 1};
    fx_program *p = e->sampler.program;
    FX_TRY(fx_program_write(p, e->sampler.inputs.snapshots, e->snapshots));
    FX_TRY(fx_program_write(p, e->sampler.inputs.re, e->re));
    FX_TRY(fx_program_write(p, e->sampler.x, e->noise));
    FX_TRY(fx_program_run(p, &step, NULL));
    if (e->sampler.inputs.lowres) FX_TRY(fx_program_read(p, e->sampler.inputs.lowres, e->lowres));
    return fx_program_read(p, e->sampler.residual, e->residual);
}

static fx_status keep_example(fx_evaluation *e, fx_evaluation_row *k, const float *input,
                              const float *estimate, const float *target)
{
    const size_t bytes = (size_t)e->pixels * sizeof(float);
    FX_TRY(FX_ALLOC(k->input, e->pixels));
    FX_TRY(FX_ALLOC(k->estimate, e->pixels));
    FX_TRY(FX_ALLOC(k->target, e->pixels));
    memcpy(k->input, input, bytes);
    memcpy(k->estimate, estimate, bytes);
    memcpy(k->target, target, bytes);
    return FX_OK;
}

/* Scores row b as sample i of a task; `fields`: scratch of three fields. */
static fx_status score(fx_evaluation *e, int r, fx_task task, int64_t i, int64_t b, float *fields)
{
    const int64_t n = e->pixels, cond = e->options.model.cond;
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[r];
    const bool first_task = task == FX_SR || !(e->options.model.tasks & FX_TASK_SR);
    const float *residual = e->residual + ((first_task ? 0 : e->batch) + b) * n;
    float *last = fields, *before = fields + n, *estimate = fields + 2 * n;
    for (int64_t k = 0; k < n; k++) {
        last[k] = e->snapshots[(b * n + k) * cond + cond - 1];
        before[k] = cond > 1 ? e->snapshots[(b * n + k) * cond + cond - 2] : 0.0f;
    }
    const float *base = task == FX_SR ? e->lowres + b * n : last,
                *target = task == FX_SR ? last : e->future + b * n;
    for (int64_t k = 0; k < n; k++)
        estimate[k] = base[k] + residual[k];
    const fx_sample_score s = {
        .index = i,
        .block = (int64_t)place_of(e, reynolds, i).time,
        .reynolds = reynolds->reynolds,
        .task = task,
        .rfne = fx_rfne(estimate, target, n),
        .floor = {fx_rfne(base, target, n),
                  task == FX_FC && cond > 1
                      ? fx_rfne_extrapolated(before, last,
                                             (double)e->progress.config.data_forecast_step, target, n)
                      : NAN},
        .correlation = fx_correlation(estimate, target, n)};
    FX_TRY(fx_scores_add(&e->scores, &s));
    if (e->keep) FX_TRY(e->keep(e->keeper, &s, base, estimate, target));
    fx_evaluation_row *k = &e->rows[(int)task * e->reynolds + r];
    FX_TRY(fx_spectrum_add(k->model, estimate, NULL));
    FX_TRY(fx_spectrum_add(k->truth, target, NULL));
    return i == 0 ? keep_example(e, k, base, estimate, target) : FX_OK;
}

fx_status fx_evaluation_batch(fx_evaluation *e, int r, int64_t first)
{
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[r];
    const int64_t most = e->config->eval_patches - 1;
    float *fields = NULL;
    fx_status status = FX_OK;
    for (int64_t b = 0; b < e->batch; b++)
        FX_TRY(load(e, reynolds, first + b < most ? first + b : most, b));
    FX_TRY(sample(e));
    FX_TRY(FX_ALLOC(fields, 3 * e->pixels));
    for (int64_t b = 0; b < e->batch && first + b <= most; b++) {
        if (e->options.model.tasks & FX_TASK_SR) FX_TRY_DONE(score(e, r, FX_SR, first + b, b, fields));
        if (e->options.model.tasks & FX_TASK_FC) FX_TRY_DONE(score(e, r, FX_FC, first + b, b, fields));
    }
done:
    fx_free(fields);
    return status;
}
