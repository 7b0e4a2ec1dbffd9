/* zero_shot.c: a model on data of another kind than it was trained on: other observables, other
 * boundaries. RFNE alone would mislead, because a smooth field is easy: beside it stand the floors and
 * how complex the targets are, by what the network has to add and by the mean wave number of the truth.
 * Fields are divided by their own pack's root mean square, and the model is told the mean of the
 * conditions that it was trained on, or what eval.condition says. */
#include <math.h>
#include <string.h>

#include "study.h"

fx_status study_plan_zero_shot(study *s)
{
    const fx_config *c = &s->config;
    char *rest = NULL, *packs = fx_pool_print(s->pool, "%s", c->study_foreign);
    if (!packs) return FX_ENOMEM;
    FX_TRY(study_evaluate_on(s, "study.heldout", c->study_heldout, c->sample_steps, 1));
    for (char *pack = strtok_r(packs, " \t", &rest); pack; pack = strtok_r(NULL, " \t", &rest)) {
        FX_TRY(study_evaluate_on(s, "study.foreign", pack, c->sample_steps, 1));
        study_evaluation *e = &s->evaluation[s->evaluations - 1];
        e->foreign = true;
        FX_TRY(fx_print(e->name, sizeof e->name, "n%lld-m1-foreign", (long long)e->steps));
    }
    FX_REQUIRE(s->evaluations > 1, FX_ECONFIG, "study.foreign: the study zero-shot needs packs");
    return FX_OK;
}

/* Root mean square of the residual over the truth's: what the network has to add. */
static double residual(const fx_sample_score *sample)
{
    return sqrt(sample->value[FX_METRIC_RESIDUAL] / sample->value[FX_METRIC_SQUARE]);
}

/* The mean wave number of the truth's energy, over the first run's rows of the task. */
static double wave_number(const study *s, int evaluation, fx_task task)
{
    double sum = 0, energy = 0;
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        for (int i = 0; run->have[evaluation] && i < run->evaluation[evaluation].rows; i++) {
            const fx_eval_row *row = &run->evaluation[evaluation].row[i];
            for (int64_t k = 0; row->score.task == task && k < row->shells; k++) {
                sum += row->k[k] * row->truth[k];
                energy += row->truth[k];
            }
        }
    return energy > 0 ? sum / energy : NAN;
}

typedef struct point {
    fx_interval rfne, ratio;
    double floor, second, residual, wave_number;
} point;

static fx_status read_point(study *s, int evaluation, fx_task task, const fx_seed_noise *noise,
                            point *out)
{
    study_series model, floor, second, added;
    const study_arm *arm = s->kind->arm;
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_rfne, &model));
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_floor, &floor));
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, study_second_floor, &second));
    FX_TRY(study_series_of(s, arm, evaluation, task, 0, residual, &added));
    FX_TRY(study_mean(s, &model, noise, &out->rfne));
    FX_TRY(study_ratio(s, &model, &floor, noise, &out->ratio));
    out->floor = floor.mean;
    out->second = second.mean;
    out->residual = added.mean;
    out->wave_number = wave_number(s, evaluation, task);
    return FX_OK;
}

static fx_status say(study *s, fx_task task, const char *pack, const point *own, const point *p)
{
    static const char *const floors[] = {[FX_SR] = "bicubic", [FX_FC] = "persistence"};
    const bool better = p->ratio.high<1, worse = p->ratio.low> 1;
    return study_say(
        s, better ? FX_MARK_GOOD : FX_MARK_BAD,
        "%s on %s, never trained on: %.2f [%.2f, %.2f] of the error of %s (%.2f on its own "
        "data): %s. Its targets have %.2f times the residual and %.2f times the mean wave "
        "number of the model's own",
        study_task_name(task), pack, p->ratio.value, p->ratio.low, p->ratio.high, floors[task],
        own->ratio.value,
        better  ? "of use"
        : worse ? "worse than the floor"
                : "not told apart from the floor",
        p->residual / own->residual, p->wave_number / own->wave_number);
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
    return study_put(s, t, p->wave_number, "%.2f");
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
                                          "mean wave number",
                                          NULL};
    static const char *const titles[] = {[FX_SR] = "Super-resolution: RFNE over bicubic's",
                                         [FX_FC] = "Forecast: RFNE over persistence's"};
    study_table *t = study_table_begin(s, "zero-shot", "Data of other kinds", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = "The first pack is the model's own kind. Residual / truth: root mean squares of what the "
              "network has to add and of the target. Mean wave number of the target's energy. Foreign "
              "fields are divided by their own root mean square; the condition is the training's mean, "
              "or eval.condition.";
    FX_TRY(study_say_noise(s, 0));
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        fx_seed_noise noise;
        point own = {.floor = NAN};
        double *x = fx_pool_calloc(s->pool, STUDY_EVALUATIONS, sizeof *x);
        fx_interval *y = fx_pool_calloc(s->pool, STUDY_EVALUATIONS, sizeof *y);
        if (!x || !y) return FX_ENOMEM;
        FX_TRY(study_noise(s, 0, task, &noise));
        for (int e = 0; e < s->evaluations; e++) {
            point p;
            FX_TRY(read_point(s, e, task, &noise, &p));
            if (e == 0) own = p;
            x[e] = p.wave_number;
            y[e] = p.ratio;
            FX_TRY(put_point(s, t, task, s->evaluation[e].pack, &p));
            if (e > 0) FX_TRY(say(s, task, s->evaluation[e].pack, &own, &p));
        }
        const study_curve curve = {study_task_name(task), x, y, s->evaluations};
        FX_TRY(
            study_chart(s, titles[task], "mean wave number of the target", "ratio", false, &curve, 1));
    }
    return FX_OK;
}
