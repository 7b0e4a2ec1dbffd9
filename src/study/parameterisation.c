/* parameterisation.c: what the network is trained to say (v, x, eps) times what is diffused: the
 * residual as it is, the residual divided to unit root mean square, and the field itself divided so. At
 * one noise schedule a residual that is small is seen under more noise than a raw field: a difference
 * between the first and the last is one of signal to noise as well. The second has the last one's, so
 * that pair is the control. */
#include <math.h>
#include <string.h>

#include "flexhpc/train.h"
#include "study.h"

enum { PREDICTS = 3, TARGETS = 3 };
typedef enum target_kind { RESIDUAL, UNIT, RAW } target_kind;

static const char *const PREDICT[PREDICTS] = {"v", "x", "eps"};
static const char *const TARGET[TARGETS] = {"residual", "residual at unit scale", "raw at unit scale"};
static const char *const ARM[PREDICTS][TARGETS] = {
    {"flex", "unit", "raw"}, {"x", "x-unit", "x-raw"}, {"eps", "eps-unit", "eps-raw"}};
static const double SAME = 0.1; /* of a root mean square: a tenth is 0.8 dB */

fx_status study_plan_parameterisation(study *s)
{
    return study_evaluate_on(s, "study.heldout", s->config.study_heldout, s->config.sample_steps, 1);
}

static const study_arm *arm_of(const study *s, int predict, target_kind target)
{
    const study_arm *arm = s->kind->arm;
    while (strcmp(arm->name, ARM[predict][target]) != 0)
        arm++;
    return arm;
}

static double square_of_truth(const fx_sample_score *sample)
{
    return sample->value[FX_METRIC_SQUARE];
}

static double square_of_residual(const fx_sample_score *sample)
{
    return sample->value[FX_METRIC_RESIDUAL];
}

/* Root mean square of what an arm's runs diffuse, on the held-out samples. */
static fx_status find_root(study *s, const study_arm *arm, target_kind target, fx_task task,
                           double *out)
{
    study_series square;
    double scale = 0;
    FX_TRY(study_series_of(s, arm, 0, task, 0, target == RAW ? square_of_truth : square_of_residual,
                           &square));
    *out = NAN;
    if (square.seeds == 0) return FX_OK;
    for (const study_run *run = s->run; run < s->run + s->runs; run++) {
        fx_config trained;
        if (run->arm != arm || !run->have[0]) continue;
        FX_TRY(study_run_config(run, &trained));
        scale += fx_residual_scale(&trained, task) / square.seeds;
    }
    *out = sqrt(square.mean) / scale;
    return FX_OK;
}

/* One row, and one point of its curve. */
static fx_status put_arm(study *s, study_table *t, int predict, target_kind target, fx_task task,
                         fx_interval *point, double *root)
{
    study_series model, floor;
    fx_seed_noise noise;
    fx_interval rfne;
    const study_arm *arm = arm_of(s, predict, target);
    *point = (fx_interval){NAN, NAN, NAN};
    FX_TRY(find_root(s, arm, target, task, root));
    FX_TRY(study_series_of(s, arm, 0, task, 0, study_rfne, &model));
    if (model.seeds == 0) return FX_OK;
    FX_TRY(study_series_of(s, arm, 0, task, 0, study_floor, &floor));
    FX_TRY(study_noise(s, 0, task, &noise));
    FX_TRY(study_mean(s, &model, &noise, &rfne));
    FX_TRY(study_ratio(s, &model, &floor, &noise, point));
    FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
    FX_TRY(study_put_text(s, t, "%s", PREDICT[predict]));
    FX_TRY(study_put_text(s, t, "%s", TARGET[target]));
    FX_TRY(study_put_text(s, t, "%s", arm->name));
    FX_TRY(study_put(s, t, model.seeds, "%.0f"));
    FX_TRY(study_put(s, t, (double)model.count, "%.0f"));
    FX_TRY(study_put(s, t, *root, "%.3f"));
    FX_TRY(study_put(s, t, 20 * log10(*root), "%+.1f"));
    FX_TRY(study_put_interval(s, t, &rfne, 4));
    return study_put_interval(s, t, point, 3);
}

static const char *difference_text(study *s, const fx_interval *d, const study_series *of,
                                   fx_verdict verdict)
{
    const char *text = fx_pool_print(s->pool, "%+.1f %% (%s): %s", 100 * d->value / of->mean,
                                     study_interval_text(s, d, 4, true), study_verdict_text(verdict));
    return text ? text : "";
}

