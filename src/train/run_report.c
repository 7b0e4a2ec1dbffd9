/* run_report.c: the report of one run, made from its record. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/train.h"
#include "run_named.h"
#include "run_record.h"
#include "run_samples.h"
#include "run_words.h"
#include "stragglers.h"

enum {
    CHARTS = 5 + 3 * FX_RECORD_ROWS + 2 * FX_ROLLOUTS, /* of the training, of each row, of forecasts */
    CURVES = 3 * CHARTS,
    SMOOTH = 16
};

typedef struct page {
    fx_run_record *run;
    fx_run_words words;
    fx_run_samples samples;
    fx_report_table named[FX_NAMED_TABLES];
    int tables;
    fx_report_score score[FX_RECORD_ROWS];
    fx_sign sign[FX_RECORD_ROWS * FX_SIGNATURES];
    int signs;
    fx_finding finding[FX_WORDS + FX_SAMPLE_FINDINGS + 1 + FX_RECORD_NOTES];
    int findings;
    fx_panel panel[FX_RECORD_ROWS];
    int panels, lead;
    fx_curve losses[3], errors[4], single[FX_RECORD_COLUMNS], curve[CURVES];
    int curves;
    fx_chart chart[CHARTS];
    int charts;
} page;

static fx_curve of_steps(const fx_run_record *r, fx_record_column column, const char *name)
{
    return (fx_curve){name, r->step, r->column[column], r->steps};
}

static fx_curve of_validations(const fx_run_record *r, int i, const char *name)
{
    return (fx_curve){name, r->validated, r->validation[i], r->validations};
}

static void add_chart(page *p, fx_chart chart)
{
    if (chart.curves > 0) p->chart[p->charts++] = chart;
}

/* A task that the model was not trained for has losses of 0. */
static int add_task_curves(const fx_run_record *r, fx_curve *out)
{
    enum { SR_ALONE = 1, FC_ALONE = 2 };
    int curves = 0;
    if (r->config.model_tasks != FC_ALONE)
        out[curves++] = of_steps(r, FX_RECORD_SR, "super-resolution");
    if (r->config.model_tasks != SR_ALONE) out[curves++] = of_steps(r, FX_RECORD_FC, "forecast");
    return curves;
}

static void add_training(page *p)
{
    const fx_run_record *r = p->run;
    int curves = add_task_curves(r, p->losses);
    if (r->validations) p->losses[curves++] = of_validations(r, 0, "validation");
    add_chart(p, (fx_chart){.title = "Loss",
                            .x_label = "step",
                            .y_label = "loss",
                            .smooth = SMOOTH,
                            .curve = p->losses,
                            .curves = curves});
    const char *upsampling = fx_upsampling_name(&r->config),
               *const names[] = {"super-resolution", upsampling, "forecast", "persistence"},
               *note =
                   fx_pool_print(r->pool,
                                 "EMA weights on the same patches and noise each time, means over "
                                 "Reynolds numbers; %s interpolation and persistence are the floors.",
                                 upsampling);
    curves = 0;
    for (int i = 0; i < 4; i++)
        if (r->validations && isfinite(r->validation[i + 1][r->validations - 1]))
            p->errors[curves++] = of_validations(r, i + 1, names[i]);
    add_chart(p, (fx_chart){.title = "Validation",
                            .x_label = "step",
                            .y_label = "RFNE",
                            .note = note,
                            .curve = p->errors,
                            .curves = curves});
}

static void add_single(page *p, fx_record_column column, const char *title, const char *label, bool log)
{
    p->single[column] = of_steps(p->run, column, title);
    add_chart(p, (fx_chart){.title = title,
                            .x_label = "step",
                            .y_label = label,
                            .log_y = log,
                            .smooth = column == FX_RECORD_RATE ? 0 : SMOOTH,
                            .curve = &p->single[column],
                            .curves = 1});
}

/* ---- Of each task and Reynolds number. */

/* Those that the model never saw, where there are some; else all. */
static bool is_shown(const fx_run_record *r, const fx_eval_row *row)
{
    for (int i = 0; i < r->rows; i++)
        if (!r->row[i]->seen) return !row->seen;
    return true;
}

/* "Energy spectrum, super-resolution, Re 700 (never seen)" */
static const char *title_of(page *p, const char *what, const fx_eval_row *row)
{
    const char *title = fx_pool_print(p->run->pool, "%s, %s, Re %g%s", what,
                                      row->score.task == FX_SR ? "super-resolution" : "forecast",
                                      row->score.reynolds, row->seen ? "" : " (never seen)");
    return title ? title : what;
}

