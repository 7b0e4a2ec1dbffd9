/* scaling_model.c: the time of a training step on n ranks. Sums of S bytes on a network of rows (g
 * devices a node, hop latencies a_in and a_out, b = FRACTION x min(inner, outer) bytes a second, inner
 * alone inside one node): ring  2 (n - 1) a + 2 (n - 1) / n S / b      a: the mean hop, ((g - 1) a_in +
 * a_out) / g tree  2 (log2(nodes) a_out + (g - 1) a_in) + 2 S / (TREE b) whichever is shorter (Thakur,
 * Rabenseifner, Gropp 2005; NCCL chooses between the same two). Measured sums are interpolated at the
 * measured number of ranks and carried to others by the same ring, or by recursive doubling, log2(n) (a
 * + S / b), with a and b from the smallest and the largest measured size; so are the times that they
 * occupy the network for in a queue, where several are in flight together (mpi/comm_mpi.h).
 *
 * What the model lacks: congestion between jobs, stragglers that stay slow, kernels that lose
 * efficiency on small batches, hosts that can't keep up. Its efficiencies are upper bounds. */
#include "flexhpc/scaling.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "flexhpc/json.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

static const double FRACTION =
    0.85; /* of a link's rate that sums of NCCL's reach: nccl-tests issues 212, 290:
             46 to 48 of 50 GB/s a 400G adapter, 370 of 450 GB/s of NVLink */
static const double TREE = 0.9; /* of that by a tree */
enum { JITTER_STEPS = 32 };

static const fx_device_rates h100 = {"H100", 798e12, 3.0e12,
                                     "bf16 matrix product and copy, measured on an H100 SXM"};
static const fx_device_rates h200 = {"H200", 790e12, 4.3e12,
                                     "bf16 matrix product and copy, measured on an H200 SXM"};
static const fx_device_rates a100 = {"A100", 280e12, 1.7e12,
                                     "assumed: 90 % of 312 TFLOP/s, 85 % of 2.0 TB/s, of an A100-80"};

const fx_network fx_networks[] = {
    {"h100-ndr", "8 H100 a node, NVLink, 8 x 400G NDR InfiniBand", &h100, 8, 450e9, 400e9, 1.5e-6, 6e-6,
     "NVLink 4: 450 GB/s one way a GPU; 50 GB/s an adapter; hops assumed"},
    {"h200-ndr", "8 H200 a node, NVLink, 8 x 400G NDR InfiniBand", &h200, 8, 450e9, 400e9, 1.5e-6, 6e-6,
     "as h100-ndr"},
    {"a100-slingshot", "4 A100 a node, NVLink, 4 x 200G Slingshot 11 (Perlmutter)", &a100, 4, 300e9,
     100e9, 1.5e-6, 7e-6, "docs.nersc.gov/systems/perlmutter/architecture; hops assumed"},
    {"h100-200g", "8 H100 a node, NVLink, one 200G adapter", &h100, 8, 450e9, 25e9, 1.5e-6, 7e-6,
     "a node's one adapter of 25 GB/s; hops assumed"},
    {0},
};

fx_status fx_network_find(const char *name, const fx_network **out)
{
    const char *names[16];
    int count = 0;
    for (; fx_networks[count].name; count++) {
        names[count] = fx_networks[count].name;
        if (strcmp(name, names[count]) != 0) continue;
        *out = &fx_networks[count];
        return FX_OK;
    }
    const char *nearest = fx_nearest(name, names, count);
    return fx_fail(FX_ECONFIG, "--network: %s is not in the table; %s%s?", name,
                   nearest ? "did you mean " : "perhaps ", nearest ? nearest : names[0]);
}

fx_status fx_sum_curve_read(const char *file, fx_sum_curve *out)
{
    enum { FILE_MOST = 1 << 20, RANKS_MOST = 1 << 24 };
    fx_json root, rows, row;
    char kind[16];
    int64_t ranks = 0;
    fx_status status = FX_OK;
    *out = (fx_sum_curve){0};
    FX_TRY(fx_json_load(file, FILE_MOST, &root));
    FX_TRY_DONE(fx_json_text(&root, "kind", kind, sizeof kind));
    FX_REQUIRE_DONE(strcmp(kind, "comm") == 0, FX_EVALUE, "%s: holds %s, not a result of bench comm",
                    file, kind);
    FX_TRY_DONE(fx_json_int(&root, "ranks", 2, RANKS_MOST, &ranks));
    FX_TRY_DONE(fx_json_array(&root, "rows", 2, FX_SUM_ROWS, &rows, &out->count));
    out->ranks = (int)ranks;
    for (int i = 0; i < out->count; i++) {
        FX_TRY_DONE(fx_json_entry(&rows, i, &row));
        FX_TRY_DONE(
            fx_json_real(&row, "bytes", i > 0 ? out->bytes[i - 1] + 1 : 1, 1e15, &out->bytes[i]));
        FX_TRY_DONE(fx_json_real(&row, "median_s", 1e-9, 1e6, &out->took[i].alone));
        FX_TRY_DONE(fx_json_real(&row, "queued_s", 1e-9, 1e6, &out->took[i].occupies));
    }
done:
    fx_json_free(&root);
    return status;
}