/* Raw against the residual at the schedule's signal to noise, and at the raw field's own. */
static fx_status say(study *s, int predict, fx_task task, const double root[TARGETS])
{
    study_series x[TARGETS];
    fx_seed_noise noise;
    fx_interval plain, control;
    fx_verdict plainly, controlled;
    for (target_kind k = RESIDUAL; k <= RAW; k++) {
        FX_TRY(study_series_of(s, arm_of(s, predict, k), 0, task, 0, study_rfne, &x[k]));
        if (x[k].seeds == 0) return FX_OK;
    }
    FX_TRY(study_noise(s, 0, task, &noise));
    FX_TRY(study_difference(s, &x[RAW], &x[RESIDUAL], &noise, &plain, &plainly));
    FX_TRY(study_difference(s, &x[RAW], &x[UNIT], &noise, &control, &controlled));
    const bool same = fabs(root[RAW] / root[UNIT] - 1) <= SAME;
    return study_say(
        s, FX_MARK_NOTE,
        "%s, %s: RFNE of raw targets against residuals %s, with %+.1f dB of signal to noise; against "
        "residuals at unit scale, with %+.1f dB, %s. %s",
        study_task_name(task), PREDICT[predict], difference_text(s, &plain, &x[RESIDUAL], plainly),
        20 * log10(root[RAW] / root[RESIDUAL]), 20 * log10(root[RAW] / root[UNIT]),
        difference_text(s, &control, &x[UNIT], controlled),
        !same ? "The scales are the training's: on these samples the control is not at equal signal to "
                "noise"
        : controlled == FX_TIE     ? "At equal signal to noise it is a tie"
        : controlled == FX_UNKNOWN ? "Whether it is the residual is not known from one seed"
        : controlled == FX_HIGHER  ? "The residual itself is of use, not its signal to noise alone"
                                   : "The residual itself does harm");
}

static fx_status put_task(study *s, study_table *t, fx_task task)
{
    study_curve curve[PREDICTS];
    double *x = fx_pool_calloc(s->pool, TARGETS, sizeof *x);
    for (int p = 0; p < PREDICTS; p++) {
        double root[TARGETS];
        fx_interval *y = fx_pool_calloc(s->pool, TARGETS, sizeof *y);
        if (!x || !y) return FX_ENOMEM;
        for (target_kind k = RESIDUAL; k <= RAW; k++) {
            x[k] = 1 + (double)k;
            FX_TRY(put_arm(s, t, p, k, task, &y[k], &root[k]));
        }
        FX_TRY(say(s, p, task, root));
        curve[p] = (study_curve){PREDICT[p], x, y, TARGETS};
    }
    return study_ratio_chart(s, task, "1: residual, 2: residual at unit scale, 3: raw at unit scale",
                             false, curve, PREDICTS);
}

/* x and eps against v, of each target. */
static fx_status compare_predicts(study *s, study_table *t)
{
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        for (target_kind k = RESIDUAL; k <= RAW; k++)
            for (int p = 1; p < PREDICTS; p++)
                FX_TRY(study_pair(s, t, arm_of(s, p, k), arm_of(s, 0, k), 0, task));
    return FX_OK;
}

static fx_status compare_targets(study *s, study_table *t)
{
    static const target_kind pair[][2] = {{RAW, RESIDUAL}, {RAW, UNIT}, {UNIT, RESIDUAL}};
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        for (int p = 0; p < PREDICTS; p++)
            for (int k = 0; k < 3; k++)
                FX_TRY(study_pair(s, t, arm_of(s, p, pair[k][0]), arm_of(s, p, pair[k][1]), 0, task));
    return FX_OK;
}

fx_status study_analyse_parameterisation(study *s)
{
    static const char *const columns[] = {"task",    "predicts",      "target", "arm",  "seeds",
                                          "samples", "diffused, rms", "dB",     "RFNE", "RFNE / floor",
                                          NULL};
    study_table *t = study_table_begin(s, "targets", "What is predicted, and of what", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = "Diffused, rms: root mean square of what is diffused, on these samples, and in decibel: "
              "that much signal to noise more than a field of unit scale has at the same time of the "
              "schedule. All arms were trained at one learning rate, train.learning_rate: the best one "
              "may differ from arm to arm.";
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        FX_TRY(put_task(s, t, task));
    FX_TRY(study_say_noise(s, 0));
    study_table *pairs = study_pairs_begin(s);
    FX_TRY(compare_targets(s, pairs));
    FX_TRY(compare_predicts(s, pairs));
    FX_TRY(study_arm_table(s, 0));
    FX_TRY(study_say_floors(s, 0));
    return study_say(
        s, FX_MARK_NOTE,
        "All arms share one learning rate, %g. A claim about one of them wants a sweep for "
        "each: differences may be of the rate",
        s->config.train_learning_rate);
}
