/* model.h: FLEX, or one of its baselines U-Net and UViT, as a description and the functions that record
 * it on a tape (spec: arXiv 2505.17351 and its published code). Names of parameters are the published
 * ones. Includes config.h, tape.h. */
#ifndef FLEXHPC_MODEL_H
#define FLEXHPC_MODEL_H

#include "flexhpc/config.h"
#include "flexhpc/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_MAX_LEVELS = 8, FX_MAX_SKIPS = 128 };
typedef enum fx_task { FX_SR, FX_FC } fx_task;
enum { FX_TASK_SR = 1, FX_TASK_FC = 2 }; /* bits of fx_model.tasks */

typedef enum fx_arch { FX_FLEX, FX_UNET, FX_UVIT } fx_arch; /* in the order of model.arch */

typedef struct fx_model {
    fx_arch arch;
    unsigned tasks; /* FX_TASK bits */
    int64_t image;  /* side S of a patch */
    int64_t cond;   /* past snapshots the forecast encoder sees */
    int64_t heads;  /* H */
    float strong_scale, dropout;
    /* FLEX and U-Net */
    int levels;                      /* L */
    int64_t channels[FX_MAX_LEVELS]; /* C, multiples of 32 */
    int64_t blocks[FX_MAX_LEVELS];   /* N */
    /* FLEX and UViT */
    int64_t depth, mlp_ratio; /* d (odd), r */
    /* FLEX */
    int64_t decoder_channels[FX_MAX_LEVELS], latent_patch;
    int weak_levels;
    /* U-Net */
    unsigned attention; /* bit l: attention at level l */
    /* UViT */
    int64_t embed_dim, patch; /* D, p */
    float condition_drop;
} fx_model;

/* From the configuration; FX_ECONFIG names the key that can't be. Local. */
fx_status fx_model_from_config(const fx_config *config, fx_model *out);

/* Checks every limit of the model (divisibility and the like); FX_EARG with the name of the field.
 * Local. */
fx_status fx_model_check(const fx_model *model);

/* What an encoder gives: its output and the skips, in order. */
typedef struct fx_features {
    fx_tensor *out; /* FLEX: task encoder: (B, s, s, D), shared encoder: tokens (R, 1 + T, D);
                       U-Net: (., s, s, C); UViT: tokens */
    fx_tensor *skip[FX_MAX_SKIPS];
    int skips;
    fx_tensor *token_skip[64]; /* the transformer's in FLEX's shared encoder */
    int token_skips;
} fx_features;

/* The task encoders for the tasks the model has: lowres (B, S, S, 1), snapshots (B, S, S, cond), re
 * (B). The other task's features stay empty. */
typedef struct fx_conditions {
    fx_features task[2];
} fx_conditions;
void fx_model_conditions(fx_builder *g, const fx_model *model, fx_tensor *lowres, fx_tensor *snapshots,
                         fx_tensor *re, fx_conditions *out);

/* Shared encoder and decoder over both tasks in one batch: z (R, S, S, 1), R = tasks * B, SR rows
 * first; t (B), re (B, 1). encode: *out, of which out->out is the latent; decode returns the velocity
 * (R, S, S, 1); velocity does both, and *latent, where not NULL, gets the encoder's output. */
void fx_model_encode(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                     fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_features *out);
fx_tensor *fx_model_decode(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                           const fx_features *features, fx_tensor *t, fx_tensor *re);
fx_tensor *fx_model_velocity(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                             fx_tensor *z, fx_tensor *t, fx_tensor *re, fx_tensor **latent);

#ifdef __cplusplus
}
#endif
#endif
