/* steps.c: how many DDIM steps suffice. One step from pure noise predicts the conditional mean or
 * median, which is what makes RFNE small, so RFNE that is flat or rises with the steps is expected and
 * says nothing of the samples. Two steps suffice where three things hold at once, against the most
 * steps: RFNE within 2 %, the energy above what the input resolves within 1 dB, and the spread-skill
 * ratio of ensembles within 0.1. */
#include <math.h>

#include "study.h"

static const double RFNE_LIMIT = 1.02, DECIBEL_LIMIT = 1, SPREAD_LIMIT = 0.1;
enum { FEW = 2 };

/* One number of steps. */
typedef struct point {
    int64_t steps;
    study_series rfne;
    fx_interval mean, ensemble; /* RFNE of members, and of their mean */
    double decibel; /* energy of single members above the input's Nyquist number, over the truth's */
    double spread;  /* spread-skill ratio */
} point;

fx_status study_plan_steps(study *s)
{
    const fx_config *c = &s->config;
    bool few = false;
    FX_REQUIRE(c->study_steps.count > 1, FX_ECONFIG, "study.steps: two numbers of steps or more");
    for (int i = 0; i < c->study_steps.count; i++) {
        const double n = c->study_steps.value[i];
        FX_REQUIRE(n == floor(n) && (i == 0 || n > c->study_steps.value[i - 1]), FX_ECONFIG,
                   "study.steps: whole numbers that rise are needed, not %g", n);
        few = few || (int)n == FEW;
        FX_TRY(study_evaluate_on(s, "study.heldout", c->study_heldout, (int64_t)n, c->study_members));
    }
    FX_REQUIRE(few && c->study_steps.value[c->study_steps.count - 1] > FEW, FX_ECONFIG,
               "study.steps: %d, and a larger number to compare it with, are needed", FEW);
    return FX_OK;
}

static fx_status read_points(study *s, fx_task task, point *out)
{
    const study_arm *arm = s->kind->arm;
    for (int i = 0; i < s->config.study_steps.count; i++) {
        study_series ensemble;
        fx_seed_noise noise;
        point *p = &out[i];
        *p = (point){.steps = (int64_t)s->config.study_steps.value[i]};
        FX_TRY(study_series_of(s, arm, i, task, 0, study_rfne, &p->rfne));
        FX_TRY(study_noise(s, i, task, &noise));
        FX_TRY(study_mean(s, &p->rfne, &noise, &p->mean));
        FX_TRY(study_series_of(s, arm, i, task, 0, study_mean_rfne, &ensemble));
        FX_TRY(study_mean(s, &ensemble, &noise, &p->ensemble));
        p->decibel = study_band(s, arm, i, task);
        p->spread = study_spread_skill(s, arm, i, task);
    }
    return FX_OK;
}

static fx_status put_points(study *s, study_table *t, fx_task task, const point *p)
{
    for (int i = 0; i < s->config.study_steps.count; i++) {
        fx_interval ratio;
        FX_TRY(study_ratio(s, &p[i].rfne, &p[s->config.study_steps.count - 1].rfne, NULL, &ratio));
        FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
        FX_TRY(study_put(s, t, (double)p[i].steps, "%.0f"));
        FX_TRY(study_put_interval(s, t, &p[i].mean, 4));
        FX_TRY(study_put_interval(s, t, &ratio, 3));
        FX_TRY(study_put_interval(s, t, &p[i].ensemble, 4));
        FX_TRY(study_put(s, t, p[i].decibel, "%+.2f"));
        FX_TRY(study_put(s, t, p[i].spread, "%.3f"));
    }
    return FX_OK;
}

static const char *held(bool known, bool holds)
{
    return !known ? "not measured" : holds ? "holds" : "FAILS";
}

