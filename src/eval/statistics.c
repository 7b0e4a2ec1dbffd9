/* statistics.c: what the samples of a task and Reynolds number have in common, with intervals. The
 * columns of the bootstrap are RFNE, the floors, correlation, loss, the metrics, the details. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"
#include "flexhpc/eval.h"
#include "flexhpc/mem.h"

const char *const fx_statistic_names[FX_STATISTICS] = {
    [FX_STATISTIC_CLIMATOLOGY] = "climatology",
    [FX_STATISTIC_PSNR] = "psnr",
    [FX_STATISTIC_SSIM] = "ssim",
    [FX_STATISTIC_LOWRES] = "lowres",
    [FX_STATISTIC_KURTOSIS] = "kurtosis",
    [FX_STATISTIC_TRUTH_KURTOSIS] = "truth_kurtosis",
    [FX_STATISTIC_W1] = "w1",
    [FX_STATISTIC_ENSTROPHY] = "enstrophy",
    [FX_STATISTIC_ENERGY] = "energy",
    [FX_STATISTIC_BAND_ENERGY] = "band_energy",
    [FX_STATISTIC_BAND_ERROR] = "band_error",
    [FX_STATISTIC_BAND_SUM] = "band_sum",
    [FX_STATISTIC_TAIL] = "tail",
    [FX_STATISTIC_CUTOFF] = "cutoff",
    [FX_STATISTIC_DECIBEL] = "spectrum_decibel",
    [FX_STATISTIC_MEAN_RFNE] = "mean_rfne",
    [FX_STATISTIC_CRPS] = "crps",
    [FX_STATISTIC_SPREAD_SKILL] = "spread_skill",
    [FX_STATISTIC_DIVERSITY] = "diversity",
    [FX_STATISTIC_PULL] = "pull",
    [FX_STATISTIC_PULL_WIDTH] = "pull_width",
    [FX_STATISTIC_LEAD] = "lead",
    [FX_STATISTIC_ENERGY_DRIFT] = "energy_drift",
    [FX_STATISTIC_ENSTROPHY_DRIFT] = "enstrophy_drift",
    [FX_STATISTIC_ENERGY_GAIN] = "energy_gain",
    [FX_STATISTIC_OUTLIERS] = "outliers",
};

enum { RFNE, FLOOR, CORRELATION = FLOOR + FX_FLOORS, LOSS, METRIC, DETAILS = METRIC + FX_METRICS };
/* Answers: the statistics, then these. */
enum { OUT_RFNE = FX_STATISTICS, OUT_RATIO, OUTS };
enum { PUBLISHED_BATCH = 32 };
static const double ENOUGH = 0.8; /* the correlation whose lead is asked for */
_Static_assert((int)OUTS <= (int)FX_BOOTSTRAP_MOST, "the bootstrap has room for all answers");

typedef struct context {
    const fx_details *details;
    double reynolds;
} context;

static double sum_of(const double *energy, int64_t from, int64_t to)
{
    double sum = 0;
    for (int64_t j = from; j < to; j++)
        sum += energy[j];
    return sum;
}

static void answer_spectra(const context *c, const double *details, double *out)
{
    const fx_details *p = c->details;
    const double *model = details + fx_details_spectrum(p, 0),
                 *truth = details + fx_details_spectrum(p, 1),
                 *error = details + fx_details_spectrum(p, 2);
    const double dissipation = fx_dissipation(c->reynolds, p->nyquist);
    const int64_t beyond = (int64_t)floor(dissipation / p->dk * (1 + 1e-12)) + 1;
    fx_band band;
    out[FX_STATISTIC_ENERGY] = sum_of(model, 1, p->shells) / sum_of(truth, 1, p->shells);
    if (beyond < p->shells)
        out[FX_STATISTIC_TAIL] = sum_of(model, beyond, p->shells) / sum_of(truth, beyond, p->shells);
    if (fx_band_of(model, truth, error, p->shells, p->dk, 0, dissipation, &band) == FX_OK)
        out[FX_STATISTIC_CUTOFF] = (isnan(band.cutoff) ? dissipation : band.cutoff) / dissipation;
    if (fx_band_of(model, truth, error, p->shells, p->dk, p->lowres_nyquist, dissipation, &band) ==
        FX_OK) {
        out[FX_STATISTIC_BAND_ENERGY] = band.energy;
        out[FX_STATISTIC_BAND_ERROR] = band.error;
        out[FX_STATISTIC_BAND_SUM] = band.energy + band.error;
    }
    fx_error_clear();
}

