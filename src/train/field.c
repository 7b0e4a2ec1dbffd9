/* field.c: a trained model on whole fields. Tiles go through the model in batches of its rows; batch k
 * is the same tiles in the same rows on any number of ranks, rank k % ranks computes it, and every rank
 * blends all of them in their order. So the bits are those of one rank, and every rank has the result,
 * which a forecast needs again. */
#include "flexhpc/field.h"

#include <math.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

struct fx_field {
    fx_comm *comm;
    fx_trained *model;
    fx_field_options options;
    fx_tiles tiles;
    fx_blend **blend; /* one a member */
    float *all;       /* (ranks, batch, S, S): a round's tiles of one member */
};

fx_status fx_field_create(fx_comm *comm, fx_trained *m, const fx_field_options *o, fx_field **out)
{
    fx_field *f = NULL;
    FX_REQUIRE(fx_trained_has(m, o->task), FX_ECONFIG, "%s: is not trained for it (model.tasks)",
               m->path);
    FX_TRY(FX_ALLOC(f, 1));
    *out = f;
    f->comm = comm;
    f->model = m;
    f->options = *o;
    const fx_tiles_options tiles = {.height = o->height,
                                    .width = o->width,
                                    .side = m->options.model.image,
                                    .unit = o->task == FX_SR ? m->options.factor : 1,
                                    .overlap = o->overlap,
                                    .periodic = {o->periodic[0], o->periodic[1]}};
    FX_TRY(fx_tiles_create(&tiles, &f->tiles));
    FX_TRY(FX_ALLOC(f->all, comm->size * m->batch * m->pixels));
    FX_TRY(FX_ALLOC(f->blend, o->members));
    for (int k = 0; k < o->members; k++)
        FX_TRY(fx_blend_create(&f->tiles, &f->blend[k]));
    return fx_trained_prepare(m, o->task);
}

void fx_field_free(fx_field **field)
{
    fx_field *f = *field;
    if (!f) return;
    for (int k = 0; f->blend && k < f->options.members; k++)
        fx_blend_free(&f->blend[k]);
    fx_free(f->blend);
    fx_free(f->all);
    fx_tiles_free(&f->tiles);
    fx_free(f);
    *field = NULL;
}

const fx_tiles *fx_field_tiles(const fx_field *f)
{
    return &f->tiles;
}

/* Corner of tile k; rows and columns from there on wrap. */
typedef struct corner {
    int64_t row, column;
} corner;

static corner corner_of(const fx_field *f, int64_t k)
{
    const fx_tiles *t = &f->tiles;
    return (corner){t->y.first[k / t->x.count], t->x.first[k % t->x.count]};
}

/* Tile k of the input as row b: of SR the values that interpolation reads, of the last snapshot or
 * where the model has an input for them. */
static void load(const fx_field *f, const float *const *input, int64_t k, int64_t b)
{
    fx_trained *m = f->model;
    const int64_t S = m->options.model.image, cond = m->options.model.cond,
                  unit = f->options.task == FX_SR ? m->options.factor : 1,
                  past = f->options.task == FX_SR ? 1 : cond, height = f->options.height / unit,
                  width = f->options.width / unit;
    const float scale = (float)(1.0 / m->progress.data_scale);
    const corner c = corner_of(f, k);
    float *row = m->snapshots + b * m->pixels * cond;
    for (int64_t y = 0; y < S / unit; y++)
        for (int64_t x = 0; x < S / unit; x++) {
            const int64_t from = (c.row / unit + y) % height * width + (c.column / unit + x) % width,
                          to = (y * S + x) * unit;
            for (int64_t s = 0; s < past; s++)
                row[to * cond + cond - past + s] = scale * input[s][from];
            if (f->options.task == FX_SR && m->coarse)
                m->coarse[(b * (S / unit) + y) * (S / unit) + x] = scale * input[0][from];
        }
    fx_trained_tell(m, b, f->options.reynolds);
}

/* A row of noise: element i is number (first + i) % width of the stream of the field's row. */
static void draw_row(const fx_field *f, uint32_t stream, uint32_t frame, int64_t row, int64_t first,
                     float *out)
{
    const uint32_t slot_task = 2 * (uint32_t)row + (uint32_t)f->options.task;
    float four[4];
    int64_t held = -1;
    for (int64_t i = 0, x = first; i < f->tiles.x.side; i++, x = x + 1 < f->options.width ? x + 1 : 0) {
        if (x / 4 != held) {
            const uint32_t counter[4] = {(uint32_t)(x / 4), slot_task, stream, frame};
            const fx_philox random = fx_philox4x32(f->options.seed, counter);
            fx_normal4(&random, four);
            held = x / 4;
        }
        out[i] = four[x % 4];
    }
}

