/* order.c: which sample each slot of each global batch gets. All samples of a pack, (patch, start) with
 * the start fastest, stand in one line of M that is cut into K strata of equal length (K: pack.strata).
 * With batch B, K / B steps make a round that visits every stratum once: stratum = pi_epoch[slot + B
 * (step mod K/B)],   pi_epoch: a permutation of 0 .. K-1 sample  = start of the stratum + floor(u
 * length),   u = Philox(seed; 0, 2 slot, crc32("order"), step) / 2^32 Nothing here knows the rank, so
 * any number of ranks draws the same batches and no message is needed. A slot stays inside K / B strata
 * for an epoch, hence inside few shards; the epoch is M / B steps, rounded up to whole rounds.
 *
 * With data.weights the samples stand group after group, and the K R draws of an epoch of R rounds are
 * cells of a line of their own: stratum k has the cells k R .. k R + R - 1, and group g those up to the
 * rounded sum of shares, so that its number of draws is right to one. A stratum takes its cells in a
 * random order, one a round; cell i of a group's n draws from the i-th n-th of its samples. */
#include "flexhpc/data.h"

#include <math.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "mixture.h"

/* Of samples and of cells: both begin where the group before ends. */
typedef struct group {
    int64_t samples, cells;
} group;

struct fx_order {
    uint64_t seed;
    int64_t batch, strata, samples, epoch_steps, cond;
    int64_t patches, *patch, *last;         /* patches drawn from; samples up to and with each */
    double condition_least, condition_mean; /* of what is drawn */
    bool keep_strata;
    int64_t epoch;     /* whose permutation is in `stratum`; -1: none yet */
    uint32_t *stratum; /* (strata) */
    int groups;        /* 0: without weights */
    group *end;        /* (groups) where each ends */
};

static bool is_drawn(const fx_order_options *o, double reynolds)
{
    return !o->reynolds || fx_list_has(o->reynolds, reynolds);
}

static fx_status check(const fx_manifest *m, const fx_order_options *o)
{
    FX_REQUIRE(o->batch > 0 && m->strata % o->batch == 0, FX_ECONFIG,
               "train.global_batch: %lld does not divide the pack's %lld strata (pack.strata)",
               (long long)o->batch, (long long)m->strata);
    for (int i = 0; o->reynolds && i < o->reynolds->count; i++) {
        bool found = false;
        for (int r = 0; r < m->reynolds_count; r++)
            found = found || m->reynolds[r].reynolds == o->reynolds->value[i];
        FX_REQUIRE(found, FX_ECONFIG, "data.reynolds: the pack holds no Re %g", o->reynolds->value[i]);
    }
    return FX_OK;
}

static void set_epoch(fx_order *order)
{
    const int64_t round = order->strata / order->batch;
    order->epoch_steps = (order->samples + order->strata - 1) / order->strata * round;
}

/* The patches of a group, or without groups (-1) all, at the end of the line. `share`: of all draws.
 * Returns the samples that they have. */
static int64_t add_patches(fx_order *order, const fx_manifest *m, const fx_order_options *o,
                           const fx_mixture *mixture, int g, double share)
{
    const int64_t before = order->samples;
    double sum = 0;
    for (int64_t p = 0; p < m->patches; p++) {
        const fx_patch patch = fx_manifest_patch(m, p);
        const int64_t starts = patch.snapshots - o->cond - o->forecast_step + 1;
        if (starts <= 0 || !is_drawn(o, patch.reynolds)) continue;
        if (g >= 0 && mixture->group[patch.source] != g) continue;
        sum += (double)starts * patch.reynolds;
        if (order->samples == 0 || patch.reynolds < order->condition_least)
            order->condition_least = patch.reynolds;
        order->samples += starts;
        order->patch[order->patches] = p;
        order->last[order->patches++] = order->samples;
    }
    const int64_t added = order->samples - before;
    if (added > 0) order->condition_mean += share * sum / (double)added;
    return added;
}

static double all_weights(const fx_mixture *mixture)
{
    double all = 0;
    for (int g = 0; g < mixture->groups; g++)
        all += mixture->weight[g];
    return all;
}

static void share_cells(fx_order *order, const fx_mixture *mixture)
{
    const int64_t cells = order->epoch_steps * order->batch;
    const double all = all_weights(mixture);
    double sum = 0;
    for (int g = 0; g < mixture->groups; g++) {
        sum += mixture->weight[g];
        order->end[g].cells = (int64_t)floor((double)cells * (sum / all) + 0.5);
    }
    order->end[mixture->groups - 1].cells = cells;
}

