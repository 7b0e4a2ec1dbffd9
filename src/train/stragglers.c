/* stragglers.c: means of the ranks' own times against their median. */
#include "stragglers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/json.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

enum { LEFT_OUT = 2 }; /* steps: a CUDA graph is captured in the second */
enum { HOST_MAX = 64, RANKS_MAX = 1 << 20, FILE_MAX = 1 << 28 };

typedef struct rank_times {
    char host[HOST_MAX];
    double recent, all, worst; /* seconds: since a rank was last looked for; of all steps; of one */
    int64_t slowest;           /* steps in which it was */
} rank_times;

struct fx_stragglers {
    int ranks;
    double threshold;
    int64_t seen, steps; /* steps: of those that rank_times has added up */
    rank_times *of;
    double *sorted;
};

fx_status fx_stragglers_open(fx_comm *comm, double threshold, fx_stragglers **out)
{
    fx_stragglers *s = NULL;
    char mine[HOST_MAX] = "", *hosts = NULL;
    *out = NULL;
    fx_status status = FX_ALLOC(s, 1);
    if (status == FX_OK) {
        *out = s;
        *s = (fx_stragglers){.ranks = comm->size, .threshold = threshold};
        status = FX_ALLOC(s->of, comm->size);
    }
    if (status == FX_OK) status = FX_ALLOC(s->sorted, comm->size);
    if (status == FX_OK) status = FX_ALLOC(hosts, (int64_t)comm->size * HOST_MAX);
    status = fx_agree(comm, status);
    snprintf(mine, sizeof mine, "%s", fx_host());
    if (status == FX_OK) status = comm->ops->all_gather(comm, mine, sizeof mine, hosts);
    for (int r = 0; status == FX_OK && r < comm->size; r++)
        memcpy(s->of[r].host, hosts + (size_t)r * HOST_MAX, HOST_MAX);
    fx_free(hosts);
    return status;
}

