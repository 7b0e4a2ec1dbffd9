/* test_fake_nccl.cpp: the rules of the stand-in for NCCL, each broken once, on one rank; what the
 * ranks' calls must agree in, on two and three.
 *
 * Run: standin only
 * Planted and caught: in nccl.cpp work put into the stream by the call itself, a second call let in
 * before the first is done, a destroyed communicator accepted, and one left at the end; the second
 * stream, memory of the host, overlaps, the place in the result, the queue and the flush not looked at;
 * an aborted collective that still waits; ids, calls, types and captures not compared; one id for
 * overlapping groups let pass. In stream.cpp an event of a capture answered for, the host's clock not
 * joined by the question. */
#include <functional>
#include <unistd.h>

#include "dies.h"
#include "fake_nccl.h"

/* A peer may take a while to come. */
static ncclResult_t settled(ncclComm_t c)
{
    ncclResult_t result = ncclInProgress;
    for (int i = 0; i < 100000 && result == ncclInProgress; i++) {
        ncclCommGetAsyncError(c, &result);
        if (i >= 100) usleep(100);
    }
    return result;
}

static void is(ncclResult_t got, ncclResult_t want, const char *what)
{
    holds(got == want, what);
    if (got != want) printf("    %s, not %s\n", ncclGetErrorString(got), ncclGetErrorString(want));
}

static ncclConfig_t configured(void)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return config;
}

/* A communicator of one rank. */
struct connected : rig {
    ncclComm_t comm;
    connected()
    {
        ncclUniqueId id;
        ncclConfig_t config = configured();
        ncclGetUniqueId(&id);
        ncclCommInitRankConfig(&comm, 1, id, 0, &config);
        settled(comm);
    }
    ncclResult_t sum(cudaStream_t stream)
    {
        return ncclAllReduce(device, device, COUNT, ncclFloat, ncclSum, comm, stream);
    }
    void flush(void)
    {
        ncclCommFinalize(comm);
        settled(comm);
    }
    void finish(void)
    {
        cudaStreamSynchronize(a);
        cudaStreamSynchronize(b);
        flush();
        ncclCommDestroy(comm);
    }
};

static void order_of_calls(void)
{
    lives("connected, summed, flushed, destroyed", [] {
        connected r;
        r.up(r.b);
        r.sum(r.b);
        settled(r.comm);
        r.down(r.b);
        cudaStreamSynchronize(r.b);
        if (r.pinned[7] != 7) fprintf(stderr, "%g\n", (double)r.pinned[7]);
        r.finish();
    });
    dies("a communicator that was destroyed", "ncclAllReduce of a communicator that is not there", [] {
        connected r;
        r.finish();
        r.sum(r.b);
    });
    dies("a communicator that was aborted", "that is not there", [] {
        connected r;
        ncclCommAbort(r.comm);
        ncclResult_t result;
        ncclCommGetAsyncError(r.comm, &result);
    });
    dies("an end without a flush", "before ncclCommFinalize was done", [] {
        connected r;
        ncclCommDestroy(r.comm);
    });
    dies("a flush that was not waited for", "before ncclCommFinalize was done", [] {
        connected r;
        ncclCommFinalize(r.comm);
        ncclCommDestroy(r.comm);
    });
    dies("a flush with work queued", "while a queue or a graph holds collectives", [] {
        connected r;
        r.sum(r.b);
        settled(r.comm);
        r.flush();
    });
    dies("a communicator that is left", "at exit", [] {
        connected r;
        cudaStreamSynchronize(r.b);
    });
    connected r;
    is(r.sum(r.b), ncclInProgress, "a call returns before it is done");
    is(r.sum(r.b), ncclInvalidArgument, "a second call before the first is done");
    is(settled(r.comm), ncclSuccess, "the first is done");
    is(r.sum(r.b), ncclInProgress, "then the second is taken");
    settled(r.comm);
    r.finish();
}

