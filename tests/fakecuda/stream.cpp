/* stream.cpp: streams, events, and the order in which queued work runs. Nothing runs when it is put
 * into a stream. When the host waits, work runs until what it waits for is done and no further, in an
 * order that FX_FAKE_SCHEDULE names: order   as it was queued first   streams of high priority
 * (communication) first last    streams of high priority last random  any stream that can go on */
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "fake.h"

struct CUstream_st {
    int number, priority;
    std::deque<fake_work> queue;
    fake_clock clock;
    fake_capture *capture;
};
struct CUevent_st {
    std::shared_ptr<fake_mark> mark; /* null: never recorded */
    bool timed;
};

int fake_objects;
bool fake_dry;
uint64_t fake_started, fake_called;

enum { THINGS_A_QUERY = 16 };

static std::vector<CUstream_st *> streams;
static fake_clock host; /* what the host has waited for */
static uint64_t sequence, microseconds;

void fake_spend(void)
{
    microseconds++;
}

CUstream_st *fake_stream_create(int priority)
{
    static int number;
    CUstream_st *s = new CUstream_st{++number, priority, {}, {}, nullptr};
    streams.push_back(s);
    return s;
}

void fake_stream_destroy(CUstream_st *stream, const char *what)
{
    if (!stream->queue.empty())
        fake_fatal("%s with work queued: %s", what, stream->queue.front().name.c_str());
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
}

bool fake_is_stream(CUstream_st *stream)
{
    return std::find(streams.begin(), streams.end(), stream) != streams.end();
}

int fake_stream_priority(const CUstream_st *stream)
{
    return stream->priority;
}

fake_capture *&fake_stream_capture(CUstream_st *stream)
{
    return stream->capture;
}

void fake_require_unused(const void *at, size_t bytes, const char *what)
{
    for (const CUstream_st *s : streams)
        for (const fake_work &w : s->queue)
            for (const fake_range &r : w.ranges)
                if ((const char *)r.at < (const char *)at + bytes &&
                    (const char *)at < (const char *)r.at + r.bytes)
                    fake_fatal("%s of %s, which queued work uses: %s", what, fake_place(at).c_str(),
                               w.name.c_str());
}

void fake_push(CUstream_st *s, fake_work work)
{
    fake_clock_join(s->clock, host);
    if (work.kind == fake_work::WAIT) fake_clock_join(s->clock, work.mark->clock);
    if (s->clock.size() <= (size_t)s->number) s->clock.resize((size_t)s->number + 1);
    s->clock[(size_t)s->number]++;
    if (work.kind == fake_work::RECORD) work.mark->clock = s->clock;
    fake_order_check(work.name, s->number, s->clock, work.ranges);
    work.sequence = ++sequence;
    s->queue.push_back(std::move(work));
}

