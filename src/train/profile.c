/* profile.c: where the time of a training step goes: a table by op (GB/s: of the tensors that its nodes
 * name, fx_node_bytes), on a GPU with the share of its measured limits that each reaches, and a trace
 * for a viewer of Chrome's trace format (chrome://tracing, Perfetto): "X" events, microseconds, pid =
 * rank, thread 0 the tape's entries and thread 1 the sums of gradients, each from its start to the end
 * of the join after it. A sum may be done earlier; only join can tell. */
#include <stdlib.h>
#include <string.h>

#include "flexhpc/json.h"
#include "flexhpc/mem.h"
#include "synthetic.h"

typedef struct row {
    fx_op_id id;
    int calls;         /* a step */
    double seconds[2]; /* a step, by pass */
    double flop, bytes;
    double least; /* seconds a step that its entries take at the device's limits */
} row;

static int longest_first(const void *a, const void *b)
{
    const row *x = a, *y = b;
    const double sx = x->seconds[0] + x->seconds[1], sy = y->seconds[0] + y->seconds[1];
    return sx != sy ? (sx < sy) - (sx > sy) : (x->id > y->id) - (x->id < y->id);
}

/* Seconds of an entry at the limits of its products or of memory, whichever takes longer. */
static double least_seconds(const fx_entry *entry, const fx_device_limits *limits)
{
    const double products = fx_node_flops(entry->node, entry->pass) / limits->product,
                 memory = fx_node_bytes(entry->node, entry->pass) / limits->copy;
    return products > memory ? products : memory;
}

static void add_up(const fx_recorder *r, int steps, const fx_device_limits *limits, row *rows)
{
    for (int e = 0; e < r->count; e++) {
        row *to = &rows[r->entries[e].node->id];
        to->calls++;
        to->seconds[r->entries[e].pass] += r->total[e] / steps;
        to->flop += fx_node_flops(r->entries[e].node, r->entries[e].pass);
        to->bytes += fx_node_bytes(r->entries[e].node, r->entries[e].pass);
        if (limits) to->least += least_seconds(&r->entries[e], limits);
    }
}

/* Index of the join that ends the sum started by entry e; -1: none follows. */
static int join_after(const fx_recorder *r, int e)
{
    for (int j = e + 1; j < r->count; j++)
        if (r->entries[j].node->id == FX_OP_join) return j;
    return -1;
}

/* Of the newest step: how long sums were under way before their join, and how long that waited. */
static void print_overlap(const fx_recorder *r, FILE *out)
{
    for (int e = 0; e < r->count; e++) {
        const int j = join_after(r, e);
        if (r->entries[e].node->id != FX_OP_all_reduce || j < 0) continue;
        fprintf(out,
                "sums of gradients: under way for %.4f s beside backward, then join waits %.4f s\n",
                r->span[j].start - r->span[e].start, r->span[j].end - r->span[j].start);
        return;
    }
}

static void print_row(const row *r, double all, const fx_device_limits *limits, FILE *out)
{
    const double both = r->seconds[0] + r->seconds[1], rate = both > 0 ? 1 / both : 0;
    const int digits = limits ? 6 : 4;
    fprintf(out, "%-12s %6d %10.*f %10.*f %5.1f %% %8.2f %8.1f", fx_ops[r->id]->name, r->calls, digits,
            r->seconds[0], digits, r->seconds[1], 100 * both / all, 1e-9 * r->bytes * rate,
            (limits ? 1e-12 : 1e-9) * r->flop * rate);
    if (limits) fprintf(out, " %7.1f %%", 100 * r->least * rate);
    fputc('\n', out);
}

/* `limits` is NULL but on a GPU, where rates of products are in TFLOP/s, and shares those of the time
 * on its clock: the step's other time is the host's, which starts every entry by itself here. */
static void print_table(const fx_recorder *r, int steps, double seconds, const fx_device_limits *limits,
                        FILE *out)
{
    row rows[FX_OP_COUNT] = {0};
    double inside = 0, least = 0;
    for (int id = 0; id < FX_OP_COUNT; id++)
        rows[id].id = (fx_op_id)id;
    add_up(r, steps, limits, rows);
    for (int id = 0; id < FX_OP_COUNT; id++) {
        inside += rows[id].seconds[0] + rows[id].seconds[1];
        least += rows[id].least;
    }
    const double all = limits ? inside : seconds;
    qsort(rows, FX_OP_COUNT, sizeof *rows, longest_first);
    fprintf(out, "%-12s %6s %10s %10s %7s %8s %8s%s\n", "op", "calls", "forward s", "backward s",
            "share", "GB/s", limits ? "TFLOP/s" : "GFLOP/s", limits ? "  of limit" : "");
    for (int i = 0; i < FX_OP_COUNT; i++)
        if (rows[i].calls > 0) print_row(&rows[i], all, limits, out);
    if (!limits)
        fprintf(out, "between      %6s %10.4f %10s %5.1f %%\n", "", seconds - inside, "",
                100 * (seconds - inside) / seconds);
    fprintf(out, "a step: %.4f s, mean of %d; %.1f %% outside convolutions\n", seconds, steps,
            100 * fx_recorder_outside_conv(r, all * steps));
    if (limits)
        fprintf(out,
                "its entries: %.6f s on the GPU's clock; at the GPU's limits, %.1f TFLOP/s and %.1f "
                "GB/s, %.6f s\n",
                inside, 1e-12 * limits->product, 1e-9 * limits->copy, least);
    print_overlap(r, out);
}

