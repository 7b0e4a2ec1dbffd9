/* covariance.c: how complex the fields are that a network has to make, raw and as residuals.
 *
 * The covariance C of a patch of N pixels, by n samples as training draws them: its participation ratio
 * (tr C)^2 / tr C^2, from 1 (all of one shape) to N (white noise), by the pairs i != j of samples, sum
 * |x_i|^2 |x_j|^2 over sum (x_i . x_j)^2: both sums are right on average for any n and any C, while a
 * sample that is drawn twice counts once (a pair with itself would be of one shape); its error is the
 * jackknife's (Tukey 1958), leaving out one sample at a time; and its spectrum. C is taken about 0, the
 * mean of vorticity, as data.scale is. Of a homogeneous periodic field Fourier modes are the
 * eigenvectors, and the energy of a mode, a mean over samples and directions, is the eigenvalue: those
 * of C itself, N x N, would want more samples than N. But patches are not periodic (a window makes them
 * so), and residuals of an interpolation not quite homogeneous (their energy depends on the place
 * between the pixels that are given): eigenvalues by wave number are an approximation, the
 * participation ratio is none. */
#include <math.h>
#include <string.h>

#include "flexhpc/data.h"
#include "flexhpc/eval.h"
#include "flexhpc/train.h"
#include "study.h"

enum { RAW, RESIDUAL, SPACES };
static const char *const SPACE[SPACES] = {"raw", "residual"};
static const double PI = 3.14159265358979323846, NORMAL = 1.959964; /* the 97.5 % quantile */

/* The samples of one task in one space. NaN: not to be had from these. */
typedef struct cloud {
    float *x;                           /* (n, N) */
    double square, participation, rank; /* a pixel; of C; exp of the eigenvalues' entropy */
    double *without;                    /* (n): participation without one of the samples */
    double *eigenvalue;                 /* by shell of wave numbers, over their sum; NaN: no mode */
    fx_spectrum *spectrum;
} cloud;

struct study_clouds {
    int64_t n, side, shells, seen[2]; /* drawn; different ones among them */
    int64_t *modes;                   /* of each shell */
    cloud of[2][SPACES];
};

/* ---- Covariance. */

static bool is_there(const study_clouds *c, fx_task task, const float *truth, int64_t pixels)
{
    const float *x = c->of[task][RAW].x;
    for (int64_t i = 0; i < c->seen[task]; i++)
        if (memcmp(x + i * pixels, truth, (size_t)pixels * sizeof *x) == 0) return true;
    return false;
}

