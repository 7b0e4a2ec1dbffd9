/* run_report.c: the report of one run, made from its record. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/train.h"
#include "run_record.h"
#include "run_words.h"
#include "stragglers.h"

enum { CHARTS = 6 + 4 * FX_RECORD_EVALUATIONS, SMOOTH = 16 };

typedef struct page {
    fx_run_record *run;
    fx_run_words words;
    fx_curve losses[3], errors[4], single[FX_RECORD_COLUMNS];
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
    if (p->charts < CHARTS && chart.curves > 0) p->chart[p->charts++] = chart;
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
    static const char *const names[] = {"super-resolution", "bicubic", "forecast", "persistence"};
    curves = 0;
    for (int i = 0; i < 4; i++)
        if (r->validations && isfinite(r->validation[i + 1][r->validations - 1]))
            p->errors[curves++] = of_validations(r, i + 1, names[i]);
    add_chart(p, (fx_chart){.title = "Validation",
                            .x_label = "step",
                            .y_label = "RFNE",
                            .note = "EMA weights on the same patches and noise each time, means over "
                                    "Reynolds numbers; bicubic and persistence are the floors.",
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

/* Two curves a chart: the model's and the truth's. */
static void add_spectra(page *p)
{
    for (int i = 0; i + 1 < p->run->spectra; i += 2)
        add_chart(p, (fx_chart){.title = p->run->spectrum_title[i / 2],
                                .x_label = "wave number",
                                .y_label = "E(k)",
                                .note = i ? NULL
                                          : "Hann-windowed patches. Fine scales that the model leaves "
                                            "out show as a gap at the right end.",
                                .log_x = true,
                                .log_y = true,
                                .curve = &p->run->spectrum[i],
                                .curves = 2});
}

static void add_charts(page *p)
{
    if (p->run->steps > 0) {
        add_training(p);
        add_single(p, FX_RECORD_NORM, "Gradient norm before clipping", "norm", true);
        add_single(p, FX_RECORD_RATE, "Learning rate", "rate", false);
        add_single(p, FX_RECORD_SPEED, "Throughput", "samples/s", false);
    }
    add_spectra(p);
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

/* The first example at a Reynolds number that the model never saw; else the first. */
static int lead_of(const fx_run_record *r)
{
    for (int i = 0; i < r->panels; i++)
        if (!r->panel_seen[i]) return i;
    return r->panels > 0 ? 0 : -1;
}

static fx_status write(page *p)
{
    enum { WORTH_A_ZOOM = 64 };
    fx_run_record *r = p->run;
    char path[FX_PATH_MAX];
    add_charts(p);
    const int lead = lead_of(r);
    for (int i = 0; i < r->panels; i++) {
        r->panel[i].folded = r->panel_seen[i] && !r->panel_seen[lead];
        if (r->panel[i].side >= WORTH_A_ZOOM) choose_zoom(&r->panel[i]);
    }
    fx_report report = {.title = p->words.title,
                        .summary = p->words.summary,
                        .fact = p->words.fact,
                        .facts = p->words.facts,
                        .finding = p->words.finding,
                        .findings = p->words.findings,
                        .score = r->score,
                        .scores = r->scores,
                        .panel = r->panel,
                        .panels = r->panels,
                        .lead = lead,
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