/* Numbers of lead l are at + l FX_LEAD_SCORES. NaN: super-resolution. */
static void answer_rollout(const double *at, int leads, double *out)
{
    double lead = leads, energy = 0, enstrophy = 0, gain = -INFINITY;
    if (isnan(at[FX_LEAD_RFNE])) return;
    for (int l = 0; l < leads; l++) {
        const double *s = at + l * FX_LEAD_SCORES, *before = s - FX_LEAD_SCORES;
        energy = fmax(energy, fabs(s[FX_LEAD_ENERGY] / s[FX_LEAD_TRUTH_ENERGY] - 1));
        enstrophy = fmax(enstrophy, fabs(s[FX_LEAD_ENSTROPHY] / s[FX_LEAD_TRUTH_ENSTROPHY] - 1));
        if (l > 0) gain = fmax(gain, s[FX_LEAD_ENERGY] / before[FX_LEAD_ENERGY] - 1);
        if (lead < leads || s[FX_LEAD_CORRELATION] >= ENOUGH) continue;
        /* the forecast of lead 0 is the start: correlation 1 */
        const double from = l > 0 ? before[FX_LEAD_CORRELATION] : 1;
        lead = l + (from - ENOUGH) / (from - s[FX_LEAD_CORRELATION]);
    }
    out[FX_STATISTIC_LEAD] = lead;
    out[FX_STATISTIC_ENERGY_DRIFT] = energy;
    out[FX_STATISTIC_ENSTROPHY_DRIFT] = enstrophy;
    out[FX_STATISTIC_ENERGY_GAIN] = gain;
}

static void answer(const void *self, const double *mean, double *out)
{
    const context *c = self;
    const fx_details *p = c->details;
    const double *m = mean + METRIC, *details = mean + DETAILS;
    for (int k = 0; k < OUTS; k++)
        out[k] = NAN;
    out[OUT_RFNE] = mean[RFNE];
    out[OUT_RATIO] = mean[RFNE] / mean[FLOOR];
    out[FX_STATISTIC_CLIMATOLOGY] = m[FX_METRIC_CLIMATOLOGY];
    out[FX_STATISTIC_PSNR] = m[FX_METRIC_PSNR];
    out[FX_STATISTIC_SSIM] = m[FX_METRIC_SSIM];
    out[FX_STATISTIC_LOWRES] = m[FX_METRIC_LOWRES] / mean[RFNE];
    out[FX_STATISTIC_KURTOSIS] = m[FX_METRIC_FOURTH] / (m[FX_METRIC_SECOND] * m[FX_METRIC_SECOND]);
    out[FX_STATISTIC_TRUTH_KURTOSIS] =
        m[FX_METRIC_TRUTH_FOURTH] / (m[FX_METRIC_TRUTH_SECOND] * m[FX_METRIC_TRUTH_SECOND]);
    out[FX_STATISTIC_ENSTROPHY] = m[FX_METRIC_SECOND] / m[FX_METRIC_TRUTH_SECOND];
    out[FX_STATISTIC_DECIBEL] = m[FX_METRIC_DECIBEL];
    out[FX_STATISTIC_MEAN_RFNE] = m[FX_METRIC_MEAN_RFNE];
    out[FX_STATISTIC_CRPS] = m[FX_METRIC_CRPS];
    out[FX_STATISTIC_SPREAD_SKILL] = sqrt(m[FX_METRIC_SPREAD] / m[FX_METRIC_MEAN_ERROR]);
    out[FX_STATISTIC_DIVERSITY] = sqrt(m[FX_METRIC_DEVIATION] / m[FX_METRIC_RESIDUAL]);
    out[FX_STATISTIC_PULL] = m[FX_METRIC_PULL];
    out[FX_STATISTIC_PULL_WIDTH] =
        sqrt(m[FX_METRIC_PULL_SQUARE] - m[FX_METRIC_PULL] * m[FX_METRIC_PULL]);
    if (p->values)
        out[FX_STATISTIC_W1] = fx_pdf_distance(
            details + fx_details_pdf(p, 0), details + fx_details_pdf(p, 1), -FX_PDF_SPAN, FX_PDF_SPAN);
    if (p->members > 1) {
        const double *ranks = details + fx_details_ranks(p);
        out[FX_STATISTIC_OUTLIERS] =
            (ranks[0] + ranks[p->members]) / sum_of(ranks, 0, p->members + 1) * (p->members + 1) / 2;
    }
    if (p->leads > 1) answer_rollout(details + fx_details_lead(p, 0), p->leads, out);
    if (p->shells > 0) answer_spectra(c, details, out);
}

/* Norms over batches of samples, in their order. */
static double published(const fx_sample_score *row, int64_t count)
{
    double sum = 0, batches = 0;
    for (int64_t first = 0; first < count; first += PUBLISHED_BATCH, batches += 1) {
        double error = 0, truth = 0;
        for (int64_t i = first; i < count && i < first + PUBLISHED_BATCH; i++) {
            error += row[i].rfne * row[i].rfne * row[i].value[FX_METRIC_SQUARE];
            truth += row[i].value[FX_METRIC_SQUARE];
        }
        sum += sqrt(error / truth);
    }
    return sum / batches;
}

