/* layers.h: the blocks that networks are made of. A layer records ops under its published name. No
 * status in sight: the builder keeps the first error. Includes tape.h. */
#ifndef FLEXHPC_LAYERS_H
#define FLEXHPC_LAYERS_H

#include "flexhpc/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fx_resample { FX_SAME_SIZE, FX_UP, FX_DOWN } fx_resample;

static inline int64_t fx_channels(const fx_tensor *t)
{
    return t ? t->dim[t->rank - 1] : 0;
}

/* x (B, H, W, cin) -> (B, H', W', cout): 3x3, padding 1, bias. x2: a second source, whose channels
 * follow x's (the concatenation is never built). up: x and x2 are read doubled. residual: added; read
 * doubled where it has half the output's size. zero: weights and bias start at 0. bias: where given,
 * the bias is not added but stored there, for the norm that alone reads the result. */
typedef struct fx_conv_options {
    fx_tensor *x2, *residual, **bias;
    bool up, zero;
} fx_conv_options;
fx_tensor *fx_conv3x3(fx_builder *g, const char *name, fx_tensor *x, int64_t cout,
                      fx_conv_options options);

/* GroupNorm32 over [x, x2] + bias (C) where given, modulated by mod (M, 2C: scale then shift) where
 * given, SiLU, dropout, 2x2 average. */
typedef struct fx_norm_options {
    fx_tensor *x2, *mod, *bias;
    float dropout;
    bool pool;
} fx_norm_options;
fx_tensor *fx_norm_silu(fx_builder *g, const char *name, fx_tensor *x, fx_norm_options options);

/* x (..., cin) -> (..., cout): Xavier weights, zero bias; act, then dropout, then residual added. */
typedef struct fx_linear_options {
    fx_tensor *x2, *residual;
    fx_act act;
    float dropout;
    bool no_bias;
} fx_linear_options;
fx_tensor *fx_linear(fx_builder *g, const char *name, fx_tensor *x, int64_t cout,
                     fx_linear_options options);

fx_tensor *fx_layer_norm(fx_builder *g, const char *name, fx_tensor *x, float eps);

/* x + scale [a; b] by rows; b may be NULL. */
fx_tensor *fx_add(fx_builder *g, const char *name, fx_tensor *x, fx_tensor *a, fx_tensor *b,
                  float scale);

/* An op of one input and no attributes. */
fx_tensor *fx_apply(fx_builder *g, fx_op_id id, const char *name, fx_tensor *x);

/* Linear, SiLU, Linear (entries 0 and 2): (B, in) -> (B, 2 width) -> (B, width), plus residual. */
fx_tensor *fx_embedding(fx_builder *g, const char *name, fx_tensor *x, int64_t width,
                        fx_tensor *residual);

/* Residual block under the present scope: x [and skip] (B, H, W, .), silu_emb (M, D) = SiLU(emb) -> (B,
 * H', W', cout). */
fx_tensor *fx_resblock(fx_builder *g, fx_tensor *x, fx_tensor *skip, fx_tensor *silu_emb, int64_t cout,
                       float dropout, fx_resample resample);

/* Transformer block under the present scope: tokens (R, T, D); skip: the encoder's, joined by
 * skip_linear, or NULL. */
fx_tensor *fx_transformer_block(fx_builder *g, fx_tensor *x, fx_tensor *skip, int64_t heads,
                                int64_t mlp_ratio, float dropout);

#ifdef __cplusplus
}
#endif
#endif
