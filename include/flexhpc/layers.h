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
 * follow x's (the concatenation is never built). up: x and x2 are read doubled. halve: stride 2.
 * residual: added; read doubled where it has half the output's size. zero: weights and bias start at 0.
 * bias: where given, the bias is not added but stored there, for the one that reads the result: a norm,
 * or the convolution whose residual it is. bias2: a residual's bias, added with the own one. */
typedef struct fx_conv_options {
    fx_tensor *x2, *residual, **bias, *bias2;
    bool up, halve, zero;
} fx_conv_options;
fx_tensor *fx_conv3x3(fx_builder *g, const char *name, fx_tensor *x, int64_t cout,
                      fx_conv_options options);

/* x (B, H, W, cin) -> (B, H / p, W / p, cout): p x p, stride p, no padding, bias. */
fx_tensor *fx_patch_conv(fx_builder *g, const char *name, fx_tensor *x, int64_t cout, int64_t p);

/* GroupNorm32 over [x, x2] + bias (C) where given, modulated by mod (M, 2C: scale then shift) where
 * given, SiLU unless `linear`, dropout, 2x2 average. */
typedef struct fx_norm_options {
    fx_tensor *x2, *mod, *bias;
    float dropout;
    bool pool, linear;
} fx_norm_options;
fx_tensor *fx_norm_silu(fx_builder *g, const char *name, fx_tensor *x, fx_norm_options options);

/* x (..., cin) -> (..., cout): act, then dropout, then residual added. Weights and bias start as `init`
 * says. kernel_rank: the layer is published as a convolution of kernel 1 over that many dimensions,
 * whose weight is (cout, cin, 1) or (cout, cin, 1, 1). */
typedef enum fx_linear_init {
    FX_START_XAVIER,  /* zero bias */
    FX_START_UNIFORM, /* both +-1/sqrt(cin) */
    FX_START_ZERO
} fx_linear_init;
typedef struct fx_linear_options {
    fx_tensor *x2, *residual;
    fx_act act;
    float dropout;
    bool no_bias;
    fx_linear_init init;
    int kernel_rank;
} fx_linear_options;
fx_tensor *fx_linear(fx_builder *g, const char *name, fx_tensor *x, int64_t cout,
                     fx_linear_options options);

fx_tensor *fx_layer_norm(fx_builder *g, const char *name, fx_tensor *x, float eps);

/* base + m x, (B, D): m is 0 with probability p while training, else 1, one draw a row. */
fx_tensor *fx_drop_rows(fx_builder *g, const char *name, fx_tensor *x, fx_tensor *base, float p);

/* x + scale [a; b] by rows; b may be NULL. */
fx_tensor *fx_add(fx_builder *g, const char *name, fx_tensor *x, fx_tensor *a, fx_tensor *b,
                  float scale);

/* An op of one input and no attributes. */
fx_tensor *fx_apply(fx_builder *g, fx_op_id id, const char *name, fx_tensor *x);

/* Linear, SiLU, Linear (entries 0 and 2): (B, in) -> (B, hidden) -> (B, width), plus residual. */
typedef struct fx_embedding_options {
    fx_tensor *residual;
    int64_t hidden; /* 0: 2 width */
    fx_linear_init init;
} fx_embedding_options;
fx_tensor *fx_embedding(fx_builder *g, const char *name, fx_tensor *x, int64_t width,
                        fx_embedding_options options);

/* Fourier features of t (B), which may be NULL: (B, width), NULL then; the buffers NAME.freqs and
 * NAME.phases are described in any case. */
fx_tensor *fx_fourier(fx_builder *g, const char *name, fx_tensor *t, int64_t width);

/* Residual block under the present scope: x [and skip] (B, H, W, .), silu_emb (M, D) = SiLU(emb) -> (B,
 * H', W', cout). unet: skip_connection is 1x1, not 3x3, and emb_layers start uniform. */
typedef struct fx_resblock_options {
    float dropout;
    fx_resample resample;
    bool unet;
} fx_resblock_options;
fx_tensor *fx_resblock(fx_builder *g, fx_tensor *x, fx_tensor *skip, fx_tensor *silu_emb, int64_t cout,
                       fx_resblock_options options);

/* Image (R, h, w, D) to tokens (R, 1 + h w, D): emb (M, D) first, pos_embed added. */
fx_tensor *fx_tokens(fx_builder *g, fx_tensor *x, fx_tensor *emb);
/* The way back, without token 0: (R, height, ., D). */
fx_tensor *fx_untoken(fx_builder *g, fx_tensor *x, int64_t height);
/* Pixels of p x p patches, (R, h, w, p p C), become an image (R, h p, w p, C). */
fx_tensor *fx_unpatch(fx_builder *g, fx_tensor *x, int64_t p);
/* emb (M, D) is added to token 0. */
fx_tensor *fx_add_token(fx_builder *g, fx_tensor *x, fx_tensor *emb);

/* Transformer block under the present scope: tokens (R, T, D); skip: the encoder's, joined by
 * skip_linear, or NULL. */
typedef struct fx_transformer_options {
    int64_t heads, mlp_ratio;
    float dropout;
    fx_act act; /* of the MLP */
} fx_transformer_options;
fx_tensor *fx_transformer_block(fx_builder *g, fx_tensor *x, fx_tensor *skip,
                                fx_transformer_options options);

#ifdef __cplusplus
}
#endif
#endif
