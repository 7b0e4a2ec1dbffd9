/* run_rollouts.c: reads forecasts of many snapshots, a frame at a time. */
#include "run_rollouts.h"

#include <math.h>
#include <string.h>

#include "flexhpc/eval.h"

enum { SHOWN = 5, SIDE = 192, LEADS_MAX = 4096 };
static const double ENOUGH = 0.8; /* the correlation whose lead is quoted */

typedef struct reader {
    fx_h5 *file;
    fx_pool *pool;
    int64_t leads, height, width, past, by;           /* by: pixels that become one */
    float *truth, *model, *last;                      /* (height, width) */
    double *lead, *rfne[2], *correlation[2], *enough; /* by lead: of the model, of persistence */
} reader;

static fx_status open_file(reader *r, bool *is_forecast)
{
    fx_h5_shape shape, past;
    *is_forecast = fx_h5_exists(r->file, "fc_model") && fx_h5_exists(r->file, "fc_truth");
    if (!*is_forecast) return FX_OK;
    FX_TRY(fx_h5_describe(r->file, "fc_model", &shape));
    FX_TRY(fx_h5_describe(r->file, "fc_input", &past));
    FX_REQUIRE(shape.rank == 4 && past.rank == 3 && shape.dim[1] <= LEADS_MAX, FX_EVALUE,
               "fc_model: not (member, lead, y, x)");
    r->leads = shape.dim[1];
    r->height = shape.dim[2];
    r->width = shape.dim[3];
    r->past = past.dim[0];
    const int64_t longest = r->height > r->width ? r->height : r->width;
    r->by = (longest + SIDE - 1) / SIDE;
    const size_t size = (size_t)(r->height * r->width), leads = (size_t)r->leads;
    float *fields = fx_pool_calloc(r->pool, 3 * size, sizeof *fields);
    double *curves = fx_pool_calloc(r->pool, 6 * leads, sizeof *curves);
    if (!fields || !curves) return FX_ENOMEM;
    r->truth = fields;
    r->model = fields + size;
    r->last = fields + 2 * size;
    r->lead = curves;
    for (int i = 0; i < 2; i++) {
        r->rfne[i] = curves + (size_t)(1 + i) * leads;
        r->correlation[i] = curves + (size_t)(3 + i) * leads;
    }
    r->enough = curves + 5 * leads;
    FX_TRY(fx_h5_read(r->file, "lead", NULL, NULL, FX_H5_F64, r->lead));
    return fx_h5_read(r->file, "fc_input", (int64_t[]){r->past - 1, 0, 0},
                      (int64_t[]){1, r->height, r->width}, FX_H5_F32, r->last);
}

static fx_status read_frame(reader *r, int64_t lead)
{
    FX_TRY(fx_h5_read(r->file, "fc_truth", (int64_t[]){lead, 0, 0}, (int64_t[]){1, r->height, r->width},
                      FX_H5_F32, r->truth));
    return fx_h5_read(r->file, "fc_model", (int64_t[]){0, lead, 0, 0},
                      (int64_t[]){1, 1, r->height, r->width}, FX_H5_F32, r->model);
}

/* Means over squares of `by` pixels; what is left at the ends is left out. */
static void reduce(const reader *r, const float *field, float *out)
{
    const int64_t height = r->height / r->by, width = r->width / r->by;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            double sum = 0;
            for (int64_t i = 0; i < r->by * r->by; i++)
                sum += (double)field[(y * r->by + i / r->by) * r->width + x * r->by + i % r->by];
            out[y * width + x] = (float)(sum / (double)(r->by * r->by));
        }
}