static fx_status say(study *s, fx_task task, const point *p)
{
    const int last = s->config.study_steps.count - 1;
    int few = 0;
    while (p[few].steps != FEW)
        few++;
    const double ratio = p[few].mean.value / p[last].mean.value,
                 decibel = p[few].decibel - p[last].decibel, spread = p[few].spread - p[last].spread;
    const bool a = ratio <= RFNE_LIMIT, b = fabs(decibel) <= DECIBEL_LIMIT,
               c = fabs(spread) <= SPREAD_LIMIT,
               fails =
                   ratio > RFNE_LIMIT || fabs(decibel) > DECIBEL_LIMIT || fabs(spread) > SPREAD_LIMIT;
    FX_TRY(
        study_say(s, FX_MARK_NOTE,
                  "%s: RFNE from %lld to %lld steps: %.4f to %.4f, %s. One step from noise predicts "
                  "the conditional mean, which makes RFNE small: flat or rising is expected, and says "
                  "nothing of the quality of samples",
                  study_task_name(task), (long long)p[0].steps, (long long)p[last].steps,
                  p[0].mean.value, p[last].mean.value,
                  p[last].mean.value > RFNE_LIMIT * p[0].mean.value   ? "rising"
                  : p[0].mean.value > RFNE_LIMIT * p[last].mean.value ? "falling"
                                                                      : "flat"));
    return study_say(
        s, a && b && c ? FX_MARK_GOOD : FX_MARK_BAD,
        "%s: %d steps %s against %lld: RFNE ratio %.3f (at most %.2f: %s); energy of the finest scales "
        "%+.2f dB (within %g: %s); spread-skill %+.3f (within %g: %s)",
        study_task_name(task), FEW,
        a && b && c ? "suffice"
        : fails     ? "do not suffice"
                    : "can't be judged",
        (long long)p[last].steps, ratio, RFNE_LIMIT, held(!isnan(ratio), a), decibel, DECIBEL_LIMIT,
        held(!isnan(decibel), b), spread, SPREAD_LIMIT, held(!isnan(spread), c));
}

static fx_status chart(study *s, const char *title, const char *label, const point *const p[2],
                       fx_interval (*value)(const point *p))
{
    study_curve curve[2];
    int curves = 0;
    const int count = s->config.study_steps.count;
    for (int task = 0; task < 2; task++) {
        double *x = fx_pool_calloc(s->pool, (size_t)count, sizeof *x);
        fx_interval *y = fx_pool_calloc(s->pool, (size_t)count, sizeof *y);
        if (!x || !y) return FX_ENOMEM;
        for (int i = 0; i < count; i++) {
            x[i] = (double)p[task][i].steps;
            y[i] = value(&p[task][i]);
        }
        if (p[task][0].rfne.seeds == 0) continue;
        curve[curves++] = (study_curve){study_task_name((fx_task)task), x, y, count};
    }
    return study_chart(s, title, "DDIM steps", label, true, curve, curves);
}

static fx_interval rfne_value(const point *p)
{
    return p->mean;
}

static fx_interval band_value(const point *p)
{
    return (fx_interval){p->decibel, NAN, NAN};
}

static fx_interval spread_value(const point *p)
{
    return (fx_interval){p->spread, NAN, NAN};
}

fx_status study_analyse_steps(study *s)
{
    static const char *const columns[] = {"task",
                                          "DDIM steps",
                                          "RFNE",
                                          "over that of the most steps",
                                          "RFNE of the ensemble's mean",
                                          "finest scales, dB",
                                          "spread-skill ratio",
                                          NULL};
    point p[2][FX_LIST_MAX];
    study_table *t = study_table_begin(s, "steps", "Numbers of DDIM steps", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = "RFNE of single members, a mean over them. Finest scales: energy above the wave numbers "
              "that the input "
              "resolves, over the truth's: 0 dB is right, below is blur, above is noise. Spread-skill "
              "ratio of ensembles: 1 is calibrated. Means over seeds and Reynolds numbers.";
    FX_TRY(study_say_noise(s, 0));
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        FX_TRY(read_points(s, task, p[task]));
        if (p[task][0].rfne.seeds == 0) continue;
        FX_TRY(put_points(s, t, task, p[task]));
        FX_TRY(say(s, task, p[task]));
    }
    const point *const both[2] = {p[FX_SR], p[FX_FC]};
    FX_TRY(chart(s, "RFNE by steps", "RFNE", both, rfne_value));
    FX_TRY(chart(s, "Energy of the finest scales over the truth's", "dB", both, band_value));
    return chart(s, "Spread-skill ratio of ensembles", "ratio", both, spread_value);
}
