/* run_compare.c: the comparison of several runs, made from their records. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/train.h"
#include "run_record.h"
#include "run_words.h"

enum { TRAINING_CHARTS = 7, KEYS = 256, SMOOTH = 16 };

typedef struct gathered {
    fx_run_record *run[FX_COMPARED_MAX];
    int runs;
    fx_pool *pool;
    fx_comparison page;
    fx_compared_fact fact[FX_WORDS], key[KEYS];
    fx_compared_row *row; /* as many as the evaluations have, at most */
    const char *note[FX_COMPARED_MAX * FX_RECORD_NOTES];
    fx_curve (*curve)[FX_COMPARED_MAX + 1]; /* by chart */
    fx_chart *chart;                        /* as many as there can be: of the training, of each row */
} gathered;

/* ---- Scores. */

/* "" is NULL in rows. */
static bool is_named(const fx_compared_row *row, const char *name)
{
    return strcmp(row->name ? row->name : "", name) == 0;
}

static fx_compared_row *row_of(gathered *g, const char *name, const fx_eval_row *wanted)
{
    for (int i = 0; i < g->page.rows; i++)
        if (g->row[i].task == wanted->score.task && g->row[i].reynolds == wanted->score.reynolds &&
            is_named(&g->row[i], name))
            return &g->row[i];
    fx_compared_row *row = &g->row[g->page.rows++];
    *row = (fx_compared_row){.task = wanted->score.task,
                             .name = name[0] ? name : NULL,
                             .reynolds = wanted->score.reynolds,
                             .seen = wanted->seen};
    for (int r = 0; r < FX_COMPARED_MAX; r++)
        row->cell[r].ratio = row->cell[r].ratio_low = row->cell[r].ratio_high = NAN;
    return row;
}

static void add_rows(gathered *g, int run, const fx_eval_file *file)
{
    for (int k = 0; k < file->rows; k++) {
        fx_compared_row *row = row_of(g, file->name, &file->row[k]);
        if (row->cell[run].score.count > 0) continue; /* of the first pack that has it */
        row->cell[run].score = file->row[k].score;
        row->seen &= file->row[k].seen;
    }
}

/* The first run's evaluation of the same pack and name; NULL: none. */
static const fx_eval_file *partner_of(const gathered *g, const fx_eval_file *file)
{
    const fx_run_record *first = g->run[0];
    for (int i = 0; i < first->evaluations; i++)
        if (strcmp(first->evaluation[i].name, file->name) == 0 &&
            strcmp(first->evaluation[i].pack, file->pack) == 0)
            return &first->evaluation[i];
    return NULL;
}

/* Two samples are the same patch where they have the same place and the same floor: that is a function
 * of input and truth alone. */
static bool same_sample(const fx_sample_score *a, const fx_sample_score *b)
{
    return a->task == b->task && a->reynolds == b->reynolds && a->index == b->index &&
           a->block == b->block && fabs(a->floor[0] - b->floor[0]) <= 1e-6 * a->floor[0];
}

/* This run's samples with the first run's error for their floor; `count` 0: not the same samples. */
static fx_status pair(const fx_eval_file *file, const fx_eval_file *first, fx_scores *out)
{
    if (file->samples.count != first->samples.count) return FX_OK;
    for (int64_t i = 0; i < file->samples.count; i++)
        if (!same_sample(&file->samples.row[i], &first->samples.row[i])) return FX_OK;
    for (int64_t i = 0; i < file->samples.count; i++) {
        fx_sample_score sample = file->samples.row[i];
        sample.floor[0] = first->samples.row[i].rfne;
        FX_TRY(fx_scores_add(out, &sample));
    }
    return FX_OK;
}

