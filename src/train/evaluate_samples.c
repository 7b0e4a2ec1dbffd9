/* evaluate_samples.c: which patches are sampled, and their scores. Sample i of a Reynolds number is a
 * function of i alone, its noise too. */
#include <math.h>
#include <string.h>

#include "evaluate.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

/* Sample i of n: times evenly spread over the run, the place at random. */
fx_evaluation_place fx_evaluation_place_of(const fx_evaluation *e, const fx_pack_reynolds *r, int64_t i)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const uint32_t counter[4] = {(uint32_t)i, 0, fx_crc32("evaluation"), 0};
    const fx_philox random = fx_philox4x32(fx_random_key(r->reynolds), counter);
    fx_evaluation_place p = {.patch = r->first + (int64_t)(random.word[0] % (uint64_t)r->patches)};
    const fx_patch patch = fx_manifest_patch(m, p.patch);
    const int64_t cond = e->trained->options.model.cond,
                  ahead = e->horizon * e->trained->progress.config.data_forecast_step;
    const int64_t choices = patch.snapshots - ahead - cond + 1;
    p.snapshot = cond - 1 + (2 * i + 1) * choices / (2 * e->config->eval_patches);
    p.time = patch.start + (double)p.snapshot * patch.interval;
    return p;
}

/* How much the spectrum changes of itself: the newest snapshot of a window against that of a time unit
 * later or, near the end of the run, earlier; NaN where the run is shorter. */
static fx_status find_natural(fx_evaluation *e, const fx_evaluation_place *p, const float *newest,
                              double reynolds, double *out)
{
    const fx_patch patch = fx_manifest_patch(fx_pack_manifest(e->pack), p->patch);
    const int64_t unit = patch.interval > 0 ? llround(1 / patch.interval) : 0;
    const int64_t other =
        p->snapshot + unit < patch.snapshots ? p->snapshot + unit : p->snapshot - unit;
    float *apart = NULL;
    *out = NAN;
    if (unit < 1 || other < 0) return FX_OK;
    FX_TRY(FX_ALLOC(apart, e->trained->pixels));
    fx_status status = fx_pack_read(e->pack, p->patch, other, 1, apart);
    if (status == FX_OK) status = fx_measure_natural(e->measure, newest, apart, reynolds, out);
    fx_free(apart);
    return status;
}

double fx_evaluation_scale(const fx_evaluation *e, int64_t patch)
{
    return e->scale[fx_manifest_patch(fx_pack_manifest(e->pack), patch).source];
}

fx_values fx_evaluation_values(const fx_pack_reynolds *r, double unit)
{
    return (fx_values){r->stats.mean / unit, fx_stats_std(&r->stats) / unit,
                       (r->stats.largest - r->stats.least) / unit};
}

/* Row b of the batch: inputs and target, divided by the scale of their source. */
static fx_status load(fx_evaluation *e, const fx_pack_reynolds *r, int64_t i, int64_t b)
{
    const fx_evaluation_place p = fx_evaluation_place_of(e, r, i);
    fx_trained *m = e->trained;
    const int64_t cond = m->options.model.cond, ahead = m->progress.config.data_forecast_step,
                  n = m->pixels;
    float *window = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(window, (cond + ahead) * n));
    FX_TRY_DONE(fx_pack_read(e->pack, p.patch, p.snapshot - cond + 1, cond + ahead, window));
    if (e->measure)
        FX_TRY_DONE(find_natural(e, &p, window + (cond - 1) * n, r->reynolds, &e->natural[b]));
    const float scale = (float)(1.0 / fx_evaluation_scale(e, p.patch));
    for (int64_t k = 0; k < n; k++) {
        for (int64_t c = 0; c < cond; c++)
            m->snapshots[(b * n + k) * cond + c] = scale * window[c * n + k];
        e->future[b * n + k] = scale * window[(cond + ahead - 1) * n + k];
    }
done:
    fx_free(window);
    if (status != FX_OK || !e->coarsener) return status;
    const fx_coarse_sample coarse = {.patch = p.patch,
                                     .snapshot = p.snapshot,
                                     .scale = fx_evaluation_scale(e, p.patch),
                                     .seed = (uint64_t)e->config->seed,
                                     .slot = (uint32_t)i,
                                     .step = fx_random_word(r->reynolds)};
    return fx_coarsener_make(e->coarsener, &coarse, m->snapshots + b * n * cond + cond - 1, cond,
                             m->coarse + b * fx_coarsener_pixels(e->coarsener));
}

static fx_status keep_example(fx_evaluation *e, fx_evaluation_row *k, const float *input,
                              const float *estimate, const float *target)
{
    const size_t bytes = (size_t)e->trained->pixels * sizeof(float);
    FX_TRY(FX_ALLOC(k->input, e->trained->pixels));
    FX_TRY(FX_ALLOC(k->estimate, e->trained->pixels));
    FX_TRY(FX_ALLOC(k->target, e->trained->pixels));
    memcpy(k->input, input, bytes);
    memcpy(k->estimate, estimate, bytes);
    memcpy(k->target, target, bytes);
    return FX_OK;
}

