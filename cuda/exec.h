/* exec.h: the CUDA backend's run-time state, and what kernels need of it. Private to cuda/. */
#ifndef FX_CUDA_EXEC_H
#define FX_CUDA_EXEC_H

#include <cuda_runtime_api.h>

#include "flexhpc/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_cuda {
    fx_exec base; /* first: an fx_exec * is an fx_cuda * */
    int device;
    cudaStream_t stream; /* of the kernels; everything here is ordered on it but communication */
    cudaStream_t comm;   /* of NCCL, higher priority */
    fx_step *step; /* device memory: the present run's fx_step. Kernels read it at execution, so that a
                      captured graph can be replayed; base.step is the host's copy and must not be read
                      by a kernel's host code */
    void *cudnn, *cublaslt; /* cudnnHandle_t, cublasLtHandle_t; made by the first prepare that wants
                               one, else NULL */
    void *nccl;             /* comm_nccl.c's state; NULL on one rank */
    void *plans;            /* conv.cu's plans by node and pass */
    bool strict;            /* fp32 without tensor cores */
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

/* FX_OK, or FX_EDEVICE with "WHAT (NODE): the runtime's own text". `node` may be NULL. */
fx_status fx_cuda_check(cudaError_t error, const char *what, const char *node);

#define FX_CUDA(call) FX_TRY(fx_cuda_check(call, #call, NULL))

#ifdef __cplusplus
}
#endif
#endif
