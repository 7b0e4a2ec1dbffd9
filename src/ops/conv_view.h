/* conv_view.h: the sizes of one conv node, and its passes as products that oneDNN computes (onednn.h).
 * data gradient, stride 1   a correlation of dy with the kernels turned by 180 degrees: it can add to
 * dx, and the library's forward kernels are its best upsample                  nearest doubling
 * followed by a 3x3 correlation is the transpose of a 4x4 correlation of stride 2, pad 1: 4/9 of the
 * work, and the doubled image is never stored Private to conv.c. Includes onednn.h. */
#ifndef FX_CONV_VIEW_H
#define FX_CONV_VIEW_H

#include "onednn.h"
#include "ops.h"

/* in[]: (B,H,W,Cx), (Co,Cx+Cx2,k,k), (Co), (B,H',W',Co) or half, (B,H,W,Cx2), (Co) */
enum { X, W, BIAS, RESIDUAL, X2, BIAS2 };
enum { FOLDED = 16 }; /* taps of a folded kernel */

static const int SOURCE[2] = {X, X2};

typedef struct view {
    int64_t B, H, W, Ho, Wo, Co, k, stride, pad; /* H, W as stored */
    int64_t C[2], first[2], row; /* a source's channels, where they begin; a row of the weights */
    int sources;
    bool upsample, residual_upsample;
} view;

static inline view view_of(const fx_node *n)
{
    const fx_conv_attrs *a = &n->attrs.conv;
    const int64_t *x = n->in[X]->dim, *w = n->in[W]->dim, scale = a->upsample ? 2 : 1;
    view v = {
        .B = x[0], .H = x[1], .W = x[2], .Co = w[0], .k = w[2], .stride = a->stride, .pad = a->pad};
    v.Ho = fx_dnn_side(scale * v.H, v.k, v.stride, v.pad);
    v.Wo = fx_dnn_side(scale * v.W, v.k, v.stride, v.pad);
    v.C[0] = v.first[1] = x[3];
    v.C[1] = n->in[X2] ? n->in[X2]->dim[3] : 0;
    v.row = w[1] * v.k * v.k;
    v.sources = n->in[X2] ? 2 : 1;
    v.upsample = a->upsample;
    v.residual_upsample = a->residual_upsample;
    return v;
}

/* The folded correlation from the doubled image (Co channels) to source s. */
static inline fx_dnn_conv folded_shape(const view *v, int s, fx_dnn_pass pass, fx_dnn_put put)
{
    return (fx_dnn_conv){.pass = pass,
                         .put = put,
                         .B = v->B,
                         .H = v->Ho,
                         .W = v->Wo,
                         .Ci = v->Co,
                         .Co = v->C[s],
                         .k = 4,
                         .stride = 2,
                         .pad = 1,
                         .row = FOLDED * v->Co};
}

/* The correlation from source s to the result; not with upsampling. */
static inline fx_dnn_conv plain_shape(const view *v, int s, fx_dnn_pass pass, fx_dnn_put put, bool bias)
{
    return (fx_dnn_conv){.pass = pass,
                         .put = put,
                         .bias = bias,
                         .dst_first = pass != FX_DNN_FORWARD,
                         .B = v->B,
                         .H = v->H,
                         .W = v->W,
                         .Ci = v->C[s],
                         .Co = v->Co,
                         .k = v->k,
                         .stride = v->stride,
                         .pad = v->pad,
                         .row = v->row};
}

static inline fx_dnn_conv forward_shape(const fx_node *n, const view *v, int s)
{
    if (v->upsample) return folded_shape(v, s, FX_DNN_DATA, s == 0 ? FX_DNN_STORE : FX_DNN_ADD);
    const fx_dnn_put first = !n->in[RESIDUAL]       ? FX_DNN_STORE
                             : v->residual_upsample ? FX_DNN_ADD
                                                    : FX_DNN_STORE_SUM;
    return plain_shape(v, s, FX_DNN_FORWARD, s == 0 ? first : FX_DNN_ADD, s == 0 && n->in[BIAS]);
}

/* Whether the data gradient is a correlation with turned kernels. */
static inline bool turns(const view *v)
{
    return v->stride == 1 && v->pad < v->k;
}

static inline fx_dnn_conv data_shape(const fx_node *n, const view *v, int s)
{
    const fx_dnn_put put = fx_adds(n, SOURCE[s]) ? FX_DNN_ADD : FX_DNN_STORE;
    if (v->upsample) return folded_shape(v, s, FX_DNN_FORWARD, put);
    if (!turns(v)) return plain_shape(v, s, FX_DNN_DATA, put, false);
    return (fx_dnn_conv){.pass = FX_DNN_FORWARD,
                         .put = put,
                         .B = v->B,
                         .H = v->Ho,
                         .W = v->Wo,
                         .Ci = v->Co,
                         .Co = v->C[s],
                         .k = v->k,
                         .stride = 1,
                         .pad = v->k - 1 - v->pad,
                         .row = v->Co * v->k * v->k};
}

static inline fx_dnn_conv weights_shape(const fx_node *n, const view *v, int s)
{
    if (v->upsample) return folded_shape(v, s, FX_DNN_WEIGHTS, FX_DNN_STORE);
    return plain_shape(v, s, FX_DNN_WEIGHTS, fx_adds(n, W) ? FX_DNN_ADD : FX_DNN_STORE, false);
}

#endif
