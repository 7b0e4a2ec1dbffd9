/* metrics.c: scores of single fields, their table over all ranks, and means with block-bootstrap
 * intervals. RFNE = |x - y| / |y|        ratio = mean RFNE / mean RFNE of the floor Bootstrap (Kuensch
 * 1989; percentile interval of Efron and Tibshirani 1993, chapter 13): whole blocks are drawn with
 * replacement, as many as there are; block draw i of resample r is Philox word i % 4 of counter {i / 4,
 * r, crc32("bootstrap"), 0}, the seed being the key. Sums run in the order of the table, in double. */
#include "flexhpc/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"

enum { RESAMPLES = 2000 };
static const double TAIL = 0.025; /* on either side of the interval */

const char *const fx_metric_names[FX_METRICS] = {[FX_METRIC_SQUARE] = "truth_square"};

static const char *const task_names[] = {[FX_SR] = "super-resolution", [FX_FC] = "forecast"};

static double norm_ratio(double error, double truth)
{
    return truth > 0 ? sqrt(error / truth) : NAN;
}

double fx_rfne(const float *estimate, const float *truth, int64_t count)
{
    double error = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        const double y = truth[i], e = estimate[i] - y;
        error += e * e;
        size += y * y;
    }
    return norm_ratio(error, size);
}

double fx_rfne_extrapolated(const float *before, const float *last, double lead, const float *truth,
                            int64_t count)
{
    double error = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        const double y = truth[i], x = last[i], e = x + lead * (x - before[i]) - y;
        error += e * e;
        size += y * y;
    }
    return norm_ratio(error, size);
}

double fx_mean_square(const float *field, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)field[i] * field[i];
    return sum / (double)count;
}

static double mean_of(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    return sum / (double)count;
}

