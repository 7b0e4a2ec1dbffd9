/* images.c: scores of a field as a picture, and how its values are distributed; formulas in eval.h. */
#include "flexhpc/eval.h"

#include <math.h>
#include <string.h>

#include "flexhpc/mem.h"

enum { TAPS = 11, MOMENTS = 5 };
static const double SIGMA = 1.5, K1 = 0.01, K2 = 0.03;

double fx_psnr(const float *estimate, const float *truth, int64_t count, double range)
{
    double error = 0;
    for (int64_t i = 0; i < count; i++) {
        const double e = (double)estimate[i] - truth[i];
        error += e * e;
    }
    return range > 0 ? 10 * log10(range * range * (double)count / error) : NAN;
}

static void gaussian(double *tap)
{
    double sum = 0;
    for (int i = 0; i < TAPS; i++)
        sum += tap[i] = exp(-0.5 * (i - TAPS / 2) * (i - TAPS / 2) / (SIGMA * SIGMA));
    for (int i = 0; i < TAPS; i++)
        tap[i] /= sum;
}

/* Weighted sums of a, b, aa, bb, ab over the 11 pixels of a row from (y, x) on. */
static void filter_row(const double *tap, const float *a, const float *b, double *out)
{
    memset(out, 0, MOMENTS * sizeof *out);
    for (int i = 0; i < TAPS; i++) {
        const double u = a[i], v = b[i], moment[MOMENTS] = {u, v, u * u, v * v, u * v};
        for (int m = 0; m < MOMENTS; m++)
            out[m] += tap[i] * moment[m];
    }
}

fx_status fx_ssim(const float *a, const float *b, int64_t n, double range, double *out)
{
    const int64_t inner = n - TAPS + 1;
    const double c1 = K1 * range * K1 * range, c2 = K2 * range * K2 * range;
    double tap[TAPS], *rows = NULL, sum = 0;
    *out = NAN;
    if (inner < 1 || !(range > 0)) return FX_OK;
    gaussian(tap);
    FX_TRY(FX_ALLOC(rows, n * inner * MOMENTS));
    for (int64_t y = 0; y < n; y++)
        for (int64_t x = 0; x < inner; x++)
            filter_row(tap, a + y * n + x, b + y * n + x, rows + (y * inner + x) * MOMENTS);
    for (int64_t y = 0; y < inner; y++)
        for (int64_t x = 0; x < inner; x++) {
            double w[MOMENTS] = {0};
            for (int i = 0; i < TAPS; i++)
                for (int m = 0; m < MOMENTS; m++)
                    w[m] += tap[i] * rows[((y + i) * inner + x) * MOMENTS + m];
            const double aa = w[2] - w[0] * w[0], bb = w[3] - w[1] * w[1], ab = w[4] - w[0] * w[1];
            sum += (2 * w[0] * w[1] + c1) * (2 * ab + c2) /
                   ((w[0] * w[0] + w[1] * w[1] + c1) * (aa + bb + c2));
        }
    *out = sum / (double)(inner * inner);
    fx_free(rows);
    return FX_OK;
}

void fx_moments(const float *field, int64_t count, double centre, double *second, double *fourth)
{
    double two = 0, four = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d = field[i] - centre;
        two += d * d;
        four += d * d * d * d;
    }
    *second = two / (double)count;
    *fourth = four / (double)count;
}

void fx_pdf_add(const float *field, int64_t count, double least, double largest, double weight,
                double *bins)
{
    const double scale = FX_PDF_BINS / (largest - least);
    for (int64_t i = 0; i < count; i++) {
        const double at = floor((field[i] - least) * scale);
        bins[at < 0 ? 0 : at >= FX_PDF_BINS ? FX_PDF_BINS - 1 : (int)at] += weight / (double)count;
    }
}

double fx_pdf_distance(const double *p, const double *q, double least, double largest)
{
    double above = 0, sum = 0;
    for (int j = 0; j < FX_PDF_BINS; j++) {
        const double before = above;
        above += p[j] - q[j];
        /* the difference of the two cumulative functions is linear within a bin */
        if (before * above >= 0)
            sum += 0.5 * (fabs(before) + fabs(above));
        else
            sum += 0.5 * (before * before + above * above) / (fabs(before) + fabs(above));
    }
    return sum * (largest - least) / FX_PDF_BINS;
}
