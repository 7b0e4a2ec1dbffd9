/* nccl.cpp: the entry points of NCCL that the backend uses, for non-blocking communicators. Bytes go
 * between the ranks of MPI_COMM_WORLD; without MPI there is one rank. A collective is put into its
 * stream when the communicator is asked the second time, as NCCL does it in a thread of its own; it
 * runs when the host waits, and then waits for the other ranks' hosts. FX_FAKE_NCCL_LOST=N: from the
 * N-th collective on (0: the first) the peers are gone; it runs for ever, and is told so when asked
 * later. FX_FAKE_NCCL_ABSENT=N: rank N never comes back from the call that connects.
 *
 * Strict beyond NCCL: one stream a communicator, sums of fp32 and bf16 alone, messages only in groups
 * that hold one to and one from every rank, of one size, in blocks by rank; the end only after a flush
 * and when no queue or graph holds it, and what ranks call must agree in number, kind, size and
 * capture. */
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <unistd.h>

#include "fake_nccl.h"

enum { POLLS = 2 };

/* What queued work knows of its communicator, which may be aborted first. */
struct group {
    MPI_Comm mpi;
    int rank, size;
    bool aborted, lost;
    uint64_t run; /* collectives so far */
};

struct ncclComm {
    std::shared_ptr<group> ranks;
    std::function<ncclResult_t()> pending; /* what the last call began */
    ncclResult_t result;
    int polls;
    cudaStream_t stream; /* of the first collective */
    uint64_t started;
    bool flushed;
};

static std::vector<ncclComm_t> alive;
static std::string last_error;

static ncclResult_t refuse(ncclResult_t result, const char *why)
{
    last_error = why;
    return result;
}

static void require_alive(ncclComm_t c, const char *call)
{
    if (std::find(alive.begin(), alive.end(), c) == alive.end())
        fake_fatal("%s of a communicator that is not there", call);
}