double fx_correlation(const float *a, const float *b, int64_t count)
{
    const double ma = mean_of(a, count), mb = mean_of(b, count);
    double aa = 0, bb = 0, ab = 0;
    for (int64_t i = 0; i < count; i++) {
        const double x = a[i] - ma, y = b[i] - mb;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    return aa > 0 && bb > 0 ? ab / (sqrt(aa) * sqrt(bb)) : NAN;
}

fx_status fx_scores_add(fx_scores *scores, const fx_sample_score *sample)
{
    FX_REQUIRE(isfinite(sample->rfne) && isfinite(sample->floor[0]) && sample->floor[0] > 0, FX_EVALUE,
               "%s at Re %g, sample %lld: RFNE %g, floor %g", task_names[sample->task],
               sample->reynolds, (long long)sample->index, sample->rfne, sample->floor[0]);
    FX_TRY(
        fx_grow((void **)&scores->row, &scores->capacity, (size_t)scores->count, sizeof *scores->row));
    scores->row[scores->count++] = *sample;
    return FX_OK;
}

void fx_scores_free(fx_scores *scores)
{
    fx_free(scores->row);
    *scores = (fx_scores){0};
}

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

static int by_place(const void *left, const void *right)
{
    const fx_sample_score *a = left, *b = right;
    if (a->task != b->task) return a->task < b->task ? -1 : 1;
    if (a->reynolds < b->reynolds || a->reynolds > b->reynolds) return sign(a->reynolds - b->reynolds);
    return (a->index > b->index) - (a->index < b->index);
}

/* Every rank sends `most` rows, the last ones unused: a gather moves equal pieces. */
static fx_status gather(fx_scores *scores, fx_comm *comm, int64_t most)
{
    fx_status status = FX_OK;
    const size_t ranks = (size_t)comm->size, bytes = (size_t)most * sizeof *scores->row;
    fx_sample_score *mine = NULL, *all = NULL;
    int64_t *counts = NULL, total = 0;
    status = FX_ALLOC(mine, most);
    if (status == FX_OK) status = FX_ALLOC(all, (size_t)most * ranks);
    if (status == FX_OK) status = FX_ALLOC(counts, ranks);
    FX_TRY_DONE(fx_agree(comm, status));

    if (scores->count > 0) memcpy(mine, scores->row, (size_t)scores->count * sizeof *mine);
    FX_TRY_DONE(comm->ops->all_gather(comm, &scores->count, sizeof scores->count, counts));
    FX_TRY_DONE(comm->ops->all_gather(comm, mine, bytes, all));
    for (size_t r = 0; r < ranks; r++) {
        memmove(all + total, all + r * (size_t)most, (size_t)counts[r] * sizeof *all);
        total += counts[r];
    }
    fx_free(scores->row);
    *scores = (fx_scores){.row = all, .count = total, .capacity = (size_t)most * ranks};
    all = NULL;
done:
    fx_free(mine);
    fx_free(all);
    fx_free(counts);
    return status;
}

fx_status fx_scores_merge(fx_scores *scores, fx_comm *comm)
{
    int64_t most = scores->count;
    FX_TRY(fx_comm_max_i64(comm, &most));
    if (most == 0) return FX_OK;
    if (comm->size > 1) FX_TRY(gather(scores, comm, most));
    qsort(scores->row, (size_t)scores->count, sizeof *scores->row, by_place);
    for (int64_t i = 1; i < scores->count; i++) {
        const fx_sample_score *s = &scores->row[i];
        FX_REQUIRE(by_place(s - 1, s) < 0, FX_EARG, "%s at Re %g: sample %lld was scored twice",
                   task_names[s->task], s->reynolds, (long long)s->index);
    }
    return FX_OK;
}

/* Sums over the samples of one block. */
typedef struct block_sum {
    int64_t block;
    double rfne, floor, count;
} block_sum;

static int by_block_and_place(const void *left, const void *right)
{
    const block_sum *a = left, *b = right;
    if (a->block != b->block) return a->block < b->block ? -1 : 1;
    return sign(a->count - b->count);
}

/* One sum a block, the first ones of `sums`, in order of the block; the number of blocks. Until the
 * rows are sorted `count` is the sample's place, so that a block's samples are added in the order of
 * the table. */
static int64_t add_blocks(block_sum *sums, const fx_sample_score *row, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sums[i] = (block_sum){row[i].block, row[i].rfne, row[i].floor[0], (double)i};
    qsort(sums, (size_t)count, sizeof *sums, by_block_and_place);
    int64_t blocks = 0;
    for (int64_t i = 0; i < count; i++) {
        if (blocks == 0 || sums[blocks - 1].block != sums[i].block) {
            sums[blocks] = sums[i];
            sums[blocks++].count = 1;
            continue;
        }
        sums[blocks - 1].rfne += sums[i].rfne;
        sums[blocks - 1].floor += sums[i].floor;
        sums[blocks - 1].count += 1;
    }
    return blocks;
}

static int by_value(const void *left, const void *right)
{
    return sign(*(const double *)left - *(const double *)right);
}

/* The quantile of sorted values, linear between them. */
static double quantile(const double *sorted, int count, double q)
{
    const double at = q * (count - 1);
    const int below = (int)at, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

static void bootstrap(const block_sum *sums, int64_t blocks, uint64_t seed, double *rfne, double *ratio,
                      fx_score *out)
{
    const uint32_t stream = fx_crc32("bootstrap");
    for (int r = 0; r < RESAMPLES; r++) {
        double error = 0, floor = 0, count = 0;
        fx_philox random = {{0}};
        for (int64_t i = 0; i < blocks; i++) {
            if (i % 4 == 0)
                random =
                    fx_philox4x32(seed, (const uint32_t[4]){(uint32_t)(i / 4), (uint32_t)r, stream, 0});
            const block_sum *drawn = &sums[(uint64_t)random.word[i % 4] * (uint64_t)blocks >> 32];
            error += drawn->rfne;
            floor += drawn->floor;
            count += drawn->count;
        }
        rfne[r] = error / count;
        ratio[r] = error / floor;
    }
    qsort(rfne, RESAMPLES, sizeof *rfne, by_value);
    qsort(ratio, RESAMPLES, sizeof *ratio, by_value);
    out->rfne_low = quantile(rfne, RESAMPLES, TAIL);
    out->rfne_high = quantile(rfne, RESAMPLES, 1 - TAIL);
    out->ratio_low = quantile(ratio, RESAMPLES, TAIL);
    out->ratio_high = quantile(ratio, RESAMPLES, 1 - TAIL);
}

static void take_means(const fx_sample_score *row, int64_t count, fx_score *out)
{
    double square = 0, correlation = 0, correlated = 0;
    *out = (fx_score){.task = row->task, .reynolds = row->reynolds, .count = count};
    for (int64_t i = 0; i < count; i++) {
        out->rfne += row[i].rfne / (double)count;
        out->loss += row[i].loss / (double)count;
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
}

static fx_status summarise(const fx_sample_score *row, int64_t count, uint64_t seed, fx_score *out)
{
    fx_status status = FX_OK;
    block_sum *sums = NULL;
    double *resampled = NULL;
    FX_TRY_DONE(FX_ALLOC(sums, count));
    FX_TRY_DONE(FX_ALLOC(resampled, 2 * RESAMPLES));
    take_means(row, count, out);
    out->blocks = add_blocks(sums, row, count);
    out->rfne_low = out->rfne_high = out->ratio_low = out->ratio_high = NAN;
    if (out->blocks > 1) bootstrap(sums, out->blocks, seed, resampled, resampled + RESAMPLES, out);
done:
    fx_free(sums);
    fx_free(resampled);
    return status;
}

fx_status fx_scores_summarise(const fx_scores *scores, uint64_t seed, fx_score *out, int capacity,
                              int *count)
{
    *count = 0;
    for (int64_t first = 0, next; first < scores->count; first = next) {
        const fx_sample_score *row = &scores->row[first];
        for (next = first; next < scores->count; next++)
            if (scores->row[next].task != row->task ||
                sign(scores->row[next].reynolds - row->reynolds) != 0)
                break;
        FX_REQUIRE(*count < capacity, FX_EARG, "more than %d tasks and Reynolds numbers to summarise",
                   capacity);
        FX_TRY(summarise(row, next - first, seed, &out[(*count)++]));
    }
    return FX_OK;
}
