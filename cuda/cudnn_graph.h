/* cudnn_graph.h: convolutions for cuDNN's graph API (the backend descriptors of cuDNN 9.8 and later).
 * A graph is data: tensors and operations. From a graph, a device and a policy comes a plan: the engine
 * that runs it. A device is a cuDNN handle, or properties alone, in JSON: plans can then be made and
 * checked where there is no GPU. Private to cuda/ and its tests. */
#ifndef FX_CUDNN_GRAPH_H
#define FX_CUDNN_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexhpc/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* With S the correlation that the weights make from src to dst:
 *   FORWARD  dst = S src    DATA  src = S^T dst    WEIGHTS  weights = gradient of <dst, S src>
 *   SUM      tensor[2] = tensor[0] + tensor[1], the second may be one pixel for all */
typedef enum fx_graph_kind {
    FX_GRAPH_FORWARD,
    FX_GRAPH_DATA,
    FX_GRAPH_WEIGHTS,
    FX_GRAPH_SUM
} fx_graph_kind;

/* What the tensors of a graph are. Inner ones are never in memory. */
enum {
    FX_GRAPH_SRC,
    FX_GRAPH_WEIGHT,
    FX_GRAPH_DST,
    FX_GRAPH_Z,
    FX_GRAPH_BIAS,
    FX_GRAPH_INNER,
    FX_GRAPH_TENSORS = FX_GRAPH_INNER + 2,
    FX_GRAPH_OPS = 3
};

typedef struct fx_graph_tensor {
    fx_dtype dtype;
    int64_t dim[4];    /* in cuDNN's order: N, C, H, W, or K, C, R, S; dim[0] 0: not in the graph */
    int64_t stride[4]; /* in elements */
    bool inner;
} fx_graph_tensor;

typedef struct fx_graph_op {
    fx_graph_kind kind;
    int tensor[3]; /* src, weights, dst of a correlation, whichever is computed; of SUM see above */
    int64_t stride, pad;
    bool add; /* the result is added to what is there */
} fx_graph_op;

typedef struct fx_graph {
    fx_graph_tensor tensor[FX_GRAPH_TENSORS];
    fx_graph_op op[FX_GRAPH_OPS];
    int ops;
} fx_graph;

/* `handle` or `properties`. */
typedef struct fx_cudnn_device {
    void *handle;     /* cudnnHandle_t; not owned */
    void *properties; /* made from JSON; owned */
} fx_cudnn_device;

/* A device that is known by its properties only: a JSON file as cuDNN writes it. FX_EIO, FX_EDEVICE.
 * Closed with fx_cudnn_device_close. Local. */
fx_status fx_cudnn_device_read(const char *file, fx_cudnn_device *out);
void fx_cudnn_device_close(fx_cudnn_device *device);

/* Which engines will do. Always: deterministic, and compiled beforehand. */
typedef struct fx_cudnn_policy {
    bool strict;      /* fp32 arithmetic as written: no tensor cores, Winograd or Fourier transforms */
    bool tensor_core; /* nothing slower */
    size_t workspace; /* most bytes */
} fx_cudnn_policy;

/* An engine and what it is set to: with a graph, all that a plan is made of. */
enum { FX_CUDNN_KNOBS = 32 };
typedef struct fx_cudnn_choice {
    int64_t engine; /* cuDNN's global index */
    int knobs;
    struct {
        int type; /* cudnnBackendKnobType_t */
        int64_t value;
    } knob[FX_CUDNN_KNOBS];
} fx_cudnn_choice;

typedef struct fx_cudnn_plan {
    void *plan; /* NULL: none */
    size_t workspace;
    fx_cudnn_choice choice;
    int considered, deterministic; /* engine configurations that cuDNN proposed */
    bool tensor_core;
    unsigned tensors; /* bits of those that live in memory */
    void *owned[64];  /* descriptors the plan was made from */
    int count;
} fx_cudnn_plan;

/* The first engine, in the order of cuDNN's heuristics, that the policy allows, after `skip` others
 * that it allows. FX_EDEVICE with cuDNN's words when it refuses the graph, or when there is none; with
 * `skip` out->plan is NULL where there are no more. Closed with fx_cudnn_plan_close. Local. */
fx_status fx_cudnn_plan_make(const fx_cudnn_device *device, const fx_graph *graph,
                             const fx_cudnn_policy *policy, int skip, fx_cudnn_plan *out);

/* The same engine again, without asking heuristics. FX_EDEVICE where cuDNN or the policy doesn't have
 * it. Closed with fx_cudnn_plan_close. Local. */
fx_status fx_cudnn_plan_restore(const fx_cudnn_device *device, const fx_graph *graph,
                                const fx_cudnn_policy *policy, const fx_cudnn_choice *choice,
                                fx_cudnn_plan *out);
void fx_cudnn_plan_close(fx_cudnn_plan *plan);

/* Enqueues a run on the handle's stream. `pointer`: of every tensor in memory, on 16 bytes. Local. */
fx_status fx_cudnn_plan_run(void *handle, const fx_cudnn_plan *plan,
                            void *const pointer[FX_GRAPH_TENSORS], void *workspace);

#ifdef __cplusplus
}
#endif
#endif
