/* graph.cpp: capture and replay. A graph is the list of what was put into the captured streams. A
 * launch puts the list into streams of the graph's own, which start when the launching stream comes to
 * it, and end before that stream goes on; so replays are scheduled and checked as all work is.
 * FX_FAKE_NO_CAPTURE: no capture may begin. */
#include <algorithm>
#include <cstdlib>

#include "fake.h"

struct member {
    CUstream_st *stream;
    std::vector<size_t>
        seen; /* entries of each member that come before what is next put into this one */
    size_t entries;
};
struct entry {
    size_t lane; /* index of a member */
    fake_work work;
};
struct fake_capture {
    int number;
    std::vector<member> members; /* the first: where it began */
    std::vector<entry> list;
    std::vector<std::vector<size_t>> seen_at; /* by a mark's index */
    bool lost;
};
struct CUgraph_st {
    std::vector<int> priority; /* of each lane */
    std::vector<entry> list;
    size_t marks;
};
struct CUgraphExec_st {
    std::vector<CUstream_st *> lanes;
    std::vector<entry> list;
    size_t marks;
};

static fake_capture *present; /* the capture that goes on */

bool fake_capture_forbids(void)
{
    if (!present) return false;
    present->lost = true;
    return true;
}

static void join(std::vector<size_t> &into, const std::vector<size_t> &other)
{
    into.resize(std::max(into.size(), other.size()));
    for (size_t i = 0; i < other.size(); i++)
        into[i] = std::max(into[i], other[i]);
}

static size_t lane_of(fake_capture *c, CUstream_st *stream)
{
    for (size_t i = 0; i < c->members.size(); i++)
        if (c->members[i].stream == stream) return i;
    c->members.push_back({stream, {}, 0});
    fake_stream_capture(stream) = c;
    return c->members.size() - 1;
}

void fake_capture_add(CUstream_st *stream, fake_work work)
{
    fake_capture *c = fake_stream_capture(stream);
    const size_t lane = lane_of(c, stream);
    member &m = c->members[lane];
    m.seen.resize(std::max(m.seen.size(), lane + 1));
    m.seen[lane] = ++m.entries;
    c->list.push_back({lane, std::move(work)});
}

cudaError_t fake_capture_record(CUstream_st *stream, std::shared_ptr<fake_mark> &mark)
{
    fake_capture *c = fake_stream_capture(stream);
    mark->capture = c->number;
    mark->index = (int)c->seen_at.size();
    fake_capture_add(stream, {fake_work::RECORD, "cudaEventRecord", {}, nullptr, mark, 0});
    c->seen_at.push_back(c->members[lane_of(c, stream)].seen);
    return cudaSuccess;
}

/* A stream that waits for an event of a capture joins it; a captured one may wait for nothing else. */
cudaError_t fake_capture_wait(CUstream_st *stream, const std::shared_ptr<fake_mark> &mark)
{
    if (!present || mark->capture != present->number) {
        if (fake_stream_capture(stream)) present->lost = true;
        return fake_stream_capture(stream) ? cudaErrorStreamCaptureIsolation : cudaErrorInvalidValue;
    }
    const size_t lane = lane_of(present, stream);
    join(present->members[lane].seen, present->seen_at[(size_t)mark->index]);
    fake_capture_add(stream, {fake_work::WAIT, "cudaStreamWaitEvent", {}, nullptr, mark, 0});
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    if (!fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    if (mode != cudaStreamCaptureModeThreadLocal || present) return cudaErrorIllegalState;
    if (getenv("FX_FAKE_NO_CAPTURE")) return cudaErrorStreamCaptureUnsupported;
    static int number;
    present = new fake_capture();
    present->number = ++number;
    lane_of(present, stream);
    return cudaSuccess;
}

static bool all_joined(const fake_capture *c)
{
    const std::vector<size_t> &seen = c->members[0].seen;
    for (size_t i = 1; i < c->members.size(); i++)
        if (i >= seen.size() || seen[i] < c->members[i].entries) return false;
    return true;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = nullptr;
    if (!fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    fake_capture *c = present;
    if (!c || c->members[0].stream != stream) return cudaErrorStreamCaptureUnmatched;
    present = nullptr;
    cudaError_t error = cudaSuccess;
    if (c->lost)
        error = cudaErrorStreamCaptureInvalidated;
    else if (!all_joined(c))
        error = cudaErrorStreamCaptureUnjoined;
    if (error == cudaSuccess) {
        CUgraph_st *g = *graph = new CUgraph_st{{}, c->list, c->seen_at.size()};
        for (const member &m : c->members)
            g->priority.push_back(fake_stream_priority(m.stream));
        fake_objects++;
    }
    for (const member &m : c->members)
        fake_stream_capture(m.stream) = nullptr;
    delete c;
    return error;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    *exec = nullptr;
    if (!graph || flags != 0) return cudaErrorInvalidValue;
    CUgraphExec_st *e = *exec = new CUgraphExec_st{{}, graph->list, graph->marks};
    for (const int priority : graph->priority)
        e->lanes.push_back(fake_stream_create(priority));
    fake_objects++;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (!graph) return cudaErrorInvalidValue;
    fake_objects--;
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    if (!exec) return cudaErrorInvalidValue;
    for (CUstream_st *lane : exec->lanes)
        fake_stream_destroy(lane, "cudaGraphExecDestroy");
    fake_objects--;
    delete exec;
    return cudaSuccess;
}

static fake_work mark_work(bool record, const std::shared_ptr<fake_mark> &mark)
{
    return {record ? fake_work::RECORD : fake_work::WAIT, "cudaGraphLaunch", {}, nullptr, mark, 0};
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (!exec || !fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    const auto begin = std::make_shared<fake_mark>();
    fake_push(stream, mark_work(true, begin));
    for (CUstream_st *lane : exec->lanes)
        fake_push(lane, mark_work(false, begin));
    std::vector<std::shared_ptr<fake_mark>> marks(exec->marks);
    for (const entry &e : exec->list) {
        fake_work w = e.work;
        if (w.kind == fake_work::RECORD) marks[(size_t)w.mark->index] = std::make_shared<fake_mark>();
        if (w.kind != fake_work::RUN) w.mark = marks[(size_t)w.mark->index];
        fake_push(exec->lanes[e.lane], std::move(w));
    }
    for (CUstream_st *lane : exec->lanes) {
        const auto end = std::make_shared<fake_mark>();
        fake_push(lane, mark_work(true, end));
        fake_push(stream, mark_work(false, end));
    }
    return cudaSuccess;
}
