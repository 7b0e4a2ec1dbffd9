/* cudnn_descriptors.h: what cudnn_graph.c and cudnn_engines.c make descriptors with. Errors are
 * FX_EDEVICE with cuDNN's words. Private to the two. */
#ifndef FX_CUDNN_DESCRIPTORS_H
#define FX_CUDNN_DESCRIPTORS_H

#include <cudnn.h>

#include "cudnn_graph.h"

typedef cudnnBackendDescriptor_t descriptor;

fx_status fx_cudnn_check(cudnnStatus_t status, const char *what);
fx_status fx_cudnn_set(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       int64_t count, const void *values);
fx_status fx_cudnn_set_int(descriptor d, cudnnBackendAttributeName_t name, int64_t value);
fx_status fx_cudnn_set_descriptor(descriptor d, cudnnBackendAttributeName_t name, descriptor value);
fx_status fx_cudnn_finalize(descriptor d, const char *what);

/* A descriptor that lives as long as the plan. */
fx_status fx_cudnn_make(fx_cudnn_plan *p, cudnnBackendDescriptorType_t type, descriptor *out);

/* The graph's operations; sets plan->tensors. */
fx_status fx_cudnn_make_graph(fx_cudnn_plan *p, const fx_cudnn_device *device, const fx_graph *graph,
                              descriptor *out);

#endif
