/* variants.c: studies that are their arms: latent-patch, tasks and contrast evaluate them on held-out
 * data and compare them. */
#include "study.h"

static fx_status plan(study *s)
{
    return study_evaluate_on(s, "study.heldout", s->config.study_heldout, s->config.sample_steps, 1);
}

static fx_status compare(study *s)
{
    FX_TRY(study_arm_table(s, 0));
    FX_TRY(study_difference_table(s, 0, s->kind->arm[0].name));
    FX_TRY(study_say_noise(s, 0));
    FX_TRY(study_say_floors(s, 0));
    return study_reynolds_charts(s, 0);
}

fx_status study_plan_latent_patch(study *s)
{
    return plan(s);
}

fx_status study_analyse_latent_patch(study *s)
{
    FX_TRY(study_cost_table(s, false));
    return compare(s);
}

/* An arm that has one task alone has no scores of the other, and is not compared there. Each sees as
 * many samples; of a task alone a step costs about half. */
fx_status study_plan_tasks(study *s)
{
    return plan(s);
}

fx_status study_analyse_tasks(study *s)
{
    FX_TRY(study_cost_table(s, false));
    return compare(s);
}

fx_status study_plan_contrast(study *s)
{
    return plan(s);
}

fx_status study_analyse_contrast(study *s)
{
    return compare(s);
}
