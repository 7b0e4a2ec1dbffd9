/* output.c: what a study found: tables, sentences and charts, gathered in memory and written as
 * NAME/table.md, table.json, report.html and chart-K.svg. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/json.h"
#include "flexhpc/log.h"
#include "study.h"

/* ---- Gathering. */

study_table *study_table_begin(study *s, const char *name, const char *title,
                               const char *const *columns)
{
    if (s->out.tables == STUDY_TABLES) return NULL;
    study_table *t = &s->out.table[s->out.tables++];
    *t = (study_table){.name = name, .title = title};
    while (t->columns < STUDY_COLUMNS && columns[t->columns]) {
        t->column[t->columns] = columns[t->columns];
        t->columns++;
    }
    return t;
}

static fx_status add(study_table *t, const char *text, fx_interval number)
{
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    if (!text) return FX_ENOMEM;
    FX_TRY(fx_grow((void **)&t->cell, &t->capacity, (size_t)t->cells, sizeof *t->cell));
    t->cell[t->cells++] = (study_cell){text, number};
    return FX_OK;
}

static const fx_interval NO_NUMBER = {NAN, NAN, NAN};

fx_status study_put_text(study *s, study_table *t, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return add(t, fx_pool_print(s->pool, "%s", text), NO_NUMBER);
}

fx_status study_put(study *s, study_table *t, double value, const char *format)
{
    char text[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, format, value);
#pragma GCC diagnostic pop
    return add(t, fx_pool_print(s->pool, "%s", isfinite(value) ? text : "-"),
               (fx_interval){value, NAN, NAN});
}

fx_status study_put_interval(study *s, study_table *t, const fx_interval *v, int digits)
{
    if (!isfinite(v->value)) return add(t, "-", NO_NUMBER);
    const char *text = isfinite(v->low) ? fx_pool_print(s->pool, "%.*f [%.*f, %.*f]", digits, v->value,
                                                        digits, v->low, digits, v->high)
                                        : fx_pool_print(s->pool, "%.*f", digits, v->value);
    return add(t, text, *v);
}

const char *study_interval_text(study *s, const fx_interval *v, int digits, bool sign)
{
    const char *text = isnan(v->low)
                           ? fx_pool_print(s->pool, sign ? "%+.*f [no interval]" : "%.*f [no interval]",
                                           digits, v->value)
                           : fx_pool_print(s->pool, sign ? "%+.*f [%+.*f, %+.*f]" : "%.*f [%.*f, %.*f]",
                                           digits, v->value, digits, v->low, digits, v->high);
    return text ? text : ""; /* no memory: study_say finds none either */
}

fx_status study_say(study *s, fx_mark mark, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    FX_REQUIRE(s->out.readings < STUDY_READINGS, FX_EARG, "more than %d readings", STUDY_READINGS);
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *kept = fx_pool_print(s->pool, "%s", text);
    if (!kept) return FX_ENOMEM;
    s->out.reading[s->out.readings++] = (fx_finding){mark, kept};
    return FX_OK;
}

/* One curve's values and error bars as arrays; NaN ends where there is no interval. */
static fx_status fill_curve(study *s, const study_curve *c, fx_curve *curve, const double **low,
                            const double **high)
{
    double *all = fx_pool_calloc(s->pool, 4 * (size_t)c->count, sizeof *all);
    if (!all) return FX_ENOMEM;
    double *x = all, *y = all + c->count, *l = y + c->count, *h = l + c->count;
    for (int i = 0; i < c->count; i++) {
        x[i] = c->x[i];
        y[i] = c->y[i].value;
        l[i] = c->y[i].low;
        h[i] = c->y[i].high;
    }
    *curve = (fx_curve){fx_pool_print(s->pool, "%s", c->name), x, y, c->count};
    *low = l;
    *high = h;
    return curve->name ? FX_OK : FX_ENOMEM;
}

