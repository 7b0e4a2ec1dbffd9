/* scaling_curve.c: the points of several jobs, one curve: efficiency against the job with the fewest
 * ranks, weak: T(n0) / T(n);   strong: n0 T(n0) / (n T(n)), with T the mean of the repeats' means, and
 * the two standard deviations added in quadrature. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/bench.h"
#include "flexhpc/mem.h"
#include "flexhpc/report.h"

enum { JOBS_MAX = 64, FILE_MAX = 1 << 20, RANKS_MAX = 1 << 24, MODES = 2 };
static const char *const mode_names[MODES] = {"weak", "strong"};

const char *const fx_scaling_curve_columns[] = {
    "mode", "ranks",         "nodes",      "global_batch",  "mean_s",
    "sd_s", "samples_per_s", "efficiency", "efficiency_sd", NULL};

typedef struct point {
    int64_t ranks, nodes, batch, global;
    double mean, sd, efficiency, efficiency_sd;
} point;

typedef struct curves {
    int jobs;
    int64_t image, parameters;
    point of[MODES][JOBS_MAX];
} curves;

static fx_status read_row(const fx_json *row, int mode, point *p)
{
    char name[16];
    FX_TRY(fx_json_text(row, "mode", name, sizeof name));
    FX_REQUIRE(strcmp(name, mode_names[mode]) == 0, FX_EVALUE, "%s: %s: %s, not %s", row->file,
               row->place, name, mode_names[mode]);
    FX_TRY(fx_json_int(row, "ranks", 1, RANKS_MAX, &p->ranks));
    FX_TRY(fx_json_int(row, "nodes", 1, RANKS_MAX, &p->nodes));
    FX_TRY(fx_json_int(row, "batch", 1, INT32_MAX, &p->batch));
    FX_TRY(fx_json_int(row, "global_batch", 1, INT64_MAX, &p->global));
    FX_TRY(fx_json_real(row, "mean_s", 1e-9, 1e9, &p->mean));
    return fx_json_real(row, "sd_s", 0, 1e9, &p->sd);
}

static fx_status read_job(const fx_json *root, curves *c)
{
    char kind[16];
    fx_json rows, row;
    int count;
    int64_t image, parameters;
    FX_TRY(fx_json_text(root, "kind", kind, sizeof kind));
    FX_REQUIRE(strcmp(kind, "scaling") == 0, FX_EVALUE, "%s: holds %s, not a result of bench scaling",
               root->file, kind);
    FX_TRY(fx_json_int(root, "image", 1, INT32_MAX, &image));
    FX_REQUIRE(c->jobs == 0 || image == c->image, FX_EVALUE,
               "%s: images of %lld pixels, the files before it have %lld", root->file, (long long)image,
               (long long)c->image);
    FX_TRY(fx_json_int(root, "parameters", 1, INT64_MAX, &parameters));
    FX_REQUIRE(c->jobs == 0 || parameters == c->parameters, FX_EVALUE,
               "%s: a model of %lld parameters, the files before it have %lld", root->file,
               (long long)parameters, (long long)c->parameters);
    c->image = image;
    c->parameters = parameters;
    FX_TRY(fx_json_array(root, "rows", MODES, MODES, &rows, &count));
    for (int m = 0; m < MODES; m++) {
        FX_TRY(fx_json_entry(&rows, m, &row));
        FX_TRY(read_row(&row, m, &c->of[m][c->jobs]));
    }
    c->jobs++;
    return FX_OK;
}

static int fewer_ranks(const void *a, const void *b)
{
    const point *x = a, *y = b;
    return (x->ranks > y->ranks) - (x->ranks < y->ranks);
}

static fx_status compare(curves *c)
{
    for (int m = 0; m < MODES; m++) {
        point *const p = c->of[m];
        qsort(p, (size_t)c->jobs, sizeof *p, fewer_ranks);
        for (int i = 0; i < c->jobs; i++) {
            FX_REQUIRE(i == 0 || p[i].ranks != p[i - 1].ranks, FX_EVALUE, "two files of %lld ranks",
                       (long long)p[i].ranks);
            const bool same = m == 0 ? p[i].batch == p[0].batch : p[i].global == p[0].global;
            FX_REQUIRE(same, FX_EVALUE,
                       "%s scaling from %lld to %lld ranks: not of the same batch (%lld and %lld)",
                       mode_names[m], (long long)p[0].ranks, (long long)p[i].ranks,
                       (long long)(m == 0 ? p[0].batch : p[0].global),
                       (long long)(m == 0 ? p[i].batch : p[i].global));
            const double more = m == 0 ? 1 : (double)p[i].ranks / (double)p[0].ranks;
            p[i].efficiency = p[0].mean / (more * p[i].mean);
            p[i].efficiency_sd =
                i == 0 ? 0 : p[i].efficiency * hypot(p[0].sd / p[0].mean, p[i].sd / p[i].mean);
        }
    }
    return FX_OK;
}

static fx_status draw(const curves *c, const char *prefix)
{
    char path[FX_PATH_MAX];
    double x[JOBS_MAX], y[MODES][JOBS_MAX], low[MODES][JOBS_MAX], high[MODES][JOBS_MAX];
    fx_curve curve[MODES];
    for (int m = 0; m < MODES; m++) {
        for (int i = 0; i < c->jobs; i++) {
            const point *p = &c->of[m][i];
            x[i] = (double)p->ranks;
            y[m][i] = 100 * p->efficiency;
            low[m][i] = y[m][i] - 100 * p->efficiency_sd;
            high[m][i] = y[m][i] + 100 * p->efficiency_sd;
        }
        curve[m] = (fx_curve){mode_names[m], x, y[m], c->jobs};
    }
    const fx_chart chart = {.title = "Scaling of a training step",
                            .x_label = "ranks",
                            .y_label = "efficiency, %",
                            .log_x = true,
                            .curve = curve,
                            .curves = MODES,
                            .low = (const double *const[]){low[0], low[1]},
                            .high = (const double *const[]){high[0], high[1]}};
    FX_TRY(fx_path(path, "%s.svg", prefix));
    return fx_chart_write(&chart, path);
}

static json_t *rows_of(const curves *c)
{
    json_t *rows = json_array();
    for (int m = 0; m < MODES; m++)
        for (int i = 0; i < c->jobs; i++) {
            const point *p = &c->of[m][i];
            json_t *row =
                json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "mode", mode_names[m],
                          "ranks", (json_int_t)p->ranks, "nodes", (json_int_t)p->nodes, "batch",
                          (json_int_t)p->batch, "global_batch", (json_int_t)p->global, "mean_s",
                          p->mean, "sd_s", p->sd, "samples_per_s", (double)p->global / p->mean,
                          "efficiency", p->efficiency, "efficiency_sd", p->efficiency_sd);
            if (json_array_append_new(rows, row) != 0) {
                json_decref(rows);
                return NULL;
            }
        }
    return rows;
}

static fx_status write_files(const char *prefix, const json_t *root, const json_t *rows)
{
    char path[FX_PATH_MAX];
    FX_TRY(fx_path(path, "%s.json", prefix));
    FX_TRY(fx_json_write(path, root));
    FX_TRY(fx_path(path, "%s.csv", prefix));
    return fx_table_csv(path, rows, fx_scaling_curve_columns);
}

fx_status fx_scaling_curve(const char *const *files, int count, const char *prefix, json_t **out)
{
    curves *c = NULL;
    json_t *rows = NULL;
    fx_status status = FX_OK;
    *out = NULL;
    FX_REQUIRE(count >= 1 && count <= JOBS_MAX, FX_ECONFIG, "bench scaling: %d files, not from 1 to %d",
               count, JOBS_MAX);
    FX_TRY(FX_ALLOC(c, 1));
    for (int i = 0; i < count; i++) {
        fx_json root;
        FX_TRY_DONE(fx_json_load(files[i], FILE_MAX, &root));
        status = read_job(&root, c);
        fx_json_free(&root);
        if (status != FX_OK) goto done;
    }
    FX_TRY_DONE(compare(c));
    rows = rows_of(c);
    *out = json_pack("{s:s, s:I, s:I, s:O}", "kind", "scaling curve", "image", (json_int_t)c->image,
                     "parameters", (json_int_t)c->parameters, "rows", rows);
    FX_REQUIRE_DONE(*out, FX_ENOMEM, "no memory for the curve");
    FX_TRY_DONE(write_files(prefix, *out, rows));
    FX_TRY_DONE(draw(c, prefix));
done:
    json_decref(rows);
    fx_free(c);
    return status;
}
