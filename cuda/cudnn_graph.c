/* cudnn_graph.c: from a graph as data to cuDNN's: descriptors of tensors and operations; a plan's run,
 * by a variant pack. Engines and plans: cudnn_engines.c. */
#include "cudnn_descriptors.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { ALIGNMENT = 16, JSON_MOST = 1 << 16 };

fx_status fx_cudnn_check(cudnnStatus_t status, const char *what)
{
    char text[512] = "";
    if (status == CUDNN_STATUS_SUCCESS) return FX_OK;
    cudnnGetLastErrorString(text, sizeof text);
    return fx_fail(FX_EDEVICE, "cuDNN: %s: %s: %s", what, cudnnGetErrorString(status), text);
}

fx_status fx_cudnn_set(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       int64_t count, const void *values)
{
    char what[32];
    snprintf(what, sizeof what, "attribute %d", (int)name);
    return fx_cudnn_check(cudnnBackendSetAttribute(d, name, type, count, values), what);
}

fx_status fx_cudnn_set_int(descriptor d, cudnnBackendAttributeName_t name, int64_t value)
{
    return fx_cudnn_set(d, name, CUDNN_TYPE_INT64, 1, &value);
}

static fx_status set_float(descriptor d, cudnnBackendAttributeName_t name, float value)
{
    return fx_cudnn_set(d, name, CUDNN_TYPE_FLOAT, 1, &value);
}

static fx_status set_type(descriptor d, cudnnBackendAttributeName_t name, cudnnDataType_t value)
{
    return fx_cudnn_set(d, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

fx_status fx_cudnn_set_descriptor(descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    return fx_cudnn_set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

fx_status fx_cudnn_finalize(descriptor d, const char *what)
{
    return fx_cudnn_check(cudnnBackendFinalize(d), what);
}

fx_status fx_cudnn_make(fx_cudnn_plan *p, cudnnBackendDescriptorType_t type, descriptor *out)
{
    assert(p->count < (int)(sizeof p->owned / sizeof *p->owned));
    FX_TRY(fx_cudnn_check(cudnnBackendCreateDescriptor(type, out), "descriptor"));
    p->owned[p->count++] = *out;
    return FX_OK;
}

static cudnnDataType_t type_of(fx_dtype dtype)
{
    return dtype == FX_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

static fx_status make_tensor(fx_cudnn_plan *p, const fx_graph_tensor *t, int64_t uid, descriptor *out)
{
    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    FX_TRY(set_type(*out, CUDNN_ATTR_TENSOR_DATA_TYPE, type_of(t->dtype)));
    FX_TRY(fx_cudnn_set(*out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, t->dim));
    FX_TRY(fx_cudnn_set(*out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, t->stride));
    FX_TRY(fx_cudnn_set_int(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, uid));
    FX_TRY(fx_cudnn_set_int(*out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, ALIGNMENT));
    FX_TRY(fx_cudnn_set(*out, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &t->inner));
    return fx_cudnn_finalize(*out, "tensor");
}

/* Names of one thing that cuDNN names once a pass. */
typedef struct pass_names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, tensor[3], alpha, beta;
} pass_names;

static const pass_names PASS[] = {
    [FX_GRAPH_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                          {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [FX_GRAPH_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [FX_GRAPH_WEIGHTS] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                          {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static fx_status make_correlation(fx_cudnn_plan *p, const fx_graph_op *op, const descriptor *tensor,
                                  descriptor *out)
{
    const pass_names *names = &PASS[op->kind];
    const int64_t ones[2] = {1, 1}, strides[2] = {op->stride, op->stride}, pads[2] = {op->pad, op->pad};
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    descriptor conv = NULL;
    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, &conv));
    FX_TRY(set_type(conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT));
    FX_TRY(fx_cudnn_set(conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    FX_TRY(fx_cudnn_set_int(conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2));
    FX_TRY(fx_cudnn_set(conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones));
    FX_TRY(fx_cudnn_set(conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides));
    FX_TRY(fx_cudnn_set(conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads));
    FX_TRY(fx_cudnn_set(conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pads));
    FX_TRY(fx_cudnn_finalize(conv, "convolution"));

    FX_TRY(fx_cudnn_make(p, names->type, out));
    FX_TRY(fx_cudnn_set_descriptor(*out, names->conv, conv));
    for (int i = 0; i < 3; i++)
        FX_TRY(fx_cudnn_set_descriptor(*out, names->tensor[i], tensor[op->tensor[i]]));
    FX_TRY(set_float(*out, names->alpha, 1.0f));
    FX_TRY(set_float(*out, names->beta, op->add ? 1.0f : 0.0f));
    return fx_cudnn_finalize(*out, "convolution operation");
}

static fx_status make_sum(fx_cudnn_plan *p, const fx_graph_op *op, const descriptor *tensor,
                          descriptor *out)
{
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    descriptor pointwise = NULL;
    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise));
    FX_TRY(fx_cudnn_set(pointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode));
    FX_TRY(set_type(pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT));
    FX_TRY(fx_cudnn_finalize(pointwise, "sum"));

    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, out));
    FX_TRY(fx_cudnn_set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise));
    FX_TRY(fx_cudnn_set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor[op->tensor[0]]));
    FX_TRY(fx_cudnn_set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor[op->tensor[1]]));
    FX_TRY(fx_cudnn_set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor[op->tensor[2]]));
    return fx_cudnn_finalize(*out, "sum operation");
}