fx_status study_chart(study *s, const char *title, const char *x_label, const char *y_label, bool log_x,
                      const study_curve *curve, int curves)
{
    FX_REQUIRE(s->out.charts < STUDY_CHARTS, FX_EARG, "more than %d charts", STUDY_CHARTS);
    fx_curve *list = fx_pool_calloc(s->pool, (size_t)curves, sizeof *list);
    const double **low = fx_pool_calloc(s->pool, (size_t)curves, sizeof *low),
                 **high = fx_pool_calloc(s->pool, (size_t)curves, sizeof *high);
    if (!list || !low || !high) return FX_ENOMEM;
    for (int i = 0; i < curves; i++)
        FX_TRY(fill_curve(s, &curve[i], &list[i], &low[i], &high[i]));
    s->out.chart[s->out.charts++] = (fx_chart){.title = title,
                                               .x_label = x_label,
                                               .y_label = y_label,
                                               .log_x = log_x,
                                               .curve = list,
                                               .curves = curves,
                                               .low = low,
                                               .high = high};
    return FX_OK;
}

/* ---- table.json */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *cell_json(const study_cell *c)
{
    if (isnan(c->number.value)) return json_string(c->text);
    if (isnan(c->number.low)) return number(c->number.value);
    return json_pack("{s:o, s:o, s:o}", "value", number(c->number.value), "low", number(c->number.low),
                     "high", number(c->number.high));
}

