/* zero_shot.c: a model on data of another kind than it was trained on: other observables, other
 * boundaries. RFNE alone would mislead, because a smooth field is easy: beside it stand the floors and
 * how complex the targets are, by what the network has to add and by how many waves of the truth a
 * patch holds. Fields are divided by their own pack's root mean square, and the model is told the mean
 * of the conditions that it was trained on, or what eval.condition says. */
#include <math.h>
#include <string.h>

#include "study.h"

fx_status study_plan_zero_shot(study *s)
{
    const fx_config *c = &s->config;
    char *rest = NULL, *packs = fx_pool_print(s->pool, "%s", c->study_foreign);
    if (!packs) return FX_ENOMEM;
    FX_TRY(study_evaluate_on(s, "study.heldout", c->study_heldout, c->sample_steps, 1));
    for (char *pack = strtok_r(packs, " \t", &rest); pack; pack = strtok_r(NULL, " \t", &rest))
        FX_TRY(study_evaluate_foreign(s, "study.foreign", pack, c->sample_steps));
    FX_REQUIRE(s->evaluations > 1, FX_ECONFIG, "study.foreign: the study zero-shot needs packs");
    return FX_OK;
}

/* Root mean square of the residual over the truth's: what the network has to add. */
static double residual(const fx_sample_score *sample)
{
    return sqrt(sample->value[FX_METRIC_RESIDUAL] / sample->value[FX_METRIC_SQUARE]);
}

/* Waves in a patch's width, the mean over the truth's energy of all rows of the task. In waves a
 * domain, as files have it, packs of unlike grids could not be compared. */
static double waves_of(const study *s, int evaluation, fx_task task)
{
    double sum = 0, energy = 0;
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        for (int i = 0; run->have[evaluation] && i < run->evaluation[evaluation].rows; i++) {
            const fx_eval_row *row = &run->evaluation[evaluation].row[i];
            for (int64_t j = 0; row->score.task == task && j < row->shells; j++) {
                sum += (double)j * row->truth[j];
                energy += row->truth[j];
            }
        }
    return energy > 0 ? sum / energy : NAN;
}

typedef struct point {
    fx_interval rfne, ratio;
    double floor, second, residual, waves;
} point;

static fx_status read_point(study *s, int evaluation, fx_task task, point *out)
{
    study_series model, floor, second, added;
    fx_seed_noise noise;
    const study_arm *arm = s->kind->arm;
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_rfne, &model));
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_floor, &floor));
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_second_floor, &second));
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, residual, &added));
    FX_TRY(study_noise(s, evaluation, task, &noise));
    FX_TRY(study_mean(s, &model, &noise, &out->rfne));
    FX_TRY(study_ratio(s, &model, &floor, &noise, &out->ratio));
    out->floor = floor.mean;
    out->second = second.mean;
    out->residual = added.mean;
    out->waves = waves_of(s, evaluation, task);
    return FX_OK;
}

static fx_status say(study *s, fx_task task, const char *pack, const point *own, const point *p)
{
    const bool better = p->ratio.high<1, worse = p->ratio.low> 1;
    return study_say(
        s, better ? FX_MARK_GOOD : FX_MARK_BAD,
        "%s on %s, never trained on: %s of the error of %s (%.2f on its own "
        "data): %s. Its targets have %.2f times the residual and %.2f times the waves in a patch "
        "of the model's own",
        study_task_name(task), pack, study_interval_text(s, &p->ratio, 2, false),
        study_floor_name(s, task), own->ratio.value,
        better  ? "of use"
        : worse ? "worse than the floor"
                : "not told apart from the floor",
        p->residual / own->residual, p->waves / own->waves);
}

static fx_status put_point(study *s, study_table *t, fx_task task, const char *pack, const point *p)
{
    FX_TRY(study_put_text(s, t, "%s", pack));
    FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
    FX_TRY(study_put_interval(s, t, &p->rfne, 4));
    FX_TRY(study_put(s, t, p->floor, "%.4f"));
    FX_TRY(study_put(s, t, p->second, "%.4f"));
    FX_TRY(study_put_interval(s, t, &p->ratio, 3));
    FX_TRY(study_put(s, t, p->residual, "%.3f"));
    return study_put(s, t, p->waves, "%.2f");
}

fx_status study_analyse_zero_shot(study *s)
{
    static const char *const columns[] = {"pack",
                                          "task",
                                          "RFNE",
                                          "floor",
                                          "second floor",
                                          "RFNE / floor",
                                          "residual / truth",
                                          "waves in a patch",
                                          NULL};
    study_table *t = study_table_begin(s, "zero-shot", "Data of other kinds", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = "The first pack is the model's own kind. Residual / truth: root mean squares of what the "
              "network has to add and of the target. Waves in a patch's width: the mean over the "
              "target's energy. Foreign "
              "fields are divided by their own root mean square; the condition is the training's mean, "
              "or eval.condition.";
    FX_TRY(study_say_noise(s, 0));
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        point own = {.floor = NAN};
        double *x = fx_pool_calloc(s->pool, STUDY_EVALUATIONS, sizeof *x);
        fx_interval *y = fx_pool_calloc(s->pool, STUDY_EVALUATIONS, sizeof *y);
        if (!x || !y) return FX_ENOMEM;
        for (int e = 0; e < s->evaluations; e++) {
            point p;
            FX_TRY(read_point(s, e, task, &p));
            if (e == 0) own = p;
            x[e] = p.waves;
            y[e] = p.ratio;
            FX_TRY(put_point(s, t, task, s->evaluation[e].pack, &p));
            if (e > 0) FX_TRY(say(s, task, s->evaluation[e].pack, &own, &p));
        }
        const study_curve curve = {study_task_name(task), x, y, s->evaluations};
        FX_TRY(study_ratio_chart(s, task, "waves of the target in a patch", false, &curve, 1));
    }
    return FX_OK;
}
