/* run_record.c: reads what a run folder holds. */
#include "run_record.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"

enum { RECORD_MAX = 1 << 30, MOST_TEXT = 16 << 20 };

static const char *const COLUMNS[FX_RECORD_COLUMNS] = {[FX_RECORD_SR] = "loss_sr",
                                                       [FX_RECORD_FC] = "loss_fc",
                                                       [FX_RECORD_CONTRAST] = "loss_contrastive",
                                                       [FX_RECORD_NORM] = "grad_norm",
                                                       [FX_RECORD_RATE] = "lr",
                                                       [FX_RECORD_SECONDS] = "seconds",
                                                       [FX_RECORD_SPEED] = "samples_per_s",
                                                       [FX_RECORD_WAIT] = "data_wait",
                                                       [FX_RECORD_CPU_JOULES] = "energy_cpu_j",
                                                       [FX_RECORD_GPU_JOULES] = "energy_gpu_j"};
static const char *const VALIDATION[FX_RECORD_VALIDATED] = {
    "val_loss",      "val_rfne_sr",   "val_floor_sr",  "val_rfne_fc",  "val_floor_fc",
    "val_target_sr", "val_output_sr", "val_target_fc", "val_output_fc"};

/* ---- metrics.jsonl: one object a line; null is a number that was not finite. */

static double number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static fx_status read_line(fx_run_record *r, char *line, const char *path)
{
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    FX_REQUIRE(object, FX_EVALUE, "%s: line %lld: %s", path, (long long)r->steps + 1, error.text);
    r->step[r->steps] = number_of(object, "step");
    for (int c = 0; c < FX_RECORD_COLUMNS; c++)
        r->column[c][r->steps] = number_of(object, COLUMNS[c]);
    if (json_object_get(object, VALIDATION[0])) {
        r->validated[r->validations] = r->step[r->steps];
        for (int c = 0; c < FX_RECORD_VALIDATED; c++)
            r->validation[c][r->validations] = number_of(object, VALIDATION[c]);
        r->validations++;
    }
    r->steps++;
    json_decref(object);
    return FX_OK;
}

