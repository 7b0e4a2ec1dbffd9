/* loader.c: the micro-batches of one rank. A thread fills a ring of data.prefetch buffers ahead of the
 * step; with prefetch 0 there is no thread and the caller reads. Contents are a function of (step,
 * micro, rank) alone, so the depth changes no bit. Ring: batches [taken, made) since the last seek are
 * ready, batch k lies in buffer k mod (prefetch + 1), and the caller still looks at batch taken - 1.
 * The thread calls HDF5 and no MPI. */
#include "flexhpc/data.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "stage.h"

typedef struct place { /* in the run */
    int64_t step, micro;
} place;

static const place NOWHERE = {-1, -1};

typedef struct buffer {
    float *snapshots, *future, *coarse, *re;
    fx_status status;
    char message[1024]; /* of a failed read: errors are recorded a thread, this carries it across */
} buffer;

struct fx_loader {
    fx_pack_reader *pack; /* this and `order` belong to the thread once it runs */
    fx_order *order;
    fx_coarsener *coarsener; /* NULL: the model makes its low-resolution input itself */
    uint64_t seed;
    int64_t epoch; /* different samples of the order */
    int64_t samples, slot0, accumulate, side, coarse_pixels, cond, forecast_step;
    double scale; /* data.scale; 0: each source's own */
    double condition_scale, wait;
    fx_span *spans; /* (2 samples) of the batch that is being read */
    buffer *buffers;
    int64_t depth; /* buffers - 1 */

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;   /* over all below */
    pthread_cond_t changed; /* any of it */
    int64_t taken, made, seeks;
    place next_taken, next_made; /* NOWHERE: nothing is to be made before a seek */
    bool stop;
};

static place after(const fx_loader *loader, place at)
{
    return at.micro + 1 < loader->accumulate ? (place){at.step, at.micro + 1} : (place){at.step + 1, 0};
}

