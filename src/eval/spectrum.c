/* spectrum.c: isotropic energy and enstrophy spectra of square vorticity fields; formulas in eval.h.
 * The transform is FFTW's real-to-complex one of (n, n) doubles: row y, column x of the half spectrum
 * (n, n/2 + 1) is the wave vector (kx, ky) = dk (x, y or y - n); columns 0 < x < n/2 stand for their
 * mirror images as well, and count twice. */
#include "flexhpc/eval.h"

#include <fftw3.h>
#include <math.h>
#include <string.h>

#include "flexhpc/mem.h"

static const double PI = 3.14159265358979323846;

struct fx_spectrum {
    int64_t n, shells, count;
    double dk;
    double *window; /* (n), or NULL: periodic */
    double *sum;    /* (2, shells): E dk and Z dk, summed over fields */
    double *field;  /* (n, n) */
    fftw_complex *half;
    fftw_plan plan;
};

fx_status fx_spectrum_create(fx_spectrum **out, int64_t n, double length, fx_window window)
{
    fx_status status = FX_OK;
    fx_spectrum *s = NULL;
    *out = NULL;
    FX_REQUIRE(n >= 4 && n <= 16384 && n % 2 == 0, FX_EARG,
               "spectrum: side %lld is not an even number from 4 to 16384", (long long)n);
    FX_REQUIRE(length > 0 && isfinite(length), FX_EARG, "spectrum: length %g", length);
    FX_TRY(FX_ALLOC(s, 1));
    s->n = n;
    s->dk = 2 * PI / length;
    s->shells = llround(sqrt(0.5) * (double)n) + 1; /* the corner's length is sqrt(2) n/2 */
    FX_TRY_DONE(FX_ALLOC(s->sum, 2 * s->shells));
    FX_TRY_DONE(FX_ALLOC(s->field, n * n));
    FX_TRY_DONE(FX_ALLOC(s->half, n * (n / 2 + 1)));
    if (window == FX_HANN) {
        FX_TRY_DONE(FX_ALLOC(s->window, n));
        for (int64_t i = 0; i < n; i++) /* mean square of 1 - cos is 3/2 */
            s->window[i] = (1 - cos(2 * PI * ((double)i + 0.5) / (double)n)) / sqrt(1.5);
    }
    s->plan = fftw_plan_dft_r2c_2d((int)n, (int)n, s->field, s->half, FFTW_ESTIMATE);
    FX_REQUIRE_DONE(s->plan, FX_ENOMEM, "spectrum: FFTW has no plan for %lld x %lld", (long long)n,
                    (long long)n);
    *out = s;
    s = NULL;
done:
    fx_spectrum_free(&s);
    return status;
}

void fx_spectrum_free(fx_spectrum **spectrum)
{
    fx_spectrum *s = *spectrum;
    if (!s) return;
    if (s->plan) fftw_destroy_plan(s->plan);
    fx_free(s->half);
    fx_free(s->field);
    fx_free(s->sum);
    fx_free(s->window);
    fx_free(s);
    *spectrum = NULL;
}

/* Subtracts the weighted mean, so that the windowed field has mean 0, and multiplies by the window. */
static void apply_window(fx_spectrum *s)
{
    double sum = 0, weight = 0;
    for (int64_t y = 0; y < s->n; y++)
        for (int64_t x = 0; x < s->n; x++) {
            sum += s->window[y] * s->window[x] * s->field[y * s->n + x];
            weight += s->window[y] * s->window[x];
        }
    const double mean = sum / weight;
    for (int64_t y = 0; y < s->n; y++)
        for (int64_t x = 0; x < s->n; x++)
            s->field[y * s->n + x] = (s->field[y * s->n + x] - mean) * s->window[y] * s->window[x];
}