static void arguments(void)
{
    connected r;
    ncclComm_t other = nullptr;
    ncclUniqueId id;
    ncclConfig_t config = configured(), blocking = NCCL_CONFIG_INITIALIZER, empty = {};
    ncclGetUniqueId(&id);
    is(ncclCommInitRankConfig(&other, 1, id, 0, &blocking), ncclInvalidArgument, "blocking");
    is(ncclCommInitRankConfig(&other, 1, id, 0, &empty), ncclInvalidArgument, "not initialised");
    is(ncclCommInitRankConfig(&other, 2, id, 0, &config), ncclInvalidArgument, "not of this job");
    is(ncclAllReduce(r.device, r.device, 1, ncclHalf, ncclSum, r.comm, r.b), ncclInvalidArgument,
       "half");
    is(ncclAllReduce(r.device, r.device, 1, ncclFloat, ncclMax, r.comm, r.b), ncclInvalidArgument,
       "max");
    is(ncclAllGather(r.device, r.device, 1, ncclHalf, r.comm, r.b), ncclInvalidArgument, "half gather");
    r.finish();
    dies("pinned memory", "ncclAllReduce of what is not on the device", [] {
        connected s;
        ncclAllReduce(s.pinned, s.pinned, 8, ncclFloat, ncclSum, s.comm, s.b);
    });
    dies("from pinned memory", "of what is not on the device", [] {
        connected s;
        ncclAllReduce(s.pinned, s.device, 8, ncclFloat, ncclSum, s.comm, s.b);
    });
    dies("more than the allocation", "of what is not on the device", [] {
        connected s;
        ncclAllReduce(s.device, s.device, rig::COUNT + 1, ncclFloat, ncclSum, s.comm, s.b);
    });
    dies("a sum into an overlapping range", "ranges that overlap", [] {
        connected s;
        ncclAllReduce(s.device, s.device + 4, 8, ncclFloat, ncclSum, s.comm, s.b);
    });
    dies("a gather from another's place", "that is not this rank's", [] {
        connected s;
        ncclAllGather(s.device + 4, s.device, 8, ncclFloat, s.comm, s.b);
    });
    dies("a second stream", "ncclAllReduce on a second stream of its communicator", [] {
        connected s;
        s.sum(s.b);
        settled(s.comm);
        s.sum(s.a);
    });
}

/* Messages of one float to and from the one rank, from device to device + 4; `calls` may break a rule.
 */
static void group_of(connected &r, const std::function<void(connected &)> &calls)
{
    ncclGroupStart();
    calls(r);
    ncclGroupEnd();
    settled(r.comm);
}

static void send(connected &r, size_t count = 1)
{
    ncclSend(r.device, count, ncclFloat, 0, r.comm, r.b);
}
static void receive(connected &r, size_t count = 1)
{
    ncclRecv(r.device + 4, count, ncclFloat, 0, r.comm, r.b);
}

static void groups(void)
{
    lives("a message to and one from each rank", [] {
        connected r;
        r.up(r.b);
        group_of(r, [](connected &c) { send(c), receive(c); });
        r.down(r.b);
        cudaStreamSynchronize(r.b);
        if (r.pinned[4] != r.pinned[0]) exit(1);
        r.finish();
    });
    dies("a message outside of a group", "ncclSend outside of a group", [] {
        connected r;
        send(r);
    });
    dies("a group that receives nothing", "without a message to and from rank 0", [] {
        connected r;
        group_of(r, [](connected &c) { send(c); });
    });
    dies("two messages for a rank", "two in a group for rank 0", [] {
        connected r;
        group_of(r, [](connected &c) { send(c), send(c); });
    });
    dies("another size", "than the group's", [] {
        connected r;
        group_of(r, [](connected &c) { send(c, 2), receive(c, 1); });
    });
    dies("messages over each other", "ranges that overlap", [] {
        connected r;
        group_of(r, [](connected &c) { send(c, 5), receive(c, 5); });
    });
    dies("an empty group", "of an empty group", [] {
        connected r;
        group_of(r, [](connected &) {});
    });
    dies("a group in a group", "ncclGroupStart in a group", [] {
        connected r;
        group_of(r, [](connected &) { ncclGroupStart(); });
    });
    dies("a sum in a group", "ncclAllReduce in a group", [] {
        connected r;
        group_of(r, [](connected &c) { c.sum(c.b); });
    });
    connected r;
    ncclGroupStart();
    is(ncclSend(r.device, 1, ncclHalf, 0, r.comm, r.b), ncclInvalidArgument, "a half to send");
    is(ncclRecv(r.device, 1, ncclFloat, 1, r.comm, r.b), ncclInvalidArgument, "from no rank");
    send(r), receive(r);
    is(ncclGroupEnd(), ncclInProgress, "a group returns before it is done");
    is(settled(r.comm), ncclSuccess, "and is done");
    r.finish();
}

