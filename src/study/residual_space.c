/* residual_space.c: what the residual is said to be good for, looked at one by one: it is simpler than
 * the field (covariance.c), so velocities are smaller, so gradients vary less. Beside the residual and
 * the raw field, which is divided to unit root mean square, stands the residual divided so, which is
 * seen under as much noise as the raw field is. */
#include <math.h>

#include "flexhpc/schedule.h"
#include "flexhpc/train.h"
#include "study.h"

enum { STEPS = 1000, WINDOWS = 20, TIMES = 512 };

fx_status study_plan_residual_space(study *s)
{
    FX_REQUIRE(s->config.validate_every > 0, FX_ECONFIG,
               "validate.every: the study residual-space needs validations, which measure velocities");
    return study_evaluate_on(s, "study.heldout", s->config.study_heldout, s->config.sample_steps, 1);
}

/* ---- Gradients. Their norm falls in training, so its variance is taken in windows of steps, over the
 * window's squared mean: targets of other sizes have other gradients. */

typedef struct gradients {
    int windows;
    double steps, mean, variance;            /* of all steps */
    double within;                           /* mean over the windows of variance / mean^2 */
    double last[WINDOWS], relative[WINDOWS]; /* last step, and variance / mean^2, of each */
} gradients;

static void moments(const double *x, int64_t n, double *mean, double *variance)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - sum) * (x[i] - sum);
    *mean = n > 0 ? sum : NAN;
    *variance = n > 1 ? square / (double)(n - 1) : NAN;
}

static void find_gradients(const fx_run_history *h, gradients *out)
{
    const int64_t n = h->steps < STEPS ? h->steps : STEPS;
    *out = (gradients){
        .windows = n / 2 < WINDOWS ? (int)(n / 2) : WINDOWS, .steps = (double)n, .within = NAN};
    moments(h->norm, n, &out->mean, &out->variance);
    if (out->windows > 0) out->within = 0;
    for (int w = 0; w < out->windows; w++) {
        const int64_t first = w * n / out->windows, end = (w + 1) * n / out->windows;
        double mean, variance;
        moments(h->norm + first, end - first, &mean, &variance);
        out->last[w] = h->step[end - 1];
        out->relative[w] = variance / (mean * mean);
        out->within += out->relative[w] / out->windows;
    }
}

/* ---- What an arm's runs have, each a value a seed. */

typedef struct seeds {
    int count;
    double *value, mean;
} seeds;

typedef struct arm {
    const study_arm *arm;
    fx_run_history *history; /* by run that is there */
    gradients *gradient;
    int runs;
    double scale[2], shift; /* of the last run: the same in all */
    bool raw;
    seeds norm, variance, within, target[2], output[2]; /* the last two at the last validation */
} arm;

static fx_status put_seed(study *s, seeds *of, double value)
{
    if (!of->value && !(of->value = fx_pool_calloc(s->pool, (size_t)s->runs, sizeof *of->value)))
        return FX_ENOMEM;
    if (isnan(value)) return FX_OK;
    of->value[of->count++] = value;
    of->mean = 0;
    for (int i = 0; i < of->count; i++)
        of->mean += of->value[i] / of->count;
    return FX_OK;
}

static double last_of(const double *values, int64_t count)
{
    return count > 0 ? values[count - 1] : NAN;
}

static fx_status add_run(study *s, const study_run *run, arm *a)
{
    fx_config trained;
    fx_run_history *h = &a->history[a->runs];
    gradients *g = &a->gradient[a->runs++];
    FX_TRY(study_run_config(run, &trained));
    FX_TRY(fx_run_history_read(run->folder, s->pool, h));
    find_gradients(h, g);
    a->raw = !trained.diffusion_residual;
    a->shift = trained.diffusion_shift;
    FX_TRY(put_seed(s, &a->norm, g->mean));
    FX_TRY(put_seed(s, &a->variance, g->variance));
    FX_TRY(put_seed(s, &a->within, g->within));
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        a->scale[task] = fx_residual_scale(&trained, task);
        FX_TRY(put_seed(s, &a->target[task], last_of(h->target[task], h->validations)));
        FX_TRY(put_seed(s, &a->output[task], last_of(h->output[task], h->validations)));
    }
    return FX_OK;
}

