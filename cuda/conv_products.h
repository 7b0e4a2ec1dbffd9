/* conv_products.h: the correlations that a conv node is made of (src/ops/conv.c), as cuDNN is to
 * compute them: in one type of storage, with channels padded to multiples of 8. Private to cuda/ and
 * its tests. */
#ifndef FX_CONV_PRODUCTS_H
#define FX_CONV_PRODUCTS_H

#include "cudnn_graph.h"
#include "flexhpc/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A correlation by shape: src (B,H,W,Ci), dst (B,H',W',Co), weights (Co,k,k,Ci), all of one type, all
 * dense; Ci and Co multiples of 8. FORWARD may add z (as dst) and then a bias (Co), stored as dst is.
 */
typedef struct fx_product {
    fx_graph_kind pass;
    fx_dtype dtype; /* FX_F32 or FX_BF16; sums are fp32 */
    bool add, z, bias;
    int64_t B, H, W, Ci, Co, k, stride, pad;
} fx_product;

fx_graph fx_product_graph(const fx_product *product);
bool fx_same_product(const fx_product *a, const fx_product *b);

/* "forward+z+bias bf16 (16,256,256,64) to 64, 3x3 stride 1 pad 1". */
fx_status fx_product_text(const fx_product *product, char *text, size_t size);

/* in[] of a conv node */
enum { FX_CONV_X, FX_CONV_W, FX_CONV_BIAS, FX_CONV_RESIDUAL, FX_CONV_X2, FX_CONV_BIAS2 };

/* Sizes of a conv node. H, W: of the sources as stored; C: a source's channels, `first`: where they
 * begin in the weights; padded: as the library sees them. */
typedef struct fx_conv_view {
    int64_t B, H, W, Ho, Wo, Co, k, stride, pad, row;
    int64_t C[2], first[2], padded[2], padded_Co;
    int sources;
    bool upsample, residual_upsample;
    fx_dtype dtype; /* of the products */
} fx_conv_view;

fx_conv_view fx_conv_view_of(const fx_node *n);
fx_tensor *fx_conv_source(const fx_node *n, int s);
fx_tensor *fx_conv_source_gradient(const fx_node *n, int s);
bool fx_conv_adds(const fx_node *n, int s); /* to that gradient */

/* Whether the result starts from residual and bias, to which the products add: where no engine of
 * cuDNN's adds them, behind a transposed correlation, from a residual of half the size or one without a
 * bias. */
bool fx_conv_prefills(const fx_node *n, const fx_conv_view *v);

/* Whether the products read or write this image itself, not a copy with padded channels. */
bool fx_conv_direct(const fx_conv_view *v, const fx_tensor *t);

/* How plans for products are chosen: precompiled engines, at most 8 MiB of workspace, 64 in fp32;
 * bf16 on tensor cores, which `strict` keeps fp32 from. */
fx_cudnn_policy fx_conv_policy(const fx_product *product, bool strict);

/* The products of source s. */
fx_product fx_conv_forward(const fx_node *n, const fx_conv_view *v, int s);
fx_product fx_conv_data(const fx_node *n, const fx_conv_view *v, int s);
fx_product fx_conv_weights(const fx_conv_view *v, int s);

#ifdef __cplusplus
}
#endif
#endif