static ncclResult_t begin(ncclComm_t c, std::function<ncclResult_t()> work)
{
    if (c->pending) return refuse(ncclInvalidArgument, "the call before is not done");
    c->pending = std::move(work);
    c->polls = 0;
    return ncclInProgress;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const text[] = {"no error",
                                       "unhandled cuda error",
                                       "unhandled system error",
                                       "internal error",
                                       "invalid argument",
                                       "invalid usage",
                                       "remote process exited or there was a network error",
                                       "NCCL operation in progress"};
    return result < ncclNumResults ? text[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t)
{
    return last_error.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    std::random_device source;
    for (char &c : id->internal)
        c = (char)source();
    return ncclSuccess;
}

/* What a rank that connects waits for: a communicator of MPI's, then everybody's id. */
struct meeting {
    MPI_Request request;
    bool met;
    int me; /* in MPI_COMM_WORLD */
    ncclUniqueId id;
    std::vector<ncclUniqueId> all;
};

/* All ranks connect at a time, those with one id to each other: a row of ranks, of which this one is
 * the rank that it says. Otherwise some would wait for others for ever. */
static ncclResult_t connect(group *g, meeting *m)
{
    int done = 0;
    if (g->size == 1) return ncclSuccess;
    if (g->mpi == MPI_COMM_NULL) MPI_Comm_idup(MPI_COMM_WORLD, &g->mpi, &m->request);
    MPI_Test(&m->request, &done, MPI_STATUS_IGNORE);
    if (done && !m->met) {
        m->met = true;
        done = 0;
        MPI_Iallgather(&m->id, sizeof m->id, MPI_BYTE, m->all.data(), sizeof m->id, MPI_BYTE, g->mpi,
                       &m->request);
    }
    if (!done) return ncclInProgress;
    const int first = m->me - g->rank, end = first + g->size;
    for (int r = 0; r < (int)m->all.size(); r++) {
        const bool same = memcmp(&m->all[(size_t)r], &m->id, sizeof m->id) == 0;
        if (!same && r >= first && r < end)
            fake_fatal("ranks %d and %d connect with different ids", m->me, r);
        if (same && (r < first || r >= end))
            fake_fatal("ranks %d and %d connect with one id, to different ranks", m->me, r);
    }
    MPI_Comm part = MPI_COMM_NULL;
    MPI_Comm_split(g->mpi, first, g->rank, &part);
    MPI_Comm_free(&g->mpi);
    g->mpi = part;
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    int mpi = 0, world = 1, me = 0;
    MPI_Initialized(&mpi);
    if (mpi) MPI_Comm_size(MPI_COMM_WORLD, &world);
    if (mpi) MPI_Comm_rank(MPI_COMM_WORLD, &me);
    *comm = nullptr;
    if (fake_capture_forbids()) return refuse(ncclUnhandledCudaError, "a capture is going on");
    const ncclConfig_t fresh = NCCL_CONFIG_INITIALIZER;
    if (!config || config->magic != fresh.magic || config->size != fresh.size || config->blocking != 0)
        return refuse(ncclInvalidArgument, "a configuration that is not initialised, or blocking");
    if (rank < 0 || rank >= size || (size != 1 && (rank > me || me - rank + size > world)))
        return refuse(ncclInvalidArgument, "not a rank of this job");
    const auto ranks = std::make_shared<group>(group{MPI_COMM_NULL, rank, size, false, false, 0});
    *comm = new ncclComm{ranks, nullptr, ncclSuccess, 0, nullptr, 0, false};
    alive.push_back(*comm);
    fake_objects++;
    const char *absent = getenv("FX_FAKE_NCCL_ABSENT");
    while (absent && size > 1 && atoi(absent) == rank)
        pause();
    const auto m = std::make_shared<meeting>(
        meeting{MPI_REQUEST_NULL, false, me, id, std::vector<ncclUniqueId>((size_t)world)});
    return begin(*comm, [=] { return connect(ranks.get(), m.get()); });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *result)
{
    require_alive(c, "ncclCommGetAsyncError");
    if (++c->polls >= POLLS && c->pending) {
        c->result = c->pending();
        if (c->result != ncclInProgress) c->pending = nullptr;
        c->polls = 0;
    }
    *result = c->pending ? ncclInProgress : c->result;
    if (!c->pending && c->ranks->lost && c->polls >= POLLS)
        *result = refuse(ncclRemoteError, "the stand-in was told to lose a peer");
    return ncclSuccess;
}

static std::set<void *> given; /* by ncclMemAlloc */

ncclResult_t ncclMemAlloc(void **memory, size_t bytes)
{
    if (cudaMalloc(memory, bytes) != cudaSuccess) return ncclUnhandledCudaError;
    given.insert(*memory);
    return ncclSuccess;
}

ncclResult_t ncclMemFree(void *memory)
{
    if (given.erase(memory) == 0) fake_fatal("ncclMemFree of what ncclMemAlloc did not give");
    return cudaFree(memory) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

static void end(ncclComm_t c)
{
    alive.erase(std::find(alive.begin(), alive.end(), c));
    fake_objects--;
    delete c;
}

ncclResult_t ncclCommFinalize(ncclComm_t c)
{
    require_alive(c, "ncclCommFinalize");
    if (fake_capture_forbids()) return refuse(ncclUnhandledCudaError, "a capture is going on");
    return begin(c, [=] {
        if (c->ranks.use_count() > 1)
            fake_fatal("ncclCommFinalize while a queue or a graph holds collectives");
        c->flushed = true;
        return ncclSuccess;
    });
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    require_alive(c, "ncclCommDestroy");
    if (!c->flushed) fake_fatal("ncclCommDestroy before ncclCommFinalize was done");
    if (c->ranks->mpi != MPI_COMM_NULL) MPI_Comm_free(&c->ranks->mpi);
    end(c);
    return ncclSuccess;
}

/* Peers may be gone: what MPI holds is left to the end of the process. */
ncclResult_t ncclCommAbort(ncclComm_t c)
{
    require_alive(c, "ncclCommAbort");
    c->ranks->aborted = true;
    end(c);
    return ncclInProgress;
}

void fake_nccl_agree(const fake_call *calls, int count)
{
    for (int r = 1; r < count; r++)
        if (memcmp(&calls[r], &calls[0], sizeof *calls) != 0)
            fake_fatal(
                "rank 0 is in collective %llu, %s of %llu elements%s, rank %d in %llu, %s of %llu%s, "
                "elements of %llu and %llu bytes",
                (unsigned long long)calls[0].number, calls[0].what, (unsigned long long)calls[0].count,
                calls[0].captured ? " in a graph" : "", r, (unsigned long long)calls[r].number,
                calls[r].what, (unsigned long long)calls[r].count,
                calls[r].captured ? " in a graph" : "", (unsigned long long)calls[0].each,
                (unsigned long long)calls[r].each);
}

/* Ranks share processors here: one that waits leaves its to the others. */
static void all_gather(const group *g, const void *mine, void *all, size_t count, MPI_Datatype type)
{
    MPI_Request request;
    int done = 0;
    MPI_Iallgather(mine, (int)count, type, all, (int)count, type, g->mpi, &request);
    for (MPI_Test(&request, &done, MPI_STATUS_IGNORE); !done;
         MPI_Test(&request, &done, MPI_STATUS_IGNORE))
        usleep(100);
}

/* Every rank's `count` elements, in order of ranks, after all have shown that they want the same. */
static std::vector<char> exchange(group *g, fake_call call, const char *mine)
{
    const size_t size = (size_t)g->size;
    std::vector<fake_call> calls(size);
    const size_t bytes = call.count * call.each;
    std::vector<char> all(size * bytes), own(mine, mine + bytes);
    call.number = g->run++;
    if (g->size == 1) return own;
    all_gather(g, &call, calls.data(), sizeof call, MPI_BYTE);
    fake_nccl_agree(calls.data(), g->size);
    all_gather(g, own.data(), all.data(), bytes, MPI_BYTE);
    return all;
}

static bool is_lost(uint64_t number)
{
    const char *from = getenv("FX_FAKE_NCCL_LOST");
    return from && number >= strtoull(from, nullptr, 10);
}

/* `finish` gets what exchange() gives. */
static ncclResult_t collective(ncclComm_t c, const char *what, const void *send, size_t count,
                               void *receive, size_t received, size_t each, cudaStream_t stream,
                               std::function<void(const std::vector<char> &)> finish)
{
    const size_t bytes = count * each, all = received * each;
    if (!fake_is_device(send, bytes) || !fake_is_device(receive, all))
        fake_fatal("%s of what is not on the device: %s, %s", what, fake_place(send).c_str(),
                   fake_place(receive).c_str());
    if (c->stream && c->stream != stream) fake_fatal("%s on a second stream of its communicator", what);
    c->stream = stream;
    const auto g = c->ranks;
    fake_call call = {0, count, fake_stream_capture(stream) != nullptr, each, {0}};
    strncpy(call.what, what, sizeof call.what - 1);
    return begin(c, [=] {
        const bool lost = is_lost(c->started++);
        g->lost = g->lost || lost;
        const cudaError_t error = fake_enqueue(
            stream, what, {{send, bytes, false}, {receive, all, true}},
            [=] {
                if (!g->aborted) finish(exchange(g.get(), call, (const char *)send));
            },
            [=] { return g->aborted || !lost; });
        return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
    });
}

static bool overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    return (const char *)a < (const char *)b + b_bytes && (const char *)b < (const char *)a + a_bytes;
}

static void add(float *sum, float part)
{
    *sum += part;
}

static void add(__nv_bfloat16 *sum, __nv_bfloat16 part)
{
    *sum = __float2bfloat16_rn(__bfloat162float(*sum) + __bfloat162float(part));
}

/* In order of ranks; NCCL's own order depends on its algorithm. */
template <typename T> static void add_all(void *receive, size_t count, const std::vector<char> &all)
{
    T *sum = (T *)receive;
    const T *from = (const T *)all.data();
    std::copy_n(from, count, sum);
    for (size_t i = count; i < all.size() / sizeof(T); i++)
        add(sum + i % count, from[i]);
}

/* The messages of the group that is open. */
struct messages {
    bool open;
    ncclComm_t comm;
    cudaStream_t stream;
    size_t count; /* elements of each */
    std::vector<const float *> send;
    std::vector<float *> receive; /* by rank; NULL: none yet */
};
static messages grouped;

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t c, cudaStream_t stream)
{
    require_alive(c, "ncclAllReduce");
    if (grouped.open) fake_fatal("ncclAllReduce in a group");
    const bool bf16 = type == ncclBfloat16;
    const size_t each = bf16 ? sizeof(__nv_bfloat16) : sizeof(float);
    if ((type != ncclFloat && !bf16) || op != ncclSum)
        return refuse(ncclInvalidArgument, "not a sum of fp32 or bf16");
    if (send != receive && overlap(send, count * each, receive, count * each))
        fake_fatal("ncclAllReduce of ranges that overlap");
    return collective(c, "ncclAllReduce", send, count, receive, count, each, stream,
                      [=](const std::vector<char> &all) {
                          if (bf16)
                              add_all<__nv_bfloat16>(receive, count, all);
                          else
                              add_all<float>(receive, count, all);
                      });
}

