/* attrs.h: what parameterises an op besides its tensors. One struct an op, one union. Includes nothing
 * of ours. */
#ifndef FLEXHPC_ATTRS_H
#define FLEXHPC_ATTRS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum fx_act { FX_LINEAR, FX_SILU, FX_GELU_TANH, FX_GELU_ERF } fx_act;
typedef enum fx_predict { FX_PREDICT_V, FX_PREDICT_X, FX_PREDICT_EPS } fx_predict;
typedef enum fx_criterion { FX_L1, FX_MSE, FX_HUBER } fx_criterion;
typedef enum fx_interpolation { FX_BICUBIC, FX_BILINEAR } fx_interpolation;
typedef enum fx_optimizer { FX_LION, FX_ADAMW } fx_optimizer;

typedef struct fx_conv_attrs {
    int stride, pad;        /* 1, 1 for the 3x3 convolutions */
    bool upsample;          /* X and X2 are read as if nearest-neighbour doubled */
    bool residual_upsample; /* so is RESIDUAL */
} fx_conv_attrs;
typedef struct fx_group_norm_attrs {
    int64_t groups;
    float eps;
    bool silu;
    bool pool; /* 2x2 average after the activation */
    float dropout;
} fx_group_norm_attrs;
typedef struct fx_layer_norm_attrs {
    float eps;
} fx_layer_norm_attrs;
typedef struct fx_linear_attrs {
    fx_act act;
    float dropout; /* after the activation, before RESIDUAL is added */
} fx_linear_attrs;
typedef struct fx_attention_attrs {
    int64_t heads;
} fx_attention_attrs;
typedef struct fx_add_attrs {
    float scale; /* of A and B */
} fx_add_attrs;
typedef struct fx_drop_rows_attrs {
    float p; /* that a row is dropped */
} fx_drop_rows_attrs;
typedef struct fx_patch_attrs {
    int64_t size;
    bool inverse; /* channels to space */
} fx_patch_attrs;
typedef struct fx_untoken_attrs {
    int64_t height; /* of the image: tokens after token 0 are its pixels, row-major */
} fx_untoken_attrs;
typedef struct fx_interpolate_attrs {
    fx_interpolation kind;
    int64_t factor, stride; /* output pixels a source pixel; source pixels stand so far apart */
} fx_interpolate_attrs;
typedef struct fx_draw_attrs {
    int64_t samples, side; /* T (samples), EPS (samples, side, side, 1) */
} fx_draw_attrs;
typedef struct fx_schedule_attrs { /* log-SNR schedule and weights (flex-model 6) */
    fx_predict predict;
    double shift;
    bool sigmoid_weight;
    double sigmoid_shift;
} fx_schedule_attrs;
typedef struct fx_target_attrs { /* what is diffused; [0] of super-resolution, [1] of the forecast */
    bool raw;                    /* the target field itself, else what it differs by from the input */
    float scale[2];              /* that is divided by; above 0 */
} fx_target_attrs;
typedef struct fx_diffuse_attrs {
    fx_schedule_attrs schedule;
    fx_target_attrs target;
} fx_diffuse_attrs;
typedef struct fx_loss_attrs {
    fx_criterion criterion;
    fx_predict predict;
} fx_loss_attrs;
/* Of gather, exchange and arrive; of the global batch rank r's rows start at r * stride + offset. */
typedef struct fx_gather_attrs {
    int64_t stride, offset;
    int ranks;
} fx_gather_attrs;
typedef struct fx_contrast_attrs {
    float temperature;
    int64_t stride, offset; /* as gather's: where the local samples stand among all */
} fx_contrast_attrs;
typedef struct fx_reduce_attrs {
    int64_t offset, count; /* elements of the gradient slab: one bucket; or of another tensor */
    bool bf16;             /* the sum is of values rounded to bf16, half as many bytes to send */
    bool group;            /* over the ranks that share a contrastive term (fx_group), not over all */
} fx_reduce_attrs;
typedef struct fx_all_gather_attrs {
    int ranks;
} fx_all_gather_attrs;
typedef struct fx_clip_attrs {
    float max_norm; /* 0: no clip */
} fx_clip_attrs;
typedef struct fx_update_attrs {
    fx_optimizer optimizer;
    double beta1, beta2, eps, decay; /* 1 - beta2 in fp32 would be off by 1e-5 */
} fx_update_attrs;
typedef struct fx_ddim_attrs {
    fx_predict predict;
    double shift, t, t_next;
} fx_ddim_attrs;
typedef struct fx_fill_attrs {
    float value;
    int rank;
    int64_t dim[4];
} fx_fill_attrs;

typedef union fx_attrs {
    fx_conv_attrs conv;
    fx_group_norm_attrs group_norm;
    fx_layer_norm_attrs layer_norm;
    fx_linear_attrs linear;
    fx_attention_attrs attention;
    fx_add_attrs add;
    fx_drop_rows_attrs drop_rows;
    fx_patch_attrs patch;
    fx_untoken_attrs untoken;
    fx_interpolate_attrs interpolate;
    fx_draw_attrs draw;
    fx_diffuse_attrs diffuse;
    fx_loss_attrs loss;
    fx_gather_attrs gather;
    fx_contrast_attrs contrast;
    fx_reduce_attrs reduce;
    fx_all_gather_attrs all_gather;
    fx_clip_attrs clip;
    fx_update_attrs update;
    fx_ddim_attrs ddim;
    fx_fill_attrs fill;
} fx_attrs;

#endif
