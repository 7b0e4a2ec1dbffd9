/* comm_nccl.c: communicators and their collectives. They are non-blocking: a call that has to wait for
 * peers returns ncclInProgress, and is asked about until it is done, with a deadline where no watchdog
 * looks (connecting), and without one in a step, where the watchdog does. NCCL takes no second call,
 * and has not yet put the first one's work into the stream, before that.
 *
 * A peer that is gone shows as an asynchronous error, while its collective stays on the device for
 * ever: so the host waits by looking, and aborts the communicator, which ends the work. A peer that is
 * merely silent shows nowhere but in the watchdog, which ends the process. */
#include <nccl.h>
#include <sched.h>
#include <stdio.h>

#include "comm_nccl.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"

enum { CONNECT_SECONDS = 120, FLUSH_SECONDS = 10, LATER_SECONDS = 5 };

enum { ALL, GROUP, COMMS };

struct fx_nccl {
    ncclComm_t comm[COMMS]; /* NULL: not connected, or ended */
    bool ended;
};

/* A group of all ranks is served by the communicator of all. */
static int which(const fx_exec *exec, const fx_comm *over)
{
    return over == exec->options.comm || over->size == exec->options.comm->size ? ALL : GROUP;
}

static fx_status failed(ncclComm_t comm, ncclResult_t result, const char *what, const char *node)
{
    const char *why = ncclGetLastError(comm);
    return fx_fail(FX_ECOMM, "%s%s%s%s: %s%s%s", what, node ? " (" : "", node ? node : "",
                   node ? ")" : "", ncclGetErrorString(result), *why ? ", " : "", why);
}

static void end(fx_nccl *n)
{
    for (int c = 0; c < COMMS; c++) {
        if (n->comm[c]) ncclCommAbort(n->comm[c]); /* whatever it says: there is no way on from here */
        n->comm[c] = NULL;
    }
    n->ended = true;
}

/* Asks until the call of communicator `c` that returned `result` is done; `seconds` 0: for ever. All
 * communicators are aborted where it fails. */
static fx_status settle(fx_nccl *n, int c, ncclResult_t result, int seconds, const char *what,
                        const char *node)
{
    const int64_t start = fx_heartbeat_clock();
    while (result == ncclInProgress) {
        const ncclResult_t asked = ncclCommGetAsyncError(n->comm[c], &result);
        if (asked != ncclSuccess) result = asked;
        if (result != ncclInProgress) break;
        if (seconds > 0 && fx_heartbeat_clock() - start > seconds * INT64_C(1000000000)) {
            end(n);
            return fx_fail(FX_ECOMM, "%s: not done after %d s", what, seconds);
        }
        sched_yield();
    }
    if (result == ncclSuccess) return FX_OK;
    const fx_status status = failed(n->comm[c], result, what, node);
    end(n);
    return status;
}

/* "2, 5, 7, ..." of the ranks from `first` on that did not answer; "" when all did. */
static void list_absent(const bool *here, int first, int size, char *text, size_t room)
{
    size_t used = 0;
    text[0] = '\0';
    for (int r = 0; r < size; r++) {
        if (here[r]) continue;
        const bool fits = used + 24 < room;
        const int n =
            snprintf(text + used, room - used, fits ? "%s%d" : "%s...", used ? ", " : "", first + r);
        if (!fits || n < 0) return;
        used += (size_t)n;
    }
}

/* Ranks answer the first of `comm` once NCCL has taken their call, so it knows who never came. The
 * others wait a little longer: it is the one to speak, of ranks of the job. */