static fx_status add_ratios(gathered *g, int run, const fx_eval_file *file)
{
    const fx_eval_file *first = partner_of(g, file);
    fx_scores paired = {0};
    fx_score score[FX_EVALUATION_ROWS];
    int count = 0;
    if (!first) return FX_OK;
    fx_status status = pair(file, first, &paired);
    if (status == FX_OK && paired.count > 0)
        status = fx_scores_summarise(&paired, (uint64_t)file->seed, score, FX_EVALUATION_ROWS, &count);
    fx_scores_free(&paired);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < g->page.rows; k++) {
            fx_compared_cell *cell = &g->row[k].cell[run];
            if (g->row[k].task != score[i].task || g->row[k].reynolds != score[i].reynolds) continue;
            if (!is_named(&g->row[k], file->name)) continue;
            if (cell->score.rfne != score[i].rfne) continue; /* the cell is another pack's */
            cell->ratio = score[i].ratio;
            cell->ratio_low = score[i].ratio_low;
            cell->ratio_high = score[i].ratio_high;
        }
    return status;
}

static int in_order(const void *a, const void *b)
{
    const fx_compared_row *x = a, *y = b;
    const int names = strcmp(x->name ? x->name : "", y->name ? y->name : "");
    if (x->task != y->task) return x->task < y->task ? -1 : 1;
    if (names != 0) return names;
    return x->reynolds < y->reynolds ? -1 : x->reynolds > y->reynolds;
}

static fx_status gather_scores(gathered *g)
{
    size_t rows = 1; /* none is an array too */
    for (int r = 0; r < g->runs; r++)
        for (int i = 0; i < g->run[r]->evaluations; i++)
            rows += (size_t)g->run[r]->evaluation[i].rows;
    FX_TRY(FX_ALLOC(g->row, rows));
    for (int r = 0; r < g->runs; r++)
        for (int i = 0; i < g->run[r]->evaluations; i++)
            add_rows(g, r, &g->run[r]->evaluation[i]);
    qsort(g->row, (size_t)g->page.rows, sizeof *g->row, in_order);
    for (int r = 1; r < g->runs; r++)
        for (int i = 0; i < g->run[r]->evaluations; i++)
            FX_TRY(add_ratios(g, r, &g->run[r]->evaluation[i]));
    return FX_OK;
}

/* ---- Texts. */

static fx_status gather_facts(gathered *g)
{
    fx_run_words words;
    for (int r = 0; r < g->runs; r++) {
        FX_TRY(fx_run_words_find(g->run[r], &words));
        for (int i = 0; i < words.facts; i++) {
            int k = 0;
            while (k < g->page.facts && strcmp(g->fact[k].key, words.fact[i].key) != 0)
                k++;
            if (k == FX_WORDS) continue;
            if (k == g->page.facts) g->fact[g->page.facts++].key = words.fact[i].key;
            g->fact[k].value[r] = words.fact[i].value;
        }
    }
    return FX_OK;
}

/* A line of fx_config_diff, "key: A -> B", of run `run` against the first. */
static fx_status add_difference(gathered *g, char *line, int run)
{
    char *value = strstr(line, ": "), *arrow = value ? strstr(value, " -> ") : NULL;
    int k = 0;
    if (!arrow) return FX_OK; /* the mark of a text that was cut */
    *value = *arrow = '\0';
    while (k < g->page.keys && strcmp(g->key[k].key, line) != 0)
        k++;
    if (k == KEYS) return FX_OK;
    if (k == g->page.keys) {
        const char *first = fx_pool_print(g->pool, "%s", value + 2);
        if (!(g->key[k].key = fx_pool_print(g->pool, "%s", line)) || !first) return FX_ENOMEM;
        for (int r = 0; r < g->runs; r++)
            g->key[k].value[r] = first;
        g->page.keys++;
    }
    g->key[k].value[run] = fx_pool_print(g->pool, "%s", arrow + 4);
    return g->key[k].value[run] ? FX_OK : FX_ENOMEM;
}

