/* start_rates.c: a probe of a few hundred milliseconds: a transport that fell back to TCP or a file
 * system that is overloaded shows at the start, not in tomorrow's bill. */
#include "start_rates.h"

#include <math.h>

#include "flexhpc/bench.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { FIRST = 1 << 18 /* elements of the first sum */, SUMS = 5, BATCHES = 8 };
static const double ENOUGH = 0.2, LONGEST = 0.1; /* seconds: of all sums or reads; of one sum */

/* The step's largest sum; count 0: it has none. */
static fx_reduce_attrs largest_sum(const fx_trainee *t)
{
    const fx_entry *entries = NULL;
    fx_reduce_attrs found = {0};
    const int count = fx_program_entries(t->step, &entries);
    for (int e = 0; e < count; e++) {
        const fx_node *n = entries[e].node;
        if (n->id == FX_OP_all_reduce && n->attrs.reduce.count > found.count) found = n->attrs.reduce;
    }
    return found;
}

/* Seconds of the best of at most `runs` sums after a first one that does not count; as long as there is
 * time. All ranks hear the same times, so they stop together. */
static fx_status best_of(fx_trainee *t, fx_reduce_attrs part, int runs, double *best, int *done)
{
    fx_comm *comm = t->exec->options.comm;
    fx_program *program = NULL;
    fx_tensor *slab = fx_params_slab(t->params, FX_SLAB_GRADIENT, 0);
    double seconds = 0, all = 0;
    *best = INFINITY;
    *done = 0;
    fx_status status = fx_agree(comm, fx_sum_program(t->exec, t->params, slab, part, 1, &program));
    if (status == FX_OK) status = fx_program_time(t->exec, program, &seconds);
    while (status == FX_OK && *done < runs && all < ENOUGH) {
        status = fx_program_time(t->exec, program, &seconds);
        *best = fmin(*best, seconds);
        all += seconds;
        ++*done;
    }
    fx_program_free(&program);
    return status;
}

/* First a small part, which says how much of the whole there is time for. */
static fx_status time_sums(fx_trainee *t, fx_start_rates *out)
{
    fx_reduce_attrs part = largest_sum(t);
    const int64_t whole = part.count;
    if (out->ranks == 1 || whole == 0) return FX_OK;
    part.count = whole < FIRST ? whole : FIRST;
    FX_TRY(best_of(t, part, whole > FIRST ? 1 : SUMS, &out->sum_seconds, &out->sums));
    if (whole > FIRST) {
        const double room = (double)part.count * fmax(1, LONGEST / out->sum_seconds);
        part.count = (double)whole < room ? whole : (int64_t)room;
        FX_TRY(best_of(t, part, SUMS, &out->sum_seconds, &out->sums));
    }
    out->bf16 = part.bf16;
    out->sum_bytes = (double)part.count * (part.bf16 ? sizeof(uint16_t) : sizeof(float));
    return FX_OK;
}

static fx_status read_some(fx_loader *loader, const fx_config *c, int64_t step, double read[2])
{
    const double start = fx_now();
    for (int64_t i = 0; i < BATCHES && read[0] < ENOUGH; i++) {
        fx_loader_batch batch;
        FX_TRY(fx_loader_next(loader, step + i / c->train_accumulate, i % c->train_accumulate, &batch));
        read[0] = fx_now() - start;
        read[1] += (double)batch.samples;
    }
    return FX_OK;
}

static fx_status time_reads(fx_comm *comm, fx_loader *loader, const fx_config *c, int64_t step,
                            fx_start_rates *out)
{
    double mine[2] = {0, 0} /* seconds, samples */, *all = NULL;
    fx_status status = FX_ALLOC(all, 2 * (int64_t)comm->size);
    if (status == FX_OK) status = read_some(loader, c, step, mine);
    status = fx_agree(comm, status);
    if (status == FX_OK) status = comm->ops->all_gather(comm, mine, sizeof mine, all);
    out->sample_bytes = fx_sample_bytes(c);
    out->read_least = INFINITY;
    double samples = 0;
    for (int r = 0; status == FX_OK && r < comm->size; r++) {
        samples += all[2 * r + 1];
        out->read_seconds = fmax(out->read_seconds, all[2 * r]);
        out->read_least = fmin(out->read_least, all[2 * r + 1] * out->sample_bytes / all[2 * r]);
    }
    out->samples = (int64_t)samples;
    out->read_all = samples * out->sample_bytes / out->read_seconds;
    fx_free(all);
    return status;
}

fx_status fx_start_rates_measure(fx_trainee *trainee, fx_loader *loader, const fx_config *config,
                                 int64_t step, fx_start_rates *out)
{
    fx_comm *comm = trainee->exec->options.comm;
    *out = (fx_start_rates){.ranks = comm->size};
    FX_TRY_CTX(time_sums(trainee, out), "run.probe");
    return time_reads(comm, loader, config, step, out);
}

/* Bytes/s on each link of a ring, as `bench comm` tells them. */
static double link_rate(const fx_start_rates *r)
{
    return 2.0 * (r->ranks - 1) / r->ranks * r->sum_bytes / r->sum_seconds;
}

void fx_start_rates_print(const fx_start_rates *r, FILE *out)
{
    if (r->sum_bytes > 0)
        fprintf(
            out,
            "sums         of %d ranks: %.3f MiB %s in %.3f ms, best of %d; %.3f GB/s on each link of "
            "a ring\n",
            r->ranks, r->sum_bytes / 0x1p20, r->bf16 ? "bf16" : "fp32", 1e3 * r->sum_seconds, r->sums,
            1e-9 * link_rate(r));
    fprintf(
        out,
        "reading      %lld samples of %.1f KiB in %.3f s: %.1f MB/s the slowest rank, %.1f MB/s all; "
        "may come from the page cache\n",
        (long long)r->samples, r->sample_bytes / 1024, r->read_seconds, 1e-6 * r->read_least,
        1e-6 * r->read_all);
}

void fx_start_rates_log(const fx_start_rates *r)
{
    char sums[96] = "";
    if (r->sum_bytes > 0)
        snprintf(sums, sizeof sums, "sums of %.1f MiB at %.2f GB/s a link, ", r->sum_bytes / 0x1p20,
                 1e-9 * link_rate(r));
    fx_log(FX_INFO, "before the first step: %sreading at %.1f MB/s on the slowest rank", sums,
           1e-6 * r->read_least);
}