static bool same(place a, place b)
{
    return a.step == b.step && a.micro == b.micro;
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

static float scale_of(const fx_loader *loader, int64_t patch)
{
    const fx_manifest *m = fx_pack_manifest(loader->pack);
    return (float)(loader->scale > 0 ? loader->scale
                                     : m->source[fx_manifest_patch(m, patch).source].scale);
}

typedef struct filling {
    const fx_loader *loader;
    buffer *into;
} filling;

/* A sample's inputs (S, S, cond), the newest last, its target (S, S), or both. */
static fx_status take(void *self, const fx_span *span, const float *snapshots)
{
    const filling *f = self;
    const fx_loader *loader = f->loader;
    const int64_t cond = loader->cond, pixels = loader->side * loader->side;
    const float scale = scale_of(loader, span->patch);
    if (span->plane == 0)
        interleave(f->into->snapshots + span->row * pixels * cond, snapshots, pixels, cond, scale);
    if (span->plane + span->count > cond)
        interleave(f->into->future + span->row * pixels, snapshots + (cond - span->plane) * pixels,
                   pixels, 1, scale);
    return FX_OK;
}

/* What of the pack belongs to row i; plane k of a sample is its input k, or after them its target. */
static int64_t list_spans(const fx_loader *loader, fx_sample s, int64_t i, fx_span *out)
{
    const int64_t cond = loader->cond, first = s.snapshot - cond + 1;
    if (loader->forecast_step == 1) {
        out[0] = (fx_span){s.patch, first, cond + 1, i, 0};
        return 1;
    }
    out[0] = (fx_span){s.patch, first, cond, i, 0};
    out[1] = (fx_span){s.patch, s.snapshot + loader->forecast_step, 1, i, cond};
    return 2;
}

static int64_t slot_of(const fx_loader *loader, place at, int64_t i)
{
    return loader->slot0 + at.micro * loader->samples + i;
}

/* Rows of the low-resolution input, once their snapshots are there. */
static fx_status make_coarse(fx_loader *loader, place at, const buffer *into)
{
    const int64_t pixels = loader->side * loader->side, cond = loader->cond;
    for (int64_t i = 0; loader->coarsener && i < loader->samples; i++) {
        const int64_t slot = slot_of(loader, at, i);
        const fx_sample sample = fx_order_sample(loader->order, at.step, slot);
        const fx_coarse_sample coarse = {.patch = sample.patch,
                                         .snapshot = sample.snapshot,
                                         .scale = (double)scale_of(loader, sample.patch),
                                         .seed = loader->seed,
                                         .slot = (uint32_t)slot,
                                         .step = (uint32_t)at.step};
        FX_TRY(fx_coarsener_make(loader->coarsener, &coarse,
                                 into->snapshots + i * pixels * cond + cond - 1, cond,
                                 into->coarse + i * loader->coarse_pixels));
    }
    return FX_OK;
}

static void fill(fx_loader *loader, place at, buffer *into)
{
    filling self = {loader, into};
    int64_t spans = 0;
    for (int64_t i = 0; i < loader->samples; i++) {
        const fx_sample sample = fx_order_sample(loader->order, at.step, slot_of(loader, at, i));
        const fx_patch patch = fx_manifest_patch(fx_pack_manifest(loader->pack), sample.patch);
        into->re[i] = (float)(patch.reynolds / loader->condition_scale);
        spans += list_spans(loader, sample, i, loader->spans + spans);
    }
    into->status = fx_pack_read_spans(loader->pack, loader->spans, spans, take, &self);
    if (into->status == FX_OK) into->status = make_coarse(loader, at, into);
    if (into->status != FX_OK) snprintf(into->message, sizeof into->message, "%s", fx_error_message());
}

static void *run(void *argument)
{
    fx_loader *loader = argument;
    pthread_mutex_lock(&loader->lock);
    while (!loader->stop) {
        if (same(loader->next_made, NOWHERE) || loader->made - loader->taken >= loader->depth) {
            pthread_cond_wait(&loader->changed, &loader->lock);
            continue;
        }
        const int64_t seeks = loader->seeks;
        const place at = loader->next_made;
        buffer *into = &loader->buffers[loader->made % (loader->depth + 1)];
        pthread_mutex_unlock(&loader->lock);
        fill(loader, at, into);
        pthread_mutex_lock(&loader->lock);
        if (seeks != loader->seeks) continue; /* nobody waits for this one any more */
        loader->made++;
        loader->next_made = into->status == FX_OK ? after(loader, at) : NOWHERE;
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* Signals are the main thread's business. */
static fx_status start_thread(fx_loader *loader)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&loader->thread, NULL, run, loader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    FX_REQUIRE(error == 0, FX_ENOMEM, "data.prefetch: no thread: %s", strerror(error));
    loader->has_thread = true;
    return FX_OK;
}

static fx_status allocate(fx_loader *loader)
{
    const int64_t pixels = loader->side * loader->side;
    FX_TRY(FX_ALLOC(loader->spans, 2 * loader->samples));
    FX_TRY(FX_ALLOC(loader->buffers, loader->depth + 1));
    for (int64_t k = 0; k <= loader->depth; k++) {
        buffer *b = &loader->buffers[k];
        FX_TRY(FX_ALLOC(b->snapshots, loader->samples * pixels * loader->cond));
        FX_TRY(FX_ALLOC(b->future, loader->samples * pixels));
        FX_TRY(FX_ALLOC(b->re, loader->samples));
        if (loader->coarsener) FX_TRY(FX_ALLOC(b->coarse, loader->samples * loader->coarse_pixels));
    }
    return FX_OK;
}

static fx_status set_up(fx_loader *loader, const fx_comm *comm, const fx_config *c)
{
    const int64_t parts = comm->size * c->train_accumulate;
    FX_REQUIRE(c->train_global_batch % parts == 0, FX_ECONFIG,
               "train.global_batch: %lld does not divide into %d ranks x %lld micro-batches "
               "(train.accumulate)",
               (long long)c->train_global_batch, comm->size, (long long)c->train_accumulate);
    FX_REQUIRE(c->data_path[0], FX_ECONFIG, "data.path: names no pack");
    FX_TRY_CTX(fx_pack_open(c->data_path, &loader->pack), "data.path");
    const fx_manifest *m = fx_pack_manifest(loader->pack);
    FX_REQUIRE(m->patch == c->data_patch, FX_ECONFIG,
               "data.patch: %lld, but the patches of data.path %s are %lld pixels (pack.patch)",
               (long long)c->data_patch, c->data_path, (long long)m->patch);
    const fx_order_options options = {
        .seed = (uint64_t)c->seed,
        .batch = c->train_global_batch,
        .cond = c->model_cond,
        .forecast_step = c->data_forecast_step,
        .reynolds = &c->data_reynolds,
    };
    FX_TRY(fx_order_create(m, &options, &loader->order));
    if (c->data_keep_strata) fx_order_keep_strata(loader->order);
    FX_TRY(fx_coarsener_open(c, c->data_path, m, &loader->coarsener));
    loader->seed = (uint64_t)c->seed;
    if (loader->coarsener) loader->coarse_pixels = fx_coarsener_pixels(loader->coarsener);
    loader->epoch = fx_order_samples(loader->order);
    loader->samples = c->train_global_batch / parts;
    loader->slot0 = comm->rank * (c->train_global_batch / comm->size);
    loader->accumulate = c->train_accumulate;
    loader->side = m->patch;
    loader->cond = c->model_cond;
    loader->forecast_step = c->data_forecast_step;
    loader->scale = c->data_scale;
    loader->condition_scale = c->data_condition_scale;
    loader->depth = c->data_prefetch;
    loader->next_made = loader->next_taken = NOWHERE;
    return allocate(loader);
}

/* The shards of one pack that this rank's node needs, on its own disk. Collective. */
static fx_status stage_pack(fx_loader *loader, fx_comm *comm, const char *where, const char *path,
                            fx_pack_reader *pack)
{
    const fx_manifest *m = fx_pack_manifest(pack);
    const int64_t slots = loader->samples * loader->accumulate;
    char folder[FX_PATH_MAX];
    bool *wanted = NULL;
    FX_TRY(fx_agree(comm, FX_ALLOC(wanted, m->shards)));
    fx_order_shards(loader->order, m, loader->slot0, slots, wanted);
    fx_status status = fx_pack_stage(comm, m, path, where, wanted, folder);
    if (status == FX_OK) status = fx_agree(comm, fx_pack_use_copy(pack, folder));
    fx_free(wanted);
    return status == FX_OK ? FX_OK : fx_context(status, "data.stage");
}

/* Patches of the low-resolution pack have the numbers of the others, so the order knows its shards. */
static fx_status stage(fx_loader *loader, fx_comm *comm, const fx_config *c)
{
    char path[FX_PATH_MAX];
    fx_pack_reader *lowres = fx_coarsener_pack(loader->coarsener);
    if (strcmp(c->data_stage, "off") == 0) return FX_OK;
    FX_TRY(stage_pack(loader, comm, c->data_stage, c->data_path, loader->pack));
    if (!lowres) return FX_OK;
    FX_TRY(fx_agree(comm, fx_lowres_path(c->data_path, path)));
    return stage_pack(loader, comm, c->data_stage, path, lowres);
}

fx_status fx_loader_create(fx_comm *comm, const fx_config *config, fx_loader **out)
{
    fx_loader *loader = NULL;
    fx_status status = FX_ALLOC(loader, 1);
    if (status == FX_OK) {
        pthread_mutex_init(&loader->lock, NULL);
        pthread_cond_init(&loader->changed, NULL);
        status = set_up(loader, comm, config);
    }
    status = fx_agree(comm, status);
    if (status == FX_OK) status = stage(loader, comm, config);
    if (status == FX_OK && loader->depth > 0) status = start_thread(loader);
    status = fx_agree(comm, status);
    if (status != FX_OK) fx_loader_free(&loader);
    *out = loader;
    return status;
}

/* The buffer of the next batch, when the thread has made it. */
static buffer *take_from_thread(fx_loader *loader, place at)
{
    pthread_mutex_lock(&loader->lock);
    if (!same(loader->next_taken, at)) { /* out of turn: what was read ahead is of no use */
        loader->seeks++;
        loader->made = loader->taken;
        loader->next_made = loader->next_taken = at;
        pthread_cond_broadcast(&loader->changed);
    }
    while (loader->made == loader->taken)
        pthread_cond_wait(&loader->changed, &loader->lock);
    buffer *b = &loader->buffers[loader->taken++ % (loader->depth + 1)];
    loader->next_taken = b->status == FX_OK ? after(loader, at) : NOWHERE;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    return b;
}

fx_status fx_loader_next(fx_loader *loader, int64_t step, int64_t micro, fx_loader_batch *out)
{
    const place at = {step, micro};
    const double begin = fx_now();
    buffer *b = loader->buffers;
    FX_REQUIRE(step >= 0 && micro >= 0 && micro < loader->accumulate, FX_EARG,
               "no micro-batch %lld of step %lld", (long long)micro, (long long)step);
    if (loader->has_thread)
        b = take_from_thread(loader, at);
    else
        fill(loader, at, b);
    loader->wait += fx_now() - begin;
    if (b->status != FX_OK) return fx_fail(b->status, "%s", b->message);
    *out = (fx_loader_batch){loader->samples, b->snapshots, b->future, b->coarse, b->re};
    return FX_OK;
}

double fx_loader_wait(const fx_loader *loader)
{
    return loader->wait;
}

double fx_loader_scale(const fx_loader *loader)
{
    return loader->scale > 0 ? (double)(float)loader->scale
                             : (double)(float)fx_pack_manifest(loader->pack)->scale;
}

const fx_manifest *fx_loader_manifest(const fx_loader *loader)
{
    return fx_pack_manifest(loader->pack);
}

int64_t fx_loader_epoch(const fx_loader *loader)
{
    return loader->epoch;
}

void fx_loader_conditions(const fx_loader *loader, double *least, double *mean)
{
    fx_order_conditions(loader->order, least, mean);
}

void fx_loader_free(fx_loader **out)
{
    fx_loader *loader = *out;
    if (!loader) return;
    if (loader->has_thread) {
        pthread_mutex_lock(&loader->lock);
        loader->stop = true;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->lock);
        pthread_join(loader->thread, NULL);
    }
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->changed);
    for (int64_t k = 0; loader->buffers && k <= loader->depth; k++) {
        fx_free(loader->buffers[k].snapshots);
        fx_free(loader->buffers[k].future);
        fx_free(loader->buffers[k].coarse);
        fx_free(loader->buffers[k].re);
    }
    fx_free(loader->buffers);
    fx_free(loader->spans);
    fx_coarsener_close(&loader->coarsener);
    fx_order_free(&loader->order);
    fx_pack_close(&loader->pack);
    fx_free(loader);
    *out = NULL;
}