fx_status fx_spectrum_add(fx_spectrum *s, const float *field, const float *minus)
{
    const int64_t n = s->n, columns = n / 2 + 1;
    for (int64_t i = 0; i < n * n; i++) {
        s->field[i] = (double)field[i] - (minus ? (double)minus[i] : 0.0);
        FX_REQUIRE(isfinite(s->field[i]), FX_EVALUE, "spectrum: pixel (%lld, %lld) is %g",
                   (long long)(i / n), (long long)(i % n), s->field[i]);
    }
    if (s->window) apply_window(s);
    fftw_execute(s->plan);
    const double scale = 1.0 / ((double)n * (double)n);
    for (int64_t y = 0; y < n; y++)
        for (int64_t x = 0; x < columns; x++) {
            const double kx = (double)x, ky = (double)(y <= n / 2 ? y : y - n), k2 = kx * kx + ky * ky;
            const double *w = s->half[y * columns + x];
            const double twice = x == 0 || x == n / 2 ? 1 : 2;
            const double enstrophy = 0.5 * twice * scale * scale * (w[0] * w[0] + w[1] * w[1]);
            const int64_t shell = llround(sqrt(k2));
            if (k2 > 0) s->sum[shell] += enstrophy / (k2 * s->dk * s->dk);
            s->sum[s->shells + shell] += enstrophy;
        }
    s->count++;
    return FX_OK;
}

void fx_spectrum_clear(fx_spectrum *s)
{
    s->count = 0;
    memset(s->sum, 0, 2 * (size_t)s->shells * sizeof *s->sum);
}

int64_t fx_spectrum_shells(const fx_spectrum *s)
{
    return s->shells;
}

int64_t fx_spectrum_whole_shells(const fx_spectrum *s)
{
    return s->n / 2 + 1;
}

int64_t fx_spectrum_count(const fx_spectrum *s)
{
    return s->count;
}

void fx_spectrum_read(const fx_spectrum *s, double *k, double *energy, double *enstrophy)
{
    const double scale = s->count > 0 ? 1.0 / ((double)s->count * s->dk) : 0.0;
    for (int64_t j = 0; j < s->shells; j++) {
        if (k) k[j] = (double)j * s->dk;
        if (energy) energy[j] = scale * s->sum[j];
        if (enstrophy) enstrophy[j] = scale * s->sum[s->shells + j];
    }
}

/* Ratio of the energies in the shells around j, cut at 1 and `last`. */
static double smoothed_ratio(const double *model, const double *truth, int64_t j, int64_t last)
{
    double m = 0, t = 0;
    for (int64_t i = j > 1 ? j - 1 : 1; i <= j + 1 && i <= last; i++) {
        m += model[i];
        t += truth[i];
    }
    return m / t;
}

fx_status fx_band_of(const double *model, const double *truth, const double *error, int64_t shells,
                     double dk, double low, double high, fx_band *out)
{
    const int64_t last = (int64_t)fmin((double)(shells - 1), floor(high / dk * (1 + 1e-12)));
    const int64_t first = (int64_t)floor(low / dk * (1 + 1e-12)) + 1;
    FX_REQUIRE(low >= 0 && first <= last, FX_EARG,
               "the band %g < k <= %g holds no shell of a spectrum to k = %g", low, high,
               (double)(shells - 1) * dk);
    double m = 0, t = 0, e = 0, squares = 0;
    *out = (fx_band){.low = low, .high = high, .cutoff = NAN};
    for (int64_t j = 1; j <= last; j++) {
        FX_REQUIRE(truth[j] > 0, FX_EVALUE, "the truth has no energy at k = %g", (double)j * dk);
        const double decibel = 10 * log10(model[j] / truth[j]);
        squares += decibel * decibel;
        if (isnan(out->cutoff) && smoothed_ratio(model, truth, j, last) < 0.5)
            out->cutoff = (double)j * dk;
        if (j < first) continue;
        m += model[j];
        t += truth[j];
        e += error ? error[j] : 0;
    }
    out->energy = m / t;
    out->error = error ? e / t : NAN;
    out->decibel = sqrt(squares / (double)last);
    return FX_OK;
}

double fx_dissipation(double reynolds, double nyquist)
{
    return reynolds > 0 ? fmin(2 * sqrt(reynolds), nyquist) : nyquist;
}
