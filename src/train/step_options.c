/* step_options.c: what a training step is, from the configuration and the ranks that share it. */
#include <stdlib.h>
#include <string.h>

#include "flexhpc/data.h"
#include "flexhpc/train.h"

/* contrast.group: its ranks are consecutive. */
static fx_status contrast_ranks(const fx_config *c, const fx_comm *comm, int *out)
{
    const char *text = c->contrast_group;
    const bool node = strcmp(text, "node") == 0;
    char *end = NULL;
    *out = comm->size;
    if (c->contrast_weight <= 0 || strcmp(text, "global") == 0) return FX_OK;
    const long count = node ? comm->local_size : strtol(text, &end, 10);
    FX_REQUIRE(node || (end != text && *end == '\0' && count > 0), FX_ECONFIG,
               "contrast.group: \"%s\" is none of global, node, a number of ranks", text);
    FX_REQUIRE(!node || comm->native || comm->size == 1, FX_ECONFIG,
               "contrast.group: node: a plan does not know the nodes; say how many ranks are on one");
    FX_REQUIRE(comm->size % count == 0, FX_ECONFIG,
               "contrast.group: %s: %d ranks do not divide into groups of %ld", text, comm->size,
               count);
    FX_REQUIRE(!node || comm->rank % count == comm->local_rank, FX_ECONFIG,
               "contrast.group: node: rank %d is the %d. of the %ld on its node: ranks must fill one "
               "node after the other",
               comm->rank, comm->local_rank + 1, count);
    FX_REQUIRE(count == comm->size || c->train_reduce == 0, FX_ECONFIG,
               "contrast.group: with train.reduce: fixed the bits would depend on the number of ranks; "
               "use global");
    *out = (int)count;
    return FX_OK;
}

/* contrast.exchange. Of two ranks, each has to send half of its latents and to get half of its
 * gradients back: no less than it sends to gather them. */
static fx_status contrast_exchange(const fx_config *c, int ranks, bool *features)
{
    enum { AUTO, GATHER, FEATURES, LEAST_RANKS = 3 };
    const bool fixed = c->train_reduce == 1;
    FX_REQUIRE(c->contrast_weight <= 0 || !fixed || c->contrast_exchange != FEATURES, FX_ECONFIG,
               "contrast.exchange: features: with train.reduce: fixed the bits would depend on the "
               "number of ranks; use gather");
    *features = c->contrast_exchange == FEATURES ||
                (c->contrast_exchange == AUTO && !fixed && ranks >= LEAST_RANKS);
    return FX_OK;
}

static fx_status from_config(const fx_config *c, const fx_comm *comm, fx_step_options *o)
{
    const int ranks = comm->size;
    FX_TRY(fx_model_from_config(c, &o->model));
    const int64_t unit = ranks * c->train_accumulate;
    FX_REQUIRE(c->train_global_batch % unit == 0, FX_ECONFIG,
               "train.global_batch: %lld does not divide into %d ranks x %lld micro-batches "
               "(train.accumulate)",
               (long long)c->train_global_batch, ranks, (long long)c->train_accumulate);
    FX_REQUIRE(c->contrast_weight <= 0 || c->model_tasks == 0, FX_ECONFIG,
               "contrast.weight: the contrastive term needs model.tasks: mt");
    FX_REQUIRE(c->contrast_weight <= 0 || c->train_accumulate == 1, FX_ECONFIG,
               "train.accumulate: with contrast.weight above 0 the latents of the whole batch are "
               "needed at once; "
               "use 1");
    FX_TRY(contrast_ranks(c, comm, &o->contrast_ranks));
    FX_TRY(contrast_exchange(c, o->contrast_ranks, &o->contrast_features));
    o->micro_batch = c->train_global_batch / unit;
    o->accumulate = (int)c->train_accumulate;
    o->fixed = c->train_reduce == 1;
    o->reduce_bf16 = c->train_reduce_type == 1;
    FX_REQUIRE(!o->fixed || !o->reduce_bf16, FX_ECONFIG,
               "train.reduce_type: train.reduce: fixed sums fp32; use fp32");
    FX_REQUIRE(!o->fixed || o->accumulate == 1, FX_ECONFIG,
               "train.accumulate: train.reduce: fixed takes samples one by one already; use 1");
    if (o->fixed) { /* every sample is a micro-batch: its gradient must not know its neighbours */
        o->accumulate = (int)o->micro_batch;
        o->micro_batch = 1;
    }
    return FX_OK;
}

const char *fx_upsampling_name(const fx_config *config)
{
    return config->data_upsampling == FX_BICUBIC ? "bicubic" : "bilinear";
}

/* Programs can be planned and timed before a scale has been found. */
static float known_scale(const fx_config *c, fx_task task)
{
    const double scale = fx_residual_scale(c, task);
    return scale > 0 ? (float)scale : 1;
}

fx_status fx_step_options_from_config(const fx_config *c, const fx_comm *comm, fx_step_options *out)
{
    fx_step_options o = {
        .schedule = {.predict = (fx_predict)c->diffusion_predict,
                     .shift = c->diffusion_shift,
                     .sigmoid_weight = c->diffusion_sigmoid_weight,
                     .sigmoid_shift = c->diffusion_sigmoid_shift},
        .target = {.raw = !c->diffusion_residual,
                   .scale = {known_scale(c, FX_SR), known_scale(c, FX_FC)}},
        .criterion = (fx_criterion)c->diffusion_criterion,
        .contrast_weight = (float)c->contrast_weight,
        .contrast_temperature = (float)c->contrast_temperature,
        .factor = c->data_factor,
        .coarse = fx_lowres_is_input(c),
        .upsampling = (fx_interpolation)c->data_upsampling,
        .recompute = (fx_recompute)c->model_recompute,
        .shard = c->train_shard_optimizer,
        .bucket_bytes = (size_t)(c->train_bucket * 1024 * 1024),
        .clip = {.max_norm = (float)c->train_clip},
        .update = {.optimizer = (fx_optimizer)c->train_optimizer,
                   .beta1 = c->train_beta1,
                   .beta2 = c->train_beta2,
                   .eps = 1e-8,
                   .decay = c->train_weight_decay},
    };
    FX_TRY(from_config(c, comm, &o));
    *out = o;
    return FX_OK;
}

fx_status fx_step_options_alone(const fx_config *config, fx_step_options *out)
{
    fx_config alone = *config;
    alone.contrast_weight = 0;
    return fx_step_options_from_config(&alone, fx_comm_self(), out);
}
