/* series.c: the scores of an arm, one value a sample, over its seeds; their means, ratios and
 * differences with intervals. */
#include <math.h>
#include <stdlib.h>

#include "study.h"

double study_rfne(const fx_sample_score *sample)
{
    return sample->rfne;
}

double study_floor(const fx_sample_score *sample)
{
    return sample->floor[0];
}

double study_second_floor(const fx_sample_score *sample)
{
    return sample->floor[1];
}

double study_spread(const fx_sample_score *sample)
{
    return sqrt(sample->value[FX_METRIC_DEVIATION] / sample->value[FX_METRIC_SQUARE]);
}

double study_mean_rfne(const fx_sample_score *sample)
{
    return sample->value[FX_METRIC_MEAN_RFNE];
}

/* The root of the ratio of two metrics' sums over all samples of the arm's runs. */
static double root_ratio(const study *s, const study_arm *arm, int evaluation, fx_task task,
                         fx_metric above, fx_metric below)
{
    double a = 0, b = 0;
    for (const study_run *run = s->run; run < s->run + s->runs; run++) {
        const fx_scores *scores = &run->evaluation[evaluation].samples;
        for (int64_t i = 0; run->arm == arm && run->have[evaluation] && i < scores->count; i++) {
            if (scores->row[i].task != task) continue;
            a += scores->row[i].value[above];
            b += scores->row[i].value[below];
        }
    }
    return sqrt(a / b);
}

double study_spread_skill(const study *s, const study_arm *arm, int evaluation, fx_task task)
{
    return root_ratio(s, arm, evaluation, task, FX_METRIC_SPREAD, FX_METRIC_MEAN_ERROR);
}

double study_diversity(const study *s, const study_arm *arm, int evaluation, fx_task task)
{
    return root_ratio(s, arm, evaluation, task, FX_METRIC_DEVIATION, FX_METRIC_RESIDUAL);
}

double study_band(const study *s, const study_arm *arm, int evaluation, fx_task task)
{
    double sum = 0, count = 0;
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        for (int i = 0;
             run->arm == arm && run->have[evaluation] && i < run->evaluation[evaluation].rows; i++) {
            const fx_eval_row *row = &run->evaluation[evaluation].row[i];
            if (row->score.task != task || !isfinite(row->fine_scales))
                continue; /* it has no such scales */
            sum += 10 * log10(row->fine_scales);
            count += 1;
        }
    return count > 0 ? sum / count : NAN;
}

const char *study_task_name(fx_task task)
{
    return task == FX_SR ? "SR" : "FC";
}

const char *study_verdict_text(fx_verdict verdict)
{
    static const char *const texts[] = {[FX_TIE] = "a tie",
                                        [FX_LOWER] = "lower",
                                        [FX_HIGHER] = "higher",
                                        [FX_UNKNOWN] = "not known from one seed"};
    return texts[verdict];
}

static bool belongs(const fx_sample_score *sample, fx_task task, double reynolds)
{
    return sample->task == task && (reynolds <= 0 || sample->reynolds == reynolds);
}

static int64_t samples_of(const fx_eval_file *file, fx_task task, double reynolds)
{
    int64_t count = 0;
    for (int64_t i = 0; i < file->samples.count; i++)
        count += belongs(&file->samples.row[i], task, reynolds);
    return count;
}

/* Adds one run's values; the first run sets the blocks. */
static fx_status add_run(study_series *out, const study_run *run, const fx_eval_file *file,
                         fx_task task, double reynolds, study_value value)
{
    int64_t k = 0;
    double sum = 0;
    for (int64_t i = 0; i < file->samples.count; i++) {
        const fx_sample_score *sample = &file->samples.row[i];
        if (!belongs(sample, task, reynolds)) continue;
        if (out->seeds == 0) out->block[k] = sample->block;
        FX_REQUIRE(k < out->count && out->block[k] == sample->block, FX_EVALUE,
                   "%s: evaluated on other samples than the other seeds", run->name);
        out->value[k++] += value(sample);
        sum += value(sample);
    }
    FX_REQUIRE(k == out->count, FX_EVALUE, "%s: %lld samples, other seeds have %lld", run->name,
               (long long)k, (long long)out->count);
    out->seed_mean[out->seeds++] = sum / (double)k;
    return FX_OK;
}

