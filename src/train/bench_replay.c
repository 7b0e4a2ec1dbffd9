/* bench_replay.c: the tape of a training step with its sums and gathers as they are and everything else
 * replaced by waiting as long as a profile says: what `flexhpc predict` is tried against. A wait ends
 * at an instant, not after a time, so that what the machine adds to a short one is taken off the next;
 * meanwhile sums go on, as they would beside a GPU's work. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "flexhpc/bench.h"
#include "flexhpc/mem.h"
#include "scaling_tape.h"

const char *const fx_bench_replay_columns[] = {"ranks",    "sums",     "gathered_bytes", "steps",
                                               "mean_s",   "median_s", "least_s",        "most_s",
                                               "waited_s", NULL};

static fx_status wait_until(fx_comm *comm, double instant)
{
    const struct timespec pause = {.tv_nsec = 20000};
    while (fx_now() < instant) {
        FX_TRY(comm->ops->progress(comm));
        if (instant - fx_now() > 1e-4) nanosleep(&pause, NULL);
    }
    return comm->ops->progress(comm);
}

/* What sums and gathers move: the gradients of the tape, and room for all that it gathers. */
typedef struct traffic {
    fx_dtype type;
    char *slab, *gathered;
    size_t taken; /* bytes of `gathered`, in this step */
} traffic;

/* One entry that communicates. */
static fx_status communicate(fx_comm *comm, const fx_scaling_tape *tape, int e, traffic *t)
{
    const fx_replay_entry *entry = &tape->entry[e];
    const size_t each = fx_dtype_bytes(t->type), share = (size_t)entry->bytes / (size_t)comm->size;
    char *all = t->gathered + t->taken, *mine = all + (size_t)comm->rank * share;
    switch (entry->kind) {
    case FX_REPLAY_SUM:
        return comm->ops->start_sum(comm, t->slab + (size_t)tape->offset[e] * each,
                                    (int64_t)((size_t)entry->bytes / each), t->type);
    case FX_REPLAY_GATHER:
        t->taken += share * (size_t)comm->size;
        return comm->ops->start_gather(comm, mine, share, all);
    case FX_REPLAY_BLOCKING:
        t->taken += share * (size_t)comm->size;
        return comm->ops->all_gather(comm, mine, share, all);
    default:
        return comm->ops->join(comm);
    }
}

/* *waited: in joins, and for gathers that are waited for. */
static fx_status one_step(fx_comm *comm, const fx_scaling_tape *tape, traffic *t, double *seconds,
                          double *waited)
{
    FX_TRY(comm->ops->barrier(comm));
    const double start = fx_now();
    double instant = start;
    t->taken = 0;
    *waited = 0;
    for (int e = 0; e < tape->count; e++) {
        const fx_replay_entry *entry = &tape->entry[e];
        const double before = fx_now();
        if (entry->kind == FX_REPLAY_WORK) {
            instant += entry->seconds;
            FX_TRY(wait_until(comm, instant));
            continue;
        }
        FX_TRY(communicate(comm, tape, e, t));
        if (entry->kind == FX_REPLAY_JOIN || entry->kind == FX_REPLAY_BLOCKING) {
            *waited += fx_now() - before;
            instant = fmax(instant, fx_now());
        }
    }
    *seconds = fx_now() - start;
    return fx_comm_max_f64(comm, seconds);
}

static fx_status allocate(const fx_scaling_tape *tape, const fx_config *c, traffic *out)
{
    double gathered = 0;
    out->type = c->train_reduce_type == 1 ? FX_BF16 : FX_F32;
    for (int e = 0; e < tape->count; e++)
        if (tape->entry[e].kind == FX_REPLAY_GATHER || tape->entry[e].kind == FX_REPLAY_BLOCKING)
            gathered += tape->entry[e].bytes;
    FX_TRY(FX_ALLOC(out->slab, tape->gradients * (int64_t)fx_dtype_bytes(out->type)));
    return FX_ALLOC(out->gathered, (int64_t)gathered + 1);
}

static fx_status measure(fx_comm *comm, const fx_config *c, const fx_scaling_tape *tape, json_t *rows)
{
    traffic t = {0};
    double seconds[FX_BENCH_MAX], least, median, mean = 0, most = 0, waited, all_waited = 0;
    const int steps = (int)c->bench_steps;
    fx_status status = fx_agree(comm, allocate(tape, c, &t));
    if (status != FX_OK) goto done;
    for (int64_t i = -c->bench_warmup; i < steps; i++) {
        double one;
        FX_TRY_DONE(one_step(comm, tape, &t, &one, &waited));
        if (i < 0) continue;
        seconds[i] = one;
        mean += one / steps;
        most = one > most ? one : most;
        all_waited += waited / steps;
    }
    fx_bench_order(seconds, steps, &least, &median);
    json_t *row =
        json_pack("{s:i, s:i, s:I, s:i, s:f, s:f, s:f, s:f, s:f}", "ranks", comm->size, "sums",
                  tape->sums, "gathered_bytes", (json_int_t)t.taken, "steps", steps, "mean_s", mean,
                  "median_s", median, "least_s", least, "most_s", most, "waited_s", all_waited);
    if (json_array_append_new(rows, row) != 0) status = fx_fail(FX_ENOMEM, "no memory for the row");
done:
    fx_free(t.slab);
    fx_free(t.gathered);
    return fx_agree(comm, status);
}

/* A gather over a group of ranks, and the sums of train.reduce: fixed, are not what the list says. */
static fx_status over_all_ranks(const fx_config *c)
{
    FX_REQUIRE(c->contrast_weight <= 0 || strcmp(c->contrast_group, "global") == 0, FX_ECONFIG,
               "bench replay: contrast.group: gathers are replayed over all ranks only (global)");
    FX_REQUIRE(c->train_reduce == 0, FX_ECONFIG, "bench replay: train.reduce: fixed is not replayed");
    return FX_OK;
}

/* Messages of an exchange are not replayed, nor sums that are not of gradients. */
static fx_status only_gathered(const fx_scaling_tape *tape)
{
    for (int e = 0; e < tape->count; e++)
        FX_REQUIRE(tape->entry[e].kind != FX_REPLAY_EXCHANGE, FX_ECONFIG,
                   "bench replay: contrast.exchange: features is not replayed: profile gather");
    return FX_OK;
}

static fx_status open_tape(const fx_config *c, const char *file, int64_t batch, int ranks,
                           fx_scaling_tape *out)
{
    enum { PROFILE_MAX = 1 << 27 };
    fx_json profile;
    *out = (fx_scaling_tape){0};
    FX_TRY(over_all_ranks(c));
    FX_TRY(fx_json_load(file, PROFILE_MAX, &profile));
    const fx_tape_times times = {.profile = &profile};
    fx_status status = fx_scaling_tape_create(c, &times, batch, ranks, out);
    if (status == FX_OK) status = only_gathered(out);
    fx_json_free(&profile);
    return status;
}

fx_status fx_bench_replay(fx_comm *comm, const fx_config *config, const char *profile, int64_t batch,
                          json_t **out)
{
    fx_scaling_tape tape;
    json_t *rows = json_array();
    *out = NULL;
    fx_status status = fx_agree(comm, open_tape(config, profile, batch, comm->size, &tape));
    if (status == FX_OK) status = measure(comm, config, &tape, rows);
    if (status == FX_OK && comm->rank == 0)
        *out = json_pack("{s:s, s:s, s:O}", "kind", "replay", "profile", profile, "rows", rows);
    json_decref(rows);
    fx_scaling_tape_free(&tape);
    return status;
}
