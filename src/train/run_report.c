/* run_report.c: gathers what a run folder holds (config.yaml, metrics.jsonl, ranks.json, eval-*.h5)
 * into its report. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/config.h"
#include "flexhpc/eval_file.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/report.h"
#include "flexhpc/train.h"
#include "stragglers.h"

enum { FACTS = 12, RECORD_MAX = 1 << 30, CURVES = 5, VALIDATED = 5, EVALUATIONS = 16 };

typedef struct gathered {
    fx_pool *pool; /* texts and arrays that the report points to */
    fx_config config;
    char *config_text, *metrics_text;
    double *step, *column[CURVES];
    int64_t steps;
    double *validated, *validation[VALIDATED]; /* steps that were, and what they found */
    int64_t validations;
    fx_fact fact[FACTS];
    int facts;
    fx_eval_file evaluation[EVALUATIONS];
    int evaluations;
    fx_report_score score[EVALUATIONS * FX_EVALUATION_ROWS / 4];
    int scores;
    fx_panel panel[EVALUATIONS * 4];
    int panels;
    fx_curve spectrum[EVALUATIONS * 4];
    int spectra;
} gathered;

static const char *const COLUMNS[CURVES] = {"loss_sr", "loss_fc", "grad_norm", "lr", "seconds"};
static const char *const VALIDATION[VALIDATED] = {"val_loss", "val_rfne_sr", "val_floor_sr",
                                                  "val_rfne_fc", "val_floor_fc"};

static void add_fact(gathered *r, const char *key, const char *value)
{
    if (value && r->facts < FACTS) r->fact[r->facts++] = (fx_fact){key, value};
}

/* ---- metrics.jsonl: one object a line; null is a number that was not finite. */

static double number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static fx_status read_line(gathered *r, char *line, const char *path)
{
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    FX_REQUIRE(object, FX_EVALUE, "%s: line %lld: %s", path, (long long)r->steps + 1, error.text);
    r->step[r->steps] = number_of(object, "step");
    for (int c = 0; c < CURVES; c++)
        r->column[c][r->steps] = number_of(object, COLUMNS[c]);
    if (json_object_get(object, VALIDATION[0])) {
        r->validated[r->validations] = r->step[r->steps];
        for (int c = 0; c < VALIDATED; c++)
            r->validation[c][r->validations] = number_of(object, VALIDATION[c]);
        r->validations++;
    }
    r->steps++;
    json_decref(object);
    return FX_OK;
}

