/* exec.h: the CUDA backend's run-time state, and what kernels need of it. Private to cuda/. */
#ifndef FX_CUDA_EXEC_H
#define FX_CUDA_EXEC_H

#include <cuda_runtime_api.h>

#include "flexhpc/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_cuda_staging fx_cuda_staging;
typedef struct fx_cuda_graph fx_cuda_graph;
typedef struct fx_nccl fx_nccl;
typedef struct fx_cuda_meter fx_cuda_meter;

enum { FX_COUNTERS = 1 << 16 };

typedef struct fx_cuda {
    fx_exec base; /* first: an fx_exec * is an fx_cuda * */
    int device;
    cudaStream_t stream;   /* of the kernels; everything here is ordered on it but communication */
    cudaStream_t comm;     /* of NCCL, higher priority */
    cudaEvent_t order;     /* between the two, and between either and the host */
    cudaEvent_t exchanged; /* the exchange started last is done */
    bool forked;           /* the communication has work that no join came after */
    fx_step *step; /* device memory: the present run's fx_step. Kernels read it at execution, so that a
                      captured graph can be replayed; base.step is the host's copy and must not be read
                      by a kernel's host code */
    int *counters; /* device memory, FX_COUNTERS: for blocks of a launch that wait for each other. Zero
                      between launches: the last block that reads them makes them so */
    void *cudnn, *cublaslt;   /* cudnnHandle_t, cublasLtHandle_t; made by the first prepare that wants
                                 one, else NULL */
    fx_nccl *nccl;            /* comm_nccl.c's; NULL on one rank, and before a prepare wants it */
    fx_cuda_meter *meter;     /* energy.c's; NULL until asked for */
    void *plans;              /* conv_plans.c's, by product */
    void *products;           /* matmul.c's, by shape */
    fx_cuda_staging *staging; /* copy.c's */
    fx_cuda_graph *graphs;    /* graph.c's */
    size_t graph_count, graph_capacity;
    bool strict; /* fp32 without tensor cores */
} fx_cuda;

static inline fx_cuda *fx_cuda_of(fx_exec *exec)
{
    return (fx_cuda *)exec;
}
static inline cudaStream_t fx_cuda_stream(fx_exec *exec)
{
    return fx_cuda_of(exec)->stream;
}
static inline const fx_step *fx_cuda_step(fx_exec *exec)
{
    return fx_cuda_of(exec)->step;
}

static inline int *fx_cuda_counters(fx_exec *exec)
{
    return fx_cuda_of(exec)->counters;
}

/* FX_OK, or FX_EDEVICE with "WHAT (NODE): the runtime's own text". `node` may be NULL. */
fx_status fx_cuda_check(cudaError_t error, const char *what, const char *node);

/* The backend's `limits`. */
fx_status fx_cuda_limits(fx_exec *exec, int64_t side, size_t bytes, fx_device_limits *out);

/* The backend's `energy`, by NVML; closed with the exec. */
fx_status fx_cuda_energy(fx_exec *exec, double *joules);
void fx_cuda_energy_close(fx_cuda *exec);

/* The rank's GPU, which becomes the thread's device. FX_EDEVICE, the same on all ranks, where two share
 * one. Collective. */
fx_status fx_cuda_pick_device(fx_cuda *exec);

/* The kernels of every op: cuda/NAME.cu defines fx_cuda_NAME. */
#define FX_OP(name) extern const fx_kernel fx_cuda_##name;
#include "flexhpc/oplist.h"
#undef FX_OP
extern const fx_kernel *const fx_cuda_kernels[FX_OP_COUNT];

extern const struct fx_flow_ops fx_cuda_flow; /* flow.cu */

/* Copies between host memory of any kind and the device, in the stream's order, through pinned memory,
 * or straight out of what fx_cuda_host_allocate gave. `host` is free again when they return; a download
 * has waited for the data. */
fx_status fx_cuda_staging_create(fx_cuda_staging **out);
void fx_cuda_staging_free(fx_cuda_staging **staging);
fx_status fx_cuda_host_allocate(fx_cuda *exec, size_t bytes, void **out); /* pinned, zeroed */
void fx_cuda_host_release(fx_cuda *exec, void *memory);
fx_status fx_cuda_upload(fx_cuda *exec, void *device, const void *host, size_t bytes);
fx_status fx_cuda_download(fx_cuda *exec, void *host, const void *device, size_t bytes);

/* What is put into exec->comm after this comes after all that exec->stream holds. An op that starts
 * communication calls it first; fx_cuda_rejoin, which the op `join` is, is the way back. Not
 * collective; they do not wait. */
fx_status fx_cuda_fork(fx_cuda *exec);
fx_status fx_cuda_rejoin(fx_cuda *exec);

/* Waits for the event, with an eye on the communicator. FX_ECOMM: a peer is gone; what was started is
 * then ended, and its results are worth nothing. */
fx_status fx_cuda_await(fx_cuda *exec, cudaEvent_t event);
/* The same, for all that was started. */
fx_status fx_cuda_idle(fx_cuda *exec);
/* The same before memory is given back: a failure is not told, and keeps no earlier message from it. */
void fx_cuda_quiesce(fx_cuda *exec);

/* Starts the copy of `step` to exec->step; it is taken by value. */
fx_status fx_cuda_store_step(fx_cuda *exec, const fx_step *step);

/* Starts the kernels of one entry, under its name. */
fx_status fx_cuda_start(fx_cuda *exec, const fx_entry *entry, void *arena);
/* Starts those of the entries one after the other, and does not wait but for an observer. */
fx_status fx_cuda_walk(fx_cuda *exec, const fx_entry *entries, int count, void *arena,
                       const fx_observer *observer);
/* The same between events, and waits; then tells the observer how long each took on the device. */
fx_status fx_cuda_timed_walk(fx_cuda *exec, const fx_entry *entries, int count, void *arena,
                             const fx_observer *observer);
/* The walk, captured at the second time and replayed from then on. */
fx_status fx_cuda_replay(fx_cuda *exec, const fx_entry *entries, int count, void *arena);
/* Drops what was captured of these entries; NULL: of all. */
void fx_cuda_graphs_forget(fx_cuda *exec, const fx_entry *entries);

#ifdef FX_SIMT
/* Tells the stand-in which entry's kernels are started next; NULL: none's. */
void fx_simt_entry(const fx_entry *entry, const void *scratch);
/* Outside of a list: the kernels started next write this memory; NULL: none that is told. */
void fx_simt_writes(const void *at, size_t bytes);
#endif

#define FX_CUDA(call) FX_TRY(fx_cuda_check(call, #call, NULL))

#ifdef __cplusplus
}
#endif
#endif