fx_status fx_cudnn_make_graph(fx_cudnn_plan *p, const fx_cudnn_device *device, const fx_graph *graph,
                              descriptor *out)
{
    descriptor tensor[FX_GRAPH_TENSORS] = {NULL}, op[FX_GRAPH_OPS] = {NULL};
    cudnnHandle_t handle = device->handle;
    for (int i = 0; i < FX_GRAPH_TENSORS; i++) {
        if (graph->tensor[i].dim[0] == 0) continue;
        FX_TRY(make_tensor(p, &graph->tensor[i], i + 1, &tensor[i]));
        if (!graph->tensor[i].inner) p->tensors |= 1u << i;
    }
    for (int i = 0; i < graph->ops; i++)
        FX_TRY((graph->op[i].kind == FX_GRAPH_SUM ? make_sum : make_correlation)(p, &graph->op[i],
                                                                                 tensor, &op[i]));
    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, out));
    FX_TRY(fx_cudnn_set(*out, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph->ops,
                        op));
    if (handle)
        FX_TRY(fx_cudnn_set(*out, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle));
    return fx_cudnn_finalize(*out, "operation graph");
}

void fx_cudnn_plan_close(fx_cudnn_plan *p)
{
    if (p->plan) cudnnBackendDestroyDescriptor(p->plan);
    while (p->count > 0)
        cudnnBackendDestroyDescriptor(p->owned[--p->count]);
    *p = (fx_cudnn_plan){0};
}

fx_status fx_cudnn_plan_run(void *handle, const fx_cudnn_plan *p, void *const pointer[FX_GRAPH_TENSORS],
                            void *workspace)
{
    fx_status status = FX_OK;
    descriptor pack = NULL;
    void *pointers[FX_GRAPH_TENSORS];
    int64_t uids[FX_GRAPH_TENSORS], count = 0;
    for (int i = 0; i < FX_GRAPH_TENSORS; i++) {
        if (!(p->tensors & 1u << i)) continue;
        pointers[count] = pointer[i];
        uids[count++] = i + 1;
    }
    FX_TRY(fx_cudnn_check(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack),
                          "variant pack"));
    FX_TRY_DONE(fx_cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids));
    FX_TRY_DONE(fx_cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
                             pointers));
    FX_TRY_DONE(
        fx_cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace));
    FX_TRY_DONE(fx_cudnn_finalize(pack, "variant pack"));
    FX_TRY_DONE(fx_cudnn_check(cudnnBackendExecute(handle, p->plan, pack), "execution"));
done:
    cudnnBackendDestroyDescriptor(pack);
    return status;
}

fx_status fx_cudnn_device_read(const char *file, fx_cudnn_device *out)
{
    fx_status status = FX_OK;
    descriptor properties = NULL;
    char *text = NULL;
    size_t size = 0;
    *out = (fx_cudnn_device){0};
    FX_TRY(fx_read_text(file, JSON_MOST, &text, &size));
    FX_TRY_DONE(fx_cudnn_check(
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &properties), file));
    out->properties = properties;
    FX_TRY_DONE(fx_cudnn_set(properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                             (int64_t)size, text));
    FX_TRY_DONE(fx_cudnn_finalize(properties, file));
done:
    fx_free(text);
    if (status != FX_OK) fx_cudnn_device_close(out);
    return status;
}

void fx_cudnn_device_close(fx_cudnn_device *device)
{
    if (device->properties) cudnnBackendDestroyDescriptor(device->properties);
    *device = (fx_cudnn_device){0};
}