static fx_status natural95(const fx_sample_score *row, int64_t count, double *out)
{
    double *x = NULL;
    int64_t known = 0;
    FX_TRY(FX_ALLOC(x, count));
    for (int64_t i = 0; i < count; i++)
        if (!isnan(row[i].value[FX_METRIC_NATURAL])) x[known++] = row[i].value[FX_METRIC_NATURAL];
    qsort(x, (size_t)known, sizeof *x, fx_by_value);
    *out = known > 0 ? fx_quantile(x, known, 0.95) : NAN;
    fx_free(x);
    return FX_OK;
}

static void fill_row(const fx_scores *scores, const fx_sample_score *s, double *cell)
{
    cell[RFNE] = s->rfne;
    for (int f = 0; f < FX_FLOORS; f++)
        cell[FLOOR + f] = s->floor[f];
    cell[CORRELATION] = s->correlation;
    cell[LOSS] = s->loss;
    memcpy(cell + METRIC, s->value, sizeof s->value);
    const int64_t length = fx_details_length(&scores->details);
    if (length > 0) memcpy(cell + DETAILS, fx_scores_details(scores, s), (size_t)length * sizeof *cell);
}

static void take_means(const fx_sample_score *row, int64_t count, fx_score *out)
{
    double square = 0, correlation = 0, correlated = 0;
    *out = (fx_score){.task = row->task, .reynolds = row->reynolds, .count = count};
    for (int64_t i = 0; i < count; i++) {
        out->rfne += row[i].rfne / (double)count;
        out->loss += row[i].loss / (double)count;
        out->target += row[i].target / (double)count;
        out->output += row[i].output / (double)count;
        for (int f = 0; f < FX_FLOORS; f++)
            out->floor[f] += row[i].floor[f] / (double)count;
        if (isnan(row[i].correlation)) continue;
        correlation += row[i].correlation;
        correlated += 1;
    }
    for (int64_t i = 0; i < count; i++)
        square += (row[i].rfne - out->rfne) * (row[i].rfne - out->rfne);
    out->rfne_error = count > 1 ? sqrt(square / (double)(count - 1) / (double)count) : NAN;
    out->correlation = correlated > 0 ? correlation / correlated : NAN;
    out->ratio = out->rfne / out->floor[0];
    out->published = published(row, count);
}

static fx_status summarise(const fx_scores *scores, const fx_sample_score *row, int64_t count,
                           uint64_t seed, fx_score *out)
{
    fx_status status = FX_OK;
    const int64_t width = DETAILS + fx_details_length(&scores->details);
    const context c = {&scores->details, row->reynolds};
    const fx_question question = {answer, &c, OUTS};
    double *cell = NULL, value[OUTS], low[OUTS], high[OUTS];
    int64_t *block = NULL;
    FX_TRY_DONE(FX_ALLOC(cell, count * width));
    FX_TRY_DONE(FX_ALLOC(block, count));
    for (int64_t i = 0; i < count; i++) {
        fill_row(scores, &row[i], cell + i * width);
        block[i] = row[i].block;
    }
    take_means(row, count, out);
    FX_TRY_DONE(natural95(row, count, &out->natural95));
    FX_TRY_DONE(fx_block_bootstrap(&(fx_columns){cell, block, count, width}, seed, &question, value,
                                   low, high, &out->blocks));
    memcpy(out->value, value, sizeof out->value);
    memcpy(out->low, low, sizeof out->low);
    memcpy(out->high, high, sizeof out->high);
    out->rfne_low = low[OUT_RFNE];
    out->rfne_high = high[OUT_RFNE];
    out->ratio_low = low[OUT_RATIO];
    out->ratio_high = high[OUT_RATIO];
done:
    fx_free(cell);
    fx_free(block);
    return status;
}

fx_status fx_scores_summarise(const fx_scores *scores, uint64_t seed, fx_score *out, int capacity,
                              int *count)
{
    *count = 0;
    for (int64_t first = 0, next; first < scores->count; first = next) {
        const fx_sample_score *row = &scores->row[first];
        for (next = first; next < scores->count; next++)
            if (scores->row[next].task != row->task || scores->row[next].reynolds < row->reynolds ||
                scores->row[next].reynolds > row->reynolds)
                break;
        FX_REQUIRE(*count < capacity, FX_EARG, "more than %d tasks and Reynolds numbers to summarise",
                   capacity);
        FX_TRY(summarise(scores, row, next - first, seed, &out[(*count)++]));
    }
    return FX_OK;
}

void fx_scores_mean_details(const fx_scores *scores, const fx_score *of, double *mean)
{
    const int64_t length = fx_details_length(&scores->details);
    memset(mean, 0, (size_t)length * sizeof *mean);
    for (int64_t i = 0; i < scores->count; i++) {
        const fx_sample_score *s = &scores->row[i];
        if (s->task != of->task || s->reynolds < of->reynolds || s->reynolds > of->reynolds) continue;
        const double *details = fx_scores_details(scores, s);
        for (int64_t c = 0; c < length; c++)
            mean[c] += details[c] / (double)of->count;
    }
}