static fx_status add_groups(fx_order *order, const fx_manifest *m, const fx_order_options *o)
{
    fx_mixture mixture = {0};
    bool *drawn = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(FX_ALLOC(drawn, m->sources));
    for (int s = 0; s < m->sources; s++)
        drawn[s] = is_drawn(o, m->source[s].reynolds);
    FX_TRY_DONE(fx_mixture_create(m, o->weights, drawn, &mixture));
    FX_TRY_DONE(FX_ALLOC(order->end, mixture.groups));
    const double all = all_weights(&mixture);
    FX_REQUIRE_DONE(all > 0, FX_ECONFIG, "data.weights: all are 0");
    for (int g = 0; g < mixture.groups; g++) {
        const int64_t added = add_patches(order, m, o, &mixture, g, mixture.weight[g] / all);
        FX_REQUIRE_DONE(mixture.weight[g] == 0 || added > 0, FX_ECONFIG,
                        "data.weights: %s has no sample of %lld + %lld snapshots", mixture.name[g],
                        (long long)o->cond, (long long)o->forecast_step);
        order->end[g].samples = order->samples;
    }
    order->groups = mixture.groups;
    set_epoch(order);
    share_cells(order, &mixture);
done:
    fx_mixture_free(&mixture);
    fx_free(drawn);
    return status;
}

fx_status fx_order_create(const fx_manifest *m, const fx_order_options *o, fx_order **out)
{
    fx_status status = FX_OK;
    fx_order *order = NULL;
    FX_TRY(check(m, o));
    FX_TRY_DONE(FX_ALLOC(order, 1));
    FX_TRY_DONE(FX_ALLOC(order->patch, m->patches));
    FX_TRY_DONE(FX_ALLOC(order->last, m->patches));
    FX_TRY_DONE(FX_ALLOC(order->stratum, m->strata));
    order->seed = o->seed;
    order->batch = o->batch;
    order->strata = m->strata;
    order->cond = o->cond;
    order->epoch = -1;
    if (o->weights && o->weights[0])
        FX_TRY_DONE(add_groups(order, m, o));
    else
        (void)add_patches(order, m, o, NULL, -1, 1);
    FX_REQUIRE_DONE(
        order->samples >= order->strata && order->samples < UINT32_MAX, FX_ECONFIG,
        "data.path: %lld samples of %lld + %lld snapshots can't fill %lld strata (pack.strata)",
        (long long)order->samples, (long long)o->cond, (long long)o->forecast_step,
        (long long)order->strata);
    set_epoch(order);
done:
    if (status != FX_OK) fx_order_free(&order);
    *out = order;
    return status;
}

void fx_order_keep_strata(fx_order *order)
{
    order->keep_strata = true;
}

/* Fisher and Yates, with one draw an element; the bias of the multiplication is below strata / 2^32. */
static void permute(fx_order *order, int64_t epoch)
{
    const uint32_t stream = fx_crc32("order.strata");
    for (int64_t k = 0; k < order->strata; k++)
        order->stratum[k] = (uint32_t)k;
    for (int64_t k = order->strata - 1; k > 0; k--) {
        const fx_philox r =
            fx_philox4x32(order->seed, (const uint32_t[4]){(uint32_t)k, 0, stream, (uint32_t)epoch});
        const uint32_t other = (uint32_t)((uint64_t)r.word[0] * (uint64_t)(k + 1) >> 32);
        const uint32_t swap = order->stratum[k];
        order->stratum[k] = order->stratum[other];
        order->stratum[other] = swap;
    }
    order->epoch = epoch;
}

/* Number of a stratum's first sample. */
static int64_t first_of(const fx_order *order, int64_t stratum)
{
    return stratum * order->samples / order->strata;
}

/* The i-th of 0 .. count - 1 in an order of each epoch and stratum: Feistel rounds on the least square
 * of a power of two that holds them, again while the number is outside. */
static int64_t scatter(const fx_order *order, int64_t epoch, int64_t stratum, int64_t count, int64_t i)
{
    unsigned half = 1;
    while ((int64_t)1 << 2 * half < count)
        half++;
    const uint32_t mask = ((uint32_t)1 << half) - 1;
    uint32_t left, right;
    do {
        left = (uint32_t)(i >> half) & mask;
        right = (uint32_t)i & mask;
        for (uint32_t round = 0; round < 4; round++) {
            const fx_philox r = fx_philox4x32(
                order->seed, (const uint32_t[4]){right, (uint32_t)stratum << 2 | round,
                                                 fx_crc32("order.cells"), (uint32_t)epoch});
            const uint32_t next = left ^ (r.word[0] & mask);
            left = right;
            right = next;
        }
        i = (int64_t)left << half | right;
    } while (i >= count);
    return i;
}

