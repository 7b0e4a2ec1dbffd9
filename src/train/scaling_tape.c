/* scaling_tape.c: records a training step for planning alone, on a backend of no kernels that stores
 * what the device would store, and gives each entry its seconds: max(FLOP / rate, bytes / rate) /
 * fraction of a device, every tensor of an entry moved once (src/ops/flops.c), or those of a measured
 * profile, whose entries must be the tape's, communication apart. */
#include "scaling_tape.h"

#include <math.h>
#include <string.h>

#include "flexhpc/mem.h"

/* ---- A backend that only plans. */

static fx_status never(fx_exec *exec, const fx_node *node)
{
    (void)exec;
    return fx_fail(FX_EARG, "%s: was planned, not to be run", node->name);
}

static const fx_kernel any = {.forward = never, .backward = never};
static const fx_kernel *const kernels[FX_OP_COUNT] = {
#define FX_OP(name) [FX_OP_##name] = &any,
#include "flexhpc/oplist.h"
#undef FX_OP
};

static void forget(fx_exec *exec, const fx_entry *entries)
{
    (void)exec, (void)entries;
}

static void release(fx_exec *exec, void *memory, size_t bytes)
{
    (void)exec, (void)memory, (void)bytes;
}

static const fx_backend paper = {
    .name = "paper", .kernels = kernels, .forget = forget, .release = release};

/* ---- Seconds of its entries. */

static double by_limits(const fx_tape_times *times, const fx_entry *entry)
{
    const double flop = fx_node_flops(entry->node, entry->pass),
                 bytes = fx_node_bytes(entry->node, entry->pass);
    return fmax(flop / times->device->flops, bytes / times->device->bytes) / times->fraction;
}

static const char *pass_name(const fx_entry *entry)
{
    return entry->pass == FX_BACKWARD ? "backward" : "forward";
}

/* The next entry of the profile that computes. */
static fx_status next_measured(const fx_json *list, int count, int *at, fx_json *out)
{
    bool communicates = true;
    while (communicates) {
        FX_REQUIRE(*at < count, FX_EVALUE, "%s: entries: only %d, the tape has more", list->file,
                   count);
        FX_TRY(fx_json_entry(list, (*at)++, out));
        FX_TRY(fx_json_bool(out, "communicates", &communicates));
    }
    return FX_OK;
}

static fx_status by_profile(const fx_json *measured, const fx_entry *entry, double *seconds)
{
    char name[FX_NAME_MAX], pass[16];
    double bytes;
    FX_TRY(fx_json_text(measured, "name", name, sizeof name));
    FX_TRY(fx_json_text(measured, "pass", pass, sizeof pass));
    FX_REQUIRE(strcmp(name, entry->node->name) == 0 && strcmp(pass, pass_name(entry)) == 0, FX_EVALUE,
               "%s: %s: %s %s, where the tape of this configuration has %s %s", measured->file,
               measured->place, pass, name, pass_name(entry), entry->node->name);
    FX_TRY(fx_json_real(measured, "seconds", 0, 1e6, seconds));
    if (entry->node->id != FX_OP_update) return FX_OK;
    FX_TRY(fx_json_real(measured, "bytes", 1, 1e18, &bytes)); /* of another share, when sharded */
    *seconds *= fx_node_bytes(entry->node, entry->pass) / bytes;
    return FX_OK;
}

/* ---- The list. */

/* The exchange of the contrast begins at one op and is waited for at the other; backward is the other
 * way round. */
static fx_replay_kind kind_of(const fx_entry *entry)
{
    const fx_node *n = entry->node;
    const bool backward = entry->pass == FX_BACKWARD;
    switch (n->id) {
    case FX_OP_all_reduce:
        return FX_REPLAY_SUM;
    case FX_OP_all_gather:
        return FX_REPLAY_GATHER;
    case FX_OP_gather: /* waited for where it is of a part of a rank's samples */
        return n->attrs.gather.stride == n->in[0]->dim[0] / 2 ? FX_REPLAY_GATHER : FX_REPLAY_BLOCKING;
    case FX_OP_exchange:
        return backward ? FX_REPLAY_ARRIVE : FX_REPLAY_EXCHANGE;
    case FX_OP_arrive:
        return backward ? FX_REPLAY_EXCHANGE : FX_REPLAY_ARRIVE;
    case FX_OP_join:
        return FX_REPLAY_JOIN;
    default:
        return n->op->communicates ? FX_REPLAY_BLOCKING : FX_REPLAY_WORK;
    }
}

static double bytes_of(const fx_entry *entry, fx_replay_kind kind)
{
    const fx_node *n = entry->node;
    double bytes = 0;
    if (kind == FX_REPLAY_SUM)
        return (double)n->attrs.reduce.count *
               (n->attrs.reduce.bf16 ? sizeof(uint16_t) : sizeof(float));
    if (n->id == FX_OP_all_gather) return (double)fx_tensor_bytes(n->in[0]);
    if (kind == FX_REPLAY_EXCHANGE)
        return (double)fx_tensor_bytes(n->id == FX_OP_arrive ? n->in[0] : n->out[0]);
    for (int i = 0; (kind == FX_REPLAY_BLOCKING || kind == FX_REPLAY_GATHER) && i < FX_MAX_OUT; i++)
        if (n->out[i]) bytes += (double)fx_tensor_bytes(n->out[i]);
    return bytes;
}