/* Scores row b as sample i of a task; `fields`: scratch of two fields. */
static fx_status score(fx_evaluation *e, int r, fx_task task, int64_t i, int64_t b, float *fields)
{
    const fx_trained *m = e->trained;
    const int64_t n = m->pixels, cond = m->options.model.cond, stride = m->batch * n;
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[r];
    float *last = fields, *before = fields + n;
    for (int64_t k = 0; k < n; k++) {
        last[k] = m->snapshots[(b * n + k) * cond + cond - 1];
        before[k] = cond > 1 ? m->snapshots[(b * n + k) * cond + cond - 2] : 0.0f;
    }
    const float *base = m->base + b * n, *members = e->ensemble + b * n,
                *target = task == FX_SR ? last : e->future + b * n;
    fx_sample_score s = {
        .index = i,
        .block = (int64_t)fx_evaluation_place_of(e, reynolds, i).time,
        .reynolds = reynolds->reynolds,
        .task = task,
        .floor = {fx_rfne(base, target, n),
                  task == FX_FC && cond > 1
                      ? fx_rfne_extrapolated(before, last,
                                             (double)m->progress.config.data_forecast_step, target, n)
                      : NAN},
        .loss = e->losses ? (double)e->losses[b] : NAN,
        .target = e->losses ? fx_mean_square(e->wanted + b * n, n) : NAN,
        .output = e->losses ? fx_mean_square(e->said + b * n, n) : NAN};
    for (int k = 0; k < e->members; k++) {
        s.rfne += fx_rfne(members + k * stride, target, n) / e->members;
        s.correlation += fx_correlation(members + k * stride, target, n) / e->members;
    }
    for (int k = 0; k < FX_METRICS; k++)
        s.value[k] = NAN;
    s.value[FX_METRIC_SQUARE] = fx_mean_square(target, n);
    FX_TRY(fx_scores_add(&e->scores, &s));
    e->unit = fx_evaluation_scale(e, fx_evaluation_place_of(e, reynolds, i).patch);
    if (e->keep) FX_TRY(e->keep(e->keeper, &s, base, members, target));
    if (!e->measure) return FX_OK;
    fx_sample_score *row = &e->scores.row[e->scores.count - 1];
    row->value[FX_METRIC_NATURAL] = e->natural[b];
    const fx_values values = fx_evaluation_values(reynolds, e->unit);
    FX_TRY(fx_measure_sample(e->measure, members, stride, base, target, &values, row,
                             fx_scores_details(&e->scores, row)));
    return i == 0 ? keep_example(e, &e->rows[(int)task * e->reynolds + r], base, members, target)
                  : FX_OK;
}

/* The losses of the batch whose sample 0 is number `first`; time and noise follow from a sample's
 * number and Reynolds number. */
static fx_status find_losses(fx_evaluation *e, fx_task task, int64_t first, double reynolds)
{
    const fx_probe *p = &e->probe[task];
    const fx_step step = {.seed = (uint64_t)e->config->seed,
                          .step = fx_random_word(reynolds),
                          .slot0 = (uint32_t)first,
                          .gradient_scale = 1};
    FX_TRY(fx_program_write(p->program, p->inputs.snapshots, e->trained->snapshots));
    FX_TRY(fx_program_write(p->program, p->inputs.re, e->trained->re));
    if (p->inputs.coarse) FX_TRY(fx_program_write(p->program, p->inputs.coarse, e->trained->coarse));
    if (p->inputs.future) FX_TRY(fx_program_write(p->program, p->inputs.future, e->future));
    FX_TRY(fx_program_run(p->program, &step, NULL));
    FX_TRY(fx_program_read(p->program, p->nodes.target, e->wanted));
    FX_TRY(fx_program_read(p->program, p->nodes.velocity, e->said));
    return fx_program_read(p->program, p->nodes.loss, e->losses);
}

/* Super-resolution has no leads. */
static void no_rollout(fx_evaluation *e, const fx_sample_score *row)
{
    const fx_details *p = &e->scores.details;
    double *details = fx_scores_details(&e->scores, row);
    for (int64_t c = fx_details_lead(p, 0); c < fx_details_length(p); c++)
        details[c] = NAN;
}

/* Samples `first` and on, whose inputs are loaded; the last one is repeated beyond the end. */
static fx_status run_task(fx_evaluation *e, int r, fx_task task, int64_t first, float *fields)
{
    fx_trained *m = e->trained;
    const uint64_t seed = (uint64_t)e->config->seed;
    const double reynolds = fx_pack_manifest(e->pack)->reynolds[r].reynolds;
    const int64_t last = e->config->eval_patches - 1, n = m->batch * m->pixels;
    for (int member = 0; member < e->members; member++) {
        for (int64_t b = 0; b < m->batch; b++) {
            fx_trained_draw(m, task, b, seed, (uint32_t)(first + b < last ? first + b : last),
                            (uint32_t)member, reynolds);
            if (!isnan(e->condition)) fx_trained_tell(m, b, e->condition);
        }
        if (member == 0) FX_TRY(fx_trained_encode(m, task));
        FX_TRY(fx_trained_denoise(m, task));
        memcpy(e->ensemble + member * n, m->estimate, (size_t)n * sizeof(float));
    }
    if (e->losses) FX_TRY(find_losses(e, task, first, reynolds));
    const int64_t row = e->scores.count;
    for (int64_t b = 0; b < m->batch && first + b <= last; b++)
        FX_TRY(score(e, r, task, first + b, b, fields));
    if (e->horizon < 2) return FX_OK;
    if (task == FX_FC) return fx_evaluation_rollout(e, r, first, row);
    for (int64_t i = row; i < e->scores.count; i++)
        no_rollout(e, &e->scores.row[i]);
    return FX_OK;
}

fx_status fx_evaluation_batch(fx_evaluation *e, int r, int64_t first)
{
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[r];
    const int64_t last = e->config->eval_patches - 1;
    float *fields = NULL;
    fx_status status = FX_OK;
    for (int64_t b = 0; b < e->trained->batch; b++)
        FX_TRY(load(e, reynolds, first + b < last ? first + b : last, b));
    FX_TRY(FX_ALLOC(fields, 2 * e->trained->pixels));
    for (fx_task task = FX_SR; status == FX_OK && task <= FX_FC; task++)
        if (fx_trained_has(e->trained, task)) status = run_task(e, r, task, first, fields);
    fx_free(fields);
    return status;
}
