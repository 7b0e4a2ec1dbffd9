/* conv_tune.c: engines timed by events. Memory is filled with a small number: engines take as long for
 * any numbers, but for what a processor's power limit makes of them. */
#include "conv_tune.h"

enum { ENGINES = 8, RUNS = 5, ALIGNED = 256, BYTE = 0x3c /* 0.0115 in fp32 and in bf16 */ };

static size_t bytes_of(const fx_graph_tensor *t)
{
    const int64_t count = t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
    return t->inner ? 0 : (size_t)count * fx_dtype_bytes(t->dtype);
}

/* Where each tensor lies, from the start; returns how much all take, `workspace` behind them included.
 */
static size_t lay_out(const fx_graph *graph, size_t workspace, size_t at[FX_GRAPH_TENSORS + 1])
{
    size_t all = 0;
    for (int i = 0; i <= FX_GRAPH_TENSORS; i++) {
        at[i] = all;
        const size_t bytes = i < FX_GRAPH_TENSORS ? bytes_of(&graph->tensor[i]) : workspace;
        all += (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    }
    return all;
}

static fx_status time_runs(fx_cuda *exec, const fx_cudnn_plan *plan, void *const *pointer,
                           void *workspace, cudaEvent_t start, cudaEvent_t end, float *milliseconds)
{
    FX_TRY(fx_cudnn_plan_run(exec->cudnn, plan, pointer, workspace)); /* loads its code */
    FX_CUDA(cudaEventRecord(start, exec->stream));
    for (int i = 0; i < RUNS; i++)
        FX_TRY(fx_cudnn_plan_run(exec->cudnn, plan, pointer, workspace));
    FX_CUDA(cudaEventRecord(end, exec->stream));
    FX_CUDA(cudaEventSynchronize(end));
    FX_CUDA(cudaEventElapsedTime(milliseconds, start, end));
    return FX_OK;
}

static fx_status time_plan(fx_cuda *exec, const fx_cudnn_plan *plan, void *const *pointer,
                           void *workspace, float *milliseconds)
{
    fx_status status = FX_OK;
    cudaEvent_t start = NULL, end = NULL;
    FX_TRY_DONE(fx_cuda_check(cudaEventCreateWithFlags(&start, cudaEventDefault), "event", NULL));
    FX_TRY_DONE(fx_cuda_check(cudaEventCreateWithFlags(&end, cudaEventDefault), "event", NULL));
    FX_TRY_DONE(time_runs(exec, plan, pointer, workspace, start, end, milliseconds));
done:
    if (start) cudaEventDestroy(start);
    if (end) cudaEventDestroy(end);
    return status;
}

/* Leaves the fastest in *best. */
static fx_status race(fx_cuda *exec, const fx_graph *graph, const fx_cudnn_policy *policy,
                      void *const *pointer, void *workspace, fx_cudnn_plan *best)
{
    const fx_cudnn_device device = {.handle = exec->cudnn};
    float least = 0;
    FX_TRY(time_plan(exec, best, pointer, workspace, &least));
    for (int skip = 1; skip < ENGINES; skip++) {
        fx_cudnn_plan next;
        float milliseconds = 0;
        FX_TRY(fx_cudnn_plan_make(&device, graph, policy, skip, &next));
        if (!next.plan) break;
        fx_status status = time_plan(exec, &next, pointer, workspace, &milliseconds);
        if (status == FX_OK && milliseconds < least) {
            const fx_cudnn_plan slower = *best;
            *best = next;
            next = slower;
            least = milliseconds;
        }
        fx_cudnn_plan_close(&next);
        FX_TRY(status);
    }
    return FX_OK;
}

fx_status fx_conv_tune(fx_cuda *exec, const fx_graph *graph, const fx_cudnn_policy *policy,
                       fx_cudnn_plan *plan)
{
    size_t at[FX_GRAPH_TENSORS + 1];
    void *memory = NULL, *pointer[FX_GRAPH_TENSORS];
    const size_t bytes = lay_out(graph, policy->workspace, at);
    if (cudaMalloc(&memory, bytes) != cudaSuccess) {
        cudaGetLastError(); /* else the next launch would tell of it */
        return FX_OK;
    }
    for (int i = 0; i < FX_GRAPH_TENSORS; i++)
        pointer[i] = (char *)memory + at[i];
    fx_status status =
        fx_cuda_check(cudaMemsetAsync(memory, BYTE, bytes, exec->stream), "cudaMemsetAsync", NULL);
    if (status == FX_OK)
        status = race(exec, graph, policy, pointer, (char *)memory + at[FX_GRAPH_TENSORS], plan);
    fx_cuda_quiesce(exec);
    cudaFree(memory);
    return status;
}
