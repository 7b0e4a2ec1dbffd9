/* run_named.c: the scores of evaluations with a name beside those without. */
#include "run_named.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 8, SIGN_COLUMNS = 3 };
static const char *const HEADS[COLUMNS] =
    {"Re",          "evaluation",     "sampled in", "model RFNE", "ratio to the floor",
     "fine scales", "spread / skill", "patches"},
                         *const SIGN_HEADS[SIGN_COLUMNS] = {"evaluation", "task", "failure signatures"};
static const char NONE[] = "\xe2\x80\x93";

typedef struct entry {
    const fx_eval_file *file;
    const fx_eval_row *row;
} entry;

static int in_order(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const fx_score *s = &x->row->score, *t = &y->row->score;
    if (s->reynolds != t->reynolds) return s->reynolds < t->reynolds ? -1 : 1;
    const int names = strcmp(x->file->name, y->file->name); /* "" is first */
    return names ? names : strcmp(x->file->pack, y->file->pack);
}

static bool has_named(const fx_run_record *r, const fx_score *score)
{
    for (int i = 0; i < r->evaluations; i++)
        for (int k = 0; r->evaluation[i].name[0] && k < r->evaluation[i].rows; k++) {
            const fx_score *s = &r->evaluation[i].row[k].score;
            if (s->task == score->task && s->reynolds == score->reynolds) return true;
        }
    return false;
}

static int gather(const fx_run_record *r, fx_task task, entry *out)
{
    int count = 0;
    for (int i = 0; i < r->evaluations; i++)
        for (int k = 0; k < r->evaluation[i].rows; k++) {
            const fx_eval_row *row = &r->evaluation[i].row[k];
            if (row->score.task == task && has_named(r, &row->score))
                out[count++] = (entry){&r->evaluation[i], row};
        }
    qsort(out, (size_t)count, sizeof *out, in_order);
    return count;
}

/* ---- Cells. */

/* "0.123 (0.110-0.135)", with a dash where it is not known. */
static const char *interval_text(fx_pool *pool, double value, double low, double high, int digits)
{
    if (!isfinite(value)) return NONE;
    if (!isfinite(low) || !isfinite(high)) return fx_pool_print(pool, "%.*f", digits, value);
    return fx_pool_print(pool, "%.*f (%.*f\xe2\x80\x93%.*f)", digits, value, digits, low, digits, high);
}

/* "n2-m16 on pack-heldout" */
static const char *name_text(fx_pool *pool, const fx_eval_file *f)
{
    return fx_pool_print(pool, "%s%s%s", f->name, f->name[0] ? " on " : "", f->pack);
}

static fx_status fill_row(fx_pool *pool, const entry *e, const char **cell)
{
    const fx_score *s = &e->row->score;
    const fx_eval_file *f = e->file;
    const fx_statistic ssr = FX_STATISTIC_SPREAD_SKILL;
    const char *members =
        f->members > 1 ? fx_pool_print(pool, ", %lld members", (long long)f->members) : "";
    cell[0] = fx_pool_print(pool, "%g%s", s->reynolds, e->row->seen ? "" : " (never seen)");
    cell[1] = name_text(pool, f);
    cell[2] = fx_pool_print(pool, "%lld step%s%s", (long long)f->sample_steps,
                            f->sample_steps == 1 ? "" : "s", members ? members : "");
    cell[3] = interval_text(pool, s->rfne, s->rfne_low, s->rfne_high, 3);
    cell[4] = interval_text(pool, s->ratio, s->ratio_low, s->ratio_high, 2);
    cell[5] = isfinite(e->row->fine_scales)
                  ? fx_pool_print(pool, "%.0f\xe2\x80\xaf%%", 100 * e->row->fine_scales)
                  : NONE;
    cell[6] = f->members > 1 ? interval_text(pool, s->value[ssr], s->low[ssr], s->high[ssr], 2) : NONE;
    cell[7] = fx_pool_print(pool, "%lld", (long long)s->count);
    for (int c = 0; c < COLUMNS; c++)
        if (!cell[c]) return FX_ENOMEM;
    return FX_OK;
}

static fx_status add_table(const fx_run_record *r, fx_task task, fx_report_table *tables, int *count)
{
    entry *all = fx_pool_calloc(r->pool, (size_t)(r->evaluations * FX_EVALUATION_ROWS), sizeof *all);
    if (!all) return FX_ENOMEM;
    const int rows = gather(r, task, all);
    const char **cell = fx_pool_calloc(r->pool, (size_t)(COLUMNS * rows + 1), sizeof *cell);
    if (!cell) return FX_ENOMEM;
    for (int i = 0; i < rows; i++)
        FX_TRY(fill_row(r->pool, &all[i], cell + COLUMNS * i));
    if (rows == 0) return FX_OK;
    tables[(*count)++] = (fx_report_table){
        .title = task == FX_SR ? "Super-resolution, by evaluation" : "Forecast, by evaluation",
        .note = "Evaluations with a name (eval.name) are other samplings or other units of the same "
                "model; those without one are the scores above. Brackets: 95 % intervals.",
        .column = HEADS,
        .columns = COLUMNS,
        .cell = cell,
        .rows = rows};
    return FX_OK;
}

/* ---- Failure signatures. */

/* "blurred at Re 500, 700; predicts the mean at Re 700": signs stand row by row, so those of one
 * signature are gathered. */
static const char *signs_text(fx_pool *pool, const fx_eval_file *f, fx_task task)
{
    const char *text = "";
    for (int64_t k = 0; k < FX_SIGNATURES && text; k++) {
        int written = 0;
        for (int i = 0; i < f->signs && text; i++) {
            if (f->sign[i].signature != k || f->sign[i].task != task) continue;
            text = written++ ? fx_pool_print(pool, "%s, %g", text, f->sign[i].reynolds)
                             : fx_pool_print(pool, "%s%s%s at Re %g", text, text[0] ? "; " : "",
                                             fx_signature_table[k].says, f->sign[i].reynolds);
        }
    }
    return text;
}

static fx_status add_signs(const fx_run_record *r, fx_report_table *tables, int *count)
{
    const char **cell =
        fx_pool_calloc(r->pool, (size_t)(SIGN_COLUMNS * 2 * r->evaluations), sizeof *cell);
    int rows = 0;
    if (!cell) return FX_ENOMEM;
    for (int i = 0; i < r->evaluations; i++)
        for (int task = FX_SR; task <= FX_FC && r->evaluation[i].name[0]; task++) {
            const char **row = cell + SIGN_COLUMNS * rows;
            row[0] = name_text(r->pool, &r->evaluation[i]);
            row[1] = fx_task_titles[task];
            row[2] = signs_text(r->pool, &r->evaluation[i], (fx_task)task);
            if (!row[0] || !row[2]) return FX_ENOMEM;
            rows += row[2][0] != '\0';
        }
    if (rows == 0) return FX_OK;
    tables[(*count)++] = (fx_report_table){.title = "Failure signatures of evaluations with a name",
                                           .column = SIGN_HEADS,
                                           .columns = SIGN_COLUMNS,
                                           .cell = cell,
                                           .rows = rows,
                                           .words = true};
    return FX_OK;
}

fx_status fx_run_named(const fx_run_record *record, fx_report_table tables[FX_NAMED_TABLES], int *count)
{
    *count = 0;
    FX_TRY(add_table(record, FX_SR, tables, count));
    FX_TRY(add_table(record, FX_FC, tables, count));
    return add_signs(record, tables, count);
}