/* One of the two times that were measured, for all sizes. */
typedef struct curve {
    int ranks, count;
    const double *bytes;
    double seconds[FX_SUM_ROWS];
} curve;

static curve curve_of(const fx_sum_curve *c, bool occupies)
{
    curve out = {.ranks = c->ranks, .count = c->count, .bytes = c->bytes};
    for (int i = 0; i < c->count; i++)
        out.seconds[i] = occupies ? c->took[i].occupies : c->took[i].alone;
    return out;
}

/* At the measured number of ranks: straight lines between sizes, the last one's rate beyond. */
static double interpolated(const curve *c, double bytes)
{
    int i = 1;
    if (bytes <= c->bytes[0]) return c->seconds[0];
    if (bytes >= c->bytes[c->count - 1])
        return c->seconds[c->count - 1] * bytes / c->bytes[c->count - 1];
    while (bytes > c->bytes[i])
        i++;
    const double part = (bytes - c->bytes[i - 1]) / (c->bytes[i] - c->bytes[i - 1]);
    return c->seconds[i - 1] + part * (c->seconds[i] - c->seconds[i - 1]);
}

static double measured_rate(const curve *c)
{
    return 2.0 * (c->ranks - 1) / c->ranks * c->bytes[c->count - 1] / c->seconds[c->count - 1];
}

static double measured_hop(const curve *c)
{
    return c->seconds[0] / ceil(log2(c->ranks));
}

static double measured_sum(const curve *c, int ranks, double bytes)
{
    const double hop = measured_hop(c), rate = measured_rate(c);
    if (ranks == c->ranks) return interpolated(c, bytes);
    return fmin(2.0 * (ranks - 1) * hop + 2.0 * (ranks - 1) / ranks * bytes / rate,
                ceil(log2(ranks)) * (hop + bytes / rate));
}

static double ring_gather(int ranks, double hop, double rate, double bytes)
{
    return (ranks - 1) * (hop + bytes / (ranks * rate));
}

static double rate_of(const fx_network *w, int ranks)
{
    return FRACTION * (ranks <= w->per_node ? w->inner : fmin(w->inner, w->outer));
}

/* Of one step around all ranks: most hops stay inside a node. */
static double ring_hop(const fx_network *w, int ranks)
{
    if (ranks <= w->per_node) return w->inner_hop * (ranks - 1) / ranks;
    return ((w->per_node - 1) * w->inner_hop + w->outer_hop) / w->per_node;
}

static double sum_on(const fx_network *w, int ranks, double bytes)
{
    const double rate = rate_of(w, ranks), inside = fmin(ranks, w->per_node);
    const double ring = 2.0 * (ranks - 1) * (ring_hop(w, ranks) + bytes / (ranks * rate));
    const double up =
        log2(fmax(1, (double)ranks / w->per_node)) * w->outer_hop + (inside - 1) * w->inner_hop;
    return fmin(ring, 2 * up + 2 * bytes / (TREE * rate));
}

fx_transfer fx_sum_seconds(const fx_fabric *f, int ranks, double bytes)
{
    if (ranks <= 1 || bytes <= 0) return (fx_transfer){0};
    if (f->measured) {
        const curve alone = curve_of(f->measured, false), queue = curve_of(f->measured, true);
        return (fx_transfer){measured_sum(&alone, ranks, bytes), measured_sum(&queue, ranks, bytes)};
    }
    const double takes = sum_on(f->network, ranks, bytes);
    return (fx_transfer){takes, takes};
}

fx_transfer fx_gather_seconds(const fx_fabric *f, int ranks, double bytes)
{
    if (ranks <= 1 || bytes <= 0) return (fx_transfer){0};
    if (f->measured) {
        const curve alone = curve_of(f->measured, false), queue = curve_of(f->measured, true);
        return (fx_transfer){ring_gather(ranks, measured_hop(&alone), measured_rate(&alone), bytes),
                             ring_gather(ranks, measured_hop(&queue), measured_rate(&queue), bytes)};
    }
    const double takes =
        ring_gather(ranks, ring_hop(f->network, ranks), rate_of(f->network, ranks), bytes);
    return (fx_transfer){takes, takes};
}

