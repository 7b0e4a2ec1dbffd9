/* fake_cudnn.h: the stand-in's cuDNN: descriptors (cudnn.cpp), rules and plans (cudnn_rules.cpp),
 * execution on the CPU (cudnn_math.cpp). */
#ifndef FX_FAKE_CUDNN_H
#define FX_FAKE_CUDNN_H

#include <cudnn.h>

#include <map>
#include <memory>
#include <vector>

#include "fake.h"

struct fake_descriptor;
typedef std::shared_ptr<fake_descriptor> fake_pointer;

struct fake_attribute {
    cudnnBackendAttributeType_t type;
    int64_t count;
    std::vector<char> bytes;
    std::vector<fake_pointer> descriptors; /* of attributes that are descriptors */
};

struct fake_descriptor {
    cudnnBackendDescriptorType_t type;
    bool finished;
    std::map<int, fake_attribute> attributes;
    cudnnBackendDescriptor_t twin;          /* the installed library's; NULL without one */
    std::shared_ptr<fake_descriptor> graph; /* of an engine configuration */
    int choice;                             /* which of those proposed, without an installed library */
};

/* An attribute's values; ends the process when it was never set: ask for what a finished descriptor
 * must have. */
template <typename T> const T *fake_values(const fake_descriptor &d, int name)
{
    const auto at = d.attributes.find(name);
    if (at == d.attributes.end()) fake_fatal("cuDNN: attribute %d was never set", name);
    return (const T *)at->second.bytes.data();
}
inline bool fake_has(const fake_descriptor &d, int name)
{
    return d.attributes.count(name) > 0;
}
inline const fake_descriptor &fake_child(const fake_descriptor &d, int name, int i = 0)
{
    const auto at = d.attributes.find(name);
    if (at == d.attributes.end()) fake_fatal("cuDNN: attribute %d was never set", name);
    return *at->second.descriptors[(size_t)i];
}

/* A tensor, read off its descriptor. */
struct fake_tensor {
    int64_t uid, dim[4], stride[4];
    bool bf16, inner;

    int64_t count() const
    {
        return dim[0] * dim[1] * dim[2] * dim[3];
    }
    size_t bytes() const
    {
        return (size_t)count() * (bf16 ? 2 : 4);
    }
};
fake_tensor fake_tensor_of(const fake_descriptor &d);

/* An operation: a correlation (src, weights, dst) or a sum (a, b, sum). */
enum fake_kind { FAKE_FORWARD, FAKE_DATA, FAKE_WEIGHTS, FAKE_SUM };
struct fake_operation {
    fake_kind kind;
    fake_tensor tensor[3];
    float alpha, beta;
    int64_t stride, pad;

    int result() const
    {
        return kind == FAKE_DATA ? 0 : kind == FAKE_WEIGHTS ? 1 : 2;
    }
};
std::vector<fake_operation> fake_operations(const fake_descriptor &graph);

/* Rules of one descriptor that is about to be finished. What is refused leaves a text. */
cudnnStatus_t fake_check(const fake_descriptor &d);
cudnnStatus_t fake_refuse(cudnnStatus_t status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Without an installed library: whether an engine for the graph is known to exist (docs of the table in
 * cudnn_rules.cpp). */
bool fake_supported(const fake_descriptor &graph);

/* Runs the graph on memory by uid. */
void fake_compute(const std::vector<fake_operation> &operations,
                  const std::map<int64_t, void *> &memory);

#endif
