/* metrics.c: appends to `metrics.jsonl` and to TensorBoard's file, and cuts it back on resume. NaN and
 * infinity are null: JSON has no words for them. */
#include "metrics.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { RECORD_MAX = 1 << 30 };

static const char STEP_KEY[] = "{\"schema\": 1, \"step\": ";

/* Bytes of `text` up to and without the first line that is torn, foreign, or of a later step. */
static size_t kept(const char *text, size_t size, int64_t step)
{
    size_t end = 0;
    for (const char *line = text, *stop; line < text + size; line = stop + 1) {
        stop = memchr(line, '\n', (size_t)(text + size - line));
        if (!stop || strncmp(line, STEP_KEY, sizeof STEP_KEY - 1) != 0) break;
        if (atoll(line + sizeof STEP_KEY - 1) > step) break;
        end = (size_t)(stop + 1 - text);
    }
    return end;
}

static const char *const ENERGY[FX_ENERGY_KINDS] = {
    [FX_ENERGY_CPU] = "energy_cpu_j", [FX_ENERGY_GPU] = "energy_gpu_j"};

/* What the last of the lines that know it says; 0: none does. */
static double energy_on_record(const char *text, size_t size, const char *name)
{
    char key[32];
    const char *last = NULL;
    snprintf(key, sizeof key, "\"%s\": ", name);
    for (const char *at = text; (at = memmem(at, (size_t)(text + size - at), key, strlen(key))); at++)
        last = at;
    return last ? strtod(last + strlen(key), NULL) : 0;
}

fx_status fx_metrics_open(const char *folder, int64_t step, fx_metrics *out)
{
    char *text = NULL;
    size_t size = 0;
    char curves[FX_PATH_MAX];
    out->file = NULL;
    out->events = NULL;
    memset(out->joules, 0, sizeof out->joules);
    FX_TRY(fx_path(curves, "%s/tb", folder));
    FX_TRY(fx_path(out->path, "%s/metrics.jsonl", folder));
    if (fx_file_exists(out->path)) {
        FX_TRY(fx_read_text(out->path, RECORD_MAX, &text, &size));
        size = kept(text, size, step);
        for (int kind = 0; kind < FX_ENERGY_KINDS; kind++)
            out->joules[kind] = energy_on_record(text, size, ENERGY[kind]);
        const fx_status status = fx_write_text(out->path, text, size);
        fx_free(text);
        if (status != FX_OK) return status;
    }
    out->file = fopen(out->path, "ae");
    FX_REQUIRE(out->file, FX_EIO, "%s: open: %s", out->path, strerror(errno));
    return fx_tfevents_open(curves, step + 1, &out->events);
}

typedef struct record {
    char name[FX_TFEVENTS_SCALARS][48];
    double value[FX_TFEVENTS_SCALARS];
    int count;
} record;

static void put(record *r, double value, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void put(record *r, double value, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->name[r->count], sizeof r->name[0], fmt, args);
    va_end(args);
    r->value[r->count++] = value;
}

static void put_validation(record *r, const fx_validation_report *v)
{
    put(r, v->loss, "val_loss");
    put(r, v->rfne, "val_rfne");
    for (int task = 0; task < 2; task++) {
        double rfne = 0, floor = 0, target = 0, output = 0;
        int count = 0;
        for (int i = 0; i < v->scores; i++) {
            const fx_score *s = &v->score[i];
            if ((int)s->task != task) continue;
            put(r, s->rfne, "val_rfne_%s_re%g", fx_task_names[task], s->reynolds);
            put(r, s->floor[0], "val_floor_%s_re%g", fx_task_names[task], s->reynolds);
            rfne += s->rfne;
            floor += s->floor[0];
            target += s->target;
            output += s->output;
            count++;
        }
        if (count == 0) continue;
        put(r, rfne / count, "val_rfne_%s", fx_task_names[task]);
        put(r, floor / count, "val_floor_%s", fx_task_names[task]);
        put(r, target / count, "val_target_%s", fx_task_names[task]);
        put(r, output / count, "val_output_%s", fx_task_names[task]);
    }
}

_Static_assert(FX_TFEVENTS_SCALARS >= 9 + 3 + FX_ENERGY_KINDS + 10 + 2 * FX_EVALUATION_ROWS,
               "all of put() has room");

static fx_status write_record(fx_metrics *m, int64_t step, const record *r)
{
    const char *names[FX_TFEVENTS_SCALARS];
    fprintf(m->file, "%s%lld", STEP_KEY, (long long)step);
    for (int i = 0; i < r->count; i++) {
        names[i] = r->name[i];
        if (isfinite(r->value[i]))
            fprintf(m->file, ", \"%s\": %.9g", names[i], r->value[i]);
        else
            fprintf(m->file, ", \"%s\": null", names[i]);
    }
    fputs("}\n", m->file);
    FX_REQUIRE(fflush(m->file) == 0, FX_EIO, "%s: write: %s", m->path, strerror(errno));
    return fx_tfevents_add(m->events, step, names, r->value, r->count);
}

fx_status fx_metrics_add(fx_metrics *m, int64_t step, const fx_step_report *s, double learning_rate,
                         double seconds, double wait, int64_t samples, const fx_own_times *own,
                         const fx_validation_report *v)
{
    record r = {.count = 0};
    put(&r, s->loss, "loss");
    put(&r, s->loss_task[0], "loss_sr");
    put(&r, s->loss_task[1], "loss_fc");
    put(&r, s->contrast, "loss_contrastive");
    put(&r, s->norm, "grad_norm");
    put(&r, learning_rate, "lr");
    put(&r, seconds, "seconds");
    put(&r, (double)samples / seconds, "samples_per_s");
    put(&r, wait, "data_wait");
    if (own) {
        put(&r, own->median, "own_median");
        put(&r, own->most, "own_most");
        put(&r, own->slowest, "slowest_rank");
    }
    for (int kind = 0; kind < FX_ENERGY_KINDS; kind++) {
        if (isfinite(s->joules[kind])) m->joules[kind] += s->joules[kind];
        if (isfinite(s->joules[kind])) put(&r, m->joules[kind], "%s", ENERGY[kind]);
    }
    if (v) put_validation(&r, v);
    return write_record(m, step, &r);
}

void fx_metrics_close(fx_metrics *m)
{
    if (m->file) fclose(m->file);
    m->file = NULL;
    fx_tfevents_close(&m->events);
}