/* Every device's messages leave its node by its share of the adapters, where a ring has all of them. */
static double exchange_rate(const fx_network *w, int ranks)
{
    return FRACTION * (ranks <= w->per_node ? w->inner : fmin(w->inner, w->outer / w->per_node));
}

/* As many messages as a ring has, of as many bytes. */
fx_transfer fx_exchange_seconds(const fx_fabric *f, int ranks, double bytes)
{
    if (ranks <= 1 || bytes <= 0 || f->measured) return fx_gather_seconds(f, ranks, bytes);
    const double takes =
        ring_gather(ranks, ring_hop(f->network, ranks), exchange_rate(f->network, ranks), bytes);
    return (fx_transfer){takes, takes};
}

static fx_transfer transfer_of(const fx_fabric *f, int ranks, const fx_replay_entry *entry)
{
    if (entry->ranks > 0) ranks = entry->ranks;
    if (entry->kind == FX_REPLAY_SUM) return fx_sum_seconds(f, ranks, entry->bytes);
    if (entry->kind == FX_REPLAY_EXCHANGE) return fx_exchange_seconds(f, ranks, entry->bytes);
    return fx_gather_seconds(f, ranks, entry->bytes);
}

/* Compute of `seconds` from *now on; the network is busy until `busy`. */
static void work(double seconds, double busy, double slow, double *now, fx_replay *out)
{
    const double beside = fmin(seconds, fmax(0, busy - *now) / (1 + slow)); /* compute done meanwhile */
    out->slowed += slow * beside;
    *now += seconds + slow * beside;
}

/* An operation starts at `now`: *open is when the network takes the next one, *busy when all are done.
 */
static void begin(fx_transfer takes, double now, double *open, double *busy, fx_replay *out)
{
    const double start = fmax(*open, now), done = start + takes.alone;
    out->sums += fmax(0, done - fmax(start, *busy));
    *open = start + takes.occupies;
    *busy = fmax(*busy, done);
}

fx_replay fx_replay_run(const fx_replay_entry *entries, int count, const fx_fabric *fabric, int ranks,
                        double scale, double slow)
{
    fx_replay out = {0};
    double now = 0, open = 0, busy = 0, arrived = 0;
    for (int e = 0; e < count; e++) {
        const fx_replay_entry *entry = &entries[e];
        const fx_replay_kind kind = entry->kind;
        if (kind == FX_REPLAY_WORK) {
            work(scale * entry->seconds, busy, slow, &now, &out);
            out.work += scale * entry->seconds;
            continue;
        }
        if (kind != FX_REPLAY_JOIN && kind != FX_REPLAY_ARRIVE)
            begin(transfer_of(fabric, ranks, entry), now, &open, &busy, &out);
        if (kind == FX_REPLAY_EXCHANGE) arrived = busy;
        const double until = kind == FX_REPLAY_JOIN || kind == FX_REPLAY_BLOCKING ? busy
                             : kind == FX_REPLAY_ARRIVE                           ? arrived
                                                                                  : now;
        out.exposed += fmax(0, until - now);
        now = fmax(now, until);
    }
    out.step = now;
    return out;
}

/* The largest of `ranks` standard normals of one step. */
static double slowest(uint64_t seed, int ranks, int step, float *room)
{
    double most = -INFINITY;
    fx_fill_normal(seed, 0, fx_crc32("jitter"), (uint32_t)step, room, ranks);
    for (int r = 0; r < ranks; r++)
        most = fmax(most, (double)room[r]);
    return most;
}

fx_status fx_replay_jitter(const fx_replay_entry *entries, int count, const fx_fabric *fabric,
                           int ranks, double slow, double sigma, uint64_t seed, fx_replay *out)
{
    float *room = NULL;
    *out = (fx_replay){0};
    FX_TRY(FX_ALLOC(room, ranks));
    for (int step = 0; step < JITTER_STEPS; step++) {
        const double z = slowest(seed, ranks, step, room);
        const fx_replay one =
            fx_replay_run(entries, count, fabric, ranks, fmax(0, 1 + sigma * z), slow);
        out->step += one.step / JITTER_STEPS;
        out->work += one.work / JITTER_STEPS;
        out->sums += one.sums / JITTER_STEPS;
        out->exposed += one.exposed / JITTER_STEPS;
        out->slowed += one.slowed / JITTER_STEPS;
    }
    fx_free(room);
    return FX_OK;
}
