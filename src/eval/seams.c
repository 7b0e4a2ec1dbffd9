/* seams.c: jumps across the borders of tiles, and the comb that they leave in spectra; signatures.h. */
#include <fftw3.h>
#include <math.h>

#include "flexhpc/mem.h"
#include "flexhpc/signatures.h"

/* Pixel `at` of line `line`: along rows, or along columns. */
static double pixel(const float *field, int64_t n, bool columns, int64_t line, int64_t at)
{
    return columns ? field[at * n + line] : field[line * n + at];
}

/* Mean |difference| between place `at` and the one before, over all lines. */
static double jump_before(const float *field, int64_t n, bool columns, int64_t at)
{
    const int64_t before = at > 0 ? at - 1 : n - 1;
    double sum = 0;
    for (int64_t line = 0; line < n; line++)
        sum += fabs(pixel(field, n, columns, line, at) - pixel(field, n, columns, line, before));
    return sum / (double)n;
}

static void measure_jumps(const float *field, int64_t n, int64_t pitch, bool periodic, fx_seams *out)
{
    double inside = 0, insides = 0, border = 0, square = 0, borders = 0;
    for (int columns = 0; columns < 2; columns++)
        for (int64_t at = periodic ? 0 : 1; at < n; at++) {
            const double jump = jump_before(field, n, columns, at);
            if (at % pitch == 0) {
                border += jump;
                square += jump * jump;
                borders += 1;
            } else {
                inside += jump;
                insides += 1;
            }
        }
    const double mean = border / borders, elsewhere = inside / insides;
    const double variance = (square / borders - mean * mean) * borders / (borders - 1);
    out->jump = mean / elsewhere;
    out->error = sqrt(fmax(variance, 0) / borders) / elsewhere;
}

/* Adds |DFT|^2 of every line to energy[0 .. n/2]. */
static fx_status add_lines(const float *field, int64_t n, bool columns, double *energy)
{
    fx_status status = FX_OK;
    double *line = NULL;
    fftw_complex *half = NULL;
    fftw_plan plan = NULL;
    FX_TRY_DONE(FX_ALLOC(line, n));
    FX_TRY_DONE(FX_ALLOC(half, n / 2 + 1));
    plan = fftw_plan_dft_r2c_1d((int)n, line, half, FFTW_ESTIMATE);
    FX_REQUIRE_DONE(plan, FX_ENOMEM, "seams: FFTW has no plan for %lld", (long long)n);
    for (int64_t l = 0; l < n; l++) {
        for (int64_t i = 0; i < n; i++)
            line[i] = pixel(field, n, columns, l, i);
        fftw_execute(plan);
        for (int64_t k = 0; k <= n / 2; k++)
            energy[k] += half[k][0] * half[k][0] + half[k][1] * half[k][1];
    }
done:
    if (plan) fftw_destroy_plan(plan);
    fx_free(line);
    fx_free(half);
    return status;
}

fx_status fx_seams_measure(const float *field, int64_t n, int64_t pitch, bool periodic, fx_seams *out)
{
    FX_REQUIRE(pitch > 1 && n % pitch == 0 && n / pitch >= 2, FX_EARG,
               "seams: tiles of %lld pixels in a field of %lld", (long long)pitch, (long long)n);
    const int64_t tiles = n / pitch;
    double *energy = NULL, sum = 0, count = 0;
    measure_jumps(field, n, pitch, periodic, out);
    out->comb = NAN;
    if (tiles < 3) return FX_OK;
    FX_TRY(FX_ALLOC(energy, 2 * (n / 2 + 1)));
    for (int columns = 0; columns < 2; columns++) {
        double *e = energy + columns * (n / 2 + 1);
        const fx_status status = add_lines(field, n, columns, e);
        if (status != FX_OK) {
            fx_free(energy);
            return status;
        }
        for (int64_t k = tiles; k < n / 2; k += tiles) {
            sum += log(2 * e[k] / (e[k - 1] + e[k + 1]));
            count += 1;
        }
    }
    out->comb = exp(sum / count);
    fx_free(energy);
    return FX_OK;
}
