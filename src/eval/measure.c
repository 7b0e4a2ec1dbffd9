/* measure.c: what one sample scores; formulas in eval.h and ensemble.h. */
#include "flexhpc/measure.h"

#include <math.h>
#include <string.h>

#include "flexhpc/ensemble.h"
#include "flexhpc/mem.h"

static const double TWO_PI = 6.283185307179586;

fx_status fx_measure_create(fx_measure **out, int64_t side, int64_t grid, int64_t lowres_factor,
                            fx_window window, int members, uint64_t seed)
{
    const double length = TWO_PI * (double)side / (double)grid, nyquist = (double)grid / 2;
    fx_measure *m = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(m, 1));
    *out = m;
    m->side = side;
    m->factor = lowres_factor;
    m->members = members;
    m->seed = seed;
    FX_TRY_DONE(fx_spectrum_create(&m->spectrum, side, length, window));
    FX_TRY_DONE(FX_ALLOC(m->scratch, 2 * fx_spectrum_shells(m->spectrum)));
    m->details = (fx_details){.shells = fx_spectrum_whole_shells(m->spectrum),
                              .dk = TWO_PI / length,
                              .nyquist = nyquist,
                              .lowres_nyquist = nyquist / (double)lowres_factor,
                              .values = true,
                              .members = members};
done:
    if (status != FX_OK) fx_measure_free(out);
    return status;
}

void fx_measure_free(fx_measure **measure)
{
    if (!*measure) return;
    fx_spectrum_free(&(*measure)->spectrum);
    fx_free((*measure)->scratch);
    fx_free(*measure);
    *measure = NULL;
}

/* RFNE of a constant field. */
static double rfne_of_constant(double value, const float *truth, int64_t n)
{
    double error = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        error += (value - truth[i]) * (value - truth[i]);
        size += (double)truth[i] * truth[i];
    }
    return sqrt(error / size);
}

/* RFNE at every factor-th pixel, which the input has. */
static double rfne_of_lowres(const fx_measure *m, const float *estimate, const float *truth)
{
    const int64_t side = m->side, factor = m->factor;
    double error = 0, size = 0;
    for (int64_t y = 0; y < side; y += factor)
        for (int64_t x = 0; x < side; x += factor) {
            const double t = truth[y * side + x], d = estimate[y * side + x] - t;
            error += d * d;
            size += t * t;
        }
    return size > 0 ? sqrt(error / size) : NAN;
}

static double residual_square(const float *base, const float *truth, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)truth[i] - base[i]) * ((double)truth[i] - base[i]);
    return sum / (double)n;
}

/* The spectrum of one field, whole shells. */
static fx_status spectrum_of(fx_measure *m, const float *field, const float *minus, double *out)
{
    fx_spectrum_clear(m->spectrum);
    FX_TRY(fx_spectrum_add(m->spectrum, field, minus));
    fx_spectrum_read(m->spectrum, NULL, m->scratch, NULL);
    memcpy(out, m->scratch, (size_t)m->details.shells * sizeof *out);
    return FX_OK;
}

/* NaN where the truth has a shell without energy, as a field at rest. */
static double decibel_of(const fx_details *p, const double *model, const double *truth, double reynolds)
{
    fx_band band;
    if (fx_band_of(model, truth, NULL, p->shells, p->dk, 0, fx_dissipation(reynolds, p->nyquist),
                   &band) == FX_OK)
        return band.decibel;
    fx_error_clear();
    return NAN;
}

fx_status fx_measure_natural(fx_measure *m, const float *truth, const float *apart, double reynolds,
                             double *out)
{
    double *spectra = NULL;
    const fx_details *p = &m->details;
    FX_TRY(FX_ALLOC(spectra, 2 * p->shells));
    fx_status status = spectrum_of(m, apart, NULL, spectra);
    if (status == FX_OK) status = spectrum_of(m, truth, NULL, spectra + p->shells);
    if (status == FX_OK) *out = decibel_of(p, spectra, spectra + p->shells, reynolds);
    fx_free(spectra);
    return status;
}

/* Adds `share` of what one member is like. */
static fx_status add_member(fx_measure *m, const float *member, const float *truth, const fx_values *of,
                            double share, fx_sample_score *s, double *details)
{
    const int64_t n = m->side * m->side;
    const fx_details *p = &m->details;
    double ssim, second, fourth, *spectra = m->scratch + fx_spectrum_shells(m->spectrum);
    FX_TRY(fx_ssim(member, truth, m->side, of->range, &ssim));
    fx_moments(member, n, of->mean, &second, &fourth);
    s->value[FX_METRIC_PSNR] += share * fx_psnr(member, truth, n, of->range);
    s->value[FX_METRIC_SSIM] += share * ssim;
    s->value[FX_METRIC_SECOND] += share * second;
    s->value[FX_METRIC_FOURTH] += share * fourth;
    s->value[FX_METRIC_LOWRES] +=
        s->task == FX_SR && m->factor > 0 ? share * rfne_of_lowres(m, member, truth) : NAN;
    fx_pdf_add(member, n, of->mean - FX_PDF_SPAN * of->std, of->mean + FX_PDF_SPAN * of->std, share,
               details + fx_details_pdf(p, 0));
    FX_TRY(spectrum_of(m, member, NULL, spectra));
    s->value[FX_METRIC_DECIBEL] +=
        share * decibel_of(p, spectra, details + fx_details_spectrum(p, 1), s->reynolds);
    for (int64_t j = 0; j < p->shells; j++)
        details[fx_details_spectrum(p, 0) + j] += share * spectra[j];
    FX_TRY(spectrum_of(m, member, truth, spectra));
    for (int64_t j = 0; j < p->shells; j++)
        details[fx_details_spectrum(p, 2) + j] += share * spectra[j];
    return FX_OK;
}