template <typename P>
static ncclResult_t message(const char *what, std::vector<P> messages::*list, P data, size_t count,
                            ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream)
{
    require_alive(c, what);
    messages &m = grouped;
    if (!m.open) fake_fatal("%s outside of a group", what);
    if (type != ncclFloat) return refuse(ncclInvalidArgument, "not of fp32");
    if (peer < 0 || peer >= c->ranks->size) return refuse(ncclInvalidArgument, "no such rank");
    if (!m.comm) {
        m.comm = c, m.stream = stream, m.count = count;
        m.send.assign((size_t)c->ranks->size, nullptr);
        m.receive.assign((size_t)c->ranks->size, nullptr);
    }
    if (m.comm != c || m.stream != stream || m.count != count)
        fake_fatal("%s of another communicator, stream or size than the group's", what);
    P &at = (m.*list)[(size_t)peer];
    if (at) fake_fatal("%s: two in a group for rank %d", what, peer);
    at = data;
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream)
{
    return message("ncclSend", &messages::send, (const float *)data, count, type, peer, c, stream);
}

ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream)
{
    return message("ncclRecv", &messages::receive, (float *)data, count, type, peer, c, stream);
}

ncclResult_t ncclGroupStart(void)
{
    if (grouped.open) fake_fatal("ncclGroupStart in a group");
    grouped.open = true;
    return ncclSuccess;
}