static fx_status read_arm(study *s, const study_arm *of, arm *a)
{
    *a = (arm){.arm = of};
    a->history = fx_pool_calloc(s->pool, (size_t)s->runs, sizeof *a->history);
    a->gradient = fx_pool_calloc(s->pool, (size_t)s->runs, sizeof *a->gradient);
    if (!a->history || !a->gradient) return FX_ENOMEM;
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        if (run->arm == of && study_run_finished(run)) FX_TRY(add_run(s, run, a));
    return FX_OK;
}

/* The noise of seeds of a value, pooled over the arms. */
typedef seeds *(*value_of)(arm *a, fx_task task);

static fx_seed_noise noise_of(arm *a, int arms, fx_task task, value_of value)
{
    fx_seed_noise noise = {.relative = NAN};
    for (int i = 0; i < arms; i++) {
        const seeds *of = value(&a[i], task);
        if (of->count > 1) fx_seed_noise_add(&noise, of->value, of->count);
    }
    return noise;
}

static fx_interval mean_of(const seeds *of, const fx_seed_noise *noise)
{
    if (of->count == 0) return (fx_interval){NAN, NAN, NAN};
    const double half = fx_seed_noise_half(noise, of->mean, of->count);
    return (fx_interval){of->mean, of->mean - half, of->mean + half};
}

static seeds *within_of(arm *a, fx_task task)
{
    (void)task;
    return &a->within;
}

static seeds *norm_of(arm *a, fx_task task)
{
    (void)task;
    return &a->norm;
}

static seeds *output_of(arm *a, fx_task task)
{
    return &a->output[task];
}

/* ---- Tables. */

static const char SEEDS_ALONE[] = "Intervals here: 95 %, of the training seed alone (Student's t, its "
                                  "spread pooled over the arms).";

