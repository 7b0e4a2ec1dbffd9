/* cudnn_rules.cpp: what the stand-in's cuDNN refuses, beside what the installed library refuses; and,
 * where none is installed, which graphs have engines. The latter is what cuDNN 9.19 answered for an
 * H100: one correlation of any kind, all tensors of one type, bf16 or fp32, stored or added   yes
 *   forward, + bias                          types as above, inner tensors fp32           yes
 *   forward, + z, + bias                     in this order                                yes
 *   forward, + z; sums behind other correlations or behind one that adds                  no
 *   a weight gradient in fp32 from bf16                                                   no  */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <set>

#include "fake_cudnn.h"

enum { ALIGNMENT = 16, CHANNELS = 8 };

fake_tensor fake_tensor_of(const fake_descriptor &d)
{
    fake_tensor t;
    t.uid = *fake_values<int64_t>(d, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    t.bf16 = *fake_values<cudnnDataType_t>(d, CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_BFLOAT16;
    t.inner = fake_has(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL) &&
              *fake_values<bool>(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    memcpy(t.dim, fake_values<int64_t>(d, CUDNN_ATTR_TENSOR_DIMENSIONS), sizeof t.dim);
    memcpy(t.stride, fake_values<int64_t>(d, CUDNN_ATTR_TENSOR_STRIDES), sizeof t.stride);
    return t;
}

struct pass_names {
    cudnnBackendDescriptorType_t type;
    int conv, tensor[3], alpha, beta;
};
static const pass_names PASS[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
     {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
     {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};

static const pass_names *pass_of(const fake_descriptor &d)
{
    for (const pass_names &p : PASS)
        if (p.type == d.type) return &p;
    return nullptr;
}

static fake_operation operation_of(const fake_descriptor &d)
{
    fake_operation o = {};
    const pass_names *p = pass_of(d);
    if (!p) {
        o.kind = FAKE_SUM;
        o.tensor[0] = fake_tensor_of(fake_child(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
        o.tensor[1] = fake_tensor_of(fake_child(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
        o.tensor[2] = fake_tensor_of(fake_child(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
        return o;
    }
    const fake_descriptor &conv = fake_child(d, p->conv);
    o.kind = (fake_kind)(p - PASS);
    for (int i = 0; i < 3; i++)
        o.tensor[i] = fake_tensor_of(fake_child(d, p->tensor[i]));
    o.alpha = *fake_values<float>(d, p->alpha);
    o.beta = *fake_values<float>(d, p->beta);
    o.stride = *fake_values<int64_t>(conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    o.pad = *fake_values<int64_t>(conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    return o;
}

std::vector<fake_operation> fake_operations(const fake_descriptor &graph)
{
    std::vector<fake_operation> all;
    for (const fake_pointer &op : graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors)
        all.push_back(operation_of(*op));
    return all;
}

static bool dense(const fake_tensor &t)
{
    return t.stride[1] == 1 && t.stride[3] == t.dim[1] && t.stride[2] == t.dim[3] * t.dim[1] &&
           t.stride[0] == t.dim[2] * t.stride[2];
}

static cudnnStatus_t check_tensor(const fake_descriptor &d)
{
    for (int name :
         {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_ATTR_TENSOR_STRIDES,
          CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT})
        if (!fake_has(d, name))
            return fake_refuse(CUDNN_STATUS_BAD_PARAM, "tensor without attribute %d", name);
    for (int name : {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_ATTR_TENSOR_STRIDES})
        if (d.attributes.at(name).count != 4)
            return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "a tensor that is not 4-dimensional");
    const cudnnDataType_t type = *fake_values<cudnnDataType_t>(d, CUDNN_ATTR_TENSOR_DATA_TYPE);
    if (type != CUDNN_DATA_BFLOAT16 && type != CUDNN_DATA_FLOAT)
        return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "a tensor of type %d", (int)type);
    if (*fake_values<int64_t>(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT) < ALIGNMENT)
        return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED,
                           "a tensor that is aligned to less than 16 bytes");
    const fake_tensor t = fake_tensor_of(d);
    if (!dense(t)) return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "a tensor that is not dense NHWC");
    if (t.dim[1] % CHANNELS != 0)
        return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "%lld channels: not a multiple of 8",
                           (long long)t.dim[1]);
    return CUDNN_STATUS_SUCCESS;
}

static bool same_shape(const fake_tensor &a, const fake_tensor &b)
{
    return memcmp(a.dim, b.dim, sizeof a.dim) == 0;
}

static cudnnStatus_t check_correlation(const fake_operation &o)
{
    const int64_t *x = o.tensor[0].dim, *w = o.tensor[1].dim, *y = o.tensor[2].dim;
    const bool fits = x[0] == y[0] && w[0] == y[1] && w[1] == x[1] && w[2] == w[3] &&
                      y[2] == (x[2] + 2 * o.pad - w[2]) / o.stride + 1 &&
                      y[3] == (x[3] + 2 * o.pad - w[3]) / o.stride + 1;
    if (!fits) return fake_refuse(CUDNN_STATUS_BAD_PARAM, "shapes of a correlation do not fit");
    if (o.alpha != 1 || (o.beta != 0 && o.beta != 1))
        return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "alpha %g, beta %g", (double)o.alpha,
                           (double)o.beta);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_sum(const fake_operation &o)
{
    const int64_t *a = o.tensor[0].dim, *b = o.tensor[1].dim;
    const bool pixel = b[0] == 1 && b[1] == a[1] && b[2] == 1 && b[3] == 1;
    if (!same_shape(o.tensor[0], o.tensor[2]) || !(pixel || same_shape(o.tensor[0], o.tensor[1])))
        return fake_refuse(CUDNN_STATUS_BAD_PARAM, "shapes of a sum do not fit");
    return CUDNN_STATUS_SUCCESS;
}

/* Names are unique; a tensor is made once, and not read before. */
static cudnnStatus_t check_graph(const fake_descriptor &graph)
{
    std::map<int64_t, fake_tensor> seen;
    std::set<int64_t> made, read;
    for (const fake_operation &o : fake_operations(graph))
        for (int i : {0, 1, 2}) {
            const fake_tensor &t = o.tensor[i];
            const auto known = seen.insert({t.uid, t});
            const fake_tensor &first = known.first->second;
            if (!same_shape(first, t) || first.bf16 != t.bf16 || first.inner != t.inner)
                return fake_refuse(CUDNN_STATUS_BAD_PARAM, "two tensors with the uid %lld",
                                   (long long)t.uid);
            if (i != o.result()) {
                read.insert(t.uid);
                if (t.inner && !made.count(t.uid))
                    return fake_refuse(CUDNN_STATUS_BAD_PARAM, "uid %lld is read before it is made",
                                       (long long)t.uid);
            } else if (read.count(t.uid) || !made.insert(t.uid).second)
                return fake_refuse(CUDNN_STATUS_BAD_PARAM, "uid %lld is made twice, or read before",
                                   (long long)t.uid);
        }
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_pack(const fake_descriptor &d)
{
    for (int name : {CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS})
        if (!fake_has(d, name))
            return fake_refuse(CUDNN_STATUS_BAD_PARAM, "variant pack without attribute %d", name);
    if (d.attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count !=
        d.attributes.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).count)
        return fake_refuse(CUDNN_STATUS_BAD_PARAM, "a variant pack's lists differ in length");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t fake_check(const fake_descriptor &d)
{
    if (d.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) return check_tensor(d);
    if (d.type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) return check_graph(d);
    if (d.type == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) return check_pack(d);
    if (d.type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) return check_sum(operation_of(d));
    return pass_of(d) ? check_correlation(operation_of(d)) : CUDNN_STATUS_SUCCESS;
}

static bool of_type(const fake_tensor &t, bool bf16)
{
    return t.inner ? !t.bf16 : t.bf16 == bf16;
}

bool fake_supported(const fake_descriptor &graph)
{
    const std::vector<fake_operation> ops = fake_operations(graph);
    const bool bf16 = ops[0].tensor[0].bf16;
    for (const fake_operation &o : ops)
        for (const fake_tensor &t : o.tensor)
            if (!of_type(t, bf16)) return false;
    if (ops[0].kind == FAKE_SUM) return false;
    if (ops.size() == 1) return true;
    if (ops.size() > 3 || ops[0].kind != FAKE_FORWARD || ops[0].beta != 0) return false;
    for (size_t i = 1; i < ops.size(); i++) {
        const bool last = i + 1 == ops.size(),
                   pixel = ops[i].tensor[1].dim[2] == 1 && ops[i].tensor[1].dim[0] == 1;
        if (ops[i].kind != FAKE_SUM || pixel != last ||
            ops[i].tensor[0].uid != ops[i - 1].tensor[2].uid)
            return false;
    }
    return true;
}