static fx_status add_ensemble(fx_measure *m, const float *members, int64_t stride, const float *truth,
                              fx_sample_score *s, double *details)
{
    const int64_t n = m->side * m->side;
    fx_ensemble_score of;
    float *mean = NULL;
    FX_TRY(FX_ALLOC(mean, n));
    fx_ensemble_measure(members, stride, m->members, truth, n, mean, &of);
    s->value[FX_METRIC_MEAN_RFNE] = fx_rfne(mean, truth, n);
    s->value[FX_METRIC_CRPS] = of.crps;
    s->value[FX_METRIC_MEAN_ERROR] = of.error;
    s->value[FX_METRIC_SPREAD] = of.spread;
    s->value[FX_METRIC_DEVIATION] = of.deviation;
    s->value[FX_METRIC_PULL] = of.pull;
    s->value[FX_METRIC_PULL_SQUARE] = of.pull_square;
    fx_ensemble_ranks(members, stride, m->members, truth, n, m->seed,
                      2 * (uint32_t)s->index + (uint32_t)s->task, (uint32_t)s->reynolds,
                      details + fx_details_ranks(&m->details));
    fx_free(mean);
    return FX_OK;
}

fx_status fx_measure_sample(fx_measure *m, const float *members, int64_t stride, const float *base,
                            const float *truth, const fx_values *of, fx_sample_score *s,
                            double *details)
{
    const int64_t n = m->side * m->side;
    static const fx_metric summed[] = {FX_METRIC_PSNR,   FX_METRIC_SSIM,   FX_METRIC_SECOND,
                                       FX_METRIC_FOURTH, FX_METRIC_LOWRES, FX_METRIC_DECIBEL};
    for (size_t k = 0; k < sizeof summed / sizeof *summed; k++)
        s->value[summed[k]] = 0;
    s->value[FX_METRIC_CLIMATOLOGY] = rfne_of_constant(of->mean, truth, n);
    s->value[FX_METRIC_RESIDUAL] = residual_square(base, truth, n);
    fx_moments(truth, n, of->mean, &s->value[FX_METRIC_TRUTH_SECOND],
               &s->value[FX_METRIC_TRUTH_FOURTH]);
    fx_pdf_add(truth, n, of->mean - FX_PDF_SPAN * of->std, of->mean + FX_PDF_SPAN * of->std, 1,
               details + fx_details_pdf(&m->details, 1));
    FX_TRY(spectrum_of(m, truth, NULL, details + fx_details_spectrum(&m->details, 1)));
    for (int k = 0; k < m->members; k++)
        FX_TRY(add_member(m, members + k * stride, truth, of, 1.0 / m->members, s, details));
    return m->members > 1 ? add_ensemble(m, members, stride, truth, s, details) : FX_OK;
}

static fx_status energy_of(fx_measure *m, const float *field, double *out)
{
    double *energy = m->scratch + fx_spectrum_shells(m->spectrum);
    FX_TRY(spectrum_of(m, field, NULL, energy));
    *out = 0;
    for (int64_t j = 1; j < m->details.shells; j++)
        *out += energy[j];
    return FX_OK;
}

static fx_status rfne_of_mean(const fx_measure *m, const float *members, int64_t stride,
                              const float *truth, double *out)
{
    const int64_t n = m->side * m->side;
    float *mean = NULL;
    FX_TRY(FX_ALLOC(mean, n));
    fx_ensemble_mean(members, stride, m->members, n, mean);
    *out = fx_rfne(mean, truth, n);
    fx_free(mean);
    return FX_OK;
}

fx_status fx_measure_lead(fx_measure *m, const float *members, int64_t stride, const float *start,
                          const float *truth, const fx_values *of, double *numbers)
{
    const int64_t n = m->side * m->side;
    double fourth;
    memset(numbers, 0, FX_LEAD_SCORES * sizeof *numbers);
    for (int k = 0; k < m->members; k++) {
        const float *member = members + k * stride;
        double energy, second;
        FX_TRY(energy_of(m, member, &energy));
        fx_moments(member, n, of->mean, &second, &fourth);
        numbers[FX_LEAD_RFNE] += fx_rfne(member, truth, n) / m->members;
        numbers[FX_LEAD_CORRELATION] += fx_correlation(member, truth, n) / m->members;
        numbers[FX_LEAD_ENERGY] += energy / m->members;
        numbers[FX_LEAD_ENSTROPHY] += second / m->members;
    }
    numbers[FX_LEAD_PERSISTENCE] = fx_rfne(start, truth, n);
    FX_TRY(rfne_of_mean(m, members, stride, truth, &numbers[FX_LEAD_MEAN_RFNE]));
    fx_moments(truth, n, of->mean, &numbers[FX_LEAD_TRUTH_ENSTROPHY], &fourth);
    return energy_of(m, truth, &numbers[FX_LEAD_TRUTH_ENERGY]);
}