/* Everybody's blocks go to everybody, who takes those that are for it. */
ncclResult_t ncclGroupEnd(void)
{
    const messages m = std::move(grouped);
    grouped = {};
    if (!m.open) fake_fatal("ncclGroupEnd outside of a group");
    if (!m.comm) fake_fatal("ncclGroupEnd of an empty group");
    const size_t ranks = m.send.size(), all = m.count * ranks;
    for (size_t p = 0; p < ranks; p++)
        if (m.send[p] != m.send[0] + p * m.count || m.receive[p] != m.receive[0] + p * m.count ||
            !m.send[0] || !m.receive[0])
            fake_fatal("a group without a message to and from rank %zu, at its place", p);
    if (overlap(m.send[0], all * sizeof(float), m.receive[0], all * sizeof(float)))
        fake_fatal("messages between ranges that overlap");
    const size_t me = (size_t)m.comm->ranks->rank;
    return collective(m.comm, "ncclSend and ncclRecv", m.send[0], all, m.receive[0], all, sizeof(float),
                      m.stream, [=](const std::vector<char> &from) {
                          const float *block = (const float *)from.data();
                          for (size_t p = 0; p < ranks; p++)
                              std::copy_n(block + p * all + me * m.count, m.count, m.receive[p]);
                      });
}

ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclComm_t c, cudaStream_t stream)
{
    require_alive(c, "ncclAllGather");
    if (grouped.open) fake_fatal("ncclAllGather in a group");
    if (type != ncclFloat) return refuse(ncclInvalidArgument, "not of fp32");
    const size_t each = sizeof(float), all_count = count * (size_t)c->ranks->size;
    if (send != (const float *)receive + (size_t)c->ranks->rank * count &&
        overlap(send, count * each, receive, all_count * each))
        fake_fatal("ncclAllGather from a place in its result that is not this rank's");
    return collective(
        c, "ncclAllGather", send, count, receive, all_count, each, stream,
        [=](const std::vector<char> &all) { std::copy(all.begin(), all.end(), (char *)receive); });
}
