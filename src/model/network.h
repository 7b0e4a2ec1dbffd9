/* network.h: the four slots that every network fills, and what networks share. Private to src/model. */
#ifndef FX_NETWORK_H
#define FX_NETWORK_H

#include "flexhpc/layers.h"
#include "flexhpc/model.h"

/* A network: its limits and its parts. Each part records under the scope that is open (superres_encoder
 * or forecast_encoder, encoder, decoder), with the rows of the batch set. */
typedef struct fx_network {
    fx_status (*check)(const fx_model *model); /* beyond what fx_model_check looks at for all */
    /* x: lowres (B, S, S, 1) or snapshots (B, S, S, cond), re (B, 1) */
    void (*task_encoder)(fx_builder *g, const fx_model *model, fx_task task, fx_tensor *x,
                         fx_tensor *re, fx_features *out);
    /* z (R, S, S, 1), t (B), re (B, 1); out->out is the latent */
    void (*encoder)(fx_builder *g, const fx_model *model, const fx_conditions *conditions, fx_tensor *z,
                    fx_tensor *t, fx_tensor *re, fx_features *out);
    fx_tensor *(*decoder)(fx_builder *g, const fx_model *model, const fx_conditions *conditions,
                          const fx_features *features, fx_tensor *t, fx_tensor *re);
} fx_network;

extern const fx_network fx_network_flex, fx_network_unet, fx_network_uvit;

/* Appends x to the skips, of which there may be too many; returns it. */
fx_tensor *fx_keep_skip(fx_builder *g, fx_features *features, fx_tensor *x);

/* x + scale [SR; FC]: the task features of whichever tasks there are: skip k, or, with FX_OUTPUT, what
 * the task encoders return. */
enum { FX_OUTPUT = -1 };
fx_tensor *fx_add_conditions(fx_builder *g, const char *name, fx_tensor *x,
                             const fx_conditions *conditions, int k, float scale);

/* Limits that several networks have. */
fx_status fx_check_widths(const char *key, const int64_t *channels, int levels);
fx_status fx_check_levels(const fx_model *model, int64_t skips); /* skips beside those of blocks */
fx_status fx_check_heads(const fx_model *model, int64_t width);
fx_status fx_check_transformer(const fx_model *model, int64_t width); /* depth, heads, mlp_ratio */
fx_status fx_check_image(const fx_model *model, int64_t unit);

#endif
