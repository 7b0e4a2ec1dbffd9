/* arms.c: what all studies of several trained arms share: the table of their scores, their differences
 * sample by sample, the noise of seeds, and the sentences on them. */
#include <math.h>
#include <string.h>

#include "flexhpc/train.h"
#include "study.h"

enum { ALL_PAIRS = 4, REYNOLDS = 64 };
static const double WIDE = 0.05; /* the chance below which an arm's own noise is told */

const char *study_floor_name(const study *s, fx_task task)
{
    const char *name = fx_upsampling_name(&s->run[0].config);
    for (int i = 1; i < s->runs; i++)
        if (s->run[i].config.data_upsampling != s->run[0].config.data_upsampling)
            name = "interpolation";
    return task == FX_SR ? name : "persistence";
}

fx_status study_ratio_chart(study *s, fx_task task, const char *x_label, bool log_x,
                            const study_curve *curve, int curves)
{
    const char *title =
        fx_pool_print(s->pool, "%s: RFNE over %s's", task == FX_SR ? "Super-resolution" : "Forecast",
                      study_floor_name(s, task));
    return title ? study_chart(s, title, x_label, "ratio", log_x, curve, curves) : FX_ENOMEM;
}

/* Distinct Reynolds numbers of an evaluation, ascending; the number of them. */
int study_reynolds(const study *s, int evaluation, fx_task task, double *out, int most)
{
    int count = 0;
    for (const study_run *run = s->run; run < s->run + s->runs && count == 0; run++)
        for (int i = 0; run->have[evaluation] && i < run->evaluation[evaluation].rows && count < most;
             i++)
            if (run->evaluation[evaluation].row[i].score.task == task)
                out[count++] = run->evaluation[evaluation].row[i].score.reynolds;
    return count;
}

static fx_status put_arm(study *s, study_table *t, const study_arm *arm, int evaluation, fx_task task,
                         double reynolds)
{
    study_series model, floor, second;
    fx_seed_noise noise;
    fx_interval rfne, ratio;
    FX_TRY(study_series_of(s, arm, evaluation, task, reynolds, study_rfne, &model));
    if (model.seeds == 0) return FX_OK;
    FX_TRY(study_series_of(s, arm, evaluation, task, reynolds, study_floor, &floor));
    FX_TRY(study_series_of(s, arm, evaluation, task, reynolds, study_second_floor, &second));
    FX_TRY(study_noise(s, evaluation, task, &noise));
    FX_TRY(study_mean(s, &model, &noise, &rfne));
    FX_TRY(study_ratio(s, &model, &floor, &noise, &ratio));
    FX_TRY(study_put_text(s, t, "%s", arm->name));
    FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
    if (reynolds > 0)
        FX_TRY(study_put(s, t, reynolds, "%g"));
    else
        FX_TRY(study_put_text(s, t, "all"));
    FX_TRY(study_put(s, t, model.seeds, "%.0f"));
    FX_TRY(study_put(s, t, (double)model.count, "%.0f"));
    FX_TRY(study_put_interval(s, t, &rfne, 4));
    FX_TRY(study_put(s, t, floor.mean, "%.4f"));
    FX_TRY(study_put(s, t, second.mean, "%.4f"));
    FX_TRY(study_put_interval(s, t, &ratio, 3));
    fx_seed_noise own = {.relative = NAN};
    fx_seed_noise_add(&own, model.seed_mean, model.seeds);
    return study_put(s, t, 100 * own.relative, "%.2f");
}

static const char *const ARM_COLUMNS[] = {
    "arm",  "task",  "Re",           "seeds",        "samples",
    "RFNE", "floor", "second floor", "RFNE / floor", "spread over seeds, %",
    NULL};
static const char FLOORS_NOTE[] =
    "Samples: patches scored, the same for every seed. Floors: interpolation (data.upsampling) for SR; "
    "persistence, and second linear extrapolation, for "
    "FC. Climatology, the mean of all time, has RFNE 1 for fields of mean 0. Spread over seeds: "
    "standard deviation of a run's "
    "mean over the arm's mean.";