static fx_status await_connection(fx_nccl *n, int c, fx_comm *comm, int first, double seconds,
                                  bool *here)
{
    const int64_t start = fx_heartbeat_clock();
    const double limit = comm->rank == 0 ? seconds : seconds + LATER_SECONDS;
    ncclResult_t result = ncclInProgress;
    while (result == ncclInProgress) {
        FX_TRY(comm->ops->answer(comm, here));
        const ncclResult_t asked = ncclCommGetAsyncError(n->comm[c], &result);
        if (asked != ncclSuccess) result = asked;
        if (result == ncclInProgress && 1e-9 * (double)(fx_heartbeat_clock() - start) > limit) {
            char absent[128] = "";
            if (comm->rank == 0) list_absent(here, first, comm->size, absent, sizeof absent);
            end(n);
            return fx_fail(FX_ECOMM, "connecting by NCCL: not done after %g s, %s%s", limit,
                           absent[0] ? "never came: ranks " : "though none is known to be missing",
                           absent);
        }
        sched_yield();
    }
    for (int r = 0; comm->rank == 0 && result == ncclSuccess && r < comm->size;)
        if (here[r])
            r++;
        else
            FX_TRY(comm->ops->answer(comm, here)); /* all have sent it */
    return settle(n, c, result, 0, "connecting by NCCL", NULL);
}

static fx_status connect(fx_nccl *n, int c, fx_comm *comm, int first, double seconds, ncclUniqueId id)
{
    bool *here = NULL;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.commName = "flexhpc";
    FX_TRY(FX_ALLOC(here, comm->size));
    const ncclResult_t result =
        ncclCommInitRankConfig(&n->comm[c], comm->size, id, comm->rank, &config);
    const fx_status status = result == ncclInProgress || result == ncclSuccess
                                 ? await_connection(n, c, comm, first, seconds, here)
                                 : settle(n, c, result, 0, "connecting by NCCL", NULL);
    fx_free(here);
    return status;
}

/* Every rank passes both agreements, so none connects without the others. */
fx_status fx_nccl_prepare(fx_exec *base, fx_comm *over)
{
    fx_cuda *exec = fx_cuda_of(base);
    fx_comm *comm = base->options.comm;
    const double seconds = base->options.connect_seconds;
    const int c = which(base, over);
    ncclUniqueId id = {{0}};
    if (over->size == 1 || !comm->native) return FX_OK; /* no native: only planned */
    if (exec->nccl && exec->nccl->comm[c]) return FX_OK;
    fx_status status = exec->nccl ? FX_OK : FX_ALLOC(exec->nccl, 1);
    if (status == FX_OK && over->rank == 0) {
        const ncclResult_t result = ncclGetUniqueId(&id);
        if (result != ncclSuccess) status = failed(NULL, result, "ncclGetUniqueId", NULL);
    }
    FX_TRY(fx_agree(comm, status));
    status = over->ops->broadcast(over, &id, sizeof id, 0);
    if (status == FX_OK)
        status = connect(exec->nccl, c, over, comm->rank - over->rank,
                         seconds > 0 ? seconds : CONNECT_SECONDS, id);
    return fx_agree(comm, status);
}

fx_status fx_nccl_allocate(size_t bytes, void **out)
{
    const ncclResult_t result = ncclMemAlloc(out, bytes);
    if (result == ncclSuccess) return FX_OK;
    return fx_fail(result == ncclUnhandledCudaError ? FX_ENOMEM : FX_EDEVICE, "ncclMemAlloc: %s",
                   ncclGetErrorString(result));
}

void fx_nccl_release(void *memory)
{
    ncclMemFree(memory);
}

/* A rank that has failed does not wait for its peers, which may wait for it elsewhere. */
void fx_nccl_close(fx_cuda *exec)
{
    fx_nccl *n = exec->nccl;
    if (!n) return;
    if (*fx_error_message() != '\0') end(n);
    for (int c = 0; c < COMMS; c++)
        if (n->comm[c] && settle(n, c, ncclCommFinalize(n->comm[c]), FLUSH_SECONDS, "ncclCommFinalize",
                                 NULL) == FX_OK) {
            ncclCommDestroy(n->comm[c]);
            n->comm[c] = NULL;
        }
    fx_free(n);
    exec->nccl = NULL;
}

fx_status fx_nccl_check(const fx_cuda *exec)
{
    FX_REQUIRE(!exec->nccl || !exec->nccl->ended, FX_ECOMM, "the GPUs' connection was given up");
    return FX_OK;
}