static fx_status put_gradients(study *s, arm *a, int arms)
{
    static const char *const columns[] = {
        "arm", "seeds", "steps", "gradient norm", "variance", "variance / mean^2 in windows", NULL};
    study_table *t = study_table_begin(s, "gradients", "Norms of gradients in training", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note =
        fx_pool_print(s->pool,
                      "Of the batch's gradient before clipping, over the first %d steps, or all "
                      "where there are fewer. Norms of targets of other sizes don't compare; the "
                      "last column does: in %d windows of steps, or of two steps each, since the norm "
                      "falls in training. %s",
                      STEPS, WINDOWS, SEEDS_ALONE);
    if (!t->note) return FX_ENOMEM;
    const fx_seed_noise norm = noise_of(a, arms, FX_SR, norm_of),
                        within = noise_of(a, arms, FX_SR, within_of);
    for (int i = 0; i < arms; i++) {
        const fx_interval mean = mean_of(&a[i].norm, &norm), relative = mean_of(&a[i].within, &within);
        if (a[i].runs == 0) continue;
        FX_TRY(study_put_text(s, t, "%s", a[i].arm->name));
        FX_TRY(study_put(s, t, a[i].norm.count, "%.0f"));
        FX_TRY(study_put(s, t, a[i].gradient[0].steps, "%.0f"));
        FX_TRY(study_put_interval(s, t, &mean, 4));
        FX_TRY(study_put(s, t, a[i].variance.mean, "%.5g"));
        FX_TRY(study_put_interval(s, t, &relative, 4));
    }
    return FX_OK;
}

/* The mean over t of alpha^2 and sigma^2 = 1 - alpha^2, noise having mean square 1. */
static double expected(double square, double shift)
{
    double alpha = 0;
    for (int i = 0; i < TIMES; i++) {
        const fx_noise_level l = fx_schedule((i + 0.5) / TIMES, shift);
        alpha += l.alpha * l.alpha / TIMES;
    }
    return alpha + (1 - alpha) * square;
}

static fx_status put_velocities(study *s, const study_clouds *c, arm *a, int arms)
{
    static const char *const columns[] = {"arm",
                                          "task",
                                          "seeds",
                                          "diffused, mean square",
                                          "velocity expected",
                                          "velocity",
                                          "network's",
                                          "network's / velocity",
                                          NULL};
    study_table *t = study_table_begin(s, "velocities", "Mean squared velocities", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = fx_pool_print(
        s->pool,
        "Diffused: over the samples of the table of covariances. Expected: from that, over all times "
        "of the schedule. Velocity, that is wanted, and the network's (EMA weights): at the last "
        "validation, of %lld patches a Reynolds number, whose times and noise are others. Where the "
        "data are noise to a network it says less than is wanted. %s",
        (long long)s->config.validate_patches, SEEDS_ALONE);
    if (!t->note) return FX_ENOMEM;
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        const fx_seed_noise noise = noise_of(a, arms, task, output_of);
        for (int i = 0; i < arms; i++) {
            const double scale = a[i].scale[task],
                         square = study_square(c, task, a[i].raw) / (scale * scale);
            const fx_interval output = mean_of(&a[i].output[task], &noise);
            if (a[i].runs == 0 || !isfinite(square)) continue;
            FX_TRY(study_put_text(s, t, "%s", a[i].arm->name));
            FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
            FX_TRY(study_put(s, t, a[i].output[task].count, "%.0f"));
            FX_TRY(study_put(s, t, square, "%.5f"));
            FX_TRY(study_put(s, t, expected(square, a[i].shift), "%.5f"));
            FX_TRY(study_put(s, t, a[i].target[task].count ? a[i].target[task].mean : NAN, "%.5f"));
            FX_TRY(study_put_interval(s, t, &output, 4));
            FX_TRY(study_put(s, t, output.value / a[i].target[task].mean, "%.3f"));
        }
    }
    return FX_OK;
}

/* ---- Sentences. */

static fx_status say_pair(study *s, const char *what, const char *task, const arm *a, const seeds *x,
                          const arm *b, const seeds *y, const fx_seed_noise *noise)
{
    fx_interval both;
    if (x->count == 0 || y->count == 0) return FX_OK;
    const double d = x->mean - y->mean;
    const fx_verdict verdict =
        fx_judge(&(fx_interval){d, d, d}, fx_seed_noise_half(noise, x->mean, x->count),
                 fx_seed_noise_half(noise, y->mean, y->count), &both);
    return study_say(s, FX_MARK_NOTE, "%s%s of %s against %s: %+.1f %%: %s", task, what, a->arm->name,
                     b->arm->name, 100 * d / y->mean, study_verdict_text(verdict));
}

static bool has_velocities(const fx_run_history *h)
{
    return isfinite(last_of(h->output[FX_SR], h->validations)) ||
           isfinite(last_of(h->output[FX_FC], h->validations));
}

/* Runs are the pool's, and validate.every is free: another study may have trained one without. */
static fx_status say_missing(study *s, const arm *a)
{
    int have = 0;
    for (int r = 0; r < a->runs; r++)
        have += has_velocities(&a->history[r]);
    if (have == a->runs) return FX_OK;
    return study_say(
        s, FX_MARK_BAD,
        "velocities of %s are known of %d of its %d runs: they are measured by validations "
        "(validate.every) in training",
        a->arm->name, have, a->runs);
}

/* Raw against the residual, and against the residual of the same size. */
static fx_status say(study *s, arm *a, int arms)
{
    enum { FLEX, UNIT, RAW };
    const fx_seed_noise within = noise_of(a, arms, FX_SR, within_of);
    static const int other[] = {FLEX, UNIT};
    for (int k = 0; k < 2; k++)
        FX_TRY(say_pair(s, "relative variance of the gradient's norm", "", &a[RAW], &a[RAW].within,
                        &a[other[k]], &a[other[k]].within, &within));
    for (int i = 0; i < arms; i++)
        FX_TRY(say_missing(s, &a[i]));
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        const fx_seed_noise noise = noise_of(a, arms, task, output_of);
        for (int k = 0; k < 2; k++)
            FX_TRY(say_pair(s, "mean squared velocity of the network",
                            task == FX_SR ? "SR: " : "FC: ", &a[RAW], &a[RAW].output[task],
                            &a[other[k]], &a[other[k]].output[task], &noise));
    }
    return study_say(
        s, FX_MARK_NOTE,
        "A target of another size has another signal to noise at every time of the schedule: "
        "a difference of raw against flex may be of that, one against unit is not");
}

/* ---- Charts: means over an arm's seeds. */

