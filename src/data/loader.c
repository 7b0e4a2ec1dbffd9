/* loader.c: the micro-batches of one rank. A thread fills a ring of buffers ahead of the step; with
 * data.prefetch -1 there is no thread and the caller reads. Contents are a function of (step, micro,
 * rank) alone, so the depth changes no bit. Ring: batches [taken, made) since the last seek are ready,
 * batch k lies in buffer k mod (depth + 1), and the caller still looks at batch taken - 1. The thread
 * calls HDF5 and no MPI. With data.prefetch 0 the depth follows what reads and steps were seen to take.
 */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "batch.h"
#include "flexhpc/backend.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "stage.h"

enum { DEPTH = 2, DEPTH_MAX = 64, STEPS_SEEN = 4 /* before a depth is chosen */ };

typedef struct place { /* in the run */
    int64_t step, micro;
} place;

static const place NOWHERE = {-1, -1};

typedef struct buffer {
    float *values; /* its parts are one block, of the exec's host memory */
    fx_status status;
    char message[1024]; /* of a failed read: errors are recorded a thread, this carries it across */
} buffer;

/* What the depth is chosen from, since the last seek. */
typedef struct pace {
    double step_begun, waited; /* when the present step took its first batch; the wait by then */
    double step;               /* s, the shortest from there to the next one, without waits */
    double read, longest;      /* s, of all reads and of the longest */
    int64_t steps, reads;
    bool told;
} pace;

