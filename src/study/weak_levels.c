/* weak_levels.c: the error, and the spread of ensembles, by levels of weak conditioning. That more
 * levels make ensembles more diverse is a hypothesis, which the table may refute. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "study.h"

fx_status study_plan_weak_levels(study *s)
{
    return study_evaluate_on(s, "study.heldout", s->config.study_heldout, s->config.sample_steps,
                             s->config.study_members);
}

/* One arm: error and spread, with the noise of the arms' seeds. */
typedef struct point {
    const study_arm *arm;
    double levels;
    fx_interval rfne, spread;
    double ratio, diversity; /* spread-skill; standard deviation over the residual's */
} point;

static fx_status read_point(study *s, const study_arm *arm, fx_task task, const fx_seed_noise *noise,
                            const fx_seed_noise *spread_noise, point *out)
{
    study_series rfne, spread;
    *out = (point){.arm = arm};
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        if (run->arm == arm) out->levels = (double)run->config.model_weak_levels;
    FX_TRY(study_series_of(s, arm, 0, task, 0, study_rfne, &rfne));
    FX_TRY(study_series_of(s, arm, 0, task, 0, study_spread, &spread));
    FX_TRY(study_mean(s, &rfne, noise, &out->rfne));
    FX_TRY(study_mean(s, &spread, spread_noise, &out->spread));
    out->ratio = study_spread_skill(s, arm, 0, task);
    out->diversity = study_diversity(s, arm, 0, task);
    return FX_OK;
}

static fx_status noise_of_spread(study *s, fx_task task, fx_seed_noise *out)
{
    *out = (fx_seed_noise){.relative = NAN};
    for (const study_arm *arm = s->kind->arm; arm->name; arm++) {
        study_series a;
        FX_TRY(study_series_of(s, arm, 0, task, 0, study_spread, &a));
        if (a.seeds > 1) fx_seed_noise_add(out, a.seed_mean, a.seeds);
    }
    return FX_OK;
}

/* The spread of the most levels against that of none: the hypothesis. */
static fx_status say(study *s, fx_task task, const fx_seed_noise *noise)
{
    study_series none, most;
    fx_interval difference;
    fx_verdict verdict;
    const study_arm *arm = s->kind->arm;
    FX_TRY(study_series_of(s, &arm[0], 0, task, 0, study_spread, &none));
    while (arm[1].name)
        arm++;
    FX_TRY(study_series_of(s, arm, 0, task, 0, study_spread, &most));
    if (none.seeds == 0 || most.seeds == 0 || isnan(most.mean)) return FX_OK;
    FX_TRY(study_difference(s, &most, &none, noise, &difference, &verdict));
    return study_say(s, FX_MARK_NOTE,
                     "%s: spread of ensembles with weak conditioning at all levels against at none: "
                     "%+.1f %% (difference %s): %s. That it is higher is a hypothesis",
                     study_task_name(task), 100 * difference.value / none.mean,
                     study_interval_text(s, &difference, 4, true), study_verdict_text(verdict));
}

static fx_status put_task(study *s, study_table *t, fx_task task, study_curve *rfne,
                          study_curve *spread)
{
    fx_seed_noise noise, spread_noise;
    double *x = fx_pool_calloc(s->pool, STUDY_ARMS, sizeof *x);
    fx_interval *y = fx_pool_calloc(s->pool, 2 * (size_t)STUDY_ARMS, sizeof *y);
    int count = 0;
    if (!x || !y) return FX_ENOMEM;
    FX_TRY(study_noise(s, 0, task, &noise));
    FX_TRY(noise_of_spread(s, task, &spread_noise));
    for (const study_arm *arm = s->kind->arm; arm->name; arm++) {
        point p;
        FX_TRY(read_point(s, arm, task, &noise, &spread_noise, &p));
        if (isnan(p.rfne.value)) continue;
        FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
        FX_TRY(study_put(s, t, p.levels, "%.0f"));
        FX_TRY(study_put_interval(s, t, &p.rfne, 4));
        FX_TRY(study_put_interval(s, t, &p.spread, 4));
        FX_TRY(study_put(s, t, p.diversity, "%.3f"));
        FX_TRY(study_put(s, t, p.ratio, "%.3f"));
        x[count] = p.levels;
        y[count] = p.rfne;
        y[STUDY_ARMS + count++] = p.spread;
    }
    *rfne = (study_curve){study_task_name(task), x, y, count};
    *spread = (study_curve){study_task_name(task), x, y + STUDY_ARMS, count};
    return say(s, task, &spread_noise);
}

fx_status study_analyse_weak_levels(study *s)
{
    static const char *const columns[] = {
        "task", "levels", "RFNE", "spread", "spread over residual", "spread-skill ratio", NULL};
    study_curve rfne[2], spread[2];
    study_table *t = study_table_begin(s, "levels", "Levels of weak conditioning", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = "RFNE of single members, a mean over them. Spread: standard deviation over an ensemble's "
              "members over the "
              "truth's norm, a sample. Spread-skill ratio: 1 is calibrated.";
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        FX_TRY(put_task(s, t, task, &rfne[task], &spread[task]));
    FX_TRY(study_difference_table(s, 0, "flex"));
    FX_TRY(study_arm_table(s, 0));
    FX_TRY(study_say_noise(s, 0));
    FX_TRY(study_say_floors(s, 0));
    FX_TRY(study_chart(s, "RFNE by levels of weak conditioning", "levels", "RFNE", false, rfne, 2));
    return study_chart(s, "Spread of ensembles by levels of weak conditioning", "levels",
                       "spread / truth", false, spread, 2);
}