static fx_status gather_keys(gathered *g)
{
    enum { SIZE = 4 * FX_CONFIG_TEXT_MAX };
    char *text = NULL, *rest = NULL;
    fx_status status = FX_ALLOC(text, SIZE);
    for (int r = 1; r < g->runs && status == FX_OK; r++) {
        fx_config_diff(&g->run[0]->config, &g->run[r]->config, text, SIZE);
        for (char *line = strtok_r(text, "\n", &rest); line && status == FX_OK;
             line = strtok_r(NULL, "\n", &rest))
            status = add_difference(g, line, r);
    }
    fx_free(text);
    return status;
}

/* ---- Curves. */

static void add_chart(gathered *g, fx_chart chart)
{
    chart.curve = g->curve[g->page.charts];
    g->chart[g->page.charts++] = chart;
}

static fx_curve *next_curves(gathered *g)
{
    return g->curve[g->page.charts];
}

/* A run that has no such numbers keeps its place, so that a colour is one run's in every chart. */
static void add_steps(gathered *g, fx_record_column column, const char *title, const char *label,
                      bool log)
{
    fx_curve *curve = next_curves(g);
    int64_t points = 0;
    for (int r = 0; r < g->runs; r++) {
        const fx_run_record *run = g->run[r];
        curve[r] = (fx_curve){g->page.name[r], run->step, run->column[column], run->steps};
        for (int64_t i = 0; i < run->steps; i++)
            points += isfinite(run->column[column][i]) && run->column[column][i] != 0;
    }
    if (points > 0)
        add_chart(g, (fx_chart){.title = title,
                                .x_label = "step",
                                .y_label = label,
                                .log_y = log,
                                .smooth = column == FX_RECORD_RATE ? 0 : SMOOTH,
                                .curves = g->runs});
}

static void add_validations(gathered *g, int which, const char *title, const char *label)
{
    fx_curve *curve = next_curves(g);
    int64_t points = 0;
    for (int r = 0; r < g->runs; r++) {
        const fx_run_record *run = g->run[r];
        curve[r] =
            (fx_curve){g->page.name[r], run->validated, run->validation[which], run->validations};
        for (int64_t i = 0; i < run->validations; i++)
            points += isfinite(run->validation[which][i]);
    }
    if (points > 0)
        add_chart(g,
                  (fx_chart){.title = title, .x_label = "step", .y_label = label, .curves = g->runs});
}

static const fx_eval_row *spectrum_of(const fx_run_record *run, const fx_compared_row *row)
{
    for (int i = 0; i < run->evaluations; i++)
        for (int k = 0; k < run->evaluation[i].rows && !run->evaluation[i].name[0]; k++) {
            const fx_eval_row *one = &run->evaluation[i].row[k];
            if (one->shells > 0 && one->score.task == row->task && one->score.reynolds == row->reynolds)
                return one;
        }
    return NULL;
}

/* The runs', then the truth of the first that has one. */
static fx_status add_spectrum(gathered *g, const fx_compared_row *row)
{
    const fx_eval_row *truth = NULL;
    fx_curve *curve = next_curves(g);
    for (int r = 0; r < g->runs; r++) {
        const fx_eval_row *one = spectrum_of(g->run[r], row);
        curve[r] = (fx_curve){.name = g->page.name[r]};
        if (!one) continue;
        curve[r] = (fx_curve){g->page.name[r], one->k, one->model, one->shells};
        if (!truth) truth = one;
    }
    if (!truth) return FX_OK;
    curve[g->runs] = (fx_curve){"truth", truth->k, truth->truth, truth->shells};
    const char *title =
        fx_pool_print(g->pool, "Energy spectrum, %s, Re %g%s", fx_task_titles[row->task], row->reynolds,
                      row->seen ? "" : " (never seen)");
    add_chart(g, (fx_chart){.title = title,
                            .x_label = "wave number",
                            .y_label = "E(k)",
                            .log_x = true,
                            .log_y = true,
                            .curves = g->runs + 1});
    return title ? FX_OK : FX_ENOMEM;
}

