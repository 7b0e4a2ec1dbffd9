/* order.c: which sample each slot of each global batch gets. All samples of a pack, (patch, start) with
 * the start fastest, stand in one line of M that is cut into K strata of equal length (K: pack.strata).
 * With batch B, K / B steps make a round that visits every stratum once: stratum = pi_epoch[slot + B
 * (step mod K/B)],   pi_epoch: a permutation of 0 .. K-1 sample  = start of the stratum + floor(u
 * length),   u = Philox(seed; 0, 2 slot, crc32("order"), step) / 2^32 Nothing here knows the rank, so
 * any number of ranks draws the same batches and no message is needed. A slot stays inside K / B strata
 * for an epoch, hence inside few shards; the epoch is M / B steps, rounded up to whole rounds. */
#include "flexhpc/data.h"

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

struct fx_order {
    uint64_t seed;
    int64_t batch, strata, samples, epoch_steps, cond;
    int64_t patches, *patch, *end;         /* patches drawn from; samples up to and with each */
    double condition_least, condition_sum; /* over all samples */
    bool keep_strata;
    int64_t epoch;     /* whose permutation is in `stratum`; -1: none yet */
    uint32_t *stratum; /* (strata) */
};

static bool wanted(const fx_list *list, double reynolds)
{
    for (int i = 0; list && i < list->count; i++)
        if (list->value[i] == reynolds) return true;
    return !list || list->count == 0;
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

fx_status fx_order_create(const fx_manifest *m, const fx_order_options *o, fx_order **out)
{
    fx_status status = FX_OK;
    fx_order *order = NULL;
    FX_TRY(check(m, o));
    FX_TRY_DONE(FX_ALLOC(order, 1));
    FX_TRY_DONE(FX_ALLOC(order->patch, m->patches));
    FX_TRY_DONE(FX_ALLOC(order->end, m->patches));
    FX_TRY_DONE(FX_ALLOC(order->stratum, m->strata));
    order->seed = o->seed;
    order->batch = o->batch;
    order->strata = m->strata;
    order->cond = o->cond;
    order->epoch = -1;
    for (int64_t p = 0; p < m->patches; p++) {
        const fx_patch patch = fx_manifest_patch(m, p);
        const int64_t starts = patch.snapshots - o->cond - o->forecast_step + 1;
        if (starts <= 0 || !wanted(o->reynolds, patch.reynolds)) continue;
        order->condition_sum += (double)starts * patch.reynolds;
        if (order->samples == 0 || patch.reynolds < order->condition_least)
            order->condition_least = patch.reynolds;
        order->samples += starts;
        order->patch[order->patches] = p;
        order->end[order->patches++] = order->samples;
    }
    FX_REQUIRE_DONE(
        order->samples >= order->strata && order->samples < UINT32_MAX, FX_ECONFIG,
        "data.path: %lld samples of %lld + %lld snapshots can't fill %lld strata (pack.strata)",
        (long long)order->samples, (long long)o->cond, (long long)o->forecast_step,
        (long long)order->strata);
    const int64_t round = order->strata / order->batch;
    order->epoch_steps = (order->samples + order->strata - 1) / order->strata * round;
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

fx_sample fx_order_sample(fx_order *order, int64_t step, int64_t slot)
{
    const int64_t round = order->strata / order->batch,
                  epoch = order->keep_strata ? 0 : step / order->epoch_steps;
    if (epoch != order->epoch) permute(order, epoch);
    const int64_t stratum = order->stratum[slot + order->batch * (step % round)];
    const int64_t first = first_of(order, stratum), last = first_of(order, stratum + 1);
    const fx_philox r = fx_philox4x32(
        order->seed, (const uint32_t[4]){0, 2 * (uint32_t)slot, fx_crc32("order"), (uint32_t)step});
    const int64_t index = first + (int64_t)((uint64_t)r.word[0] * (uint64_t)(last - first) >> 32);

    int64_t low = 0, high = order->patches - 1; /* the first patch whose end lies beyond index */
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (order->end[middle] > index)
            high = middle;
        else
            low = middle + 1;
    }
    const int64_t start = index - (low ? order->end[low - 1] : 0);
    return (fx_sample){order->patch[low], start + order->cond - 1};
}

/* Patches that samples [first, last) are of. */
static void mark_shards(const fx_order *order, const fx_manifest *m, int64_t first, int64_t last,
                        bool *shard)
{
    for (int64_t i = 0; i < order->patches; i++) {
        const int64_t begin = i ? order->end[i - 1] : 0;
        if (begin < last && order->end[i] > first)
            shard[fx_manifest_patch(m, order->patch[i]).shard] = true;
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
        for (int64_t s = slot; s < slot + slots; s++) {
            const int64_t stratum = order->stratum[s + order->batch * round];
            mark_shards(order, m, first_of(order, stratum), first_of(order, stratum + 1), shard);
        }
}

int64_t fx_order_samples(const fx_order *order)
{
    return order->samples;
}

void fx_order_conditions(const fx_order *order, double *least, double *mean)
{
    *least = order->condition_least;
    *mean = order->condition_sum / (double)order->samples;
}

int64_t fx_order_epoch_steps(const fx_order *order)
{
    return order->epoch_steps;
}

void fx_order_free(fx_order **order)
{
    if (!*order) return;
    fx_free((*order)->patch);
    fx_free((*order)->end);
    fx_free((*order)->stratum);
    fx_free(*order);
    *order = NULL;
}