cudaError_t fake_enqueue(cudaStream_t stream, const std::string &name,
                         const std::vector<fake_range> &ranges, std::function<void()> work,
                         std::function<bool()> ready)
{
    if (!fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    for (const fake_range &r : ranges)
        if (r.at && !fake_is_device(r.at, r.bytes) && !fake_is_pinned(r.at, r.bytes))
            fake_fatal("%s %s %zu bytes: %s", name.c_str(), r.write ? "writes" : "reads", r.bytes,
                       fake_place(r.at).c_str());
    fake_work w = {fake_work::RUN, name, ranges, std::move(work), nullptr, 0, std::move(ready)};
    fake_started++;
    if (name.compare(0, 2, "cu") == 0 && name.compare(0, 4, "cuda") != 0) fake_called++;
    if (stream->capture)
        fake_capture_add(stream, std::move(w));
    else
        fake_push(stream, std::move(w));
    return cudaSuccess;
}

static bool can_run(const CUstream_st *s)
{
    if (s->queue.empty()) return false;
    const fake_work &w = s->queue.front();
    return w.kind == fake_work::WAIT ? w.mark->done : !w.ready || w.ready();
}

/* The stream whose turn it is; NULL: none can go on. */
static CUstream_st *choose(void)
{
    const char *schedule = getenv("FX_FAKE_SCHEDULE");
    if (!schedule) schedule = "order";
    const bool first = strcmp(schedule, "first") == 0, last = strcmp(schedule, "last") == 0;
    std::vector<CUstream_st *> ready;
    std::copy_if(streams.begin(), streams.end(), std::back_inserter(ready), can_run);
    if (ready.empty()) return nullptr;
    if (strcmp(schedule, "random") == 0) return ready[fake_random() % ready.size()];
    return *std::min_element(
        ready.begin(), ready.end(), [=](const CUstream_st *a, const CUstream_st *b) {
            if ((first || last) && a->priority != b->priority)
                return first ? a->priority < b->priority : a->priority > b->priority;
            return a->queue.front().sequence < b->queue.front().sequence;
        });
}

static bool run_one(void)
{
    CUstream_st *s = choose();
    if (!s) return false;
    fake_work w = std::move(s->queue.front());
    s->queue.pop_front();
    fake_memory_user(w.name.c_str());
    if (w.kind == fake_work::RUN) fake_spend();
    if (w.kind == fake_work::RUN && !fake_dry) w.run();
    if (w.kind == fake_work::RECORD) {
        w.mark->done = true;
        w.mark->time = microseconds;
    }
    return true;
}

template <typename F> static void run_until(F done)
{
    if (done()) return;
    fake_memory_open();
    while (!done())
        if (!run_one()) fake_fatal("the host waits for work that waits for ever");
    fake_memory_close();
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    fake_objects++;
    *stream = fake_stream_create(priority);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    if (!fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    fake_stream_destroy(stream, "cudaStreamDestroy");
    fake_objects--;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (!fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    run_until([=] { return stream->queue.empty(); });
    fake_clock_join(host, stream->clock);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    if (flags != cudaEventDisableTiming && flags != cudaEventDefault) return cudaErrorInvalidValue;
    fake_objects++;
    *event = new CUevent_st{nullptr, flags == cudaEventDefault};
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    if (!event) return cudaErrorInvalidResourceHandle;
    fake_objects--;
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    if (!event || !fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    event->mark = std::make_shared<fake_mark>();
    if (stream->capture) return fake_capture_record(stream, event->mark);
    fake_push(stream, {fake_work::RECORD, "cudaEventRecord", {}, nullptr, event->mark, 0});
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    if (!start || !end || !start->timed || !end->timed || !start->mark || !end->mark)
        return cudaErrorInvalidResourceHandle;
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    if (start->mark->capture || end->mark->capture) return cudaErrorCapturedEvent;
    if (!start->mark->done || !end->mark->done) return cudaErrorNotReady;
    *milliseconds = (float)(1e-3 * ((double)end->mark->time - (double)start->mark->time));
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    if (!event || !fake_is_stream(stream)) return cudaErrorInvalidResourceHandle;
    if (flags != 0) return cudaErrorInvalidValue;
    if (!event->mark) return cudaSuccess;
    if (stream->capture || event->mark->capture) return fake_capture_wait(stream, event->mark);
    fake_push(stream, {fake_work::WAIT, "cudaStreamWaitEvent", {}, nullptr, event->mark, 0});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (!event) return cudaErrorInvalidResourceHandle;
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    const std::shared_ptr<fake_mark> mark = event->mark;
    if (!mark) return cudaSuccess;
    if (mark->capture) return cudaErrorCapturedEvent;
    run_until([=] { return mark->done; });
    fake_clock_join(host, mark->clock);
    return cudaSuccess;
}

/* Lets the device do a few things more: between two of them memory is not closed and opened, which is
 * what a host that asks all the time would spend its time on. */
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    if (!event) return cudaErrorInvalidResourceHandle;
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    const std::shared_ptr<fake_mark> mark = event->mark;
    if (!mark) return cudaSuccess;
    if (mark->capture) return cudaErrorCapturedEvent;
    if (!mark->done && choose()) {
        fake_memory_open();
        for (int i = 0; i < THINGS_A_QUERY && !mark->done && run_one(); i++) {
        }
        fake_memory_close();
    }
    if (!mark->done) return cudaErrorNotReady;
    fake_clock_join(host, mark->clock);
    return cudaSuccess;
}
