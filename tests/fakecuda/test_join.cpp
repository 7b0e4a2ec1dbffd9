/* test_join.cpp: the CUDA backend's two streams: communication that is forked off comes after the
 * kernels before it, and the op `join` lets later kernels come after the communication; eager and
 * captured, whichever stream would run first. Without a fork, join waits for nothing.
 *
 * Run: standin only
 * Planted and caught: in join.cu no wait in fork, none in join, the streams of join exchanged, a join
 * that waits without a fork. */
#include "../../cuda/exec.h"
#include "dies.h"

static void ok(fx_status status)
{
    holds(status == FX_OK, status == FX_OK ? "" : fx_error_message());
}

static fx_exec *open_cuda(void)
{
    const fx_backend *backend = nullptr;
    fx_exec_options options = {};
    fx_exec *exec = nullptr;
    ok(fx_backend_find("cuda", &backend));
    ok(backend->open(&options, &exec));
    return exec;
}

static void join(fx_exec *exec)
{
    fx_node node = {};
    node.op = fx_ops[FX_OP_join];
    node.name = "join";
    ok(exec->backend->kernels[FX_OP_join]->forward(exec, &node));
}

/* A kernel: x = x + 1. A communication: x = 2 x. */
static void work(cudaStream_t stream, float *device, float factor, float term)
{
    fake_enqueue(stream, factor > 1 ? "double" : "increment", {{device, rig::BYTES, true}}, [=] {
        for (int i = 0; i < rig::COUNT; i++)
            device[i] = factor * device[i] + term;
    });
}

static void both(fx_cuda *exec, float *device)
{
    work(exec->stream, device, 1, 1);
    ok(fx_cuda_fork(exec));
    work(exec->comm, device, 2, 0);
    join(&exec->base);
    work(exec->stream, device, 1, 1);
}

static cudaGraphExec_t capture(fx_cuda *exec, float *device)
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t launched = nullptr;
    cudaStreamBeginCapture(exec->stream, cudaStreamCaptureModeThreadLocal);
    both(exec, device);
    is(cudaStreamEndCapture(exec->stream, &graph), cudaSuccess, "a fork and its join in a capture");
    cudaGraphInstantiate(&launched, graph, 0);
    cudaGraphDestroy(graph);
    return launched;
}

/* Twice, so that the second fork follows the first join. */
static void in_order(const char *schedule, bool captured)
{
    rig r;
    fx_exec *base = open_cuda();
    fx_cuda *exec = fx_cuda_of(base);
    setenv("FX_FAKE_SCHEDULE", schedule, 1);
    r.up(exec->stream);
    cudaGraphExec_t graph = captured ? capture(exec, r.device) : nullptr;
    for (int i = 0; i < 2; i++)
        if (captured)
            cudaGraphLaunch(graph, exec->stream);
        else
            both(exec, r.device);
    r.down(exec->stream);
    cudaStreamSynchronize(exec->stream);
    holds(r.pinned[5] == 2 * (2 * (5 + 1) + 1 + 1) + 1, schedule);
    if (graph) cudaGraphExecDestroy(graph);
    base->backend->close(&base);
    setenv("FX_FAKE_SCHEDULE", "order", 1);
}

/* Communication that nobody forked is not of this list: a capture must not wait for it. */
static void without_a_fork(void)
{
    cudaGraph_t graph = nullptr;
    fx_exec *base = open_cuda();
    fx_cuda *exec = fx_cuda_of(base);
    cudaStreamBeginCapture(exec->stream, cudaStreamCaptureModeThreadLocal);
    join(base);
    is(cudaStreamEndCapture(exec->stream, &graph), cudaSuccess, "a join alone in a capture");
    if (graph) cudaGraphDestroy(graph);
    base->backend->close(&base);
}

int main()
{
    for (const char *schedule : {"order", "first", "last", "random"})
        for (const bool captured : {false, true})
            in_order(schedule, captured);
    without_a_fork();
    return end_of_checks();
}
