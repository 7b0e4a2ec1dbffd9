/* flexhpc status DIR...: what runs are doing, a row each, from their files. Local. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "flexhpc/io.h"
#include "flexhpc/watch.h"
#include "run_lines.h"

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static fx_status append_real(json_t *row, const char *key, double value)
{
    json_t *number = isfinite(value) ? json_real(value) : json_null();
    return json_object_set_new(row, key, number) == 0 ? FX_OK
                                                      : fx_fail(FX_ENOMEM, "no memory for a run");
}

#define REAL(member) offsetof(fx_run_view, member)
/* A row of --json. */
static const fx_json_field fields[] = {
    {"run", "its folder", 0},
    {"state", "running, stopped, finished or failed", 0},
    {"holder", "which process runs it; empty: none does", 0},
    {"step", "newest update on record", 0},
    {"steps", "updates that its configuration asks for", 0},
    {"saved", "step of the newest checkpoint", 0},
    {"validated", "step of the newest validation", 0},
    {"loss", "of the newest step", REAL(loss)},
    {"grad_norm", "gradient norm of the newest step, before clipping", REAL(norm)},
    {"lr", "learning rate of the newest step", REAL(rate)},
    {"seconds", "a step takes, mean over the newest 50", REAL(seconds)},
    {"samples_per_s", "samples a second, over the newest 50 steps", REAL(samples)},
    {"data_wait", "share of these steps' time spent waiting for data, 0 to 1", REAL(wait)},
    {"energy_j",
     "joules since the run began, of the counters that the newest step has, processors' and "
     "GPUs', of all nodes",
     REAL(joules)},
    {"sample_j",
     "joules a sample by these counters, over the newest 50 steps; null where one of them "
     "began within these",
     REAL(sample_joules)},
    {"left", "seconds that the steps to come take, without saves and validations", REAL(left)},
    {"quiet", "seconds since the run wrote to its record or its log", REAL(quiet)},
    {"rfne_sr", "super-resolution's RFNE at the newest validation", REAL(rfne[0])},
    {"floor_sr", "interpolation's there", REAL(floor[0])},
    {"rfne_fc", "the forecast's RFNE there", REAL(rfne[1])},
    {"floor_fc", "persistence's there", REAL(floor[1])},
    {"alarms", "what is wrong, a text each", 0},
    {0},
};
#undef REAL

/* Numbers that are not known are null, steps -1. */
static fx_status append(json_t *rows, const char *name, const fx_run_view *v)
{
    json_t *alarms = json_array(),
           *row = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "run", name, "state",
                            fx_run_state_name(v->state), "holder", v->holder, "step",
                            (json_int_t)v->step, "steps", (json_int_t)v->steps, "saved",
                            (json_int_t)v->saved, "validated", (json_int_t)v->validated);
    for (int i = 0; i < v->alarms; i++)
        json_array_append_new(alarms, json_string(v->alarm[i]));
    fx_status status = row && alarms ? FX_OK : fx_fail(FX_ENOMEM, "no memory for a run");
    for (const fx_json_field *f = fields; status == FX_OK && f->name; f++)
        if (f->real > 0)
            status =
                append_real(row, f->name, *(const double *)(const void *)((const char *)v + f->real));
    if (row) json_object_set(row, "alarms", alarms);
    json_decref(alarms);
    if (status == FX_OK && json_array_append(rows, row) != 0)
        status = fx_fail(FX_ENOMEM, "no memory for a run");
    json_decref(row);
    return status;
}

static fx_status show(const char *folder, json_t *rows)
{
    fx_run_view view;
    char line[FX_RUN_LINE], name[FX_PATH_MAX];
    FX_TRY(fx_run_look(folder, &view));
    FX_TRY(fx_path(name, "%s", folder));
    fx_make_printable(name);
    if (json_array_size(rows) == 0) {
        fx_run_head(line);
        printf("%srun\n", line);
    }
    fx_run_row(&view, line);
    printf("%s%s\n", line, name);
    for (int i = 0; i < view.alarms; i++)
        printf("          ! %s\n", view.alarm[i]);
    return append(rows, name, &view);
}

/* A run, or all runs that a folder holds. */
static fx_status show_all(const char *folder, json_t *rows)
{
    char **names = NULL, path[FX_PATH_MAX];
    int count = 0;
    fx_status status = FX_OK;
    if (!is_folder(folder) || fx_is_run(folder)) return show(folder, rows);
    const size_t before = json_array_size(rows);
    FX_TRY(fx_list_dir(folder, "", &names, &count));
    for (int i = 0; i < count; i++) {
        if (names[i][0] == '.') continue;
        FX_TRY_DONE(fx_path(path, "%s/%s", folder, names[i]));
        if (is_folder(path) && fx_is_run(path)) FX_TRY_DONE(show(path, rows));
    }
    FX_REQUIRE_DONE(json_array_size(rows) > before, FX_EIO,
                    "%s: no run folder, and none in it (one has config.yaml, metrics.jsonl or ckpt/)",
                    folder);
done:
    fx_free(names);
    return status;
}

static fx_status run(fx_cli *cli)
{
    json_t *rows = json_array();
    fx_status status = rows ? FX_OK : fx_fail(FX_ENOMEM, "no memory for the runs");
    for (int i = 0; i < cli->arguments && status == FX_OK; i++)
        status = show_all(cli->argument[i], rows);
    if (status == FX_OK && cli->json) {
        json_t *result = json_pack("{s:i, s:O}", "schema", 1, "runs", rows);
        status = fx_json_write(cli->json, result);
        json_decref(result);
    }
    json_decref(rows);
    return status;
}

const fx_command fx_command_status = {
    .name = "status",
    .arguments = "DIR... [options]",
    .help = "say what runs are doing: of each DIR, a run folder or a folder of such, its state, step, "
            "loss, speed, energy where counters tell, the time that the steps left will take, newest "
            "checkpoint, newest validation, "
            "and what is wrong. Reads files alone; a run is not held up",
    .example = "flexhpc status runs",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--json", "FILE", json,
                                         "writes the same as JSON, {\"schema\": 1, \"runs\": [...]}; "
                                         "what is not known is null, a step -1")),
    .fields = fields,
    .least = 1,
    .most = -1,
    .run = run,
};