fx_status study_series_of(study *s, const study_arm *arm, int evaluation, fx_task task, double reynolds,
                          study_value value, study_series *out)
{
    *out = (study_series){.arm = arm};
    for (const study_run *run = s->run; run < s->run + s->runs; run++) {
        if (evaluation < 0 || run->arm != arm || !run->have[evaluation]) continue;
        const fx_eval_file *file = &run->evaluation[evaluation];
        if (out->seeds == 0) {
            out->count = samples_of(file, task, reynolds);
            if (out->count == 0) return FX_OK;
            out->value = fx_pool_calloc(s->pool, (size_t)out->count, sizeof *out->value);
            out->block = fx_pool_calloc(s->pool, (size_t)out->count, sizeof *out->block);
            out->seed_mean = fx_pool_calloc(s->pool, (size_t)s->runs, sizeof *out->seed_mean);
            if (!out->value || !out->block || !out->seed_mean) return FX_ENOMEM;
        }
        FX_TRY(add_run(out, run, file, task, reynolds, value));
    }
    for (int64_t i = 0; i < out->count; i++) {
        out->value[i] /= out->seeds;
        out->mean += out->value[i] / (double)out->count;
    }
    return FX_OK;
}

fx_status study_noise_without(study *s, int evaluation, fx_task task, const study_arm *without,
                              fx_seed_noise *out)
{
    *out = (fx_seed_noise){.relative = NAN};
    for (const study_arm *arm = s->kind->arm; arm->name; arm++) {
        study_series a;
        if (arm == without) continue;
        FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_rfne, &a));
        if (a.seeds > 1) fx_seed_noise_add(out, a.seed_mean, a.seeds);
    }
    return FX_OK;
}

fx_status study_noise(study *s, int evaluation, fx_task task, fx_seed_noise *out)
{
    return study_noise_without(s, evaluation, task, NULL, out);
}

/* Half-widths over seeds added to an interval over samples; what nobody knows adds nothing. */
static void widen(fx_interval *x, double half)
{
    if (isnan(half)) return;
    x->low = x->value - hypot(x->value - x->low, half);
    x->high = x->value + hypot(x->high - x->value, half);
}

fx_status study_mean(study *s, const study_series *a, const fx_seed_noise *noise, fx_interval *out)
{
    *out = (fx_interval){NAN, NAN, NAN};
    if (a->seeds == 0) return FX_OK;
    FX_TRY(fx_bootstrap_ratio(a->value, NULL, a->block, a->count, (uint64_t)s->config.seed, out));
    widen(out, fx_seed_noise_half(noise, out->value, a->seeds));
    return FX_OK;
}

static fx_status check_pair(const study_series *a, const study_series *b)
{
    bool same = a->count == b->count;
    for (int64_t i = 0; same && i < a->count; i++)
        same = a->block[i] == b->block[i];
    FX_REQUIRE(same, FX_EVALUE, "%s and %s were evaluated on different samples", a->arm->name,
               b->arm->name);
    return FX_OK;
}

fx_status study_ratio(study *s, const study_series *a, const study_series *b,
                      const fx_seed_noise *noise, fx_interval *out)
{
    *out = (fx_interval){NAN, NAN, NAN};
    if (a->seeds == 0 || b->seeds == 0) return FX_OK;
    FX_TRY(check_pair(a, b));
    FX_TRY(fx_bootstrap_ratio(a->value, b->value, a->block, a->count, (uint64_t)s->config.seed, out));
    if (noise) widen(out, fx_seed_noise_half(noise, out->value, a->seeds));
    return FX_OK;
}

fx_status study_difference(study *s, const study_series *a, const study_series *b,
                           const fx_seed_noise *noise, fx_interval *out, fx_verdict *verdict)
{
    fx_interval samples;
    double *difference = NULL;
    *out = (fx_interval){NAN, NAN, NAN};
    *verdict = FX_TIE;
    if (a->seeds == 0 || b->seeds == 0) return FX_OK;
    FX_TRY(check_pair(a, b));
    difference = fx_pool_calloc(s->pool, (size_t)a->count, sizeof *difference);
    if (!difference) return FX_ENOMEM;
    for (int64_t i = 0; i < a->count; i++)
        difference[i] = a->value[i] - b->value[i];
    FX_TRY(
        fx_bootstrap_ratio(difference, NULL, a->block, a->count, (uint64_t)s->config.seed, &samples));
    *verdict = fx_judge(&samples, fx_seed_noise_half(noise, a->mean, a->seeds),
                        fx_seed_noise_half(noise, b->mean, b->seeds), out);
    return FX_OK;
}