static void draw(const fx_field *f, uint32_t frame, uint32_t member, int64_t k, int64_t b)
{
    fx_trained *m = f->model;
    const uint32_t stream = fx_trained_stream(member);
    const int64_t S = m->options.model.image;
    const corner c = corner_of(f, k);
#pragma omp parallel for
    for (int64_t y = 0; y < S; y++)
        draw_row(f, stream, frame, (c.row + y) % f->options.height, c.column,
                 m->noise + b * m->pixels + y * S);
}

/* ---- Blending. */

typedef struct handing {
    const fx_field_sink *sink;
    fx_task task;
    uint32_t member, frame;
    int64_t width;
} handing;

static fx_status hand_over(void *self, int64_t row, int64_t rows, const float *values)
{
    const handing *h = self;
    for (int64_t i = 0; i < rows * h->width; i++)
        FX_REQUIRE(isfinite(values[i]), FX_EVALUE,
                   "member %u, %s %u: row %lld, column %lld is not finite", h->member,
                   h->task == FX_SR ? "snapshot" : "lead", h->frame, (long long)(row + i / h->width),
                   (long long)(i % h->width));
    return h->sink->take(h->sink->self, h->member, row, rows, values);
}

/* The round's tiles, `first` and on, of member number i of the call. */
static fx_status blend_round(fx_field *f, const fx_field_call *call, int i, int64_t first,
                             const fx_field_sink *sink)
{
    const fx_trained *m = f->model;
    handing h = {sink, f->options.task, call->member + (uint32_t)i, call->frame, f->options.width};
    const int64_t end = first + f->comm->size * m->batch, count = fx_tiles_count(&f->tiles);
    for (int64_t k = first; k < end && k < count; k++)
        FX_TRY(fx_blend_add(f->blend[i], f->all + (k - first) * m->pixels,
                            (float)m->progress.data_scale, (fx_rows_sink){hand_over, &h}));
    return FX_OK;
}

/* ---- A round: a batch of every rank. */

/* Beyond the last tile it is repeated. */
static int64_t tile_of(const fx_field *f, int64_t first, int64_t b)
{
    const int64_t k = first + b, last = fx_tiles_count(&f->tiles) - 1;
    return k < last ? k : last;
}

static fx_status encode(fx_field *f, const fx_field_call *call, int64_t first)
{
    if (first >= fx_tiles_count(&f->tiles)) return FX_OK; /* this rank has none */
    for (int64_t b = 0; b < f->model->batch; b++)
        load(f, call->input, tile_of(f, first, b), b);
    return fx_trained_encode(f->model, f->options.task);
}

static fx_status denoise(fx_field *f, const fx_field_call *call, int i, int64_t first)
{
    if (first >= fx_tiles_count(&f->tiles)) return FX_OK;
    for (int64_t b = 0; b < f->model->batch; b++)
        draw(f, call->frame, call->member + (uint32_t)i, tile_of(f, first, b), b);
    return fx_trained_denoise(f->model, f->options.task);
}

/* A failure is agreed on before each gather, and so before a rank could wait for another in vain. */
static fx_status run_round(fx_field *f, const fx_field_call *call, int64_t first, fx_field_sink sink)
{
    const fx_trained *m = f->model;
    const int64_t mine = first + f->comm->rank * m->batch;
    fx_status status = encode(f, call, mine);
    for (int i = 0; i < call->members; i++) {
        if (status == FX_OK) status = denoise(f, call, i, mine);
        FX_TRY(fx_agree(f->comm, status));
        FX_TRY(f->comm->ops->all_gather(f->comm, m->estimate,
                                        (size_t)(m->batch * m->pixels) * sizeof(float), f->all));
        status = blend_round(f, call, i, first, &sink);
    }
    return fx_agree(f->comm, status);
}

fx_status fx_field_run(fx_field *f, const fx_field_call *call, fx_field_sink sink)
{
    const int64_t step = f->comm->size * f->model->batch;
    FX_REQUIRE(call->members <= f->options.members, FX_EARG, "%d members at once, made for %d",
               call->members, f->options.members);
    for (int64_t first = 0; first < fx_tiles_count(&f->tiles); first += step)
        FX_TRY(run_round(f, call, first, sink));
    return FX_OK;
}
