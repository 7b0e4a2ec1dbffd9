/* run_look.c: the state of a run from its folder: the lock says whether it runs, the tail of
 * metrics.jsonl where it is, checkpoints and logs how it ended. Reads beside a run that writes: a line
 * without its end is not there yet. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "flexhpc/config.h"
#include "flexhpc/eval.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/train.h"
#include "flexhpc/watch.h"
#include "latest.h"

enum { TAIL = 1 << 18, RECORD_MAX = 1 << 30, NEWEST = 50, LOG_TAIL = 1 << 14 };
static const double WAITS = 0.2;             /* share of the time: an alarm */
static const double SILENT = 60, STEPS = 20; /* seconds, and as many steps: an alarm */

static void alarm_add(fx_run_view *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void alarm_add(fx_run_view *v, const char *fmt, ...)
{
    if (v->alarms == FX_VIEW_ALARMS) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(v->alarm[v->alarms], FX_VIEW_TEXT, fmt, args);
    va_end(args);
    fx_make_printable(v->alarm[v->alarms++]);
}

static bool is_there(const char *folder, const char *name)
{
    char path[FX_PATH_MAX];
    if (fx_path(path, "%s/%s", folder, name) == FX_OK) return fx_file_exists(path);
    fx_error_clear();
    return false;
}

bool fx_is_run(const char *folder)
{
    return is_there(folder, "config.yaml") || is_there(folder, "metrics.jsonl") ||
           is_there(folder, "ckpt") || is_there(folder, "log/rank-0000.log");
}

const char *fx_run_state_name(fx_run_state state)
{
    static const char *const names[] = {"running", "stopped", "finished", "failed"};
    return names[state];
}

/* ---- metrics.jsonl */

/* The last `most` bytes of a file; *text is freed with fx_free. */
static fx_status read_tail(const char *path, size_t most, char **text, size_t *size, bool *whole)
{
    struct stat info;
    fx_status status = FX_OK;
    *text = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    FX_REQUIRE(fd >= 0 && fstat(fd, &info) == 0, FX_EIO, "%s: open: %s", path, strerror(errno));
    *whole = (size_t)info.st_size <= most;
    *size = *whole ? (size_t)info.st_size : most;
    FX_TRY_DONE(FX_ALLOC(*text, *size + 1));
    const ssize_t n = pread(fd, *text, *size, info.st_size - (off_t)*size);
    if (n < 0) status = fx_fail(FX_EIO, "%s: read: %s", path, strerror(errno));
    *size = n > 0 ? (size_t)n : 0;
done:
    close(fd);
    return status;
}

static double number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

typedef struct sums {
    double seconds, samples, wait, own_median, own_most;
    int steps;
    double newest[FX_ENERGY_KINDS], oldest[FX_ENERGY_KINDS]; /* joules since the run began, at these */
    double after;                                            /* samples after the oldest */
    bool torn, foreign;                                      /* the last line; another one */
} sums;

static void take_validation(fx_run_view *v, const json_t *line, int64_t step)
{
    static const char *const names[2][2] = {{"val_rfne_sr", "val_floor_sr"},
                                            {"val_rfne_fc", "val_floor_fc"}};
    if (v->validated >= 0 || !json_object_get(line, "val_loss")) return;
    v->validated = step;
    for (int task = 0; task < 2; task++) {
        v->rfne[task] = number_of(line, names[task][0]);
        v->floor[task] = number_of(line, names[task][1]);
    }
}

static void energy_of(const json_t *line, double joules[FX_ENERGY_KINDS])
{
    joules[FX_ENERGY_CPU] = number_of(line, "energy_cpu_j");
    joules[FX_ENERGY_GPU] = number_of(line, "energy_gpu_j");
}

/* Of the kinds that the newest line knows; NaN: of none, or of one that the oldest does not know. */
static void add_energy(fx_run_view *v, const sums *s)
{
    double joules = 0, since = 0;
    int kinds = 0;
    for (int kind = 0; kind < FX_ENERGY_KINDS; kind++) {
        if (isnan(s->newest[kind])) continue;
        joules += s->newest[kind];
        since += s->newest[kind] - s->oldest[kind];
        kinds++;
    }
    if (kinds == 0) return;
    v->joules = joules;
    if (s->after > 0) v->sample_joules = since / s->after;
}

/* One line, from the newest to older ones. */
static void take_line(fx_run_view *v, sums *s, const char *text, size_t length)
{
    json_error_t error;
    json_t *line = json_loadb(text, length, 0, &error);
    const json_t *number = json_object_get(line, "step");
    if (!json_is_integer(number)) {
        s->foreign = true;
        json_decref(line);
        return;
    }
    const int64_t step = json_integer_value(number);
    if (v->step < 0) {
        v->step = step;
        v->loss = number_of(line, "loss");
        v->loss_task[0] = number_of(line, "loss_sr");
        v->loss_task[1] = number_of(line, "loss_fc");
        v->norm = number_of(line, "grad_norm");
        v->rate = number_of(line, "lr");
        energy_of(line, s->newest);
    }
    if (s->steps < NEWEST) {
        s->steps++;
        s->after = s->samples;
        energy_of(line, s->oldest);
        s->seconds += number_of(line, "seconds");
        s->samples += number_of(line, "seconds") * number_of(line, "samples_per_s");
        s->wait += number_of(line, "data_wait");
        s->own_median += number_of(line, "own_median");
        s->own_most += number_of(line, "own_most");
    }
    if (v->recents < FX_VIEW_LOSSES) v->recent[v->recents++] = number_of(line, "loss");
    take_validation(v, line, step);
    json_decref(line);
}

/* Lines of a tail, newest first. One without its end is being written, or torn; the first of a tail
 * that is not the whole file is a part of a line. */
static void take_lines(fx_run_view *v, sums *s, const char *text, size_t size, bool whole)
{
    const char *end = memrchr(text, '\n', size);
    s->torn = size > 0 && (!end || end + 1 < text + size);
    while (end) {
        const char *before = end > text ? memrchr(text, '\n', (size_t)(end - text)) : NULL;
        if (!before && !whole) return;
        const char *begin = before ? before + 1 : text;
        take_line(v, s, begin, (size_t)(end - begin));
        end = before;
    }
}

/* Further back where the tail has no validation and the run makes some. */
static fx_status read_record(const char *folder, bool validates, fx_run_view *v, sums *s)
{
    char path[FX_PATH_MAX], *text = NULL;
    const fx_run_view before = *v;
    size_t size = 0;
    bool whole = false;
    FX_TRY(fx_path(path, "%s/metrics.jsonl", folder));
    for (size_t most = TAIL; fx_file_exists(path) && !whole && most <= RECORD_MAX; most *= 16) {
        *v = before;
        *s = (sums){0};
        FX_TRY(read_tail(path, most, &text, &size, &whole));
        take_lines(v, s, text, size, whole);
        fx_free(text);
        if (!validates || v->validated >= 0) break;
    }
    for (int i = 0; i < v->recents / 2; i++) { /* oldest first */
        const double swap = v->recent[i];
        v->recent[i] = v->recent[v->recents - 1 - i];
        v->recent[v->recents - 1 - i] = swap;
    }
    return FX_OK;
}

/* ---- How it ended. */

/* The text of a log's last line, when that is an error's; "" else. Lines are log.c's. */
static void last_error(const char *path, char out[FX_VIEW_TEXT])
{
    char *text = NULL;
    size_t size = 0;
    bool whole;
    out[0] = '\0';
    if (read_tail(path, LOG_TAIL, &text, &size, &whole) != FX_OK) {
        fx_error_clear();
        return;
    }
    while (size > 0 && text[size - 1] == '\n')
        text[--size] = '\0';
    const char *line = strrchr(text, '\n'), *rank = strstr(line ? line : text, "Z rank ");
    const char *error = rank ? strstr(rank, " error  ") : NULL;
    if (error) snprintf(out, FX_VIEW_TEXT, "%s", error + sizeof " error  " - 1);
    fx_free(text);
}

/* The first rank's last words; another's where that one had none. */
static void find_error(const char *folder, char out[FX_VIEW_TEXT])
{
    char path[FX_PATH_MAX], logs[FX_PATH_MAX], **names = NULL;
    int count = 0;
    out[0] = '\0';
    if (fx_path(logs, "%s/log", folder) != FX_OK ||
        fx_list_dir(logs, ".log", &names, &count) != FX_OK) {
        fx_error_clear();
        return;
    }
    for (int i = 0; i < count && !out[0]; i++)
        if (fx_path(path, "%s/%s", logs, names[i]) == FX_OK) last_error(path, out);
    fx_free(names);
}

static double age_of(const char *folder, const char *name)
{
    char path[FX_PATH_MAX];
    struct stat info;
    if (fx_path(path, "%s/%s", folder, name) != FX_OK || stat(path, &info) != 0) return INFINITY;
    return difftime(time(NULL), info.st_mtime);
}

static fx_run_state state_of(const char *folder, const fx_run_view *v, char error[FX_VIEW_TEXT])
{
    error[0] = '\0';
    if (v->holder[0]) return FX_RUN_RUNNING;
    if (v->steps >= 0 && v->saved >= v->steps) return FX_RUN_FINISHED;
    find_error(folder, error);
    if (error[0] || v->saved < 0 || v->step > v->saved) return FX_RUN_FAILED;
    return FX_RUN_STOPPED;
}

static void look_for_alarms(const char *folder, fx_run_view *v, const sums *s, double straggler,
                            const char *upsampling)
{
    const char *const floors[] = {upsampling, "persistence"};
    if (v->state == FX_RUN_RUNNING && v->quiet > SILENT + STEPS * (s->steps ? v->seconds : 0))
        alarm_add(v, "silent for %.0f s", v->quiet);
    if (v->state == FX_RUN_RUNNING && is_there(folder, "STOP"))
        alarm_add(v, "asked to stop by the file STOP");
    if (v->step >= 0 && !isfinite(v->loss))
        alarm_add(v, "the loss of step %lld is not finite", (long long)v->step);
    if (v->wait > WAITS) alarm_add(v, "waits for data in %.0f %% of the time", 100 * v->wait);
    if (straggler > 0 && s->own_most > straggler * s->own_median)
        alarm_add(v, "the slowest rank takes %.2f x the median", s->own_most / s->own_median);
    for (int task = 0; task < 2; task++)
        if (v->rfne[task] >= v->floor[task])
            alarm_add(v, "%s: RFNE %.3f at step %lld, no better than %s (%.3f)", fx_task_titles[task],
                      v->rfne[task], (long long)v->validated, floors[task], v->floor[task]);
    if (s->foreign) alarm_add(v, "metrics.jsonl has lines that are no steps");
    if (s->torn && v->state != FX_RUN_RUNNING) alarm_add(v, "the last line of metrics.jsonl is torn");
}

static void say_how_it_failed(fx_run_view *v, const char *error)
{
    if (v->state != FX_RUN_FAILED) return;
    if (error[0])
        alarm_add(v, "%s", error);
    else if (v->step < 0 && v->saved < 0)
        alarm_add(v, "ended before its first step");
    else if (v->saved < 0)
        alarm_add(v, "ended without saving (killed?): %lld steps, no checkpoint", (long long)v->step);
    else
        alarm_add(
            v,
            "ended without saving (killed?): its checkpoint is of step %lld, its record goes to %lld",
            (long long)v->saved, (long long)v->step);
}

/* Keys that are missing or wrong leave the rest to the other files. */
static void read_config(const char *folder, fx_run_view *v, fx_config *config, bool *known)
{
    char path[FX_PATH_MAX];
    *known = false;
    if (!is_there(folder, "config.yaml")) return;
    *known =
        fx_path(path, "%s/config.yaml", folder) == FX_OK && fx_config_load(config, path, NULL) == FX_OK;
    if (*known)
        v->steps = config->train_steps;
    else
        alarm_add(v, "%s", fx_error_message());
    fx_error_clear();
}

fx_status fx_run_look(const char *folder, fx_run_view *v)
{
    fx_config *config = NULL;
    char error[FX_VIEW_TEXT], checkpoints[FX_PATH_MAX];
    sums s = {0};
    bool known = false;
    FX_REQUIRE(fx_file_exists(folder), FX_EIO, "%s: no such folder", folder);
    FX_REQUIRE(fx_is_run(folder), FX_EIO,
               "%s: not a run folder: it has no config.yaml, no metrics.jsonl, no ckpt/", folder);
    *v = (fx_run_view){.step = -1,
                       .steps = -1,
                       .validated = -1,
                       .loss = NAN,
                       .loss_task = {NAN, NAN},
                       .norm = NAN,
                       .rate = NAN,
                       .seconds = NAN,
                       .samples = NAN,
                       .wait = NAN,
                       .joules = NAN,
                       .sample_joules = NAN,
                       .left = NAN,
                       .rfne = {NAN, NAN},
                       .floor = {NAN, NAN}};
    fx_lock_holder(folder, v->holder, sizeof v->holder);
    FX_TRY(FX_ALLOC(config, 1));
    read_config(folder, v, config, &known);
    const fx_status status = read_record(folder, known && config->validate_every > 0, v, &s);
    const double straggler = known ? config->run_straggler : 0;
    const char *upsampling = known ? fx_upsampling_name(config) : "interpolation";
    fx_free(config);
    FX_TRY(status);
    FX_TRY(fx_path(checkpoints, "%s/ckpt", folder));
    v->saved = fx_latest_step(checkpoints);
    v->quiet = fmin(age_of(folder, "metrics.jsonl"),
                    fmin(age_of(folder, "log/rank-0000.log"), age_of(folder, "ckpt")));
    if (s.steps) {
        v->seconds = s.seconds / s.steps;
        v->samples = s.samples / s.seconds;
        v->wait = s.wait / s.seconds;
        add_energy(v, &s);
    }
    v->state = state_of(folder, v, error);
    if (v->steps >= 0 && v->step >= 0 && v->state != FX_RUN_FINISHED)
        v->left = v->seconds * (double)(v->steps > v->step ? v->steps - v->step : 0);
    say_how_it_failed(v, error);
    look_for_alarms(folder, v, &s, straggler, upsampling);
    return FX_OK;
}