/* Work is in the stream when the call is done, not when it returns. */
static void streams(void)
{
    dies("an event recorded before the call was done", "nothing orders them", [] {
        connected r;
        r.sum(r.b);
        const cudaEvent_t event = new_event();
        cudaEventRecord(event, r.b);
        settled(r.comm);
        cudaStreamWaitEvent(r.a, event, 0);
        r.down(r.a);
    });
    lives("and after", [] {
        connected r;
        r.sum(r.b);
        settled(r.comm);
        const cudaEvent_t event = new_event();
        cudaEventRecord(event, r.b);
        cudaStreamWaitEvent(r.a, event, 0);
        r.down(r.a);
        cudaEventDestroy(event);
        r.finish();
    });
}

/* Captures one sum in place on b. */
static cudaGraphExec_t captured_sum(connected &r)
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    cudaStreamBeginCapture(r.b, cudaStreamCaptureModeThreadLocal);
    r.sum(r.b);
    settled(r.comm);
    cudaStreamEndCapture(r.b, &graph);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    return exec;
}

static void captures(void)
{
    lives("captured and replayed", [] {
        connected r;
        const cudaGraphExec_t graph = captured_sum(r);
        r.up(r.b);
        for (int i = 0; i < 3; i++)
            cudaGraphLaunch(graph, r.b);
        r.down(r.b);
        cudaStreamSynchronize(r.b);
        cudaGraphExecDestroy(graph);
        r.finish();
    });
    dies("the end while a graph holds collectives", "a queue or a graph holds collectives", [] {
        connected r;
        captured_sum(r);
        r.finish();
    });
    connected r;
    const cudaEvent_t event = new_event();
    ncclComm_t other = nullptr;
    ncclUniqueId id;
    ncclConfig_t config = configured();
    cudaGraph_t graph = nullptr;
    ncclGetUniqueId(&id);
    cudaStreamBeginCapture(r.b, cudaStreamCaptureModeThreadLocal);
    is(ncclCommInitRankConfig(&other, 1, id, 0, &config), ncclUnhandledCudaError, "to connect in one");
    is(cudaStreamEndCapture(r.b, &graph), cudaErrorStreamCaptureInvalidated, "which is lost");
    cudaStreamBeginCapture(r.b, cudaStreamCaptureModeThreadLocal);
    is(cudaEventQuery(event), cudaErrorStreamCaptureUnsupported, "to ask for an event in one");
    is(cudaStreamEndCapture(r.b, &graph), cudaErrorStreamCaptureInvalidated, "which is lost, too");
    cudaStreamBeginCapture(r.b, cudaStreamCaptureModeThreadLocal);
    cudaEventRecord(event, r.b);
    cudaStreamEndCapture(r.b, &graph);
    is(cudaEventQuery(event), cudaErrorCapturedEvent, "to ask for an event that one recorded");
    cudaGraphDestroy(graph);
    cudaEventDestroy(event);
    r.finish();
}

static void asking(void)
{
    connected r;
    const cudaEvent_t event = new_event();
    is(cudaEventQuery(event), cudaSuccess, "an event that was never recorded");
    for (int i = 0; i < 20; i++) /* more than one question lets run */
        r.up(r.b);
    r.sum(r.b);
    settled(r.comm);
    cudaEventRecord(event, r.b);
    is(cudaEventQuery(event), cudaErrorNotReady, "nothing has run");
    cudaError_t there = cudaErrorNotReady;
    for (int i = 0; i < 10 && there == cudaErrorNotReady; i++)
        there = cudaEventQuery(event);
    is(there, cudaSuccess, "to ask lets the device go on");
    r.down(r.a); /* ordered by the question */
    cudaEventDestroy(event);
    r.finish();
}

static void lost_peers(void)
{
    setenv("FX_FAKE_NCCL_LOST", "1", 1);
    dies("to wait for a peer that is gone", "the host waits for work that waits for ever", [] {
        connected r;
        r.sum(r.b);
        settled(r.comm);
        cudaStreamSynchronize(r.b);
        r.sum(r.b);
        settled(r.comm);
        cudaStreamSynchronize(r.b);
    });
    connected r;
    const cudaEvent_t event = new_event();
    r.sum(r.b);
    is(settled(r.comm), ncclSuccess, "the first has its peers");
    r.sum(r.b);
    is(settled(r.comm), ncclSuccess, "the second is taken");
    cudaEventRecord(event, r.b);
    ncclResult_t result = ncclSuccess;
    for (int i = 0; i < 10 && result == ncclSuccess; i++) {
        is(cudaEventQuery(event), cudaErrorNotReady, "and does not end");
        ncclCommGetAsyncError(r.comm, &result);
    }
    is(result, ncclRemoteError, "which shows");
    ncclCommAbort(r.comm);
    is(cudaEventSynchronize(event), cudaSuccess, "an abort ends it");
    cudaEventDestroy(event);
    unsetenv("FX_FAKE_NCCL_LOST");
}

