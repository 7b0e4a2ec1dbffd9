/* batch.c: one micro-batch of one rank: the order says which samples, their snapshots are read as they
 * lie in the shards, and go scaled to the places that the model reads them from; with data.augment by
 * way of windows that are put together and turned. */
#include "batch.h"

#include <string.h>

#include "flexhpc/mem.h"

/* The sources that samples are drawn from. */
static fx_status open_augment(fx_batch_reader *r, const fx_config *c)
{
    const fx_manifest *m = fx_pack_manifest(r->pack);
    const int64_t window = (r->cond + 1) * r->side * r->side;
    bool *shard = NULL, *source = NULL;
    fx_status status = FX_OK;
    if (c->data_augment == 0) return FX_OK;
    FX_TRY_DONE(FX_ALLOC(shard, m->shards));
    FX_TRY_DONE(FX_ALLOC(source, m->sources));
    fx_order_shards(r->order, m, 0, c->train_global_batch, shard);
    for (int i = 0; i < m->shards; i++)
        if (shard[i]) source[m->shard[i].source] = true;
    FX_TRY_DONE(fx_augment_create(m, c, source, &r->augment));
    FX_TRY_DONE(FX_ALLOC(r->parts, 4 * r->samples));
    FX_TRY_DONE(FX_ALLOC(r->draws, r->samples));
    FX_TRY_DONE(FX_ALLOC(r->windows, r->samples * window));
    FX_TRY_DONE(FX_ALLOC(r->turned, window));
done:
    fx_free(shard);
    fx_free(source);
    return status;
}

fx_status fx_batch_reader_open(const fx_comm *comm, const fx_config *c, fx_batch_reader *r)
{
    const int64_t parts = comm->size * c->train_accumulate;
    *r = (fx_batch_reader){0};
    FX_REQUIRE(c->train_global_batch % parts == 0, FX_ECONFIG,
               "train.global_batch: %lld does not divide into %d ranks x %lld micro-batches "
               "(train.accumulate)",
               (long long)c->train_global_batch, comm->size, (long long)c->train_accumulate);
    FX_REQUIRE(c->data_path[0], FX_ECONFIG, "data.path: names no pack");
    FX_TRY_CTX(fx_pack_open(c->data_path, &r->pack), "data.path");
    fx_pack_use_readers(r->pack, (int)c->data_readers);
    const fx_manifest *m = fx_pack_manifest(r->pack);
    FX_REQUIRE(m->patch == c->data_patch, FX_ECONFIG,
               "data.patch: %lld, but the patches of data.path %s are %lld pixels (pack.patch)",
               (long long)c->data_patch, c->data_path, (long long)m->patch);
    const fx_order_options options = {
        .seed = (uint64_t)c->seed,
        .batch = c->train_global_batch,
        .cond = c->model_cond,
        .forecast_step = c->data_forecast_step,
        .reynolds = &c->data_reynolds,
        .weights = c->data_weights,
    };
    FX_TRY(fx_order_create(m, &options, &r->order));
    if (c->data_keep_strata) fx_order_keep_strata(r->order);
    FX_REQUIRE(
        c->data_augment == 0 || c->data_lowres != FX_LOWRES_FILE, FX_ECONFIG,
        "data.augment: not with data.lowres: file: nothing says how those fields would be turned");
    FX_TRY(fx_coarsener_open(c, c->data_path, m, &r->coarsener));
    r->seed = (uint64_t)c->seed;
    r->samples = c->train_global_batch / parts;
    r->slot0 = comm->rank * (c->train_global_batch / comm->size);
    r->accumulate = c->train_accumulate;
    r->side = m->patch;
    r->cond = c->model_cond;
    r->forecast_step = c->data_forecast_step;
    r->scale = c->data_scale;
    r->condition_scale = c->data_condition_scale;
    FX_TRY(open_augment(r, c));
    return FX_ALLOC(r->spans, (r->parts ? 8 : 2) * r->samples);
}

void fx_batch_reader_close(fx_batch_reader *r)
{
    fx_order_free(&r->order);
    fx_pack_close(&r->pack);
    fx_coarsener_close(&r->coarsener);
    fx_augment_free(&r->augment);
    fx_free(r->spans);
    fx_free(r->parts);
    fx_free(r->draws);
    fx_free(r->windows);
    fx_free(r->turned);
}

/* Snapshots (count, pixels) over the scale into x (pixels, count). The cases of few snapshots are
 * written out for the compiler, which makes vector code of them. */
static void interleave(float *restrict x, const float *restrict w, int64_t pixels, int64_t count,
                       float scale)
{
    if (count == 1)
        for (int64_t p = 0; p < pixels; p++)
            x[p] = w[p] / scale;
    else if (count == 2)
        for (int64_t p = 0; p < pixels; p++) {
            x[2 * p] = w[p] / scale;
            x[2 * p + 1] = w[pixels + p] / scale;
        }
    else
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < count; c++)
                x[p * count + c] = w[c * pixels + p] / scale;
}

typedef struct filling {
    fx_batch_reader *reader;
    const fx_batch_rows *rows;
} filling;

static float scale_of(const fx_batch_reader *r, int64_t patch)
{
    const fx_manifest *m = fx_pack_manifest(r->pack);
    return (float)(r->scale > 0 ? r->scale : m->source[fx_manifest_patch(m, patch).source].scale);
}

/* Planes [first, first + count) of row i, (count, S, S), to their places: the inputs (S, S, cond), the
 * newest last, the target (S, S), or both. */
