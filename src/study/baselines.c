/* baselines.c: FLEX against U-Net and UViT. The comparison means something only where a training step
 * costs them as many floating-point operations, which is counted, not assumed; parameters are listed.
 */
#include <math.h>
#include <string.h>

#include "flexhpc/train.h"
#include "study.h"

static const double EQUAL = 0.1; /* costs that differ by less are called equal */

fx_status study_cost_of(const fx_config *config, study_cost *out)
{
    fx_config c = *config;
    fx_exec *exec = NULL;
    fx_trainee *trainee = NULL;
    fx_step_options options;
    fx_status status = FX_OK;
    const char *const cpu[] = {"backend=cpu", NULL};
    fx_config defaults;
    FX_TRY(fx_config_load(&defaults, NULL, cpu));
    c.backend = defaults.backend;
    c.precision = defaults.precision;                  /* a GPU's alone would be refused */
    strcpy(c.contrast_group, defaults.contrast_group); /* of one rank there is one */
    FX_TRY(fx_step_options_from_config(&c, fx_comm_self(), &options));
    FX_TRY(fx_exec_open(fx_comm_self(), &c, &exec));
    FX_TRY_DONE(fx_trainee_create(exec, &options, true, &trainee));
    const fx_plan_summary s = fx_program_summary(trainee->step);
    *out = (study_cost){s.flops / (double)c.train_global_batch, s.parameters,
                        (double)fx_trainee_bytes(trainee)};
done:
    fx_trainee_free(&trainee);
    exec->backend->close(&exec);
    return status;
}

static const study_run *run_of(const study *s, const study_arm *arm)
{
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        if (run->arm == arm) return run;
    return NULL;
}

/* The mean over the arm's runs of their median step; NaN: no run has a record. */
static double seconds_of(const study *s, const study_arm *arm)
{
    double sum = 0, count = 0;
    for (const study_run *run = s->run; run < s->run + s->runs; run++) {
        double seconds = NAN;
        if (run->arm != arm || !study_run_finished(run)) continue;
        if (fx_run_step_seconds(run->folder, &seconds) != FX_OK) fx_error_clear();
        if (isnan(seconds)) continue;
        sum += seconds;
        count += 1;
    }
    return count > 0 ? sum / count : NAN;
}

fx_status study_cost_table(study *s, bool must_be_equal)
{
    static const char *const columns[] = {
        "arm", "parameters", "GFLOP a sample", "over the first arm's", "MiB a step", "s a step", NULL};
    study_table *t = study_table_begin(s, "cost", "What the networks cost", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note =
        "Floating-point operations of a training step, forward and backward, all tasks, a sample.";
    double first = NAN, least = INFINITY, most = 0;
    for (const study_arm *arm = s->kind->arm; arm->name; arm++) {
        study_cost c;
        FX_TRY_CTX(study_cost_of(&run_of(s, arm)->config, &c), "arm %s", arm->name);
        if (isnan(first)) first = c.flop;
        least = fmin(least, c.flop / first);
        most = fmax(most, c.flop / first);
        FX_TRY(study_put_text(s, t, "%s", arm->name));
        FX_TRY(study_put(s, t, (double)c.parameters, "%.0f"));
        FX_TRY(study_put(s, t, 1e-9 * c.flop, "%.2f"));
        FX_TRY(study_put(s, t, c.flop / first, "%.3f"));
        FX_TRY(study_put(s, t, c.memory / 1048576, "%.0f"));
        FX_TRY(study_put(s, t, seconds_of(s, arm), "%.3f"));
    }
    if (!must_be_equal) return FX_OK;
    const bool equal = least >= 1 - EQUAL && most <= 1 + EQUAL;
    return study_say(s, equal ? FX_MARK_GOOD : FX_MARK_BAD,
                     equal
                         ? "Equal cost: operations a sample are %.2f to %.2f times those of %s"
                         : "NOT of equal cost: operations a sample are %.2f to %.2f times those of %s: "
                           "what follows mixes architecture and size",
                     least, most, s->kind->arm[0].name);
}

fx_status study_plan_baselines(study *s)
{
    return study_evaluate_on(s, "study.heldout", s->config.study_heldout, s->config.sample_steps, 1);
}

fx_status study_analyse_baselines(study *s)
{
    FX_TRY(study_cost_table(s, true));
    FX_TRY(study_arm_table(s, 0));
    FX_TRY(study_difference_table(s, 0, "flex"));
    FX_TRY(study_say_noise(s, 0));
    FX_TRY(study_say_floors(s, 0));
    return study_reynolds_charts(s, 0);
}
