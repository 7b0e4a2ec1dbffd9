/* compare.c: intervals of ratios, noise of training seeds, and the verdict on a difference. */
#include "flexhpc/compare.h"

#include <math.h>

#include "bootstrap.h"
#include "flexhpc/mem.h"

enum { X, Y, WIDTH };

static void ratio_of_means(const void *context, const double *mean, double *out)
{
    (void)context;
    out[0] = mean[X] / mean[Y];
}

fx_status fx_bootstrap_ratio(const double *x, const double *y, const int64_t *block, int64_t count,
                             uint64_t seed, fx_interval *out)
{
    static const fx_question question = {.answer = ratio_of_means, .outs = 1};
    double *cell = NULL;
    int64_t blocks = 0;
    FX_TRY(FX_ALLOC(cell, WIDTH * count));
    for (int64_t i = 0; i < count; i++) {
        cell[WIDTH * i + X] = x[i];
        cell[WIDTH * i + Y] = y ? y[i] : 1;
    }
    const fx_columns table = {.cell = cell, .block = block, .count = count, .width = WIDTH};
    const fx_status status =
        fx_block_bootstrap(&table, seed, &question, &out->value, &out->low, &out->high, &blocks);
    fx_free(cell);
    return status;
}

double fx_student_quantile(int freedom)
{
    static const double table[] = {12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060,
                                   2.2622,  2.2281, 2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199,
                                   2.1098,  2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639,
                                   2.0595,  2.0555, 2.0518, 2.0484, 2.0452, 2.0423};
    enum { ROWS = sizeof table / sizeof *table };
    if (freedom < 1) return INFINITY;
    if (freedom <= ROWS) return table[freedom - 1];
    const double z = 1.959964, n = freedom; /* Cornish and Fisher's expansion */
    return z + (z * z * z + z) / (4 * n) +
           (5 * z * z * z * z * z + 16 * z * z * z + 3 * z) / (96 * n * n);
}

/* I_x(b, a), the regularised incomplete beta function, at halves of whole numbers: from (1/2 or 1, 1/2
 * or 1), where it is elementary, by its recurrences in b and in a. */
double fx_fisher_tail(double ratio, int above, int below)
{
    if (above < 1 || below < 1) return NAN;
    const double x = below / (below + above * ratio), y = 1 - x;
    double a = above % 2 ? 0.5 : 1, b = below % 2 ? 0.5 : 1, tail = x;
    if (b < 1 && a < 1)
        tail = asin(sqrt(x)) / asin(1);
    else if (b < 1)
        tail = sqrt(x);
    else if (a < 1)
        tail = 1 - sqrt(y);
    for (; 2 * b < below; b += 1)
        tail -= pow(x, b) * pow(y, a) * exp(lgamma(a + b) - lgamma(a) - lgamma(b + 1));
    for (; 2 * a < above; a += 1)
        tail += pow(x, b) * pow(y, a) * exp(lgamma(a + b) - lgamma(a + 1) - lgamma(b));
    return tail;
}

void fx_seed_noise_add(fx_seed_noise *noise, const double *means, int count)
{
    double mean = 0,
           square = noise->freedom > 0 ? noise->relative * noise->relative * noise->freedom : 0;
    for (int i = 0; i < count; i++)
        mean += means[i] / count;
    for (int i = 0; i < count; i++)
        square += (means[i] / mean - 1) * (means[i] / mean - 1);
    if (count > 1) noise->freedom += count - 1;
    noise->relative = noise->freedom > 0 ? sqrt(square / noise->freedom) : NAN;
}

double fx_seed_noise_half(const fx_seed_noise *noise, double mean, int seeds)
{
    if (noise->freedom < 1) return NAN;
    return fx_student_quantile(noise->freedom) * noise->relative * fabs(mean) / sqrt(seeds);
}

fx_verdict fx_judge(const fx_interval *samples, double half_a, double half_b, fx_interval *both)
{
    const bool known = !isnan(half_a) && !isnan(half_b);
    const double seeds = known ? hypot(half_a, half_b) : 0, value = samples->value;
    *both = (fx_interval){value, value - hypot(value - samples->low, seeds),
                          value + hypot(samples->high - value, seeds)};
    if (!(both->low > 0) && !(both->high < 0)) return FX_TIE;
    if (!known) return FX_UNKNOWN;
    return both->high < 0 ? FX_LOWER : FX_HIGHER;
}
