/* seams.c: jumps across the borders of tiles, and the comb that they leave in spectra; signatures.h. */
#include <fftw3.h>
#include <math.h>

#include "flexhpc/mem.h"
#include "flexhpc/signatures.h"

/* Places along an axis, of all lines that were added. */
typedef struct axis {
    int64_t length, lines;
    bool periodic;
    bool *border;   /* (length): a tile begins, or has ended, at this place */
    double *jump;   /* (length): sums of |value - the one before| */
    int64_t teeth;  /* tiles that lie equally far apart all around; 0: they don't, or are below 3 */
    double *energy; /* (length / 2 + 1): sums of |DFT|^2; NULL where teeth are 0, as the rest is */
    double *line;   /* (length) */
    fftw_complex *half;
    fftw_plan plan;
} axis;

struct fx_seam_sums {
    axis y, x;
};

/* ---- Axes. */

static void mark_borders(const fx_tile_axis *tiles, axis *a)
{
    for (int64_t i = 0; i < tiles->count; i++) {
        a->border[tiles->first[i] % a->length] = true;
        a->border[(tiles->first[i] + tiles->side) % a->length] = true;
    }
}

static int64_t teeth_of(const fx_tile_axis *tiles)
{
    const int64_t n = tiles->count;
    if (!tiles->periodic || n < 3 || tiles->length % n != 0) return 0;
    for (int64_t i = 0; i < n; i++)
        if (tiles->first[i] != i * (tiles->length / n)) return 0;
    return n;
}

static fx_status open_axis(const fx_tile_axis *tiles, axis *a)
{
    *a = (axis){.length = tiles->length, .periodic = tiles->periodic, .teeth = teeth_of(tiles)};
    FX_TRY(FX_ALLOC(a->border, a->length));
    FX_TRY(FX_ALLOC(a->jump, a->length));
    mark_borders(tiles, a);
    if (a->teeth == 0) return FX_OK;
    FX_TRY(FX_ALLOC(a->energy, a->length / 2 + 1));
    FX_TRY(FX_ALLOC(a->line, a->length));
    FX_TRY(FX_ALLOC(a->half, a->length / 2 + 1));
    a->plan = fftw_plan_dft_r2c_1d((int)a->length, a->line, a->half, FFTW_ESTIMATE);
    FX_REQUIRE(a->plan, FX_ENOMEM, "seams: FFTW has no plan for %lld", (long long)a->length);
    return FX_OK;
}

static void free_axis(axis *a)
{
    if (a->plan) fftw_destroy_plan(a->plan);
    fx_free(a->border);
    fx_free(a->jump);
    fx_free(a->energy);
    fx_free(a->line);
    fx_free(a->half);
}

/* A line along the axis: values `stride` apart. */
static void add_line(axis *a, const float *values, int64_t stride)
{
    const int64_t n = a->length;
    a->lines++;
    for (int64_t at = a->periodic ? 0 : 1; at < n; at++)
        a->jump[at] +=
            fabs((double)values[at * stride] - (double)values[(at > 0 ? at - 1 : n - 1) * stride]);
    if (a->teeth == 0) return;
    for (int64_t at = 0; at < n; at++)
        a->line[at] = (double)values[at * stride];
    fftw_execute(a->plan);
    for (int64_t k = 0; k <= n / 2; k++)
        a->energy[k] += a->half[k][0] * a->half[k][0] + a->half[k][1] * a->half[k][1];
}

/* ---- Fields. */

fx_status fx_seams_open(const fx_tiles *tiles, fx_seam_sums **out)
{
    FX_TRY(FX_ALLOC(*out, 1));
    FX_TRY(open_axis(&tiles->y, &(*out)->y));
    return open_axis(&tiles->x, &(*out)->x);
}

void fx_seams_free(fx_seam_sums **sums)
{
    if (!*sums) return;
    free_axis(&(*sums)->y);
    free_axis(&(*sums)->x);
    fx_free(*sums);
    *sums = NULL;
}

void fx_seams_add_rows(fx_seam_sums *s, int64_t rows, const float *values)
{
    for (int64_t row = 0; row < rows; row++)
        add_line(&s->x, values + row * s->x.length, 1);
}

void fx_seams_add_columns(fx_seam_sums *s, int64_t columns, const float *values)
{
    for (int64_t column = 0; column < columns; column++)
        add_line(&s->y, values + column, columns);
}

/* ---- What they say. */

/* Mean jump of the places that are borders, or that are not, and how many there are. */
static double mean_jump(const fx_seam_sums *s, bool border, int64_t *count)
{
    double sum = 0;
    *count = 0;
    for (int k = 0; k < 2; k++) {
        const axis *a = k ? &s->x : &s->y;
        for (int64_t at = a->periodic ? 0 : 1; at < a->length; at++) {
            if (a->border[at] != border) continue;
            sum += a->jump[at] / (double)a->lines;
            ++*count;
        }
    }
    return sum / (double)*count;
}

/* Sum over borders of (model - truth - mean)^2, each relative to its own field elsewhere. */
static double spread(const fx_seam_sums *model, double model_elsewhere, const fx_seam_sums *truth,
                     double truth_elsewhere, double mean)
{
    double square = 0;
    for (int k = 0; k < 2; k++) {
        const axis *m = k ? &model->x : &model->y, *t = !truth ? NULL : k ? &truth->x : &truth->y;
        for (int64_t at = m->periodic ? 0 : 1; at < m->length; at++) {
            if (!m->border[at]) continue;
            const double d = m->jump[at] / (double)m->lines / model_elsewhere -
                             (t ? t->jump[at] / (double)t->lines / truth_elsewhere : 1);
            square += (d - mean) * (d - mean);
        }
    }
    return square;
}

/* Geometric mean over both axes; NaN without teeth. */
static double comb_of(const fx_seam_sums *s)
{
    double sum = 0, count = 0;
    for (int k = 0; k < 2; k++) {
        const axis *a = k ? &s->x : &s->y;
        for (int64_t n = a->teeth; n > 0 && n < a->length / 2; n += a->teeth) {
            sum += log(2 * a->energy[n] / (a->energy[n - 1] + a->energy[n + 1]));
            count += 1;
        }
    }
    return exp(sum / count);
}

void fx_seams_judge(const fx_seam_sums *model, const fx_seam_sums *truth, fx_seams *out)
{
    int64_t borders, others;
    const double elsewhere = mean_jump(model, false, &others);
    out->jump = mean_jump(model, true, &borders) / elsewhere;
    const double truth_elsewhere = truth ? mean_jump(truth, false, &others) : 1;
    out->truth = truth ? mean_jump(truth, true, &borders) / truth_elsewhere : 1;
    const double n = (double)borders;
    out->error =
        sqrt(spread(model, elsewhere, truth, truth_elsewhere, out->jump - out->truth) / (n * (n - 1)));
    out->comb = comb_of(model) / (truth ? comb_of(truth) : 1);
}

double fx_seams_limit(const fx_seams *s)
{
    return fmin(3 * s->error, fx_signature_table[FX_SIGNATURE_SEAMS].high);
}
