/* compare.c: block bootstrap of sums, noise of training seeds, and the verdict on a difference. */
#include "flexhpc/compare.h"

#include <math.h>
#include <stdlib.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"

enum { RESAMPLES = 2000 };
static const double TAIL = 0.025; /* on either side of the interval */

/* Sums over the samples of one block. */
typedef struct block_sum {
    int64_t block, place;
    double x, y;
} block_sum;

static int by_block_and_place(const void *left, const void *right)
{
    const block_sum *a = left, *b = right;
    if (a->block != b->block) return a->block < b->block ? -1 : 1;
    return (a->place > b->place) - (a->place < b->place);
}

/* One sum a block, the first ones of `sums`; the number of blocks. A block's samples are added in their
 * order. */
static int64_t add_blocks(block_sum *sums, int64_t count)
{
    int64_t blocks = 0;
    qsort(sums, (size_t)count, sizeof *sums, by_block_and_place);
    for (int64_t i = 0; i < count; i++) {
        if (blocks == 0 || sums[blocks - 1].block != sums[i].block) {
            sums[blocks++] = sums[i];
            continue;
        }
        sums[blocks - 1].x += sums[i].x;
        sums[blocks - 1].y += sums[i].y;
    }
    return blocks;
}

static double resample(const block_sum *sums, int64_t blocks, uint64_t seed, uint32_t r)
{
    const uint32_t stream = fx_crc32("bootstrap");
    double x = 0, y = 0;
    fx_philox random = {{0}};
    for (int64_t i = 0; i < blocks; i++) {
        if (i % 4 == 0)
            random = fx_philox4x32(seed, (const uint32_t[4]){(uint32_t)(i / 4), r, stream, 0});
        const block_sum *drawn = &sums[(uint64_t)random.word[i % 4] * (uint64_t)blocks >> 32];
        x += drawn->x;
        y += drawn->y;
    }
    return x / y;
}

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The quantile of sorted values, linear between them. */
static double quantile(const double *sorted, int count, double q)
{
    const double at = q * (count - 1);
    const int below = (int)at, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

fx_status fx_block_bootstrap(const double *x, const double *y, const int64_t *block, int64_t count,
                             uint64_t seed, fx_interval *out)
{
    fx_status status = FX_OK;
    block_sum *sums = NULL;
    double *values = NULL, sum_x = 0, sum_y = 0;
    *out = (fx_interval){NAN, NAN, NAN};
    FX_TRY_DONE(FX_ALLOC(sums, count));
    FX_TRY_DONE(FX_ALLOC(values, RESAMPLES));
    for (int64_t i = 0; i < count; i++) {
        sums[i] = (block_sum){block[i], i, x[i], y ? y[i] : 1};
        sum_x += sums[i].x;
        sum_y += sums[i].y;
    }
    out->value = sum_x / sum_y;
    const int64_t blocks = add_blocks(sums, count);
    if (blocks < 2) goto done;
    for (uint32_t r = 0; r < RESAMPLES; r++)
        values[r] = resample(sums, blocks, seed, r);
    qsort(values, RESAMPLES, sizeof *values, by_value);
    out->low = quantile(values, RESAMPLES, TAIL);
    out->high = quantile(values, RESAMPLES, 1 - TAIL);
done:
    fx_free(sums);
    fx_free(values);
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