static fx_status read_metrics(gathered *r, const char *folder)
{
    char path[FX_PATH_MAX], *rest = NULL;
    size_t size = 0, lines = 1;
    FX_TRY(fx_path(path, "%s/metrics.jsonl", folder));
    if (!fx_file_exists(path)) return FX_OK;
    FX_TRY(fx_read_text(path, RECORD_MAX, &r->metrics_text, &size));
    for (size_t i = 0; i < size; i++)
        lines += r->metrics_text[i] == '\n';
    if (!(r->step = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    if (!(r->validated = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    for (int c = 0; c < CURVES; c++)
        if (!(r->column[c] = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    for (int c = 0; c < VALIDATED; c++)
        if (!(r->validation[c] = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    for (char *line = strtok_r(r->metrics_text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        FX_TRY(read_line(r, line, path));
    return FX_OK;
}

/* ---- eval-*.h5 */

static void add_panel(gathered *r, const fx_eval_row *row)
{
    if (r->panels == EVALUATIONS * 4 || row->side == 0) return;
    r->panel[r->panels++] = (fx_panel){.title = row->title,
                                       .input_label = row->input_label,
                                       .input = row->input,
                                       .model = row->estimate,
                                       .truth = row->target,
                                       .input_side = row->side,
                                       .side = row->side};
}

/* Two curves: the model's spectrum and the truth's. */
static fx_status add_spectrum(gathered *r, const fx_eval_row *row)
{
    const double *const energy[] = {row->model, row->truth};
    static const char *const names[] = {"model", "truth"};
    if (r->spectra + 2 > EVALUATIONS * 4 || row->shells == 0) return FX_OK;
    for (int i = 0; i < 2; i++) {
        const char *label =
            fx_pool_print(r->pool, "%s, Re %g, %s", row->score.task == FX_SR ? "SR" : "FC",
                          row->score.reynolds, names[i]);
        if (!label) return FX_ENOMEM;
        r->spectrum[r->spectra++] = (fx_curve){label, row->k, energy[i], row->shells};
    }
    return FX_OK;
}

static fx_status add_rows(gathered *r, const fx_eval_file *file)
{
    const int most = (int)(sizeof r->score / sizeof *r->score);
    for (int k = 0; k < file->rows && r->scores < most; k++) {
        const fx_eval_row *row = &file->row[k];
        r->score[r->scores++] =
            (fx_report_score){.score = row->score, .seen = row->seen, .fine_scales = row->fine_scales};
        add_panel(r, row);
        if (!row->seen) FX_TRY(add_spectrum(r, row));
    }
    return FX_OK;
}

static int by_task_and_reynolds(const void *a, const void *b)
{
    const fx_score *x = &((const fx_report_score *)a)->score, *y = &((const fx_report_score *)b)->score;
    if (x->task != y->task) return x->task < y->task ? -1 : 1;
    return x->reynolds < y->reynolds ? -1 : x->reynolds > y->reynolds;
}

/* Those with an eval.name are other samplings of the same model: a row of scores has no place for them.
 */
static fx_status read_evaluations(gathered *r, const char *folder)
{
    char **names = NULL, path[FX_PATH_MAX];
    int count = 0;
    fx_status status = FX_OK;
    FX_TRY(fx_eval_file_list(folder, &names, &count));
    for (int i = 0; i < count && r->evaluations < EVALUATIONS; i++) {
        fx_eval_file *file = &r->evaluation[r->evaluations];
        FX_TRY_DONE(fx_path(path, "%s/%s", folder, names[i]));
        status = fx_eval_file_read(path, file);
        if (status == FX_OK && !file->name[0]) status = add_rows(r, file);
        r->evaluations++; /* freed whatever the status */
        if (status != FX_OK) goto done;
    }
    qsort(r->score, (size_t)r->scores, sizeof *r->score, by_task_and_reynolds);
done:
    fx_free(names);
    return status;
}

/* ---- The report. */

static const char *list_text(gathered *r, const fx_list *list, const char *none)
{
    const char *text = list->count ? "" : none;
    for (int i = 0; i < list->count && text; i++)
        text = fx_pool_print(r->pool, "%s%s%g", text, i ? " " : "", list->value[i]);
    return text;
}

static double mean_of_last(const double *x, int64_t count, int64_t last)
{
    double sum = 0;
    const int64_t from = count > last ? count - last : 0;
    for (int64_t i = from; i < count; i++)
        sum += x[i];
    return count > from ? sum / (double)(count - from) : NAN;
}

static const char *network_text(gathered *r)
{
    enum { FLEX, UNET, UVIT };
    const fx_config *c = &r->config;
    const char *channels = list_text(r, &c->model_channels, "-"),
               *blocks = list_text(r, &c->model_blocks, "-");
    if (c->model_arch == UVIT)
        return fx_pool_print(r->pool, "UViT, width %lld, depth %lld, patches of %lld x %lld pixels",
                             (long long)c->model_embed_dim, (long long)c->model_depth,
                             (long long)c->model_patch, (long long)c->model_patch);
    if (c->model_arch == UNET)
        return fx_pool_print(r->pool, "U-Net, channels %s, blocks %s, attention at maps of side %s",
                             channels, blocks, list_text(r, &c->model_attention_sides, "none"));
    return fx_pool_print(r->pool, "FLEX, channels %s, blocks %s, depth %lld", channels, blocks,
                         (long long)c->model_depth);
}

static void gather_facts(gathered *r)
{
    static const char *const optimizers[] = {"Lion", "AdamW"}, *const tasks[] = {"SR and FC", "SR",
                                                                                 "FC"};
    const fx_config *c = &r->config;
    add_fact(r, "model", network_text(r));
    add_fact(r, "tasks", tasks[c->model_tasks]);
    add_fact(r, "patch",
             fx_pool_print(r->pool,
                           "%lld x %lld pixels, super-resolution x%lld, forecast from %lld snapshots",
                           (long long)c->data_patch, (long long)c->data_patch,
                           (long long)c->data_factor, (long long)c->model_cond));
    add_fact(r, "data", fx_pool_print(r->pool, "%s", c->data_path));
    add_fact(r, "training",
             fx_pool_print(r->pool, "%s, learning rate %g, batch %lld, %lld of %lld steps",
                           optimizers[c->train_optimizer], c->train_learning_rate,
                           (long long)c->train_global_batch,
                           (long long)(r->steps ? r->step[r->steps - 1] : 0),
                           (long long)c->train_steps));
    if (r->steps > 0)
        add_fact(
            r, "speed",
            fx_pool_print(r->pool, "%.1f samples/s (mean of the last 50 steps)",
                          (double)c->train_global_batch / mean_of_last(r->column[4], r->steps, 50)));
}

static const char *const PARAGRAPHS[] = {
    "RFNE is the norm of the error over the norm of the truth, a patch at a time, averaged. A ratio is "
    "the model's RFNE "
    "over its floor's: bicubic interpolation for super-resolution, the unchanged last snapshot for "
    "forecasts. Intervals "
    "are 95 % block bootstraps over time; they do not hold the spread between training seeds.",
    "Few DDIM steps from noise give something close to the conditional mean, which makes RFNE small "
    "and fine scales "
    "weak. A low RFNE therefore says nothing about the realism of small eddies; the spectrum does.",
    "A ratio to persistence says little where the flow hardly changes between two snapshots: "
    "persistence is almost right there. Where the change is steady besides, linear extrapolation, in "
    "the table as well, is the floor that counts.",
    "A model of this size, trained for minutes on patches of a coarse grid, shows that the whole chain "
    "works and that "
    "it beats its floors, also at a Reynolds number it never saw. It can't show what the published "
    "models reach: "
    "those have 20 to 400 times the parameters and see 256 pixel patches of 2048 x 2048 fields for "
    "hundreds of epochs."};

static fx_status write(gathered *r, const char *folder)
{
    char path[FX_PATH_MAX];
    const fx_curve losses[] = {{"super-resolution", r->step, r->column[0], r->steps},
                               {"forecast", r->step, r->column[1], r->steps},
                               {"validation", r->validated, r->validation[0], r->validations}};
    const fx_curve errors[] = {{"super-resolution", r->validated, r->validation[1], r->validations},
                               {"bicubic", r->validated, r->validation[2], r->validations},
                               {"forecast", r->validated, r->validation[3], r->validations},
                               {"persistence", r->validated, r->validation[4], r->validations}};
    const fx_curve norm = {"gradient norm", r->step, r->column[2], r->steps};
    const fx_curve rate = {"learning rate", r->step, r->column[3], r->steps};
    fx_chart chart[5];
    int charts = 0;
    chart[charts++] = (fx_chart){.title = "Loss",
                                 .x_label = "step",
                                 .y_label = "loss",
                                 .smooth = 16,
                                 .curve = losses,
                                 .curves = r->validations ? 3 : 2};
    if (r->validations)
        chart[charts++] = (fx_chart){.title = "Validation",
                                     .x_label = "step",
                                     .y_label = "RFNE",
                                     .note = "EMA weights on the same patches and noise each time, "
                                             "means over Reynolds numbers; bicubic "
                                             "and persistence are the floors.",
                                     .curve = errors,
                                     .curves = 4};
    chart[charts++] = (fx_chart){.title = "Gradient norm before clipping",
                                 .x_label = "step",
                                 .y_label = "norm",
                                 .log_y = true,
                                 .smooth = 16,
                                 .curve = &norm,
                                 .curves = 1};
    chart[charts++] = (fx_chart){
        .title = "Learning rate", .x_label = "step", .y_label = "rate", .curve = &rate, .curves = 1};
    if (r->spectra)
        chart[charts++] = (fx_chart){
            .title = "Energy spectrum at Reynolds numbers never trained on",
            .x_label = "wave number",
            .y_label = "E(k)",
            .note = "Hann-windowed patches. Fine scales that the model leaves out show as a gap at the "
                    "right end.",
            .log_x = true,
            .log_y = true,
            .curve = r->spectrum,
            .curves = r->spectra};
    fx_report report = {.title = "FLEX-HPC run",
                        .summary =
                            r->steps && r->step[r->steps - 1] >= (double)r->config.train_steps
                                ? "Training finished."
                                : "Training did not finish: what is here is of the newest checkpoint.",
                        .fact = r->fact,
                        .facts = r->facts,
                        .goal = 0.7,
                        .score = r->score,
                        .scores = r->scores,
                        .panel = r->panel,
                        .panels = r->panels,
                        .chart = chart,
                        .charts = r->steps ? charts : 0,
                        .paragraph = PARAGRAPHS,
                        .paragraphs = sizeof PARAGRAPHS / sizeof *PARAGRAPHS,
                        .config = r->config_text};
    FX_TRY(fx_path(path, "%s/ranks.json", folder));
    FX_TRY(fx_stragglers_read(path, r->pool, &report));
    FX_TRY(fx_path(path, "%s/report.html", folder));
    return fx_report_write(&report, path);
}

fx_status fx_run_report(const char *folder)
{
    gathered *r = NULL;
    char path[FX_PATH_MAX];
    size_t size = 0;
    fx_status status = FX_OK;
    FX_TRY(fx_path(path, "%s/config.yaml", folder));
    FX_TRY(FX_ALLOC(r, 1));
    FX_TRY_DONE(fx_pool_create(&r->pool));
    FX_TRY_DONE(fx_read_text(path, FX_CONFIG_TEXT_MAX, &r->config_text, &size));
    FX_TRY_DONE(fx_config_parse(&r->config, path, r->config_text, size, NULL));
    FX_TRY_DONE(read_metrics(r, folder));
    FX_TRY_DONE(read_evaluations(r, folder));
    gather_facts(r);
    FX_TRY_DONE(write(r, folder));
done:
    fx_free(r->config_text);
    fx_free(r->metrics_text);
    for (int i = 0; i < r->evaluations; i++)
        fx_eval_file_free(&r->evaluation[i]);
    fx_pool_free(&r->pool);
    fx_free(r);
    return status;
}