/* A chart of up to three of the page's own curves over the same x; those without points are left out.
 */
static void add_row_chart(page *p, fx_chart chart, const double *x, int64_t count,
                          const char *const names[3], const double *const y[3])
{
    chart.curve = &p->curve[p->curves];
    for (int i = 0; i < 3; i++)
        if (y[i] && count > 0) {
            p->curve[p->curves++] = (fx_curve){names[i], x, y[i], count};
            chart.curves++;
        }
    add_chart(p, chart);
}

static void add_spectrum(page *p, const fx_eval_row *row)
{
    static const char *const names[] = {"truth", "model", "error"};
    const double *const y[] = {row->truth, row->model, row->error};
    add_row_chart(
        p,
        (fx_chart){.title = title_of(p, "Energy spectrum", row),
                   .x_label = "wave number",
                   .y_label = "E(k)",
                   .note = p->curves > 0
                               ? NULL /* said once */
                               : "Hann-windowed patches. Where the error reaches the truth the "
                                 "model knows nothing.",
                   .log_x = true,
                   .log_y = true},
        row->k, row->shells, names, y);
}

static void add_distribution(page *p, const fx_eval_row *row)
{
    static const char *const names[] = {"truth", "model", ""};
    const double *const y[] = {row->pdf_truth, row->pdf_model, NULL};
    add_row_chart(p,
                  (fx_chart){.title = title_of(p, "Distribution of vorticity", row),
                             .x_label = "standard deviations of the truth",
                             .y_label = "share",
                             .log_y = true},
                  row->w, row->bins, names, y);
}

/* Against what it is when truth and members are draws of one distribution. */
static fx_status add_ranks(page *p, const fx_eval_row *row)
{
    static const char *const names[] = {"pixels", "calibrated", ""};
    double *x = NULL;
    if (row->ranks == 0) return FX_OK;
    if (!(x = fx_pool_calloc(p->run->pool, 3 * (size_t)row->ranks, sizeof *x))) return FX_ENOMEM;
    double *share = x + row->ranks, *flat = share + row->ranks;
    for (int64_t i = 0; i < row->ranks; i++) {
        x[i] = (double)i;
        share[i] = row->rank_share[i];
        flat[i] = 1 / (double)row->ranks;
    }
    const double *const y[] = {share, flat, NULL};
    add_row_chart(
        p,
        (fx_chart){.title = title_of(p, "Rank histogram", row),
                   .x_label = "members below the truth",
                   .y_label = "share of the pixels",
                   .note = "High at both ends: too sure. High in the middle: not sure enough.",
                   .bars = true},
        x, row->ranks, names, y);
    return FX_OK;
}

static fx_status add_rows(page *p)
{
    const fx_run_record *r = p->run;
    for (int i = 0; i < r->rows; i++)
        if (is_shown(r, r->row[i])) add_spectrum(p, r->row[i]);
    for (int i = 0; i < r->rows; i++)
        if (is_shown(r, r->row[i])) FX_TRY(add_ranks(p, r->row[i]));
    for (int i = 0; i < r->rows; i++)
        if (is_shown(r, r->row[i])) add_distribution(p, r->row[i]);
    return FX_OK;
}

static fx_status add_charts(page *p)
{
    if (p->run->steps > 0) {
        add_training(p);
        add_single(p, FX_RECORD_NORM, "Gradient norm before clipping", "norm", true);
        add_single(p, FX_RECORD_RATE, "Learning rate", "rate", false);
        add_single(p, FX_RECORD_SPEED, "Throughput", "samples/s", false);
    }
    return add_rows(p);
}

/* The square of a quarter of the side in which the error is largest: nobody chose it. */
static void choose_zoom(fx_panel *p)
{
    const int64_t side = p->side / 4, step = side / 2;
    double most = -1;
    for (int64_t y = 0; y + side <= p->side; y += step)
        for (int64_t x = 0; x + side <= p->side; x += step) {
            double sum = 0;
            for (int64_t i = 0; i < side * side; i++) {
                const int64_t at = (y + i / side) * p->side + x + i % side;
                const double e = (double)p->model[at] - (double)p->truth[at];
                sum += e * e;
            }
            if (sum > most) {
                most = sum;
                p->zoom_x = x;
                p->zoom_y = y;
            }
        }
    p->zoom_side = side;
}