void fx_stragglers_free(fx_stragglers **stragglers)
{
    fx_stragglers *s = *stragglers;
    *stragglers = NULL;
    if (!s) return;
    fx_free(s->of);
    fx_free(s->sorted);
    fx_free(s);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of s->sorted, which it sorts. With two ranks the mean of both would hide half of the difference. */
static double lower_median(const fx_stragglers *s)
{
    qsort(s->sorted, (size_t)s->ranks, sizeof *s->sorted, ascending);
    return s->sorted[(s->ranks - 1) / 2];
}

fx_own_times fx_stragglers_add(fx_stragglers *s, const double *own)
{
    fx_own_times t = {.slowest = 0};
    for (int r = 0; r < s->ranks; r++) {
        s->sorted[r] = own[r];
        if (own[r] > own[t.slowest]) t.slowest = r;
    }
    t.most = own[t.slowest];
    t.median = lower_median(s);
    if (s->seen++ < LEFT_OUT) return t;
    s->steps++;
    s->of[t.slowest].slowest++;
    for (int r = 0; r < s->ranks; r++) {
        s->of[r].recent += own[r];
        s->of[r].all += own[r];
        if (own[r] > s->of[r].worst) s->of[r].worst = own[r];
    }
    return t;
}

/* The rank with the largest sum when that is above the threshold, else -1. */
static int straggler_of(const fx_stragglers *s, bool recent, double *median)
{
    int slowest = 0;
    double most = 0;
    for (int r = 0; r < s->ranks; r++) {
        s->sorted[r] = recent ? s->of[r].recent : s->of[r].all;
        if (s->sorted[r] > most) most = s->sorted[r], slowest = r;
    }
    *median = lower_median(s);
    return s->threshold > 0 && most > s->threshold * *median ? slowest : -1;
}

void fx_stragglers_name(fx_stragglers *s, char *text, size_t size)
{
    double median = 0;
    const int r = straggler_of(s, true, &median);
    text[0] = '\0';
    if (r >= 0)
        snprintf(text, size, "rank %d on %s takes %.2f x the median", r, s->of[r].host,
                 s->of[r].recent / median);
    for (int i = 0; i < s->ranks; i++)
        s->of[i].recent = 0;
}

void fx_stragglers_summary(const fx_stragglers *s, char *text, size_t size)
{
    double median = 0;
    const int r = straggler_of(s, false, &median);
    const double steps = (double)s->steps;
    text[0] = '\0';
    if (r < 0) return;
    snprintf(text, size,
             "rank %d on %s took %.4f s of its own a step, %.2f x the median of %d ranks (%.4f s), and "
             "was the slowest in %.0f %% of the steps",
             r, s->of[r].host, s->of[r].all / steps, s->of[r].all / median, s->ranks, median / steps,
             100 * (double)s->of[r].slowest / steps);
}

fx_status fx_stragglers_write(const fx_stragglers *s, const char *path)
{
    const double steps = s->steps > 0 ? (double)s->steps : 1;
    double median = 0;
    int bad = 0;
    straggler_of(s, false, &median);
    json_t *rows = json_array();
    for (int r = 0; r < s->ranks; r++)
        bad |= json_array_append_new(rows, json_pack("{s:i, s:s, s:f, s:f, s:f}", "rank", r, "host",
                                                     s->of[r].host, "mean_s", s->of[r].all / steps,
                                                     "worst_s", s->of[r].worst, "slowest",
                                                     (double)s->of[r].slowest / steps));
    json_t *root = json_pack("{s:i, s:I, s:f, s:O}", "schema", 1, "steps", (json_int_t)s->steps,
                             "median_s", median / steps, "ranks", rows);
    const fx_status status =
        bad ? fx_fail(FX_ENOMEM, "%s: no memory for the ranks", path) : fx_json_write(path, root);
    json_decref(rows);
    json_decref(root);
    return status;
}

static fx_status read_rank(const fx_json *rows, int i, fx_pool *pool, fx_report_rank *out)
{
    fx_json row;
    int64_t rank = 0;
    char host[HOST_MAX];
    FX_TRY(fx_json_entry(rows, i, &row));
    FX_TRY(fx_json_int(&row, "rank", 0, RANKS_MAX, &rank));
    FX_TRY(fx_json_text(&row, "host", host, sizeof host));
    FX_TRY(fx_json_real(&row, "mean_s", 0, INFINITY, &out->mean));
    FX_TRY(fx_json_real(&row, "worst_s", 0, INFINITY, &out->worst));
    FX_TRY(fx_json_real(&row, "slowest", 0, 1, &out->slowest));
    out->rank = (int)rank;
    out->host = fx_pool_print(pool, "%s", host);
    return out->host ? FX_OK : FX_ENOMEM;
}

static int slowest_first(const void *a, const void *b)
{
    const fx_report_rank *x = a, *y = b;
    return x->mean != y->mean ? (x->mean < y->mean) - (x->mean > y->mean) : x->rank - y->rank;
}

fx_status fx_stragglers_read(const char *path, fx_pool *pool, fx_report *out)
{
    fx_json root, rows;
    fx_report_rank *rank = NULL;
    int count = 0;
    if (!fx_file_exists(path)) return FX_OK;
    FX_TRY(fx_json_load(path, FILE_MAX, &root));
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_json_int(&root, "steps", 0, INT64_MAX, &out->rank_steps));
    FX_TRY_DONE(fx_json_real(&root, "median_s", 0, INFINITY, &out->rank_median));
    FX_TRY_DONE(fx_json_array(&root, "ranks", 1, RANKS_MAX, &rows, &count));
    if (!(rank = fx_pool_calloc(pool, (size_t)count, sizeof *rank))) status = FX_ENOMEM;
    for (int i = 0; status == FX_OK && i < count; i++)
        status = read_rank(&rows, i, pool, &rank[i]);
    if (status != FX_OK) goto done;
    qsort(rank, (size_t)count, sizeof *rank, slowest_first);
    out->rank = rank;
    out->ranks = out->rank_steps > 0 ? count : 0;
done:
    fx_json_free(&root);
    return status;
}