static fx_status add_sample(void *self, fx_task task, const float *truth, const float *base,
                            int64_t pixels)
{
    study_clouds *c = self;
    if (is_there(c, task, truth, pixels)) return FX_OK;
    float *raw = c->of[task][RAW].x + c->seen[task] * pixels,
          *residual = c->of[task][RESIDUAL].x + c->seen[task] * pixels;
    for (int64_t i = 0; i < pixels; i++) {
        raw[i] = truth[i];
        residual[i] = truth[i] - base[i];
    }
    c->seen[task]++;
    FX_TRY(fx_spectrum_add(c->of[task][RAW].spectrum, raw, NULL));
    return fx_spectrum_add(c->of[task][RESIDUAL].spectrum, residual, NULL);
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static fx_status find_participation(study *s, cloud *c, int64_t n, int64_t pixels)
{
    double *norm = fx_pool_calloc(s->pool, (size_t)n, sizeof *norm),
           *trace = fx_pool_calloc(s->pool, (size_t)n, sizeof *trace), /* of the pairs with a sample */
               *square = fx_pool_calloc(s->pool, (size_t)n, sizeof *square), traces = 0, squares = 0;
    c->without = fx_pool_calloc(s->pool, (size_t)n, sizeof *c->without);
    if (!norm || !trace || !square || !c->without) return FX_ENOMEM;
    for (int64_t i = 0; i < n; i++) {
        norm[i] = dot(c->x + i * pixels, c->x + i * pixels, pixels);
        c->square += norm[i] / (double)(n * pixels);
        for (int64_t j = 0; j < i; j++) {
            const double d = dot(c->x + i * pixels, c->x + j * pixels, pixels);
            trace[i] += norm[i] * norm[j];
            trace[j] += norm[i] * norm[j];
            square[i] += d * d;
            square[j] += d * d;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        traces += trace[i] / 2;
        squares += square[i] / 2;
    }
    c->participation = squares > 0 ? traces / squares : NAN;
    for (int64_t i = 0; i < n; i++)
        c->without[i] = n > 2 ? (traces - trace[i]) / (squares - square[i]) : NAN;
    return FX_OK;
}

/* The interval at 95 % around `value`, from the values without each sample. */
static fx_interval jackknife(double value, const double *without, int64_t n)
{
    double mean = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        mean += without[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (without[i] - mean) * (without[i] - mean);
    const double half = NORMAL * sqrt(square * (double)(n - 1) / (double)n);
    return (fx_interval){value, value - half, value + half};
}

/* Modes of the (side, side) transform whose wave number rounds to each shell. */
static void count_modes(study_clouds *c)
{
    for (int64_t y = 0; y < c->side; y++)
        for (int64_t x = 0; x < c->side; x++) {
            const double ky = (double)(y <= c->side / 2 ? y : y - c->side),
                         kx = (double)(x <= c->side / 2 ? x : x - c->side);
            c->modes[llround(hypot(kx, ky))]++;
        }
}

static fx_status find_eigenvalues(study *s, const study_clouds *all, cloud *c)
{
    double sum = 0, entropy = 0; /* sum 0: all shares are NaN */
    c->eigenvalue = fx_pool_calloc(s->pool, (size_t)all->shells, sizeof *c->eigenvalue);
    if (!c->eigenvalue) return FX_ENOMEM;
    fx_spectrum_read(c->spectrum, NULL, NULL, c->eigenvalue); /* energy of a whole shell */
    for (int64_t j = 0; j < all->shells; j++)
        sum += c->eigenvalue[j];
    for (int64_t j = 0; j < all->shells; j++) {
        const double share = c->eigenvalue[j] / sum;
        if (share != 0) entropy -= share * log(share / (double)all->modes[j]);
        c->eigenvalue[j] = share / (double)all->modes[j];
    }
    c->rank = exp(entropy);
    return FX_OK;
}

static fx_status open_clouds(study *s, const fx_config *config, study_clouds *c)
{
    const int64_t pixels = c->side * c->side;
    fx_manifest manifest;
    FX_TRY(fx_manifest_read(config->data_path, &manifest));
    const fx_window window = fx_manifest_is_whole(&manifest) ? FX_PERIODIC : FX_HANN;
    fx_manifest_free(&manifest);
    for (int task = 0; task < 2; task++)
        for (int k = 0; k < SPACES; k++) {
            cloud *of = &c->of[task][k];
            of->x = fx_pool_calloc(s->pool, (size_t)(c->n * pixels), sizeof *of->x);
            if (!of->x) return FX_ENOMEM;
            FX_TRY(fx_spectrum_create(&of->spectrum, c->side, 2 * PI, window));
        }
    c->shells = fx_spectrum_shells(c->of[0][0].spectrum);
    c->modes = fx_pool_calloc(s->pool, (size_t)c->shells, sizeof *c->modes);
    if (!c->modes) return FX_ENOMEM;
    count_modes(c);
    return FX_OK;
}

static fx_status fill_clouds(study *s, const fx_config *config, study_clouds *c)
{
    FX_TRY(open_clouds(s, config, c));
    FX_TRY(fx_targets_visit(config, c->n, add_sample, c));
    for (int task = 0; task < 2; task++)
        for (int k = 0; k < SPACES && c->seen[task] > 0; k++) {
            FX_TRY(find_participation(s, &c->of[task][k], c->seen[task], c->side * c->side));
            FX_TRY(find_eigenvalues(s, c, &c->of[task][k]));
        }
    return FX_OK;
}

/* The smallest wave number up to which half of the energy lies, in waves a patch. */
static double half_energy(const study_clouds *all, const cloud *c)
{
    double sum = 0;
    int64_t j = 0;
    while (j < all->shells && (sum += c->eigenvalue[j] * (double)all->modes[j]) < 0.5)
        j++;
    return isnan(sum) ? NAN : (double)j;
}

static fx_status put_clouds(study *s, const study_clouds *c)
{
    static const char *const columns[] = {"task",
                                          "space",
                                          "samples",
                                          "mean square",
                                          "participation ratio",
                                          "effective rank",
                                          "half of the energy up to k",
                                          NULL};
    study_table *t = study_table_begin(s, "covariance", "Covariance of what is to be made", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    t->note = fx_pool_print(
        s->pool,
        "Of %lld samples drawn as training draws them, each taken once, divided by data.scale, patches "
        "of %lld x %lld. Participation ratio (tr C)^2 / tr C^2 of the covariance C, about 0, of whole "
        "patches: 1 where all samples are one shape, %lld where pixels are independent. Neighbours in "
        "time are alike, so it is somewhat too low, and its interval (95 %%, by the jackknife over "
        "samples; no training seed is in it) too narrow. Effective rank: exponential of the entropy of "
        "the eigenvalues, as the energies of Fourier modes, which they are for homogeneous periodic "
        "fields; patches get a window, and residuals of an interpolation are not quite homogeneous. k: "
        "waves in a patch.",
        (long long)c->n, (long long)c->side, (long long)c->side, (long long)(c->side * c->side));
    if (!t->note) return FX_ENOMEM;
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        for (int k = 0; k < SPACES && c->seen[task] > 0; k++) {
            const cloud *of = &c->of[task][k];
            const fx_interval ratio = jackknife(of->participation, of->without, c->seen[task]);
            FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
            FX_TRY(study_put_text(s, t, "%s", SPACE[k]));
            FX_TRY(study_put(s, t, (double)c->seen[task], "%.0f"));
            FX_TRY(study_put(s, t, of->square, "%.5f"));
            FX_TRY(study_put_interval(s, t, &ratio, 2));
            FX_TRY(study_put(s, t, of->rank, "%.2f"));
            FX_TRY(study_put(s, t, half_energy(c, of), "%.0f"));
        }
    return FX_OK;
}

/* Of the residual's participation ratio against the raw field's, on the same samples. */
static fx_status compare_shapes(study *s, const cloud *raw, const cloud *residual, int64_t n,
                                fx_verdict *verdict)
{
    double *ratio = fx_pool_calloc(s->pool, (size_t)n, sizeof *ratio);
    fx_interval both;
    if (!ratio) return FX_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        ratio[i] = log(residual->without[i] / raw->without[i]);
    const fx_interval samples = jackknife(log(residual->participation / raw->participation), ratio, n);
    *verdict = fx_judge(&samples, 0, 0, &both); /* no training seed is in it */
    return FX_OK;
}

static fx_status say_clouds(study *s, const study_clouds *c)
{
    static const char *const where[] = {[FX_TIE] =
                                            "as many shapes, as far as these samples tell: a tie",
                                        [FX_LOWER] = "fewer shapes",
                                        [FX_HIGHER] = "more shapes, not in fewer"};
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        const cloud *raw = &c->of[task][RAW], *residual = &c->of[task][RESIDUAL];
        fx_verdict verdict;
        if (c->seen[task] == 0) continue;
        if (isnan(residual->participation) || isnan(raw->participation)) {
            FX_TRY(
                study_say(s, FX_MARK_BAD,
                          "%s: no participation ratio: of %lld samples drawn %lld are different, the "
                          "fields' mean square is %g, the residuals' %g",
                          study_task_name(task), (long long)c->n, (long long)c->seen[task], raw->square,
                          residual->square));
            continue;
        }
        FX_TRY(compare_shapes(s, raw, residual, c->seen[task], &verdict));
        FX_TRY(study_say(
            s, FX_MARK_NOTE,
            "%s: the residual has %.3f of the raw field's mean square: it is %s; and a participation "
            "ratio "
            "of %.1f against %.1f (effective rank %.0f against %.0f): its energy is in %s",
            study_task_name(task), residual->square / raw->square,
            residual->square < raw->square ? "smaller" : "not smaller", residual->participation,
            raw->participation, residual->rank, raw->rank, where[verdict]));
    }
    return FX_OK;
}

static fx_status chart_clouds(study *s, const study_clouds *c)
{
    static const char *const names[2][SPACES] = {{"raw, SR", "residual, SR"},
                                                 {"raw, FC", "residual, FC"}};
    study_curve curve[2 * SPACES];
    int curves = 0;
    for (int task = 0; task < 2; task++)
        for (int k = 0; k < SPACES && c->seen[task] > 0; k++) {
            double *x = fx_pool_calloc(s->pool, (size_t)c->shells, sizeof *x);
            fx_interval *y = fx_pool_calloc(s->pool, (size_t)c->shells, sizeof *y);
            int count = 0;
            if (!x || !y) return FX_ENOMEM;
            for (int64_t j = 1; j <= c->side / 2; j++) {
                x[count] = (double)j;
                y[count++] = (fx_interval){10 * log10(c->of[task][k].eigenvalue[j]), NAN, NAN};
            }
            curve[curves++] = (study_curve){names[task][k], x, y, count};
        }
    return study_chart(s, "Eigenvalues of the covariance over their sum", "waves in a patch", "dB",
                       true, curve, curves);
}

double study_square(const study_clouds *c, fx_task task, bool raw)
{
    return c->seen[task] > 0 ? c->of[task][raw ? RAW : RESIDUAL].square : NAN;
}

fx_status study_covariance(study *s, const study_clouds **out)
{
    const fx_config *config = &s->run[0].config;
    study_clouds *c = fx_pool_calloc(s->pool, 1, sizeof *c);
    if (!c) return FX_ENOMEM;
    *c = (study_clouds){.n = s->config.study_samples, .side = config->data_patch};
    *out = c;
    const fx_status status = fill_clouds(s, config, c);
    for (int task = 0; task < 2; task++)
        for (int k = 0; k < SPACES; k++)
            fx_spectrum_free(&c->of[task][k].spectrum);
    FX_TRY(status);
    FX_TRY(put_clouds(s, c));
    FX_TRY(say_clouds(s, c));
    return chart_clouds(s, c);
}