/* Scores and examples; those at Reynolds numbers that training saw are folded away where there are
 * others. The first that is not is the lead. */
static void add_scores(page *p)
{
    enum { WORTH_A_ZOOM = 64 };
    const fx_run_record *r = p->run;
    p->lead = -1;
    for (int i = 0; i < r->rows; i++) {
        const fx_eval_row *row = r->row[i];
        p->score[i] =
            (fx_report_score){.score = row->score, .seen = row->seen, .fine_scales = row->fine_scales};
        if (row->side == 0) continue;
        fx_panel *panel = &p->panel[p->panels++];
        *panel = (fx_panel){.title = row->title,
                            .input_label = row->input_label,
                            .input = row->input,
                            .model = row->estimate,
                            .truth = row->target,
                            .input_side = row->side,
                            .side = row->side,
                            .folded = !is_shown(r, row)};
        if (panel->side >= WORTH_A_ZOOM) choose_zoom(panel);
        if (p->lead < 0 && !panel->folded) p->lead = p->panels - 1;
    }
}

static int by_reynolds(const void *a, const void *b)
{
    const fx_sign *x = a, *y = b;
    return x->reynolds < y->reynolds ? -1 : x->reynolds > y->reynolds;
}

/* Of the evaluations whose rows are shown. */
static void add_signs(page *p)
{
    const fx_run_record *r = p->run;
    for (int i = 0; i < r->evaluations; i++)
        for (int k = 0; k < r->evaluation[i].signs && !r->evaluation[i].name[0]; k++)
            if (p->signs < FX_RECORD_ROWS * FX_SIGNATURES)
                p->sign[p->signs++] = r->evaluation[i].sign[k];
    qsort(p->sign, (size_t)p->signs, sizeof *p->sign, by_reynolds);
}

static void add_findings(page *p)
{
    for (int i = 0; i < p->words.findings; i++)
        p->finding[p->findings++] = p->words.finding[i];
    for (int i = 0; i < p->samples.findings; i++)
        p->finding[p->findings++] = p->samples.finding[i];
    for (int i = 0; i < p->run->notes; i++)
        p->finding[p->findings++] = (fx_finding){FX_MARK_BAD, p->run->note[i]};
}

static fx_status write(page *p)
{
    fx_run_record *r = p->run;
    char path[FX_PATH_MAX];
    add_scores(p);
    add_signs(p);
    FX_TRY(fx_run_samples_read(r, &p->samples));
    add_findings(p);
    FX_TRY(fx_run_named(r, p->named, &p->tables));
    FX_TRY(add_charts(p));
    for (int i = 0; i < p->samples.rollouts.charts; i++)
        add_chart(p, p->samples.rollouts.chart[i]);
    fx_report report = {.title = p->words.title,
                        .summary = p->words.summary,
                        .fact = p->words.fact,
                        .facts = p->words.facts,
                        .finding = p->finding,
                        .findings = p->findings,
                        .sign = p->sign,
                        .signs = p->signs,
                        .bilinear = r->config.data_upsampling == FX_BILINEAR,
                        .score = p->score,
                        .scores = r->rows,
                        .table = p->named,
                        .tables = p->tables,
                        .panel = p->panel,
                        .panels = p->panels,
                        .rollout = p->samples.rollouts.rollout,
                        .rollouts = p->samples.rollouts.rollouts,
                        .lead = p->lead,
                        .chart = p->chart,
                        .charts = p->charts,
                        .paragraph = p->words.paragraph,
                        .paragraphs = p->words.paragraphs,
                        .config = r->config_text,
                        .environment = r->environment,
                        .commands = r->commands};
    FX_TRY(fx_path(path, "%s/ranks.json", r->folder));
    FX_TRY(fx_stragglers_read(path, r->pool, &report));
    FX_TRY(fx_path(path, "%s/report.html", r->folder));
    return fx_report_write(&report, path);
}

fx_status fx_run_report(const char *folder)
{
    page *p = NULL;
    FX_TRY(FX_ALLOC(p, 1));
    fx_status status = fx_run_record_read(folder, &p->run);
    if (status == FX_OK) status = fx_run_words_find(p->run, &p->words);
    if (status == FX_OK) status = write(p);
    fx_run_record_free(&p->run);
    fx_free(p);
    return status;
}