static fx_status read_lines(fx_run_record *r, char *text, const char *path)
{
    char *rest = NULL;
    size_t lines = 1;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    if (!(r->step = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    if (!(r->validated = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    for (int c = 0; c < FX_RECORD_COLUMNS; c++)
        if (!(r->column[c] = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    for (int c = 0; c < FX_RECORD_VALIDATED; c++)
        if (!(r->validation[c] = fx_pool_calloc(r->pool, lines, sizeof *r->step))) return FX_ENOMEM;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        FX_TRY(read_line(r, line, path));
    return FX_OK;
}

static fx_status read_metrics(fx_run_record *r)
{
    char path[FX_PATH_MAX], *text = NULL;
    size_t size = 0;
    FX_TRY(fx_path(path, "%s/metrics.jsonl", r->folder));
    if (!fx_file_exists(path)) return FX_OK;
    FX_TRY(fx_read_text(path, RECORD_MAX, &text, &size));
    while (size > 0 && text[size - 1] != '\n') /* being written, or torn */
        text[--size] = '\0';
    const fx_status status = read_lines(r, text, path);
    fx_free(text);
    return status;
}

/* ---- eval-*.h5 */

static int by_task_and_reynolds(const void *a, const void *b)
{
    const fx_score *x = &(*(const fx_eval_row *const *)a)->score,
                   *y = &(*(const fx_eval_row *const *)b)->score;
    if (x->task != y->task) return x->task < y->task ? -1 : 1;
    return x->reynolds < y->reynolds ? -1 : x->reynolds > y->reynolds;
}

/* Those with an eval.name are other samplings of the same model: the rows of scores have no place for
 * them (run_named.c has). */
static void list_rows(fx_run_record *r)
{
    int rows = 0;
    for (int i = 0; i < r->evaluations; i++)
        for (int k = 0; !r->evaluation[i].name[0] && k < r->evaluation[i].rows; k++)
            if (rows++ < FX_RECORD_ROWS) r->row[r->rows++] = &r->evaluation[i].row[k];
    if (rows > FX_RECORD_ROWS)
        fx_log(FX_WARN, "%s: %d of the %d rows of its evaluations are shown", r->folder, r->rows, rows);
    qsort(r->row, (size_t)r->rows, sizeof *r->row, by_task_and_reynolds);
}

fx_status fx_run_record_note(fx_run_record *r, const char *text)
{
    if (!text) return FX_ENOMEM;
    if (r->notes == FX_RECORD_NOTES) return FX_OK;
    const bool last = r->notes == FX_RECORD_NOTES - 1;
    r->note[r->notes++] = last ? "There are more such lines: the program's warnings have all." : text;
    return FX_OK;
}

fx_status fx_run_record_leave_out(fx_run_record *r, const char *path)
{
    const char *why = fx_error_message();
    const bool named = strstr(why, path) != NULL;
    const char *text =
        fx_pool_print(r->pool, "Left out: %s%s%s", named ? "" : path, named ? "" : ": ", why);
    if (text) fx_log(FX_WARN, "left out of the report: %s", text + strlen("Left out: "));
    fx_error_clear();
    return fx_run_record_note(r, text);
}

static fx_status read_evaluations(fx_run_record *r)
{
    char **names = NULL, path[FX_PATH_MAX];
    int count = 0;
    fx_status status = FX_OK;
    FX_TRY(fx_eval_file_list(r->folder, &names, &count));
    if (!(r->evaluation = fx_pool_calloc(r->pool, (size_t)count, sizeof *r->evaluation)))
        status = FX_ENOMEM;
    for (int i = 0; status == FX_OK && i < count; i++) {
        fx_eval_file *file = &r->evaluation[r->evaluations];
        status = fx_path(path, "%s/%s", r->folder, names[i]);
        if (status == FX_OK && fx_eval_file_read(path, file) == FX_OK) {
            r->evaluations++;
        } else if (status == FX_OK) {
            fx_eval_file_free(file);
            status = fx_run_record_leave_out(r, path);
        }
    }
    fx_free(names);
    if (status == FX_OK) list_rows(r);
    return status;
}

/* ---- The rest. */

static fx_status read_if_there(const char *folder, const char *name, char **text)
{
    char path[FX_PATH_MAX];
    size_t size = 0;
    FX_TRY(fx_path(path, "%s/%s", folder, name));
    return fx_file_exists(path) ? fx_read_text(path, MOST_TEXT, text, &size) : FX_OK;
}

static fx_status read_config(fx_run_record *r)
{
    char path[FX_PATH_MAX];
    size_t size = 0;
    FX_TRY(fx_path(path, "%s/config.yaml", r->folder));
    FX_TRY(fx_read_text(path, FX_CONFIG_TEXT_MAX, &r->config_text, &size));
    return fx_config_parse(&r->config, path, r->config_text, size, NULL);
}

fx_status fx_run_record_read(const char *folder, fx_run_record **out)
{
    fx_run_record *r = NULL;
    FX_TRY(FX_ALLOC(r, 1));
    *out = r;
    FX_TRY(fx_pool_create(&r->pool));
    if (!(r->folder = fx_pool_print(r->pool, "%s", folder))) return FX_ENOMEM;
    FX_TRY(read_config(r));
    FX_TRY(read_metrics(r));
    FX_TRY(read_evaluations(r));
    FX_TRY(read_if_there(folder, "env.txt", &r->environment));
    return read_if_there(folder, "cmd.txt", &r->commands);
}

void fx_run_record_free(fx_run_record **record)
{
    fx_run_record *r = *record;
    *record = NULL;
    if (!r) return;
    fx_free(r->config_text);
    fx_free(r->environment);
    fx_free(r->commands);
    for (int i = 0; i < r->evaluations; i++)
        fx_eval_file_free(&r->evaluation[i]);
    fx_pool_free(&r->pool);
    fx_free(r);
}

int64_t fx_run_record_parameters(const fx_run_record *r)
{
    const char *line = r->environment ? strstr(r->environment, "\nmodel ") : NULL;
    long long count = 0;
    return line && sscanf(line, "\nmodel %lld parameters", &count) == 1 ? count : 0;
}