static json_t *table_json(const study_table *t)
{
    json_t *rows = json_array();
    for (int first = 0; first + t->columns <= t->cells; first += t->columns) {
        json_t *row = json_object();
        for (int c = 0; c < t->columns; c++)
            json_object_set_new(row, t->column[c], cell_json(&t->cell[first + c]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *runs_json(const study *s)
{
    json_t *runs = json_array();
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        json_array_append_new(runs,
                              json_pack("{s:s, s:s, s:I, s:I, s:b}", "name", run->name, "arm",
                                        run->arm->name, "seed", (json_int_t)run->seed, "step",
                                        (json_int_t)run->step, "finished", study_run_finished(run)));
    return runs;
}

static fx_status write_json(const study *s, const char *folder)
{
    char path[FX_PATH_MAX];
    json_t *tables = json_object(), *readings = json_array();
    FX_TRY(fx_path(path, "%s/table.json", folder));
    for (int i = 0; i < s->out.tables; i++)
        json_object_set_new(tables, s->out.table[i].name, table_json(&s->out.table[i]));
    for (int i = 0; i < s->out.readings; i++)
        json_array_append_new(readings, json_string(s->out.reading[i].text));
    json_t *root =
        json_pack("{s:s, s:s, s:o, s:o, s:o}", "study", s->kind->name, "question", s->kind->question,
                  "runs", runs_json(s), "tables", tables, "readings", readings);
    const fx_status status = fx_json_write(path, root);
    json_decref(root);
    return status;
}

/* ---- table.md */

static void row_md(FILE *out, const char *const *text, int columns)
{
    for (int c = 0; c < columns; c++)
        fprintf(out, "| %s ", text[c]);
    fputs("|\n", out);
}

static void table_md(FILE *out, const study_table *t)
{
    static const char *const line[STUDY_COLUMNS] = {"---", "---", "---", "---", "---", "---",
                                                    "---", "---", "---", "---", "---", "---",
                                                    "---", "---", "---", "---"};
    const char *text[STUDY_COLUMNS];
    fprintf(out, "\n## %s\n\n", t->title);
    row_md(out, t->column, t->columns);
    row_md(out, line, t->columns);
    for (int first = 0; first + t->columns <= t->cells; first += t->columns) {
        for (int c = 0; c < t->columns; c++)
            text[c] = t->cell[first + c].text;
        row_md(out, text, t->columns);
    }
    if (t->note) fprintf(out, "\n%s\n", t->note);
}

static const char HOW_TO_READ[] =
    "Intervals are 95 % and, where a table says nothing else, hold two things: which samples were "
    "scored "
    "(a block bootstrap; a block is one unit of time, the same for all Reynolds numbers, whose flows "
    "begin from the same phases) and which seed a model was trained with (Student's t on the spread "
    "over "
    "seeds, pooled over the arms; of one seed nothing is known). A difference whose interval holds 0 "
    "is "
    "called a tie. Arms are compared on the same samples with the same noise.";

static fx_status write_md(const study *s, const char *folder)
{
    char path[FX_PATH_MAX], *text = NULL;
    size_t size = 0;
    FX_TRY(fx_path(path, "%s/table.md", folder));
    FILE *out = open_memstream(&text, &size);
    FX_REQUIRE(out, FX_ENOMEM, "no memory for a text");
    fprintf(out, "# Study %s: %s\n\n", s->kind->name, s->kind->question);
    for (int i = 0; i < s->out.readings; i++)
        fprintf(out, "- %s\n", s->out.reading[i].text);
    for (int i = 0; i < s->out.tables; i++)
        table_md(out, &s->out.table[i]);
    for (int i = 0; i < s->out.charts; i++)
        fprintf(out, "\n![%s](chart-%d.svg)\n", s->out.chart[i].title, i + 1);
    fprintf(out, "\n## How to read it\n\n%s\n", HOW_TO_READ);
    const bool whole = fclose(out) == 0;
    const fx_status status =
        whole ? fx_write_text(path, text, size) : fx_fail(FX_ENOMEM, "no memory for a text");
    fx_free(text);
    return status;
}

/* ---- report.html */

static fx_status table_report(study *s, const study_table *t, fx_report_table *out)
{
    const char **cell = fx_pool_calloc(s->pool, (size_t)t->cells + 1, sizeof *cell);
    if (!cell) return FX_ENOMEM;
    for (int i = 0; i < t->cells; i++)
        cell[i] = t->cell[i].text;
    *out = (fx_report_table){.title = t->title,
                             .note = t->note,
                             .column = t->column,
                             .columns = t->columns,
                             .cell = cell,
                             .rows = t->cells / t->columns};
    return FX_OK;
}

static fx_status write_html(study *s, const char *folder)
{
    char path[FX_PATH_MAX], title[FX_NAME_MAX];
    static const char *const paragraphs[] = {HOW_TO_READ};
    fx_report_table table[STUDY_TABLES];
    FX_TRY(fx_path(path, "%s/report.html", folder));
    FX_TRY(fx_print(title, sizeof title, "Study %s", s->kind->name));
    for (int i = 0; i < s->out.tables; i++)
        FX_TRY(table_report(s, &s->out.table[i], &table[i]));
    const fx_report report = {.title = title,
                              .summary = s->kind->question,
                              .finding = s->out.reading,
                              .findings = s->out.readings,
                              .table = table,
                              .tables = s->out.tables,
                              .chart = s->out.chart,
                              .charts = s->out.charts,
                              .paragraphs_title = "How to read it",
                              .paragraph = paragraphs,
                              .paragraphs = 1};
    return fx_report_write(&report, path);
}

static fx_status write_all(study *s, const char *folder)
{
    char path[FX_PATH_MAX];
    for (const study_table *t = s->out.table; t < s->out.table + s->out.tables; t++)
        FX_REQUIRE(t->cells % t->columns == 0, FX_EARG, "table %s: %d cells in %d columns", t->name,
                   t->cells, t->columns);
    for (int i = 0; i < s->out.charts; i++) {
        FX_TRY(fx_path(path, "%s/chart-%d.svg", folder, i + 1));
        FX_TRY(fx_chart_write(&s->out.chart[i], path));
    }
    FX_TRY(write_md(s, folder));
    FX_TRY(write_html(s, folder));
    return write_json(s, folder);
}

/* Jobs that end together write the same. */
fx_status study_write(study *s)
{
    char folder[FX_PATH_MAX];
    bool busy;
    fx_lock *lock = NULL;
    FX_TRY(fx_path(folder, "%s/%s", s->call->folder, s->kind->name));
    FX_TRY(fx_make_dirs(folder));
    fx_status status = fx_lock_try(folder, &lock, &busy);
    if (status == FX_OK) {
        status = write_all(s, folder);
        fx_lock_release(&lock);
        return status;
    }
    if (!busy) return status;
    fx_log(FX_INFO, "%s; the table is left to them, who write it now", fx_error_message());
    fx_error_clear();
    return FX_OK;
}