static void put(const filling *f, int64_t i, int64_t first, int64_t count, const float *planes,
                float scale)
{
    const fx_batch_reader *r = f->reader;
    const int64_t cond = r->cond, pixels = r->side * r->side;
    if (first == 0) interleave(f->rows->snapshots + i * pixels * cond, planes, pixels, cond, scale);
    if (first + count > cond)
        interleave(f->rows->future + i * pixels, planes + (cond - first) * pixels, pixels, 1, scale);
}

static fx_status take(void *self, const fx_span *span, const float *snapshots)
{
    const float scale = scale_of(((filling *)self)->reader, span->patch);
    put(self, span->row, span->plane, span->count, snapshots, scale);
    return FX_OK;
}

/* What of a patch belongs to a row, or to part `row` of one; plane k of a sample is its input k, or
 * after them its target. */
static int64_t list_spans(const fx_batch_reader *r, fx_sample s, int64_t row, fx_span *out)
{
    const int64_t cond = r->cond, first = s.snapshot - cond + 1;
    if (r->forecast_step == 1) {
        out[0] = (fx_span){s.patch, first, cond + 1, row, 0};
        return 1;
    }
    out[0] = (fx_span){s.patch, first, cond, row, 0};
    out[1] = (fx_span){s.patch, s.snapshot + r->forecast_step, 1, row, cond};
    return 2;
}

/* ---- data.augment ---- */

/* A part of a window, out of the patch that it lies in. */
static fx_status take_part(void *self, const fx_span *span, const float *snapshots)
{
    const fx_batch_reader *r = ((filling *)self)->reader;
    const fx_augment_part *p = &r->parts[span->row];
    const int64_t S = r->side;
    float *window = r->windows + (span->row / 4 * (r->cond + 1) + span->plane) * S * S;
    for (int64_t k = 0; k < span->count; k++)
        for (int64_t y = 0; y < p->rows; y++)
            memcpy(window + (k * S + p->row + y) * S + p->column,
                   snapshots + (k * S + p->from_row + y) * S + p->from_column,
                   (size_t)p->columns * sizeof *window);
    return FX_OK;
}

static int64_t list_parts(fx_batch_reader *r, fx_sample s, int source, int64_t step, int64_t slot,
                          int64_t i, fx_span *out)
{
    const fx_manifest *m = fx_pack_manifest(r->pack);
    int64_t spans = 0;
    r->draws[i] = fx_augment_of(&r->augment, source, step, slot);
    const int parts = fx_augment_parts(&r->augment, m, s.patch, &r->draws[i], r->parts + 4 * i);
    for (int k = 0; k < parts; k++) {
        const fx_sample part = {r->parts[4 * i + k].patch, s.snapshot};
        spans += list_spans(r, part, 4 * i + k, out + spans);
    }
    return spans;
}

static void turn_windows(const filling *f)
{
    const fx_batch_reader *r = f->reader;
    const int64_t pixels = r->side * r->side, planes = r->cond + 1;
    for (int64_t i = 0; i < r->samples; i++) {
        for (int64_t k = 0; k < planes; k++)
            fx_symmetry_apply(r->draws[i].symmetry, r->draws[i].sign, r->side,
                              r->windows + (i * planes + k) * pixels, r->turned + k * pixels);
        put(f, i, 0, planes, r->turned, scale_of(r, r->parts[4 * i].patch));
    }
}

static int64_t slot_of(const fx_batch_reader *r, int64_t micro, int64_t i)
{
    return r->slot0 + micro * r->samples + i;
}

/* Rows of the low-resolution input, once their snapshots are there. */
static fx_status make_coarse(fx_batch_reader *r, int64_t step, int64_t micro, const fx_batch_rows *rows)
{
    const int64_t pixels = r->side * r->side, cond = r->cond;
    for (int64_t i = 0; r->coarsener && i < r->samples; i++) {
        const int64_t slot = slot_of(r, micro, i);
        const fx_sample sample = fx_order_sample(r->order, step, slot);
        const fx_coarse_sample coarse = {.patch = sample.patch,
                                         .snapshot = sample.snapshot,
                                         .scale = (double)scale_of(r, sample.patch),
                                         .seed = r->seed,
                                         .slot = (uint32_t)slot,
                                         .step = (uint32_t)step};
        FX_TRY(fx_coarsener_make(r->coarsener, &coarse, rows->snapshots + i * pixels * cond + cond - 1,
                                 cond, rows->coarse + i * fx_coarsener_pixels(r->coarsener)));
    }
    return FX_OK;
}

fx_status fx_batch_read(fx_batch_reader *r, int64_t step, int64_t micro, const fx_batch_rows *rows)
{
    filling self = {r, rows};
    int64_t spans = 0;
    for (int64_t i = 0; i < r->samples; i++) {
        const int64_t slot = slot_of(r, micro, i);
        const fx_sample sample = fx_order_sample(r->order, step, slot);
        const fx_patch patch = fx_manifest_patch(fx_pack_manifest(r->pack), sample.patch);
        fx_span *out = r->spans + spans;
        rows->re[i] = (float)(patch.reynolds / r->condition_scale);
        spans += r->parts ? list_parts(r, sample, patch.source, step, slot, i, out)
                          : list_spans(r, sample, i, out);
    }
    FX_TRY(fx_pack_read_spans(r->pack, r->spans, spans, r->parts ? take_part : take, &self));
    if (r->parts) turn_windows(&self);
    return make_coarse(r, step, micro, rows);
}