struct fx_loader {
    fx_batch_reader reader; /* belongs to the thread once it runs */
    fx_exec *exec;          /* whose host memory the buffers are; NULL: the heap's */
    int64_t samples, accumulate, epoch;
    int64_t future_at, coarse_at, re_at, floats; /* of a buffer: where its parts begin, and all */
    double wait;
    buffer **buffers; /* (depth + 1), in room for most + 1 */
    int64_t depth, most;
    bool measured; /* the depth is chosen here, from fx_loader_follow on */

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;   /* over all below, and buffers and depth */
    pthread_cond_t changed; /* any of it */
    int64_t taken, made, seeks;
    place next_taken, next_made; /* NOWHERE: nothing is to be made before a seek */
    pace pace;
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

static fx_batch_rows rows_of(const fx_loader *loader, const buffer *b)
{
    return (fx_batch_rows){b->values, b->values + loader->future_at,
                           loader->reader.coarsener ? b->values + loader->coarse_at : NULL,
                           b->values + loader->re_at};
}

static void fill(fx_loader *loader, place at, buffer *into)
{
    const fx_batch_rows rows = rows_of(loader, into);
    into->status = fx_batch_read(&loader->reader, at.step, at.micro, &rows);
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
        buffer *into = loader->buffers[loader->made % (loader->depth + 1)];
        pthread_mutex_unlock(&loader->lock);
        const double begin = fx_now();
        fill(loader, at, into);
        const double seconds = fx_now() - begin;
        pthread_mutex_lock(&loader->lock);
        if (seeks != loader->seeks) continue; /* nobody waits for this one any more */
        loader->pace.reads++;
        loader->pace.read += seconds;
        loader->pace.longest = fmax(loader->pace.longest, seconds);
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

/* ---- Buffers ---- */

static void free_buffer(fx_loader *loader, buffer **b)
{
    if (!*b) return;
    if (loader->exec)
        loader->exec->backend->release_host(loader->exec, (*b)->values);
    else
        fx_free((*b)->values);
    fx_free(*b);
    *b = NULL;
}

static fx_status make_buffer(fx_loader *loader, buffer **out)
{
    void *values = NULL;
    FX_TRY(FX_ALLOC(*out, 1));
    const fx_status status = loader->exec
                                 ? loader->exec->backend->allocate_host(
                                       loader->exec, (size_t)loader->floats * sizeof(float), &values)
                                 : FX_ALLOC((*out)->values, loader->floats);
    if (loader->exec) (*out)->values = values;
    if (status != FX_OK) free_buffer(loader, out);
    return status;
}

/* More buffers, once the caller is done with its own, which is batch taken - 1's. A ring of another
 * size has other places; the thread may be filling batch `made` all the while, in the buffer that it
 * keeps. Without memory the depth stays. Lock held. */
static void deepen(fx_loader *loader, int64_t depth)
{
    const int64_t old = loader->depth;
    buffer *ring[DEPTH_MAX + 1] = {NULL};
    for (int64_t k = loader->taken; k <= loader->taken + old; k++)
        ring[(k < loader->taken + old ? k : loader->taken + depth) % (depth + 1)] =
            loader->buffers[k % (old + 1)];
    fx_status status = FX_OK;
    for (int64_t i = 0; i <= depth && status == FX_OK; i++)
        if (!ring[i]) status = make_buffer(loader, &ring[i]);
    if (status == FX_OK) {
        memcpy(loader->buffers, ring, sizeof *ring * (size_t)(depth + 1));
        loader->depth = depth;
        return;
    }
    for (int64_t k = loader->taken; k <= loader->taken + old; k++) /* what is new goes again */
        ring[(k < loader->taken + old ? k : loader->taken + depth) % (depth + 1)] = NULL;
    for (int64_t i = 0; i <= depth; i++)
        free_buffer(loader, &ring[i]);
    fx_error_clear();
    loader->measured = false;
}

/* Batches that must be ready when a step begins: its own, and those of the steps that pass while the
 * longest read so far goes on. Lock held. */
static void choose_depth(fx_loader *loader)
{
    pace *p = &loader->pace;
    const double steps = ceil(p->longest / fmax(p->step, 1e-9));
    const double wanted = (double)loader->accumulate * (1 + fmin(steps, DEPTH_MAX));
    const int64_t depth = wanted < (double)loader->most ? (int64_t)wanted : loader->most;
    if (p->steps < STEPS_SEEN || (p->told && depth <= loader->depth)) return;
    if (depth > loader->depth) deepen(loader, depth);
    fx_log(
        p->told ? FX_DEBUG : FX_INFO,
        "data.prefetch: %lld batches ahead, of at most %lld: a read takes %.2g s, the longest %.2g, a "
        "step %.2g",
        (long long)loader->depth, (long long)loader->most, p->read / (double)p->reads, p->longest,
        p->step);
    p->told = true;
}

/* ---- Set-up ---- */

static fx_status allocate(fx_loader *loader, const fx_config *c)
{
    const fx_batch_reader *r = &loader->reader;
    const int64_t pixels = r->samples * r->side * r->side;
    loader->future_at = pixels * r->cond;
    loader->coarse_at = loader->future_at + pixels;
    loader->re_at = loader->coarse_at;
    if (r->coarsener) loader->re_at += r->samples * fx_coarsener_pixels(r->coarsener);
    loader->floats = loader->re_at + r->samples;
    const double bytes = (double)loader->floats * sizeof(float),
                 fit = c->data_prefetch_memory * 0x1p20 / bytes - 1;
    if (c->data_prefetch == 0)
        loader->most = fit < 1 ? 1 : fit < DEPTH_MAX ? (int64_t)fit : DEPTH_MAX;
    else if (c->data_prefetch > 0)
        loader->most = c->data_prefetch;
    loader->depth = c->data_prefetch == 0 && loader->most > DEPTH ? DEPTH : loader->most;
    FX_TRY(FX_ALLOC(loader->buffers, loader->most + 1));
    for (int64_t k = 0; k <= loader->depth; k++)
        FX_TRY(make_buffer(loader, &loader->buffers[k]));
    return FX_OK;
}

static fx_status set_up(fx_loader *loader, const fx_comm *comm, const fx_config *c)
{
    FX_TRY(fx_batch_reader_open(comm, c, &loader->reader));
    loader->samples = loader->reader.samples;
    loader->accumulate = loader->reader.accumulate;
    loader->epoch = fx_order_samples(loader->reader.order);
    loader->next_made = loader->next_taken = NOWHERE;
    return allocate(loader, c);
}

/* The shards of one pack that this rank's node needs, on its own disk. Collective. */
static fx_status stage_pack(fx_batch_reader *reader, fx_comm *comm, const char *where, const char *path,
                            fx_pack_reader *pack)
{
    const fx_manifest *m = fx_pack_manifest(pack);
    const int64_t slots = reader->samples * reader->accumulate;
    char folder[FX_PATH_MAX];
    bool *wanted = NULL;
    fx_status status = fx_agree(comm, FX_ALLOC(wanted, m->shards));
    if (status == FX_OK) fx_order_shards(reader->order, m, reader->slot0, slots, wanted);
    if (status == FX_OK) status = fx_pack_stage(comm, m, path, where, wanted, folder);
    if (status == FX_OK) status = fx_agree(comm, fx_pack_use_copy(pack, folder));
    fx_free(wanted);
    return status == FX_OK ? FX_OK : fx_context(status, "data.stage");
}

/* Patches of the low-resolution pack have the numbers of the others, so the order knows its shards. */
static fx_status stage(fx_batch_reader *reader, fx_comm *comm, const fx_config *c)
{
    char path[FX_PATH_MAX];
    fx_pack_reader *lowres = fx_coarsener_pack(reader->coarsener);
    if (strcmp(c->data_stage, "off") == 0) return FX_OK;
    FX_TRY(stage_pack(reader, comm, c->data_stage, c->data_path, reader->pack));
    if (!lowres) return FX_OK;
    FX_TRY(fx_agree(comm, fx_lowres_path(c->data_path, path)));
    return stage_pack(reader, comm, c->data_stage, path, lowres);
}

fx_status fx_loader_create(fx_comm *comm, const fx_config *config, fx_exec *exec, fx_loader **out)
{
    fx_loader *loader = NULL;
    fx_status status = FX_ALLOC(loader, 1);
    if (status == FX_OK) {
        pthread_mutex_init(&loader->lock, NULL);
        pthread_cond_init(&loader->changed, NULL);
        loader->exec = exec;
        status = set_up(loader, comm, config);
    }
    status = fx_agree(comm, status);
    if (status == FX_OK) status = stage(&loader->reader, comm, config);
    if (status == FX_OK && loader->depth > 0) status = start_thread(loader);
    status = fx_agree(comm, status);
    if (status != FX_OK) fx_loader_free(&loader);
    *out = loader;
    return status;
}

/* ---- Taking ---- */

/* A step begins. Lock held. */
static void count_step(fx_loader *loader)
{
    pace *p = &loader->pace;
    const double now = fx_now();
    const double seconds = fmax(now - p->step_begun - (loader->wait - p->waited), 0);
    if (p->step_begun > 0) p->step = p->steps++ ? fmin(p->step, seconds) : seconds;
    p->step_begun = now;
    p->waited = loader->wait;
    if (loader->measured) choose_depth(loader);
}

/* The buffer of the next batch, when the thread has made it. */
static buffer *take_from_thread(fx_loader *loader, place at)
{
    pthread_mutex_lock(&loader->lock);
    if (!same(loader->next_taken, at)) { /* out of turn: what was read ahead is of no use */
        loader->seeks++;
        loader->made = loader->taken;
        loader->next_made = loader->next_taken = at;
        loader->pace = (pace){.told = loader->pace.told}; /* measured anew */
        pthread_cond_broadcast(&loader->changed);
    }
    if (at.micro == 0) count_step(loader);
    while (loader->made == loader->taken)
        pthread_cond_wait(&loader->changed, &loader->lock);
    buffer *b = loader->buffers[loader->taken++ % (loader->depth + 1)];
    loader->next_taken = b->status == FX_OK ? after(loader, at) : NOWHERE;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    return b;
}

fx_status fx_loader_next(fx_loader *loader, int64_t step, int64_t micro, fx_loader_batch *out)
{
    const place at = {step, micro};
    const double begin = fx_now();
    FX_REQUIRE(step >= 0 && micro >= 0 && micro < loader->accumulate, FX_EARG,
               "no micro-batch %lld of step %lld", (long long)micro, (long long)step);
    buffer *b = loader->has_thread ? take_from_thread(loader, at) : loader->buffers[0];
    if (!loader->has_thread) fill(loader, at, b);
    loader->wait += fx_now() - begin;
    if (b->status != FX_OK) return fx_fail(b->status, "%s", b->message);
    const fx_batch_rows rows = rows_of(loader, b);
    *out = (fx_loader_batch){loader->samples, rows.snapshots, rows.future, rows.coarse, rows.re};
    return FX_OK;
}

void fx_loader_follow(fx_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->pace = (pace){0};
    loader->measured = loader->most > loader->depth;
    pthread_mutex_unlock(&loader->lock);
}

double fx_loader_wait(const fx_loader *loader)
{
    return loader->wait;
}

double fx_loader_scale(const fx_loader *loader)
{
    return loader->reader.scale > 0 ? (double)(float)loader->reader.scale
                                    : (double)(float)fx_pack_manifest(loader->reader.pack)->scale;
}

const fx_manifest *fx_loader_manifest(const fx_loader *loader)
{
    return fx_pack_manifest(loader->reader.pack);
}

int64_t fx_loader_epoch(const fx_loader *loader)
{
    return loader->epoch;
}

void fx_loader_conditions(const fx_loader *loader, double *least, double *mean)
{
    fx_order_conditions(loader->reader.order, least, mean);
}

int64_t fx_loader_depth(const fx_loader *loader)
{
    return loader->depth;
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
    for (int64_t k = 0; loader->buffers && k <= loader->depth; k++)
        free_buffer(loader, &loader->buffers[k]);
    fx_free(loader->buffers);
    fx_batch_reader_close(&loader->reader);
    fx_free(loader);
    *out = NULL;
}
