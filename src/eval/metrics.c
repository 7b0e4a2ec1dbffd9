/* metrics.c: scores of single fields, and the table of samples over all ranks.
 *   RFNE = |x - y| / |y| */
#include "flexhpc/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"

const char *const fx_metric_names[FX_METRICS] = {
    [FX_METRIC_SQUARE] = "truth_square",
    [FX_METRIC_CLIMATOLOGY] = "climatology",
    [FX_METRIC_PSNR] = "psnr",
    [FX_METRIC_SSIM] = "ssim",
    [FX_METRIC_RESIDUAL] = "residual_square",
    [FX_METRIC_LOWRES] = "lowres_rfne",
    [FX_METRIC_SECOND] = "second_moment",
    [FX_METRIC_FOURTH] = "fourth_moment",
    [FX_METRIC_TRUTH_SECOND] = "truth_second_moment",
    [FX_METRIC_TRUTH_FOURTH] = "truth_fourth_moment",
    [FX_METRIC_DECIBEL] = "spectrum_decibel",
    [FX_METRIC_NATURAL] = "natural_decibel",
    [FX_METRIC_MEAN_RFNE] = "mean_rfne",
    [FX_METRIC_CRPS] = "crps",
    [FX_METRIC_MEAN_ERROR] = "mean_error",
    [FX_METRIC_SPREAD] = "spread",
    [FX_METRIC_DEVIATION] = "deviation",
    [FX_METRIC_PULL] = "pull",
    [FX_METRIC_PULL_SQUARE] = "pull_square",
};

const char *const fx_task_names[2] = {[FX_SR] = "sr", [FX_FC] = "fc"};
const char *const fx_task_titles[2] = {[FX_SR] = "super-resolution", [FX_FC] = "forecast"};

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

int64_t fx_details_spectrum(const fx_details *p, int s)
{
    return s * p->shells;
}

int64_t fx_details_pdf(const fx_details *p, int d)
{
    return fx_details_spectrum(p, FX_SPECTRA) + d * (p->values ? FX_PDF_BINS : 0);
}

int64_t fx_details_ranks(const fx_details *p)
{
    return fx_details_pdf(p, 2);
}

int64_t fx_details_lead(const fx_details *p, int l)
{
    return fx_details_ranks(p) + (p->members > 1 ? p->members + 1 : 0) + l * FX_LEAD_SCORES;
}

int64_t fx_details_length(const fx_details *p)
{
    return fx_details_lead(p, p->leads > 1 ? p->leads : 0);
}

double *fx_scores_details(const fx_scores *scores, const fx_sample_score *row)
{
    return scores->numbers + row->place * fx_details_length(&scores->details);
}

/* fx_grow has room for one element at a time: the details of a sample. New ones are zero. */
static fx_status grow_details(fx_scores *scores)
{
    const size_t bytes = sizeof(double) * (size_t)fx_details_length(&scores->details);
    if (bytes == 0) return FX_OK;
    return fx_grow((void **)&scores->numbers, &scores->details_capacity, (size_t)scores->count, bytes);
}

fx_status fx_scores_add(fx_scores *scores, const fx_sample_score *sample)
{
    FX_REQUIRE(isfinite(sample->rfne) && isfinite(sample->floor[0]) && sample->floor[0] > 0, FX_EVALUE,
               "%s at Re %g, sample %lld: RFNE %g, floor %g", fx_task_titles[sample->task],
               sample->reynolds, (long long)sample->index, sample->rfne, sample->floor[0]);
    FX_TRY(
        fx_grow((void **)&scores->row, &scores->capacity, (size_t)scores->count, sizeof *scores->row));
    FX_TRY(grow_details(scores));
    scores->row[scores->count] = *sample;
    scores->row[scores->count].place = scores->count;
    scores->count++;
    return FX_OK;
}

void fx_scores_free(fx_scores *scores)
{
    const fx_details details = scores->details;
    fx_free(scores->row);
    fx_free(scores->numbers);
    *scores = (fx_scores){.details = details};
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

/* Pieces of `bytes` of every rank, one after the other: a gather moves equal ones, of `most`, of which
 * rank r fills counts[r]. *data, of `count`, is replaced. */
static fx_status gather(fx_comm *comm, void **data, size_t bytes, int64_t most, const int64_t *counts)
{
    fx_status status = FX_OK;
    const size_t ranks = (size_t)comm->size, piece = (size_t)most * bytes;
    char *mine = NULL, *all = NULL;
    size_t total = 0;
    status = FX_ALLOC(mine, piece);
    if (status == FX_OK) status = FX_ALLOC(all, piece * ranks);
    FX_TRY_DONE(fx_agree(comm, status));
    if (counts[comm->rank] > 0) memcpy(mine, *data, (size_t)counts[comm->rank] * bytes);
    FX_TRY_DONE(comm->ops->all_gather(comm, mine, piece, all));
    for (size_t r = 0; r < ranks; r++) {
        memmove(all + total, all + r * piece, (size_t)counts[r] * bytes);
        total += (size_t)counts[r] * bytes;
    }
    fx_free(*data);
    *data = all;
    all = NULL;
done:
    fx_free(mine);
    fx_free(all);
    return status;
}

static fx_status gather_all(fx_scores *scores, fx_comm *comm, int64_t most)
{
    fx_status status = FX_OK;
    const int64_t length = fx_details_length(&scores->details);
    int64_t *counts = NULL, total = 0;
    FX_TRY(fx_agree(comm, FX_ALLOC(counts, comm->size)));
    FX_TRY_DONE(comm->ops->all_gather(comm, &scores->count, sizeof scores->count, counts));
    FX_TRY_DONE(gather(comm, (void **)&scores->row, sizeof *scores->row, most, counts));
    if (length > 0)
        FX_TRY_DONE(
            gather(comm, (void **)&scores->numbers, sizeof(double) * (size_t)length, most, counts));
    for (int r = 0; r < comm->size; total += counts[r++])
        for (int64_t i = total; i < total + counts[r]; i++)
            scores->row[i].place = i;
    scores->count = total;
    scores->capacity = scores->details_capacity = (size_t)most * (size_t)comm->size;
done:
    fx_free(counts);
    return status;
}

fx_status fx_scores_merge(fx_scores *scores, fx_comm *comm)
{
    int64_t most = scores->count;
    FX_TRY(fx_comm_max_i64(comm, &most));
    if (most == 0) return FX_OK;
    if (comm->size > 1) FX_TRY(gather_all(scores, comm, most));
    qsort(scores->row, (size_t)scores->count, sizeof *scores->row, by_place);
    for (int64_t i = 1; i < scores->count; i++) {
        const fx_sample_score *s = &scores->row[i];
        FX_REQUIRE(by_place(s - 1, s) < 0, FX_EARG, "%s at Re %g: sample %lld was scored twice",
                   fx_task_titles[s->task], s->reynolds, (long long)s->index);
    }
    return FX_OK;
}