fx_status fx_nccl_start_sum(fx_exec *base, const fx_comm *over, const fx_node *node, void *data,
                            int64_t count, fx_dtype dtype)
{
    const ncclDataType_t type = dtype == FX_BF16 ? ncclBfloat16 : ncclFloat;
    fx_cuda *exec = fx_cuda_of(base);
    const int c = which(base, over);
    FX_TRY(fx_nccl_check(exec));
    FX_TRY(fx_cuda_fork(exec));
    return settle(
        exec->nccl, c,
        ncclAllReduce(data, data, (size_t)count, type, ncclSum, exec->nccl->comm[c], exec->comm), 0,
        "ncclAllReduce", node->name);
}

fx_status fx_nccl_start_gather(fx_exec *base, const fx_comm *over, const fx_node *node,
                               const float *mine, int64_t count, float *all)
{
    fx_cuda *exec = fx_cuda_of(base);
    const int c = which(base, over);
    FX_TRY(fx_nccl_check(exec));
    FX_TRY(fx_cuda_fork(exec));
    return settle(exec->nccl, c,
                  ncclAllGather(mine, all, (size_t)count, ncclFloat, exec->nccl->comm[c], exec->comm),
                  0, "ncclAllGather", node->name);
}

/* A message to and one from every rank, this one too, as one group. A group that has begun must end,
 * whatever the calls in it say. */
static ncclResult_t exchange(ncclComm_t comm, cudaStream_t stream, int ranks, const float *send,
                             size_t count, float *received)
{
    ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess) return result;
    for (int peer = 0; peer < ranks; peer++) {
        const ncclResult_t calls[] = {
            ncclSend(send + (size_t)peer * count, count, ncclFloat, peer, comm, stream),
            ncclRecv(received + (size_t)peer * count, count, ncclFloat, peer, comm, stream)};
        for (int i = 0; i < 2; i++)
            if (calls[i] != ncclSuccess && calls[i] != ncclInProgress) result = calls[i];
    }
    const ncclResult_t ended = ncclGroupEnd();
    return result == ncclSuccess ? ended : result;
}

fx_status fx_nccl_start_exchange(fx_exec *base, const fx_comm *over, const fx_node *node,
                                 const void *send, size_t bytes, void *received)
{
    fx_cuda *exec = fx_cuda_of(base);
    const int c = which(base, over);
    FX_TRY(fx_nccl_check(exec));
    FX_TRY(fx_cuda_fork(exec));
    FX_TRY(settle(
        exec->nccl, c,
        exchange(exec->nccl->comm[c], exec->comm, over->size, send, bytes / sizeof(float), received), 0,
        "ncclGroupEnd", node->name));
    FX_CUDA(cudaEventRecord(exec->exchanged, exec->comm));
    return FX_OK;
}

fx_status fx_nccl_await_exchange(fx_exec *base)
{
    fx_cuda *exec = fx_cuda_of(base);
    FX_CUDA(cudaStreamWaitEvent(exec->stream, exec->exchanged, 0));
    return FX_OK;
}

fx_status fx_cuda_await(fx_cuda *exec, cudaEvent_t event)
{
    fx_nccl *n = exec->nccl;
    if (!n || n->ended) {
        FX_CUDA(cudaEventSynchronize(event));
        return FX_OK;
    }
    cudaError_t there;
    while ((there = cudaEventQuery(event)) == cudaErrorNotReady) {
        for (int c = 0; c < COMMS; c++) {
            ncclResult_t result = ncclSuccess;
            if (!n->comm[c]) continue;
            const ncclResult_t asked = ncclCommGetAsyncError(n->comm[c], &result);
            FX_TRY(settle(n, c, asked == ncclSuccess ? result : asked, 0, "a collective on the device",
                          NULL));
        }
        sched_yield();
    }
    return fx_cuda_check(there, "cudaEventQuery", NULL);
}
