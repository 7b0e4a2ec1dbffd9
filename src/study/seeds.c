/* seeds.c: how far runs differ that differ in nothing but the seed: the noise below which no table can
 * tell two models apart. */
#include <math.h>

#include "study.h"

fx_status study_plan_seeds(study *s)
{
    FX_REQUIRE(s->config.study_seeds.count > 1, FX_ECONFIG,
               "study.seeds: the study seeds needs two or more");
    return study_evaluate_on(s, "study.heldout", s->config.study_heldout, s->config.sample_steps, 1);
}

/* A row a run, then their spread. */
static fx_status put_task(study *s, study_table *t, fx_task task)
{
    study_series all;
    fx_seed_noise noise = {.relative = NAN};
    const study_arm *arm = s->kind->arm;
    int k = 0;
    FX_TRY(study_series_of(s, arm, 0, task, 0, study_rfne, &all));
    if (all.seeds == 0) return FX_OK;
    for (const study_run *run = s->run; run < s->run + s->runs; run++) {
        if (!run->have[0]) continue;
        FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
        FX_TRY(study_put_text(s, t, "%lld", (long long)run->seed));
        FX_TRY(study_put(s, t, all.seed_mean[k], "%.5f"));
        FX_TRY(study_put(s, t, 100 * (all.seed_mean[k] / all.mean - 1), "%+.2f"));
        k++;
    }
    fx_seed_noise_add(&noise, all.seed_mean, all.seeds);
    if (noise.freedom == 0)
        return study_say(s, FX_MARK_BAD, "%s: one run only: the noise of seeds is not known",
                         study_task_name(task));
    /* as a difference is judged: the noise of both arms pooled, each with this one's degrees of freedom
     */
    const double half = fx_student_quantile(2 * noise.freedom) * noise.relative * sqrt(2.0 / all.seeds);
    return study_say(s, FX_MARK_NOTE,
                     "%s: RFNE %.4f over %d seeds, s %.5f, s/mean %.2f %%; two arms of %d seeds each "
                     "and as much noise that differ by less than %.1f %% are a tie",
                     study_task_name(task), all.mean, all.seeds, noise.relative * all.mean,
                     100 * noise.relative, all.seeds, 100 * half);
}

fx_status study_analyse_seeds(study *s)
{
    static const char *const columns[] = {"task", "seed", "RFNE", "from the mean, %", NULL};
    study_table *t = study_table_begin(s, "seeds", "Runs by seed", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        FX_TRY(put_task(s, t, task));
    FX_TRY(study_arm_table(s, 0));
    FX_TRY(study_say_floors(s, 0));
    return study_reynolds_charts(s, 0);
}