/* 0: all. */
static int ranks_of(const fx_node *n)
{
    const bool shared = n->id == FX_OP_gather || n->id == FX_OP_exchange || n->id == FX_OP_arrive;
    return shared ? n->attrs.gather.ranks : 0;
}

static fx_status fill(const fx_trainee *t, const fx_tape_times *times, fx_scaling_tape *out)
{
    const fx_entry *entries;
    fx_json list = {0}, measured;
    int profiled = 0, at = 0;
    double between = 0;
    const int count = fx_program_entries(t->step, &entries);
    if (times->profile) {
        FX_TRY(fx_json_array(times->profile, "entries", 1, INT32_MAX, &list, &profiled));
        FX_TRY(fx_json_real(times->profile, "between_s", 0, 1e6, &between));
    }
    FX_TRY(FX_ALLOC(out->entry, count + 1));
    FX_TRY(FX_ALLOC(out->offset, count + 1));
    for (int e = 0; e < count; e++) {
        fx_replay_entry *to = &out->entry[e];
        to->kind = kind_of(&entries[e]);
        to->bytes = bytes_of(&entries[e], to->kind);
        out->flop += fx_node_flops(entries[e].node, entries[e].pass);
        to->ranks = ranks_of(entries[e].node);
        if (to->kind == FX_REPLAY_SUM && entries[e].node->attrs.reduce.group)
            to->ranks = t->options.contrast_ranks;
        else if (to->kind == FX_REPLAY_SUM) {
            out->offset[e] = entries[e].node->attrs.reduce.offset;
            out->gradients = fx_count(entries[e].node->in[0]);
            out->sums++;
        }
        if (to->kind != FX_REPLAY_WORK) continue;
        if (times->profile && entries[e].node->id != FX_OP_widen) {
            FX_TRY(next_measured(&list, profiled, &at, &measured));
            FX_TRY(by_profile(&measured, &entries[e], &to->seconds));
        } else if (!times->profile) {
            to->seconds = by_limits(times, &entries[e]);
        }
    }
    out->entry[count].seconds = between;
    out->count = count + 1;
    return FX_OK;
}

static fx_status storage_of(const fx_json *profile, fx_dtype *out)
{
    char text[16];
    *out = FX_BF16;
    if (!profile) return FX_OK;
    FX_TRY(fx_json_text(profile, "storage", text, sizeof text));
    *out = strcmp(text, "bf16") == 0 ? FX_BF16 : FX_F32;
    return FX_OK;
}

/* A profile is of one form of the contrast, and its tape the same. */
static fx_status exchange_of(const fx_json *profile, int *out)
{
    enum { GATHER = 1, FEATURES };
    fx_json list = {0}, entry;
    char name[FX_NAME_MAX];
    int count;
    *out = GATHER;
    FX_TRY(fx_json_array(profile, "entries", 1, INT32_MAX, &list, &count));
    for (int e = 0; e < count; e++) {
        FX_TRY(fx_json_entry(&list, e, &entry));
        FX_TRY(fx_json_text(&entry, "name", name, sizeof name));
        if (strcmp(name, "contrast.exchange") == 0) *out = FEATURES;
    }
    return FX_OK;
}

/* A profile has times for one form of the contrast, which is predicted then. */
static fx_status exchange_of_profile(const fx_json *profile, fx_config *c)
{
    static const char *const names[] = {"auto", "gather", "features"};
    const int wanted = c->contrast_exchange;
    FX_TRY(exchange_of(profile, &c->contrast_exchange));
    FX_REQUIRE(c->contrast_weight <= 0 || wanted == 0 || wanted == c->contrast_exchange, FX_ECONFIG,
               "contrast.exchange: %s, and the profile is of %s", names[wanted],
               names[c->contrast_exchange]);
    return FX_OK;
}

fx_status fx_scaling_tape_create(const fx_config *config, const fx_tape_times *times, int64_t batch,
                                 int ranks, fx_scaling_tape *out)
{
    fx_config c = *config;
    fx_step_options options;
    fx_trainee *trainee = NULL;
    fx_comm job = *fx_comm_self();
    fx_exec exec = {.backend = &paper, .options = {.comm = &job}};
    fx_status status = FX_OK;
    *out = (fx_scaling_tape){0};
    job.size = ranks; /* whose other ranks are not there */
    c.train_global_batch = batch * ranks;
    FX_TRY(storage_of(times->profile, &exec.storage));
    if (times->profile) FX_TRY(exchange_of_profile(times->profile, &c));
    FX_TRY(fx_step_options_from_config(&c, &job, &options));
    FX_TRY_DONE(fx_trainee_create(&exec, &options, true, &trainee));
    FX_TRY_DONE(fill(trainee, times, out));
done:
    fx_trainee_free(&trainee);
    return status;
}

void fx_scaling_tape_free(fx_scaling_tape *tape)
{
    fx_free(tape->entry);
    fx_free(tape->offset);
    *tape = (fx_scaling_tape){0};
}
