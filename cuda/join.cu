/* CUDA twin of src/ops/join.c: the order between the kernels' stream and the communication's. The host
 * waits for nothing: an event holds the one stream until the other has come to it, which a captured
 * graph keeps as an edge. */
#include "launch.cuh"

static fx_status follow(fx_cuda *exec, cudaStream_t first, cudaStream_t then)
{
    FX_CUDA(cudaEventRecord(exec->order, first));
    FX_CUDA(cudaStreamWaitEvent(then, exec->order, 0));
    return FX_OK;
}

fx_status fx_cuda_fork(fx_cuda *exec)
{
    exec->forked = true;
    return follow(exec, exec->stream, exec->comm);
}

/* Nothing to wait for where nothing was started: a capture would refuse to wait for a stream that is no
 * part of it. */
fx_status fx_cuda_rejoin(fx_cuda *exec)
{
    if (!exec->forked) return FX_OK;
    exec->forked = false;
    return follow(exec, exec->comm, exec->stream);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)n;
    return fx_cuda_rejoin(fx_cuda_of(exec));
}

const fx_kernel fx_cuda_join = {NULL, forward, NULL};
