/* test_fake_capture.cpp: capture and replay on the stand-in: a graph runs when it is launched and not
 * when it is captured, forks and joins, and is scheduled and checked like other work; every call that
 * CUDA forbids in a capture is refused and the capture lost.
 *
 * Run: standin only
 * Planted and caught, in graph.cpp: captured work run at once, lanes that do not wait for the launching
 * stream, a launching stream that does not wait for the lanes, an unjoined lane let through, a wait for
 * an outside event let through, a lost capture ended as a good one. */
#include "dies.h"

static void add_one(rig &r, cudaStream_t stream)
{
    float *device = r.device;
    fake_enqueue(stream, "add one", {{device, rig::BYTES, true}}, [=] {
        for (int i = 0; i < rig::COUNT; i++)
            device[i] += 1;
    });
}

static cudaGraphExec_t finish(cudaStream_t stream)
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    is(cudaStreamEndCapture(stream, &graph), cudaSuccess, "end of capture");
    is(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess, "instantiate");
    cudaGraphDestroy(graph);
    return exec;
}

static void fork_and_join(rig &r, bool join)
{
    const cudaEvent_t there = new_event(), back = new_event();
    cudaEventRecord(there, r.a);
    cudaStreamWaitEvent(r.b, there, 0);
    add_one(r, r.b);
    cudaEventRecord(back, r.b);
    if (join) cudaStreamWaitEvent(r.a, back, 0);
    cudaEventDestroy(there);
    cudaEventDestroy(back);
}

static void replay(const char *schedule)
{
    setenv("FX_FAKE_SCHEDULE", schedule, 1);
    rig r;
    r.up(r.a);
    cudaStreamSynchronize(r.a);
    is(cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal), cudaSuccess, "begin");
    add_one(r, r.a);
    fork_and_join(r, true);
    add_one(r, r.a);
    const cudaGraphExec_t exec = finish(r.a);
    r.down(r.a);
    cudaStreamSynchronize(r.a);
    holds(r.pinned[7] == 7, "a capture runs nothing");
    for (int i = 0; i < 3; i++) {
        r.up(r.a);
        is(cudaGraphLaunch(exec, r.a), cudaSuccess, "launch");
        r.down(r.a);
    }
    cudaStreamSynchronize(r.a);
    holds(r.pinned[7] == 16, "three replays add nine");
    cudaGraphExecDestroy(exec);
}

static void ordered(void)
{
    dies("a graph beside other work", "nothing orders them", [] {
        rig r;
        cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal);
        add_one(r, r.a);
        const cudaGraphExec_t exec = finish(r.a);
        add_one(r, r.b);
        cudaGraphLaunch(exec, r.a);
    });
    dies("work beside a graph", "nothing orders them", [] {
        rig r;
        cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal);
        fork_and_join(r, true);
        const cudaGraphExec_t exec = finish(r.a);
        cudaGraphLaunch(exec, r.a);
        add_one(r, r.b);
    });
    dies("two branches", "nothing orders them", [] {
        rig r;
        cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal);
        const cudaEvent_t there = new_event(), back = new_event();
        cudaEventRecord(there, r.a);
        cudaStreamWaitEvent(r.b, there, 0);
        add_one(r, r.a);
        add_one(r, r.b);
        cudaEventRecord(back, r.b);
        cudaStreamWaitEvent(r.a, back, 0);
        cudaGraphLaunch(finish(r.a), r.a);
    });
    dies("a graph destroyed while it runs", "cudaGraphExecDestroy with work queued", [] {
        rig r;
        cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal);
        add_one(r, r.a);
        const cudaGraphExec_t exec = finish(r.a);
        cudaGraphLaunch(exec, r.a);
        cudaGraphExecDestroy(exec);
    });
}

/* The call is refused, and the capture's end says that it was lost. */
template <typename F> static void forbidden(const char *what, cudaError_t want, F call)
{
    rig r;
    const cudaEvent_t outside = new_event();
    cudaGraph_t graph = nullptr;
    cudaEventRecord(outside, r.b);
    cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal);
    add_one(r, r.a);
    is(call(r, outside), want, what);
    is(cudaStreamEndCapture(r.a, &graph), cudaErrorStreamCaptureInvalidated, what);
    holds(graph == nullptr, what);
    cudaEventDestroy(outside);
}

static void refused(void)
{
    const cudaError_t no = cudaErrorStreamCaptureUnsupported;
    static void *memory;
    forbidden("cudaMalloc", no, [](rig &, cudaEvent_t) { return cudaMalloc(&memory, 4); });
    forbidden("cudaFree", no, [](rig &r, cudaEvent_t) { return cudaFree(r.device); });
    forbidden("cudaHostAlloc", no, [](rig &, cudaEvent_t) { return cudaHostAlloc(&memory, 4, 0); });
    forbidden("cudaFreeHost", no, [](rig &r, cudaEvent_t) { return cudaFreeHost(r.pinned); });
    forbidden("its stream", no, [](rig &r, cudaEvent_t) { return cudaStreamSynchronize(r.a); });
    forbidden("another stream", no, [](rig &r, cudaEvent_t) { return cudaStreamSynchronize(r.b); });
    forbidden("an event", no, [](rig &, cudaEvent_t e) { return cudaEventSynchronize(e); });
    forbidden("outside work", cudaErrorStreamCaptureIsolation,
              [](rig &r, cudaEvent_t e) { return cudaStreamWaitEvent(r.a, e, 0); });

    rig r;
    cudaGraph_t graph = nullptr;
    cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal);
    fork_and_join(r, false);
    is(cudaStreamEndCapture(r.a, &graph), cudaErrorStreamCaptureUnjoined, "a fork without a join");
    is(cudaStreamEndCapture(r.a, &graph), cudaErrorStreamCaptureUnmatched,
       "an end without a beginning");

    const cudaEvent_t inside = new_event();
    cudaStreamBeginCapture(r.a, cudaStreamCaptureModeThreadLocal);
    cudaEventRecord(inside, r.a);
    cudaGraphExecDestroy(finish(r.a));
    is(cudaEventSynchronize(inside), cudaErrorCapturedEvent, "the host waits for a captured event");
    is(cudaStreamWaitEvent(r.b, inside, 0), cudaErrorInvalidValue, "so does a stream outside");
    cudaEventDestroy(inside);
}

int main(void)
{
    for (const char *schedule : {"order", "first", "last", "random"})
        replay(schedule);
    setenv("FX_FAKE_SCHEDULE", "order", 1);
    ordered();
    refused();
    return end_of_checks();
}
