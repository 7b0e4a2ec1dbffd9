/* onednn_version.h: what differs between oneDNN 2 and 3. In 2 a memory descriptor is a value and a
 * primitive's description is made in two steps; in 3 the former is an object with an owner and the
 * latter one call. Private to onednn.c. */
#ifndef FX_ONEDNN_VERSION_H
#define FX_ONEDNN_VERSION_H

#include <dnnl.h>

#include "onednn.h"

/* The descriptors of a convolution in our memory; seen_: as the library sees it, `any` where it may
 * choose. */
enum { D_SRC, D_WEIGHTS, D_BIAS, D_DST, D_SEEN_SRC, D_SEEN_WEIGHTS, D_SEEN_DST, DESCRIPTORS };
typedef struct descriptors {
    dnnl_memory_desc_t at[DESCRIPTORS];
    dnnl_dims_t strides, pads;
} descriptors;

#if DNNL_VERSION_MAJOR < 3

typedef const dnnl_memory_desc_t *format; /* as the library's functions take and give it */

static inline format format_of(const descriptors *d, int i)
{
    return &d->at[i];
}

static inline void free_descriptors(descriptors *d)
{
    (void)d;
}

static inline dnnl_status_t describe_by_tag(descriptors *d, int i, int rank, const dnnl_dims_t dim,
                                            dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(&d->at[i], rank, dim, type, tag);
}

static inline dnnl_status_t describe_by_strides(descriptors *d, int i, int rank, const dnnl_dims_t dim,
                                                const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(&d->at[i], rank, dim, dnnl_f32, strides);
}

static inline dnnl_status_t append_sum(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1.0f);
}

static inline dnnl_status_t describe_convolution(dnnl_engine_t engine, const fx_dnn_conv *s,
                                                 const descriptors *d,
                                                 const_dnnl_primitive_attr_t attributes,
                                                 dnnl_primitive_desc_t *out)
{
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    const format src = &d->at[D_SEEN_SRC], weights = &d->at[D_SEEN_WEIGHTS], dst = &d->at[D_SEEN_DST],
                 bias = s->bias ? &d->at[D_BIAS] : NULL;
    dnnl_convolution_desc_t c;
    dnnl_status_t status = dnnl_success;
    if (s->pass == FX_DNN_FORWARD)
        status = dnnl_convolution_forward_desc_init(&c, dnnl_forward_training, direct, src, weights,
                                                    bias, dst, d->strides, d->pads, d->pads);
    else if (s->pass == FX_DNN_DATA)
        status = dnnl_convolution_backward_data_desc_init(&c, direct, src, weights, dst, d->strides,
                                                          d->pads, d->pads);
    else
        status = dnnl_convolution_backward_weights_desc_init(&c, direct, src, weights, NULL, dst,
                                                             d->strides, d->pads, d->pads);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &c, attributes, engine, NULL)
                                  : status;
}

#else

typedef const_dnnl_memory_desc_t format;

static inline format format_of(const descriptors *d, int i)
{
    return d->at[i];
}

static inline void free_descriptors(descriptors *d)
{
    for (int i = 0; i < DESCRIPTORS; i++) {
        dnnl_memory_desc_destroy(d->at[i]);
        d->at[i] = NULL;
    }
}

static inline dnnl_status_t describe_by_tag(descriptors *d, int i, int rank, const dnnl_dims_t dim,
                                            dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(&d->at[i], rank, dim, type, tag);
}

static inline dnnl_status_t describe_by_strides(descriptors *d, int i, int rank, const dnnl_dims_t dim,
                                                const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(&d->at[i], rank, dim, dnnl_f32, strides);
}

static inline dnnl_status_t append_sum(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1.0f, 0, dnnl_data_type_undef);
}

static inline dnnl_status_t describe_convolution(dnnl_engine_t engine, const fx_dnn_conv *s,
                                                 const descriptors *d,
                                                 const_dnnl_primitive_attr_t attributes,
                                                 dnnl_primitive_desc_t *out)
{
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    const format src = d->at[D_SEEN_SRC], weights = d->at[D_SEEN_WEIGHTS], dst = d->at[D_SEEN_DST],
                 bias = s->bias ? d->at[D_BIAS] : NULL;
    if (s->pass == FX_DNN_FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(
            out, engine, dnnl_forward_training, direct, src, weights, bias, dst, d->strides, NULL,
            d->pads, d->pads, attributes);
    if (s->pass == FX_DNN_DATA)
        return dnnl_convolution_backward_data_primitive_desc_create(out, engine, direct, src, weights,
                                                                    dst, d->strides, NULL, d->pads,
                                                                    d->pads, NULL, attributes);
    return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, direct, src, weights,
                                                                   NULL, dst, d->strides, NULL, d->pads,
                                                                   d->pads, NULL, attributes);
}

#endif
#endif