fx_status study_arm_table(study *s, int evaluation)
{
    double reynolds[REYNOLDS];
    study_table *t = study_table_begin(s, "arms", "Scores", ARM_COLUMNS);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = FLOORS_NOTE;
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        const int count = study_reynolds(s, evaluation, task, reynolds, REYNOLDS);
        for (const study_arm *arm = s->kind->arm; arm->name; arm++)
            FX_TRY(put_arm(s, t, arm, evaluation, task, 0));
        for (int r = 0; r < count; r++)
            for (const study_arm *arm = s->kind->arm; arm->name; arm++)
                FX_TRY(put_arm(s, t, arm, evaluation, task, reynolds[r]));
    }
    return FX_OK;
}

/* Arms whose seeds differ by more than those of the others tell. Held against the others alone: a pool
 * that an arm is part of can't be much below its own noise. */
static fx_status say_wide(study *s, int evaluation, fx_task task)
{
    for (const study_arm *arm = s->kind->arm; arm->name; arm++) {
        study_series x;
        fx_seed_noise own = {.relative = NAN}, others;
        FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_rfne, &x));
        fx_seed_noise_add(&own, x.seed_mean, x.seeds);
        FX_TRY(study_noise_without(s, evaluation, task, arm, &others));
        const double ratio = own.relative / others.relative;
        if (fx_fisher_tail(ratio * ratio, own.freedom, others.freedom) < WIDE)
            FX_TRY(
                study_say(s, FX_MARK_BAD,
                          "%s: seeds of %s differ by %.2f %%, those of the other arms by %.2f %% (so "
                          "far apart is one arm in twenty, or fewer, by chance): its intervals, "
                          "which take the pooled noise, may be too narrow, the others' too wide",
                          study_task_name(task), arm->name, 100 * own.relative, 100 * others.relative));
    }
    return FX_OK;
}

fx_status study_say_noise(study *s, int evaluation)
{
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        fx_seed_noise noise;
        FX_TRY(study_noise(s, evaluation, task, &noise));
        if (noise.freedom > 0)
            FX_TRY(study_say(s, FX_MARK_NOTE,
                             "%s: noise of the training seed: s/mean of RFNE %.2f %% (%d degrees of "
                             "freedom)",
                             study_task_name(task), 100 * noise.relative, noise.freedom));
        FX_TRY(say_wide(s, evaluation, task));
    }
    return FX_OK;
}

study_table *study_pairs_begin(study *s)
{
    static const char *const columns[] = {"a", "b",       "task", "seeds", "samples", "RFNE a - RFNE b",
                                          "%", "verdict", NULL};
    study_table *t = study_table_begin(s, "differences", "Differences, on the same samples", columns);
    if (t)
        t->note =
            "Seeds: of a and of b. Each interval is one of 95 % by itself: of twenty differences that "
            "are none, one is called lower or higher.";
    return t;
}

/* How the difference of two arms is told: "SR: unet - flex = +0.0120 [0.0040, 0.0200] (+5.3 %): higher"
 */