/* A cell of the line of draws as part i of the n of its group, whose samples follow `first`. */
typedef struct part {
    int64_t first, samples, i, n;
} part;

static part part_of(const fx_order *order, int64_t cell)
{
    int g = 0;
    while (order->end[g].cells <= cell)
        g++;
    const group begin = g > 0 ? order->end[g - 1] : (group){0, 0}, end = order->end[g];
    return (part){begin.samples, end.samples - begin.samples, cell - begin.cells,
                  end.cells - begin.cells};
}

/* floor((i + u) samples / n), u = random / 2^31: every sample is met alike, though a part may hold half
 * of one. */
static int64_t draw_from(part p, uint32_t random)
{
    const uint64_t whole = (uint64_t)p.i * (uint64_t)p.samples, n = (uint64_t)p.n;
    return p.first +
           (int64_t)(whole / n + ((whole % n << 31) + (random >> 1) * (uint64_t)p.samples) / (n << 31));
}

fx_sample fx_order_sample(fx_order *order, int64_t step, int64_t slot)
{
    const int64_t round = order->strata / order->batch,
                  epoch = order->keep_strata ? 0 : step / order->epoch_steps;
    if (epoch != order->epoch) permute(order, epoch);
    const int64_t stratum = order->stratum[slot + order->batch * (step % round)];
    const int64_t first = first_of(order, stratum), last = first_of(order, stratum + 1);
    const fx_philox r = fx_philox4x32(
        order->seed, (const uint32_t[4]){0, 2 * (uint32_t)slot, fx_crc32("order"), (uint32_t)step});
    int64_t index = first + (int64_t)((uint64_t)r.word[0] * (uint64_t)(last - first) >> 32);
    if (order->groups > 0) {
        const int64_t rounds = order->epoch_steps / round, now = step % order->epoch_steps / round;
        const int64_t cell = scatter(order, step / order->epoch_steps, stratum, rounds, now);
        index = draw_from(part_of(order, stratum * rounds + cell), r.word[0]);
    }

    int64_t low = 0, high = order->patches - 1; /* the first patch whose end lies beyond index */
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (order->last[middle] > index)
            high = middle;
        else
            low = middle + 1;
    }
    const int64_t start = index - (low ? order->last[low - 1] : 0);
    return (fx_sample){order->patch[low], start + order->cond - 1};
}

/* Patches that samples [first, last) are of. */
static void mark_shards(const fx_order *order, const fx_manifest *m, int64_t first, int64_t last,
                        bool *shard)
{
    for (int64_t i = 0; i < order->patches; i++) {
        const int64_t begin = i ? order->last[i - 1] : 0;
        if (begin < last && order->last[i] > first)
            shard[fx_manifest_patch(m, order->patch[i]).shard] = true;
    }
}

/* Of all samples that a stratum draws from. */
static void mark_stratum(const fx_order *order, const fx_manifest *m, int64_t stratum, bool *shard)
{
    const int64_t rounds = order->epoch_steps / (order->strata / order->batch);
    if (order->groups == 0)
        mark_shards(order, m, first_of(order, stratum), first_of(order, stratum + 1), shard);
    for (int64_t cell = 0; order->groups > 0 && cell < rounds; cell++) {
        const part p = part_of(order, stratum * rounds + cell);
        mark_shards(order, m, draw_from(p, 0), draw_from(p, UINT32_MAX) + 1, shard);
    }
}

void fx_order_shards(fx_order *order, const fx_manifest *m, int64_t slot, int64_t slots, bool *shard)
{
    if (!order->keep_strata) {
        mark_shards(order, m, 0, order->samples, shard);
        return;
    }
    if (order->epoch != 0) permute(order, 0);
    for (int64_t round = 0; round < order->strata / order->batch; round++)
        for (int64_t s = slot; s < slot + slots; s++)
            mark_stratum(order, m, order->stratum[s + order->batch * round], shard);
}

int64_t fx_order_samples(const fx_order *order)
{
    return order->samples;
}

void fx_order_conditions(const fx_order *order, double *least, double *mean)
{
    *least = order->condition_least;
    *mean = order->condition_mean;
}

int64_t fx_order_epoch_steps(const fx_order *order)
{
    return order->epoch_steps;
}

void fx_order_free(fx_order **order)
{
    if (!*order) return;
    fx_free((*order)->patch);
    fx_free((*order)->last);
    fx_free((*order)->end);
    fx_free((*order)->stratum);
    fx_free(*order);
    *order = NULL;
}
