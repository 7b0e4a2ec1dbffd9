/* bench_comm.c: seconds of a sum over all ranks, by size, along the path of a training step: a program
 * of one all_reduce and its join, run by the backend, and one of a queue of them, as a training step
 * queues its buckets. Alone, a sum shows its latency; in a queue, where latencies overlap as far as the
 * backend lets them, what it occupies the network for. */
#include <math.h>

#include "flexhpc/bench.h"
#include "flexhpc/mem.h"

enum {
    SMALLEST = 256,       /* floats of the second row */
    FLOATS_MAX = 1 << 28, /* of all sums that are under way */
    QUEUE = 8,
    LARGEST_USUAL = 32 /* MiB, of buckets that fx_buckets chooses */
};

const char *const fx_bench_comm_columns[] = {"bytes",    "least_s",      "median_s", "most_s",
                                             "queued_s", "bus_mb_per_s", NULL};

fx_status fx_sum_program(fx_exec *exec, fx_params *params, fx_tensor *slab, fx_reduce_attrs part,
                         int sums, fx_program **out)
{
    fx_builder *g = NULL;
    FX_TRY(fx_builder_create(params, &g));
    if (!slab) slab = fx_input(g, "slab", 1, FX_DIMS(sums * part.count));
    for (int i = 0; i < sums; i++) {
        const fx_node *sum =
            fx_record(g, FX_OP_all_reduce, "sum", (fx_attrs){.reduce = part}, &slab, 1);
        if (sum)
            fx_keep(g, sum->out[0]); /* in bf16: nobody reads it, but it is in flight until the join */
        part.offset += part.count;
    }
    fx_record(g, FX_OP_join, "join", (fx_attrs){0}, NULL, 0);
    return fx_program_create(exec, &g, false, out);
}

fx_status fx_program_time(fx_exec *exec, fx_program *program, double *seconds)
{
    fx_comm *comm = exec->options.comm;
    FX_TRY(comm->ops->barrier(comm));
    const double start = fx_now();
    fx_status status = fx_program_run(program, &(fx_step){.gradient_scale = 1}, NULL);
    if (status == FX_OK) status = exec->backend->wait(exec);
    *seconds = fx_now() - start;
    FX_TRY(fx_agree(comm, status));
    return fx_comm_max_f64(comm, seconds);
}

/* `seconds` has room for bench.steps. */
static fx_status repeat(fx_exec *exec, fx_program *program, const fx_config *c, double *seconds)
{
    for (int64_t i = -c->bench_warmup - 1; i < c->bench_steps;
         i++) { /* a graph is captured in the first */
        double took = 0;
        FX_TRY(fx_program_time(exec, program, &took));
        if (i >= 0) seconds[i] = took;
    }
    return FX_OK;
}

/* Times of `sums` sums at once: bench.steps of them. */
static fx_status measure_sums(fx_exec *exec, fx_params *params, const fx_config *c, int64_t count,
                              int sums, double *seconds)
{
    fx_program *program = NULL;
    const fx_reduce_attrs part = {.count = count, .bf16 = c->train_reduce_type == 1};
    fx_status status =
        fx_agree(exec->options.comm, fx_sum_program(exec, params, NULL, part, sums, &program));
    if (status == FX_OK) status = repeat(exec, program, c, seconds);
    fx_program_free(&program);
    return status;
}

static fx_status add_row(json_t *rows, int ranks, double bytes, const double *alone,
                         const double *queue, int queued, int steps)
{
    double least, median, most = 0, all_least, all = 0;
    fx_bench_order(alone, steps, &least, &median);
    for (int i = 0; i < steps; i++)
        most = alone[i] > most ? alone[i] : most;
    fx_bench_order(queue, steps, &all_least, &all);
    const double more = fmax((all - median) / (queued - 1), 1e-9);
    const double part = 2.0 * (ranks - 1) / ranks;
    json_t *row =
        json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:i, s:f}", "bytes", (json_int_t)bytes, "least_s",
                  least, "median_s", median, "most_s", most, "queued_s", more, "bus_mb_per_s",
                  1e-6 * part * bytes / median, "queue", queued, "queue_s", all);
    FX_REQUIRE(json_array_append_new(rows, row) == 0, FX_ENOMEM, "no memory for the rows");
    return FX_OK;
}

static fx_status measure(fx_exec *exec, const fx_config *c, json_t *rows)
{
    fx_comm *comm = exec->options.comm;
    fx_params *params = NULL;
    fx_status status = fx_agree(comm, fx_params_create(&params));
    if (status == FX_OK) status = fx_agree(comm, fx_params_store_as(params, exec->storage));
    const double mib = c->train_bucket > 0 ? c->train_bucket : LARGEST_USUAL;
    const int64_t most = (int64_t)(mib * 1048576 / sizeof(float));
    const double each = c->train_reduce_type == 1 ? sizeof(uint16_t) : sizeof(float);
    double alone[FX_BENCH_MAX], queue[FX_BENCH_MAX];
    for (int64_t count = 1, next; status == FX_OK && 2 * count <= FLOATS_MAX; count = next) {
        const int sums = QUEUE * count <= FLOATS_MAX ? QUEUE : 2;
        status = measure_sums(exec, params, c, count, 1, alone);
        if (status == FX_OK) status = measure_sums(exec, params, c, count, sums, queue);
        if (status == FX_OK)
            status = add_row(rows, comm->size, each * (double)count, alone, queue, sums,
                             (int)c->bench_steps);
        if (count >= most) break;
        next = count == 1 ? SMALLEST : 2 * count;
    }
    fx_params_free(&params);
    return fx_agree(comm, status);
}

fx_status fx_bench_nodes(fx_comm *comm, int *nodes)
{
    double first = comm->local_rank == 0 ? 1 : 0;
    FX_TRY(fx_comm_sum_f64(comm, &first, 1));
    *nodes = (int)first;
    return FX_OK;
}

fx_status fx_bench_comm(fx_comm *comm, const fx_config *config, json_t **out)
{
    fx_exec *exec = NULL;
    json_t *rows = json_array();
    char backend[256] = "";
    int nodes = 0;
    *out = NULL;
    fx_status status = rows ? FX_OK : fx_fail(FX_ENOMEM, "no memory for the rows");
    FX_TRY_DONE(fx_agree(comm, status));
    FX_REQUIRE_DONE(comm->size > 1, FX_ECONFIG,
                    "bench comm: one rank sums with nobody: use mpiexec -n");
    FX_TRY_DONE(fx_exec_open(comm, config, &exec));
    FX_TRY_DONE(fx_agree(comm, exec->backend->describe(exec, backend, sizeof backend)));
    FX_TRY_DONE(fx_bench_nodes(comm, &nodes));
    FX_TRY_DONE(measure(exec, config, rows));
    if (comm->rank == 0)
        *out = json_pack("{s:s, s:s, s:i, s:i, s:O}", "kind", "comm", "backend", backend, "ranks",
                         comm->size, "nodes", nodes, "rows", rows);
done:
    json_decref(rows);
    if (exec) exec->backend->close(&exec);
    return status;
}