/* One event; seconds since the rank's first entry began. */
static int add_event(json_t *events, const fx_entry *entry, int rank, int thread, double start,
                     double end)
{
    const char *pass = entry->pass == FX_BACKWARD ? "backward"
                       : entry->node->recomputed  ? "recomputed"
                                                  : "forward";
    return json_array_append_new(
        events,
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:s, s:s, s:f}}", "name", entry->node->name,
                  "cat", entry->node->op->name, "ph", "X", "pid", rank, "tid", thread, "ts",
                  1e6 * start, "dur", 1e6 * (end - start), "args", "op", entry->node->op->name, "pass",
                  pass, "gflop", 1e-9 * fx_node_flops(entry->node, entry->pass)));
}

/* Threads are named by metadata events. */
static int name_thread(json_t *events, int rank, int thread, const char *name)
{
    return json_array_append_new(events,
                                 json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph",
                                           "M", "pid", rank, "tid", thread, "args", "name", name));
}

static int add_rank(json_t *events, const fx_recorder *r, const fx_span *span, int rank)
{
    int bad = name_thread(events, rank, 0, "tape") | name_thread(events, rank, 1, "sums of gradients");
    for (int e = 0; e < r->count; e++) {
        const double zero = span[0].start;
        bad |= add_event(events, &r->entries[e], rank, 0, span[e].start - zero, span[e].end - zero);
        const int j = r->entries[e].node->id == FX_OP_all_reduce ? join_after(r, e) : -1;
        if (j >= 0)
            bad |= add_event(events, &r->entries[e], rank, 1, span[e].start - zero, span[j].end - zero);
    }
    return bad;
}

static fx_status write_trace(const fx_recorder *r, const fx_span *all, int ranks, const char *file)
{
    json_t *events = json_array();
    int bad = 0;
    for (int rank = 0; rank < ranks; rank++)
        bad |= add_rank(events, r, all + (size_t)rank * (size_t)r->count, rank);
    json_t *root = json_pack("{s:s, s:o}", "displayTimeUnit", "ms", "traceEvents", events);
    const fx_status status =
        bad ? fx_fail(FX_ENOMEM, "%s: no memory for the trace", file) : fx_json_write(file, root);
    json_decref(root);
    return status;
}

/* Rank 0 writes every rank's newest step: all ranks have the same tape. */
static fx_status gather_trace(const fx_synthetic *s, const fx_recorder *r, const char *file)
{
    fx_span *all = NULL;
    const size_t bytes = (size_t)r->count * sizeof *r->span;
    fx_status status = fx_agree(s->comm, FX_ALLOC(all, (int64_t)r->count * s->comm->size));
    if (status == FX_OK) status = s->comm->ops->all_gather(s->comm, r->span, bytes, all);
    if (status == FX_OK && s->comm->rank == 0) status = write_trace(r, all, s->comm->size, file);
    fx_free(all);
    return fx_agree(s->comm, status);
}

static fx_status record(fx_synthetic *s, fx_recorder *r, const fx_device_limits *limits,
                        const char *trace, const char *times, FILE *out)
{
    fx_status status = FX_OK;
    const int steps = (int)s->config->bench_steps;
    double one, seconds = 0;
    for (int64_t i = 0; i < s->config->bench_warmup; i++)
        FX_TRY(fx_synthetic_step(s, &one));
    FX_TRY(fx_agree(s->comm, fx_recorder_create(s->trainee, r)));
    for (int i = 0; i < steps; i++) {
        FX_TRY(fx_synthetic_step(s, &one));
        seconds += one / steps;
    }
    if (out) print_table(r, steps, seconds, limits, out);
    if (times && s->comm->rank == 0) status = fx_recorder_write(r, s, steps, seconds, times);
    FX_TRY(fx_agree(s->comm, status));
    return trace ? gather_trace(s, r, trace) : FX_OK;
}

/* Of the rank's GPU, while nothing else is in its memory. */
static fx_status measure_limits(fx_comm *comm, const fx_config *config, bool *gpu,
                                fx_device_limits *limits)
{
    fx_exec *exec = NULL;
    FX_TRY(fx_agree(comm, fx_exec_open(comm, config, &exec)));
    *gpu = strcmp(exec->backend->name, "cuda") == 0;
    const fx_status status = *gpu ? fx_exec_limits(exec, config, limits) : FX_OK;
    exec->backend->close(&exec);
    return fx_agree(comm, status);
}

fx_status fx_profile(fx_comm *comm, const fx_config *config, const char *trace, const char *times,
                     FILE *out)
{
    fx_synthetic s;
    fx_recorder r = {0};
    fx_device_limits limits = {0};
    bool gpu = false;
    FX_TRY(measure_limits(comm, config, &gpu, &limits));
    fx_status status = fx_synthetic_open(comm, config, &s);
    if (status == FX_OK) status = record(&s, &r, gpu ? &limits : NULL, trace, times, out);
    fx_recorder_free(&r, s.trainee);
    fx_synthetic_close(&s);
    return status;
}
