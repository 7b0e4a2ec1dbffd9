/* bootstrap.c: block bootstrap (Kuensch 1989; percentile interval of Efron and Tibshirani 1993, chapter
 * 13): whole blocks are drawn with replacement, as many as there are; block draw i of resample r is
 * Philox word i % 4 of counter {i / 4, r, crc32("bootstrap"), 0}, the seed being the key. Sums run in
 * the order of the rows, in double. */
#include "bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"

enum { RESAMPLES = 2000 };
static const double TAIL = 0.025; /* on either side of the interval */

/* A row's block and its place. */
typedef struct place {
    int64_t block, row;
} place;

static int by_block_and_row(const void *left, const void *right)
{
    const place *a = left, *b = right;
    if (a->block != b->block) return a->block < b->block ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

int fx_by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double fx_quantile(const double *sorted, int64_t count, double q)
{
    const double at = q * (double)(count - 1);
    const int64_t below = (int64_t)at, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

/* Sums and numbers of a set of rows, a column each: (2, width). */
static void add_row(double *sums, const double *cell, int64_t width)
{
    for (int64_t c = 0; c < width; c++) {
        if (isnan(cell[c])) continue;
        sums[c] += cell[c];
        sums[width + c] += 1;
    }
}

static void take_means(const double *sums, int64_t width, double *mean)
{
    for (int64_t c = 0; c < width; c++)
        mean[c] = sums[width + c] > 0 ? sums[c] / sums[width + c] : NAN;
}

/* One set of sums a block, in order of the blocks; how many. */
static fx_status add_blocks(const fx_columns *t, double *sums, int64_t *blocks)
{
    place *at = NULL;
    FX_TRY(FX_ALLOC(at, t->count));
    for (int64_t i = 0; i < t->count; i++)
        at[i] = (place){t->block[i], i};
    qsort(at, (size_t)t->count, sizeof *at, by_block_and_row);
    *blocks = 0;
    for (int64_t i = 0; i < t->count; i++) {
        if (i == 0 || at[i].block != at[i - 1].block) ++*blocks;
        add_row(sums + 2 * t->width * (*blocks - 1), t->cell + at[i].row * t->width, t->width);
    }
    fx_free(at);
    return FX_OK;
}

static void draw(const double *sums, int64_t blocks, int64_t width, uint64_t seed, int r, double *total)
{
    const uint32_t stream = fx_crc32("bootstrap");
    fx_philox random = {{0}};
    memset(total, 0, 2 * (size_t)width * sizeof *total);
    for (int64_t i = 0; i < blocks; i++) {
        if (i % 4 == 0)
            random =
                fx_philox4x32(seed, (const uint32_t[4]){(uint32_t)(i / 4), (uint32_t)r, stream, 0});
        const double *drawn =
            sums + 2 * width * (int64_t)((uint64_t)random.word[i % 4] * (uint64_t)blocks >> 32);
        for (int64_t c = 0; c < 2 * width; c++)
            total[c] += drawn[c];
    }
}

static void take_interval(double *x, double *low, double *high)
{
    *low = *high = NAN;
    for (int r = 0; r < RESAMPLES; r++)
        if (isnan(x[r])) return;
    qsort(x, RESAMPLES, sizeof *x, fx_by_value);
    *low = fx_quantile(x, RESAMPLES, TAIL);
    *high = fx_quantile(x, RESAMPLES, 1 - TAIL);
}

fx_status fx_block_bootstrap(const fx_columns *t, uint64_t seed, const fx_question *question,
                             double *value, double *low, double *high, int64_t *blocks)
{
    fx_status status = FX_OK;
    double *sums = NULL, *total = NULL, *mean = NULL, *drawn = NULL, out[FX_BOOTSTRAP_MOST];
    FX_TRY_DONE(FX_ALLOC(sums, 2 * t->width * t->count));
    FX_TRY_DONE(FX_ALLOC(total, 2 * t->width));
    FX_TRY_DONE(FX_ALLOC(mean, t->width));
    FX_TRY_DONE(FX_ALLOC(drawn, question->outs * RESAMPLES));
    for (int64_t i = 0; i < t->count; i++)
        add_row(total, t->cell + i * t->width, t->width);
    take_means(total, t->width, mean);
    question->answer(question->context, mean, value);
    FX_TRY_DONE(add_blocks(t, sums, blocks));
    for (int k = 0; k < question->outs; k++)
        low[k] = high[k] = NAN;
    if (*blocks < 2) goto done;
    for (int r = 0; r < RESAMPLES; r++) {
        draw(sums, *blocks, t->width, seed, r, total);
        take_means(total, t->width, mean);
        question->answer(question->context, mean, out);
        for (int k = 0; k < question->outs; k++)
            drawn[k * RESAMPLES + r] = out[k];
    }
    for (int k = 0; k < question->outs; k++)
        take_interval(drawn + k * RESAMPLES, &low[k], &high[k]);
done:
    fx_free(sums);
    fx_free(total);
    fx_free(mean);
    fx_free(drawn);
    return status;
}