static void agreement(void)
{
    static const fake_call same = {3, 8, 0, 4, "ncclAllReduce"};
    lives("the same call", [] {
        const fake_call calls[] = {same, same};
        fake_nccl_agree(calls, 2);
    });
    dies("another number", "rank 0 is in collective 3, ncclAllReduce of 8 elements, rank 1 in 4", [] {
        const fake_call calls[] = {same, {4, 8, 0, 4, "ncclAllReduce"}};
        fake_nccl_agree(calls, 2);
    });
    dies("another count", "ncclAllReduce of 9", [] {
        const fake_call calls[] = {same, {3, 9, 0, 4, "ncclAllReduce"}};
        fake_nccl_agree(calls, 2);
    });
    dies("another call", "rank 2 in 3, ncclAllGather", [] {
        const fake_call calls[] = {same, same, {3, 8, 0, 4, "ncclAllGather"}};
        fake_nccl_agree(calls, 3);
    });
    dies("another type", "elements of 4 and 2 bytes", [] {
        const fake_call calls[] = {same, {3, 8, 0, 2, "ncclAllReduce"}};
        fake_nccl_agree(calls, 2);
    });
    dies("one captured", "of 8 in a graph", [] {
        const fake_call calls[] = {same, {3, 8, 1, 4, "ncclAllReduce"}};
        fake_nccl_agree(calls, 2);
    });
}

/* One of two ranks, or of three that all take themselves for one of two: they differ in what `how`
 * says. */
static int play(const std::string &how)
{
    MPI_Init(nullptr, nullptr);
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    rig r;
    ncclComm_t comm = nullptr;
    ncclUniqueId id;
    ncclConfig_t config = configured();
    ncclGetUniqueId(&id);
    if (how != "ids") MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    ncclCommInitRankConfig(&comm, 2, id, rank == 2 ? 1 : rank, &config);
    settled(comm);
    const size_t count = how == "counts" && rank == 1 ? 9 : 8;
    r.up(r.b);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    const bool captures = how == "captures" && rank == 1;
    if (captures) cudaStreamBeginCapture(r.b, cudaStreamCaptureModeThreadLocal);
    ncclAllReduce(r.device, r.device, count, ncclFloat, ncclSum, comm, r.b);
    settled(comm);
    if (captures) {
        cudaStreamEndCapture(r.b, &graph);
        cudaGraphInstantiate(&exec, graph, 0);
        cudaGraphLaunch(exec, r.b);
    }
    r.down(r.b);
    cudaStreamSynchronize(r.b);
    printf("element 3 is %g, element 8 is %g\n", (double)r.pinned[3], (double)r.pinned[8]);
    ncclCommFinalize(comm);
    settled(comm);
    ncclCommDestroy(comm);
    MPI_Finalize();
    return 0;
}

static void ranks(int count, const char *self, const char *how, const char *message)
{
    const std::string command =
        "mpiexec -n " + std::to_string(count) + " " + std::string(self) + " " + how + " 2>&1";
    std::string text;
    char piece[256];
    FILE *out = popen(command.c_str(), "r");
    while (out && fgets(piece, sizeof piece, out))
        text += piece;
    if (out) pclose(out);
    holds(text.find(message) != std::string::npos, how);
    if (text.find(message) == std::string::npos) printf("    said: %s\n", text.c_str());
}

int main(int argc, char **argv)
{
    if (argc > 1) return play(argv[1]);
    order_of_calls();
    arguments();
    groups();
    streams();
    captures();
    asking();
    lost_peers();
    agreement();
    ranks(2, argv[0], "alike", "element 3 is 6, element 8 is 8");
    ranks(2, argv[0], "counts", "ncclAllReduce of 8 elements, rank 1 in 0, ncclAllReduce of 9");
    ranks(2, argv[0], "captures", "of 8 elements, rank 1 in 0, ncclAllReduce of 8 in a graph");
    ranks(2, argv[0], "ids", "connect with different ids");
    ranks(3, argv[0], "groups", "connect with one id, to different ranks");
    return end_of_checks();
}