fx_status study_pair(study *s, study_table *t, const study_arm *a, const study_arm *b, int evaluation,
                     fx_task task)
{
    study_series x, y;
    fx_seed_noise noise;
    fx_interval difference;
    fx_verdict verdict;
    FX_TRY(study_series_of(s, a, evaluation, task, 0, study_rfne, &x));
    FX_TRY(study_series_of(s, b, evaluation, task, 0, study_rfne, &y));
    if (x.seeds == 0 || y.seeds == 0) return FX_OK;
    FX_TRY(study_noise(s, evaluation, task, &noise));
    FX_TRY(study_difference(s, &x, &y, &noise, &difference, &verdict));
    const double percent = 100 * difference.value / y.mean;
    FX_TRY(study_put_text(s, t, "%s", a->name));
    FX_TRY(study_put_text(s, t, "%s", b->name));
    FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
    FX_TRY(study_put_text(s, t, "%d, %d", x.seeds, y.seeds));
    FX_TRY(study_put(s, t, (double)x.count, "%.0f"));
    FX_TRY(study_put_interval(s, t, &difference, 4));
    FX_TRY(study_put(s, t, percent, "%+.1f"));
    FX_TRY(study_put_text(s, t, "%s", study_verdict_text(verdict)));
    return study_say(s, FX_MARK_NOTE, "%s: RFNE of %s against %s: %+.1f %% (difference %s): %s",
                     study_task_name(task), a->name, b->name, percent,
                     study_interval_text(s, &difference, 4, true), study_verdict_text(verdict));
}

fx_status study_difference_table(study *s, int evaluation, const char *reference)
{
    const study_arm *arm = s->kind->arm;
    int arms = 0;
    while (arm[arms].name)
        arms++;
    study_table *t = study_pairs_begin(s);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        for (int a = 0; a < arms; a++)
            for (int b = 0; b < a; b++) {
                const bool at_a = strcmp(arm[a].name, reference) == 0,
                           at_b = strcmp(arm[b].name, reference) == 0;
                if (arms > ALL_PAIRS && !at_a && !at_b) continue;
                FX_TRY(study_pair(s, t, &arm[at_a ? b : a], &arm[at_a ? a : b], evaluation, task));
            }
    return FX_OK;
}

static fx_status add_curve(study *s, const study_arm *arm, int evaluation, fx_task task,
                           const double *reynolds, int count, study_curve *out)
{
    fx_seed_noise noise;
    fx_interval *y = fx_pool_calloc(s->pool, (size_t)count, sizeof *y);
    if (!y) return FX_ENOMEM;
    FX_TRY(study_noise(s, evaluation, task, &noise));
    for (int r = 0; r < count; r++) {
        study_series model, floor;
        FX_TRY(study_series_of(s, arm, evaluation, task, reynolds[r], study_rfne, &model));
        FX_TRY(study_series_of(s, arm, evaluation, task, reynolds[r], study_floor, &floor));
        FX_TRY(study_ratio(s, &model, &floor, &noise, &y[r]));
    }
    *out = (study_curve){arm->name, reynolds, y, count};
    return FX_OK;
}

fx_status study_reynolds_charts(study *s, int evaluation)
{
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        study_curve curve[STUDY_ARMS];
        double reynolds[REYNOLDS];
        int curves = 0;
        const int count = study_reynolds(s, evaluation, task, reynolds, REYNOLDS);
        for (const study_arm *arm = s->kind->arm; arm->name && count > 0; arm++)
            FX_TRY(add_curve(s, arm, evaluation, task, reynolds, count, &curve[curves++]));
        if (curves > 0) FX_TRY(study_ratio_chart(s, task, "Reynolds number", true, curve, curves));
    }
    return FX_OK;
}

/* The floors, and who does not reach them. */
fx_status study_say_floors(study *s, int evaluation)
{
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        for (const study_arm *arm = s->kind->arm; arm->name; arm++) {
            study_series model, floor;
            fx_seed_noise noise;
            fx_interval ratio;
            FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_rfne, &model));
            FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_floor, &floor));
            if (model.seeds == 0) continue;
            FX_TRY(study_noise(s, evaluation, task, &noise));
            FX_TRY(study_ratio(s, &model, &floor, &noise, &ratio));
            FX_TRY(study_say(s, ratio.high < 1 ? FX_MARK_GOOD : FX_MARK_BAD,
                             "%s: %s has %s of the error of %s%s", study_task_name(task), arm->name,
                             study_interval_text(s, &ratio, 2, false), study_floor_name(s, task),
                             ratio.high < 1    ? ""
                             : ratio.value < 1 ? ": not surely below it"
                                               : ""));
        }
    return FX_OK;
}