static fx_status chart_gradients(study *s, const arm *a, int arms)
{
    study_curve *curve = fx_pool_calloc(s->pool, (size_t)arms, sizeof *curve);
    int curves = 0;
    if (!curve) return FX_ENOMEM;
    for (int i = 0; i < arms; i++) {
        fx_interval *y = fx_pool_calloc(s->pool, WINDOWS, sizeof *y);
        if (!y) return FX_ENOMEM;
        if (a[i].runs == 0 || a[i].gradient[0].windows == 0) continue;
        for (int w = 0; w < a[i].gradient[0].windows; w++) {
            y[w] = (fx_interval){0, NAN, NAN};
            for (int r = 0; r < a[i].runs; r++)
                y[w].value += a[i].gradient[r].relative[w] / a[i].runs;
        }
        curve[curves++] =
            (study_curve){a[i].arm->name, a[i].gradient[0].last, y, a[i].gradient[0].windows};
    }
    return curves == 0 ? FX_OK
                       : study_chart(s, "Variance of the gradient's norm over its squared mean", "step",
                                     "variance / mean^2", false, curve, curves);
}

/* The mean over an arm's runs that measured velocities; NaN where not all of them did at this step. */
static double ratio_at(const arm *a, fx_task task, double step)
{
    double sum = 0;
    int runs = 0;
    for (int r = 0; r < a->runs; r++) {
        const fx_run_history *h = &a->history[r];
        int64_t k = 0;
        if (!has_velocities(h)) continue;
        while (k < h->validations && h->validated[k] < step)
            k++;
        if (k == h->validations || h->validated[k] > step) return NAN;
        sum += h->output[task][k] / h->target[task][k];
        runs++;
    }
    return sum / runs;
}

/* The network's mean squared velocity over what is wanted, in training. */
static fx_status chart_velocities(study *s, const arm *a, int arms, fx_task task)
{
    study_curve *curve = fx_pool_calloc(s->pool, (size_t)arms, sizeof *curve);
    int curves = 0;
    if (!curve) return FX_ENOMEM;
    for (int i = 0; i < arms; i++) {
        const fx_run_history *h = a[i].history;
        while (h < a[i].history + a[i].runs && !has_velocities(h))
            h++;
        if (h == a[i].history + a[i].runs) continue;
        int count = 0;
        double *x = fx_pool_calloc(s->pool, (size_t)h->validations, sizeof *x);
        fx_interval *y = fx_pool_calloc(s->pool, (size_t)h->validations, sizeof *y);
        if (!x || !y) return FX_ENOMEM;
        for (int64_t k = 0; k < h->validations; k++) {
            const double ratio = ratio_at(&a[i], task, h->validated[k]);
            if (!isfinite(ratio)) continue;
            x[count] = h->validated[k];
            y[count++] = (fx_interval){ratio, NAN, NAN};
        }
        if (count > 0) curve[curves++] = (study_curve){a[i].arm->name, x, y, count};
    }
    return curves == 0
               ? FX_OK
               : study_chart(s,
                             task == FX_SR ? "Super-resolution: the network's mean squared "
                                             "velocity over what is wanted"
                                           : "Forecast: the network's mean squared velocity over "
                                             "what is wanted",
                             "step", "ratio", false, curve, curves);
}

fx_status study_analyse_residual_space(study *s)
{
    arm a[STUDY_ARMS];
    const study_clouds *clouds = NULL;
    int arms = 0;
    for (const study_arm *of = s->kind->arm; of->name; of++)
        FX_TRY(read_arm(s, of, &a[arms++]));
    FX_TRY(study_covariance(s, &clouds));
    FX_TRY(put_velocities(s, clouds, a, arms));
    FX_TRY(put_gradients(s, a, arms));
    FX_TRY(say(s, a, arms));
    FX_TRY(chart_gradients(s, a, arms));
    FX_TRY(chart_velocities(s, a, arms, FX_SR));
    FX_TRY(chart_velocities(s, a, arms, FX_FC));
    FX_TRY(study_difference_table(s, 0, s->kind->arm[0].name));
    FX_TRY(study_arm_table(s, 0));
    FX_TRY(study_say_noise(s, 0));
    return study_say_floors(s, 0);
}
