/* bench_replay.c: the tape of a training step with its sums as they are and everything else replaced by
 * waiting as long as a profile says: what `flexhpc predict` is tried against. A wait ends at an
 * instant, not after a time, so that what the machine adds to a short one is taken off the next;
 * meanwhile sums go on, as they would beside a GPU's work. */
#include <time.h>

#include "flexhpc/bench.h"
#include "flexhpc/mem.h"
#include "scaling_tape.h"

const char *const fx_bench_replay_columns[] = {"ranks",   "sums",   "steps",    "mean_s", "median_s",
                                               "least_s", "most_s", "waited_s", NULL};

static fx_status wait_until(fx_comm *comm, double instant)
{
    const struct timespec pause = {.tv_nsec = 20000};
    while (fx_now() < instant) {
        FX_TRY(comm->ops->progress(comm));
        if (instant - fx_now() > 1e-4) nanosleep(&pause, NULL);
    }
    return comm->ops->progress(comm);
}

/* *waited: in joins. */
static fx_status one_step(fx_comm *comm, const fx_scaling_tape *tape, fx_dtype type, float *slab,
                          double *seconds, double *waited)
{
    FX_TRY(comm->ops->barrier(comm));
    const double start = fx_now();
    double instant = start;
    *waited = 0;
    for (int e = 0; e < tape->count; e++) {
        const fx_replay_entry *entry = &tape->entry[e];
        const size_t each = fx_dtype_bytes(type);
        const double before = fx_now();
        if (entry->kind == FX_REPLAY_SUM) {
            FX_TRY(comm->ops->start_sum(comm, (char *)slab + (size_t)tape->offset[e] * each,
                                        (int64_t)(entry->bytes / (double)each), type));
        } else if (entry->kind == FX_REPLAY_JOIN) {
            FX_TRY(comm->ops->join(comm));
            *waited += fx_now() - before;
            instant = instant > fx_now() ? instant : fx_now();
        } else {
            instant += entry->seconds;
            FX_TRY(wait_until(comm, instant));
        }
    }
    *seconds = fx_now() - start;
    return fx_comm_max_f64(comm, seconds);
}

static fx_status measure(fx_comm *comm, const fx_config *c, const fx_scaling_tape *tape, json_t *rows)
{
    float *slab = NULL;
    double seconds[FX_BENCH_MAX], least, median, mean = 0, most = 0, waited, all_waited = 0;
    const int steps = (int)c->bench_steps;
    const fx_dtype type = c->train_reduce_type == 1 ? FX_BF16 : FX_F32;
    fx_status status = FX_OK;
    FX_TRY(fx_agree(comm, FX_ALLOC(slab, tape->gradients)));
    for (int64_t i = -c->bench_warmup; i < steps; i++) {
        double one;
        FX_TRY_DONE(one_step(comm, tape, type, slab, &one, &waited));
        if (i < 0) continue;
        seconds[i] = one;
        mean += one / steps;
        most = one > most ? one : most;
        all_waited += waited / steps;
    }
    fx_bench_order(seconds, steps, &least, &median);
    json_t *row = json_pack("{s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "ranks", comm->size, "sums",
                            tape->sums, "steps", steps, "mean_s", mean, "median_s", median, "least_s",
                            least, "most_s", most, "waited_s", all_waited);
    if (json_array_append_new(rows, row) != 0) status = fx_fail(FX_ENOMEM, "no memory for the row");
done:
    fx_free(slab);
    return fx_agree(comm, status);
}

/* Gathers have other contents than their own bytes to move about. */
static fx_status only_sums(const fx_scaling_tape *tape)
{
    for (int e = 0; e < tape->count; e++)
        FX_REQUIRE(
            tape->entry[e].kind != FX_REPLAY_GATHER && tape->entry[e].kind != FX_REPLAY_BLOCKING,
            FX_ECONFIG,
            "bench replay: sums alone are replayed: no contrast.weight, no train.shard_optimizer");
    return FX_OK;
}

static fx_status open_tape(const fx_config *c, const char *file, int64_t batch, int ranks,
                           fx_scaling_tape *out)
{
    enum { PROFILE_MAX = 1 << 27 };
    fx_json profile;
    *out = (fx_scaling_tape){0};
    FX_TRY(fx_json_load(file, PROFILE_MAX, &profile));
    const fx_tape_times times = {.profile = &profile};
    fx_status status = fx_scaling_tape_create(c, &times, batch, ranks, out);
    if (status == FX_OK) status = only_sums(out);
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
