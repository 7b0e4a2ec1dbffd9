/* diffusion.h: objective and sampler (spec: flex-model 6). Includes model.h, schedule.h. */
#ifndef FLEXHPC_DIFFUSION_H
#define FLEXHPC_DIFFUSION_H

#include "flexhpc/model.h"
#include "flexhpc/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How latents get to the ranks that share a contrastive term: not at all, where no term is recorded;
 * every rank all of them; every rank some features of all of them. */
typedef enum fx_exchange { FX_EXCHANGE_NONE, FX_EXCHANGE_GATHER, FX_EXCHANGE_FEATURES } fx_exchange;

typedef struct fx_objective_options {
    fx_schedule_attrs schedule;
    fx_target_attrs target;
    fx_criterion criterion;
    float contrast_weight, contrast_temperature;
    int64_t global_samples; /* samples of the global batch: losses are means over it */
    int64_t stride;         /* samples of one rank in it */
    int contrast_ranks;     /* ranks that share a contrastive term */
    fx_exchange exchange;
} fx_objective_options;

/* Tensors of one micro-batch; NULL where the model's tasks do not need them. */
typedef struct fx_batch {
    fx_tensor *lowres, *snapshots, *future, *re, *t, *eps;
    fx_tensor *coarse; /* (B, S / f, S / f, 1), of which lowres is made; NULL: of the snapshots */
} fx_batch;

typedef struct fx_objective_nodes {
    fx_tensor *z, *schedule, *target, *latent, *velocity;
    fx_tensor *loss;          /* (R) a row: mean over pixels */
    fx_tensor *contrast;      /* (1), or NULL */
    fx_tensor *all;           /* FX_EXCHANGE_GATHER: latents of all micro-batches and ranks */
    fx_tensor *arrived, *box; /* FX_EXCHANGE_FEATURES: what the op exchange gives */
} fx_objective_nodes;

/* Records noise, network and losses of one micro-batch, and adds its part of the objective; of the
 * contrast only the exchange of latents, which begins between encoder and decoder. out->all: NULL for
 * the first micro-batch, for the next ones what the one before has there. Collective when run, where
 * latents are exchanged. */
void fx_record_objective(fx_builder *g, const fx_model *model, const fx_objective_options *options,
                         const fx_batch *batch, fx_objective_nodes *out);

/* Records the contrastive term between the latents of `count` micro-batches recorded before, sample k
 * of which is slot rank * stride + k of the batch of the ranks that share the term (fx_group), and
 * adds it to the objective. All forward passes must be on the tape, and fx_autodiff be called after.
 * Collective when run. */
void fx_record_contrast(fx_builder *g, const fx_objective_options *options, fx_objective_nodes *nodes,
                        int count);

/* Records DDIM sampling (eta 0) from x (R, S, S, 1) ~ N(0, I) at t = 1 in `steps` steps under what the
 * task encoders gave (fx_model_conditions) and re (B, 1). Returns what was diffused (R, S, S, 1): the
 * field is it times fx_target_attrs.scale, plus, unless raw, lowres (SR rows) or the last snapshot (FC
 * rows). */
fx_tensor *fx_record_sampler(fx_builder *g, const fx_model *model, fx_schedule_attrs schedule,
                             int steps, const fx_conditions *conditions, fx_tensor *re, fx_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