/* Scores of every lead, and the frames that are shown. NaN, and a gap, where no truth is known. */
static fx_status read_frames(reader *r, fx_rollout *out)
{
    const int64_t shown = r->leads < SHOWN ? r->leads : SHOWN, size = r->height * r->width;
    const int64_t height = r->height / r->by, width = r->width / r->by;
    float *small = fx_pool_calloc(r->pool, (size_t)(2 * shown * height * width), sizeof *small);
    double *lead = fx_pool_calloc(r->pool, (size_t)shown, sizeof *lead);
    if (!small || !lead) return FX_ENOMEM;
    float *truth = small, *model = small + shown * height * width;
    for (int64_t i = 0, k = 0; i < r->leads; i++) {
        FX_TRY(read_frame(r, i));
        r->rfne[0][i] = fx_rfne(r->model, r->truth, size);
        r->rfne[1][i] = fx_rfne(r->last, r->truth, size);
        r->correlation[0][i] = fx_correlation(r->model, r->truth, size);
        r->correlation[1][i] = fx_correlation(r->last, r->truth, size);
        r->enough[i] = ENOUGH;
        if (i != (shown > 1 ? k * (r->leads - 1) / (shown - 1) : 0)) continue;
        reduce(r, r->truth, truth + k * height * width);
        reduce(r, r->model, model + k * height * width);
        lead[k++] = r->lead[i];
    }
    *out = (fx_rollout){.height = height,
                        .width = width,
                        .frames = (int)shown,
                        .lead = lead,
                        .truth = truth,
                        .model = model};
    return FX_OK;
}

static fx_status describe(reader *r, const char *name, fx_run_rollouts *out)
{
    char feedback[32] = "";
    double reynolds = NAN;
    fx_rollout *rollout = &out->rollout[out->rollouts];
    if (fx_h5_has_attribute(r->file, "/", "Re")) FX_TRY(fx_h5_get_real(r->file, "/", "Re", &reynolds));
    if (fx_h5_has_attribute(r->file, "/", "feedback"))
        FX_TRY(fx_h5_get_text(r->file, "/", "feedback", feedback, sizeof feedback));
    rollout->title =
        fx_pool_print(r->pool, "%s: Re %g, %lld \xc3\x97 %lld pixels%s, %s fed back", name, reynolds,
                      (long long)r->height, (long long)r->width,
                      r->by > 1 ? ", means of squares of them" : "", feedback[0] ? feedback : "?");
    return rollout->title ? FX_OK : FX_ENOMEM;
}

static void add_charts(const reader *r, fx_run_rollouts *out)
{
    const int i = out->rollouts;
    fx_curve *error = out->error[i], *correlation = out->correlation[i];
    static const char *const names[] = {"model", "persistence"};
    for (int k = 0; k < 2; k++) {
        error[k] = (fx_curve){names[k], r->lead, r->rfne[k], r->leads};
        correlation[k] = (fx_curve){names[k], r->lead, r->correlation[k], r->leads};
    }
    correlation[2] = (fx_curve){"0.8", r->lead, r->enough, r->leads};
    out->chart[out->charts++] = (fx_chart){.title = out->rollout[i].title,
                                           .x_label = "lead",
                                           .y_label = "RFNE",
                                           .curve = error,
                                           .curves = 2};
    out->chart[out->charts++] = (fx_chart){.title = out->rollout[i].title,
                                           .x_label = "lead",
                                           .y_label = "correlation",
                                           .curve = correlation,
                                           .curves = FX_ROLLOUT_CURVES};
}

fx_status fx_run_rollouts_add(fx_h5 *file, const char *name, fx_pool *pool, fx_run_rollouts *out)
{
    reader r = {.file = file, .pool = pool};
    bool is_forecast = false;
    FX_TRY(open_file(&r, &is_forecast));
    if (!is_forecast) return FX_OK;
    if (out->rollouts == FX_ROLLOUTS) {
        out->hidden++;
        return FX_OK;
    }
    FX_TRY(read_frames(&r, &out->rollout[out->rollouts]));
    FX_TRY(describe(&r, name, out));
    add_charts(&r, out);
    out->rollouts++;
    return FX_OK;
}
