/* evaluate_rollout.c: forecasts of forecasts on patches of a pack. What flows in across a patch's
 * border after the first lead the model has not seen, so scores of patches fall faster than those of
 * whole fields (flexhpc sample, sample.source). */
#include <string.h>

#include "evaluate.h"
#include "field_file.h"
#include "flexhpc/ensemble.h"
#include "flexhpc/mem.h"

/* Fields of the batch, (B, S, S), are n pixels; snapshots are (B, S, S, cond). */
typedef struct rollout {
    fx_evaluation *e;
    int64_t n, first, row;
    int r, histories; /* 1: all members go on from their mean */
    float *start;     /* (B, S, S): the newest snapshot that was given */
    float *history;   /* (histories, B, S, S, cond) */
    float *mean;      /* (B, S, S) */
} rollout;

static int64_t sample_of(const rollout *o, int64_t b)
{
    const int64_t last = o->e->config->eval_patches - 1;
    return o->first + b < last ? o->first + b : last;
}

/* The oldest snapshot of a history makes place for a newer one. */
static void push(float *history, const float *newest, int64_t n, int64_t cond)
{
    for (int64_t i = 0; i < n; i++) {
        memmove(history + i * cond, history + i * cond + 1, (size_t)(cond - 1) * sizeof *history);
        history[i * cond + cond - 1] = newest[i];
    }
}

static fx_status read_truth(rollout *o, int lead)
{
    fx_evaluation *e = o->e;
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[o->r];
    const int64_t pixels = e->trained->pixels, ahead = e->trained->progress.config.data_forecast_step;
    for (int64_t b = 0; b < e->trained->batch; b++) {
        const fx_evaluation_place p = fx_evaluation_place_of(e, reynolds, sample_of(o, b));
        const float scale = (float)(1.0 / fx_evaluation_scale(e, p.patch));
        float *truth = e->future + b * pixels;
        FX_TRY(fx_pack_read(e->pack, p.patch, p.snapshot + (lead + 1) * ahead, 1, truth));
        for (int64_t i = 0; i < pixels; i++)
            truth[i] *= scale;
    }
    return FX_OK;
}

static fx_status score_lead(rollout *o, int lead)
{
    fx_evaluation *e = o->e;
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[o->r];
    const int64_t pixels = e->trained->pixels;
    for (int64_t b = 0; o->row + b < e->scores.count; b++) {
        const fx_sample_score *row = &e->scores.row[o->row + b];
        const double unit =
            fx_evaluation_scale(e, fx_evaluation_place_of(e, reynolds, row->index).patch);
        const fx_values values = fx_evaluation_values(reynolds, unit);
        FX_TRY(fx_measure_lead(
            e->measure, e->ensemble + b * pixels, o->n, o->start + b * pixels, e->future + b * pixels,
            &values, fx_scores_details(&e->scores, row) + fx_details_lead(&e->scores.details, lead)));
    }
    return FX_OK;
}

/* Every lead has noise of its own: that of members who are not. */
static fx_status forecast(rollout *o, int lead)
{
    fx_evaluation *e = o->e;
    fx_trained *m = e->trained;
    const int64_t cond = m->options.model.cond;
    const double reynolds = fx_pack_manifest(e->pack)->reynolds[o->r].reynolds;
    if (o->histories == 1) {
        fx_ensemble_mean(e->ensemble, o->n, e->members, o->n, o->mean);
        push(o->history, o->mean, o->n, cond);
    }
    for (int k = 0; k < e->members; k++) {
        float *history = o->history + (o->histories > 1 ? k : 0) * o->n * cond;
        if (o->histories > 1) push(history, e->ensemble + k * o->n, o->n, cond);
        for (int64_t b = 0; b < m->batch; b++) {
            fx_trained_draw(m, FX_FC, b, (uint64_t)e->config->seed, (uint32_t)sample_of(o, b),
                            (uint32_t)(k + lead * FX_MEMBERS_MAX), reynolds);
            if (e->condition == e->condition) fx_trained_tell(m, b, e->condition);
        }
        if (k == 0 || o->histories > 1) {
            memcpy(m->snapshots, history, (size_t)(o->n * cond) * sizeof *history);
            FX_TRY(fx_trained_encode(m, FX_FC));
        }
        FX_TRY(fx_trained_denoise(m, FX_FC));
        memcpy(e->ensemble + k * o->n, m->estimate, (size_t)o->n * sizeof *m->estimate);
    }
    return FX_OK;
}

static fx_status run(rollout *o)
{
    const fx_trained *m = o->e->trained;
    const int64_t cond = m->options.model.cond;
    FX_TRY(FX_ALLOC(o->start, o->n));
    FX_TRY(FX_ALLOC(o->mean, o->n));
    FX_TRY(FX_ALLOC(o->history, o->histories * o->n * cond));
    memcpy(o->start, m->base, (size_t)o->n * sizeof *o->start);
    for (int k = 0; k < o->histories; k++)
        memcpy(o->history + k * o->n * cond, m->snapshots, (size_t)(o->n * cond) * sizeof *o->history);
    for (int lead = 0; lead < o->e->horizon; lead++) {
        if (lead > 0) FX_TRY(forecast(o, lead));
        FX_TRY(read_truth(o, lead));
        FX_TRY(score_lead(o, lead));
    }
    return FX_OK;
}

fx_status fx_evaluation_rollout(fx_evaluation *e, int r, int64_t first, int64_t row)
{
    const bool mean = e->config->sample_feedback == FX_FEEDBACK_MEAN;
    rollout o = {.e = e,
                 .n = e->trained->batch * e->trained->pixels,
                 .first = first,
                 .row = row,
                 .r = r,
                 .histories = mean ? 1 : e->members};
    const fx_status status = run(&o);
    fx_free(o.start);
    fx_free(o.history);
    fx_free(o.mean);
    return status;
}