static fx_status gather_charts(gathered *g)
{
    bool unseen = false;
    FX_TRY(FX_ALLOC(g->curve, TRAINING_CHARTS + g->page.rows));
    FX_TRY(FX_ALLOC(g->chart, TRAINING_CHARTS + g->page.rows));
    add_steps(g, FX_RECORD_SR, "Loss of super-resolution", "loss", false);
    add_steps(g, FX_RECORD_FC, "Loss of the forecast", "loss", false);
    add_validations(g, 1, "Validation of super-resolution", "RFNE");
    add_validations(g, 3, "Validation of the forecast", "RFNE");
    add_steps(g, FX_RECORD_NORM, "Gradient norm before clipping", "norm", true);
    add_steps(g, FX_RECORD_RATE, "Learning rate", "rate", false);
    add_steps(g, FX_RECORD_SPEED, "Throughput", "samples/s", false);
    for (int i = 0; i < g->page.rows; i++)
        unseen |= !g->row[i].seen && !g->row[i].name;
    for (int i = 0; i < g->page.rows; i++)
        if (!g->row[i].name && (!unseen || !g->row[i].seen)) FX_TRY(add_spectrum(g, &g->row[i]));
    return FX_OK;
}

/* ---- All. */

/* As short as they can be told apart: the last two parts of the folders, or all of them. */
static void name_runs(gathered *g, const char *const *folders)
{
    bool alike = false;
    for (int r = 0; r < g->runs; r++)
        for (int s = 0; s < r; s++)
            alike |= strcmp(fx_run_name(folders[r]), fx_run_name(folders[s])) == 0;
    for (int r = 0; r < g->runs; r++)
        g->page.name[r] = alike ? folders[r] : fx_run_name(folders[r]);
}

static void gather_notes(gathered *g)
{
    for (int r = 0; r < g->runs; r++)
        for (int i = 0; i < g->run[r]->notes; i++)
            g->note[g->page.notes++] = g->run[r]->note[i];
    g->page.note = g->note;
}

static fx_status gather(gathered *g, const char *const *folders)
{
    FX_TRY(fx_pool_create(&g->pool));
    name_runs(g, folders);
    for (int r = 0; r < g->runs; r++)
        FX_TRY(fx_run_record_read(folders[r], &g->run[r]));
    FX_TRY(gather_scores(g));
    gather_notes(g);
    FX_TRY(gather_facts(g));
    FX_TRY(gather_keys(g));
    FX_TRY(gather_charts(g));
    g->page.title = g->runs == 2
                        ? fx_pool_print(g->pool, "%s against %s", g->page.name[1], g->page.name[0])
                        : fx_pool_print(g->pool, "%d runs against %s", g->runs - 1, g->page.name[0]);
    g->page.summary =
        g->page.keys == 1
            ? fx_pool_print(g->pool, "One key of their configurations differs: %s.", g->key[0].key)
            : fx_pool_print(g->pool, "%d keys of their configurations differ.", g->page.keys);
    if (!g->page.title || !g->page.summary) return FX_ENOMEM;
    g->page.fact = g->fact;
    g->page.key = g->key;
    g->page.row = g->row;
    g->page.chart = g->chart;
    return FX_OK;
}

fx_status fx_run_compare(const char *const *folders, int count, const char *path)
{
    gathered *g = NULL;
    FX_REQUIRE(count >= 2 && count <= FX_COMPARED_MAX, FX_ECONFIG,
               "a comparison of %d runs, not of 2 to %d", count, FX_COMPARED_MAX);
    FX_TRY(FX_ALLOC(g, 1));
    g->runs = g->page.runs = count;
    fx_status status = gather(g, folders);
    if (status == FX_OK) status = fx_comparison_write(&g->page, path);
    for (int r = 0; r < count; r++)
        fx_run_record_free(&g->run[r]);
    fx_pool_free(&g->pool);
    fx_free(g->row);
    fx_free(g->curve);
    fx_free(g->chart);
    fx_free(g);
    return status;
}
