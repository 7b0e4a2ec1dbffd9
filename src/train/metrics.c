/* metrics.c: appends to `metrics.jsonl` and to TensorBoard's file, and cuts it back on resume. NaN and
 * infinity are null: JSON has no words for them. */
#include "metrics.h"

#include <errno.h>
#include <math.h>
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

fx_status fx_metrics_open(const char *folder, int64_t step, fx_metrics *out)
{
    char *text = NULL;
    size_t size = 0;
    char curves[FX_PATH_MAX];
    out->file = NULL;
    out->events = NULL;
    FX_TRY(fx_path(curves, "%s/tb", folder));
    FX_TRY(fx_path(out->path, "%s/metrics.jsonl", folder));
    if (fx_file_exists(out->path)) {
        FX_TRY(fx_read_text(out->path, RECORD_MAX, &text, &size));
        const fx_status status = fx_write_text(out->path, text, kept(text, size, step));
        fx_free(text);
        if (status != FX_OK) return status;
    }
    out->file = fopen(out->path, "ae");
    FX_REQUIRE(out->file, FX_EIO, "%s: open: %s", out->path, strerror(errno));
    return fx_tfevents_open(curves, step + 1, &out->events);
}

fx_status fx_metrics_add(fx_metrics *m, int64_t step, const fx_step_report *r, double learning_rate,
                         double seconds, double wait, int64_t samples)
{
    static const char *const names[] = {"loss",      "loss_sr", "loss_fc", "loss_contrastive",
                                        "grad_norm", "lr",      "seconds", "samples_per_s",
                                        "data_wait"};
    const double values[] = {r->loss, r->loss_task[0], r->loss_task[1], r->contrast,
                             r->norm, learning_rate,   seconds,         (double)samples / seconds,
                             wait};
    enum { COUNT = sizeof values / sizeof *values };
    fprintf(m->file, "%s%lld", STEP_KEY, (long long)step);
    for (int i = 0; i < COUNT; i++)
        if (isfinite(values[i]))
            fprintf(m->file, ", \"%s\": %.9g", names[i], values[i]);
        else
            fprintf(m->file, ", \"%s\": null", names[i]);
    fputs("}\n", m->file);
    FX_REQUIRE(fflush(m->file) == 0, FX_EIO, "%s: write: %s", m->path, strerror(errno));
    return fx_tfevents_add(m->events, step, names, values, COUNT);
}

void fx_metrics_close(fx_metrics *m)
{
    if (m->file) fclose(m->file);
    m->file = NULL;
    fx_tfevents_close(&m->events);
}
