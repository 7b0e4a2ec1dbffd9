/* test_fake_order.cpp: streams and events of the stand-in: nothing runs before the host waits, the four
 * schedules run ordered work to the same values, and work in two streams that meets in memory without
 * an event between is named, whichever would have run first.
 *
 * Run: standin only
 * Planted and caught: in stream.cpp work run when queued, a wait that does not wait, the host's clock
 * not joined, a waiting stream's likewise, times of events that have none, or are not done; in
 * order.cpp reads forgotten, gaps not filled, a piece not cut where a write ends. */
#include "dies.h"

static const char *const SCHEDULES[] = {"order", "first", "last", "random"};

static void after(cudaStream_t first, cudaStream_t second)
{
    const cudaEvent_t event = new_event();
    cudaEventRecord(event, first);
    cudaStreamWaitEvent(second, event, 0);
    cudaEventDestroy(event);
}

static void laziness(void)
{
    rig r;
    bool ran = false;
    fake_enqueue(r.a, "work", {}, [&] { ran = true; });
    fake_enqueue(r.b, "work", {}, [] {});
    cudaStreamSynchronize(r.b);
    setenv("FX_FAKE_SCHEDULE", "first", 1);
    ran = false;
    fake_enqueue(r.a, "work", {}, [&] { ran = true; });
    fake_enqueue(r.b, "work", {}, [] {});
    holds(!ran, "nothing runs when it is queued");
    cudaStreamSynchronize(r.b);
    holds(!ran, "the host waits for no more than it asks for");
    cudaStreamSynchronize(r.a);
    holds(ran, "what was waited for has run");
    setenv("FX_FAKE_SCHEDULE", "order", 1);
}

/* Which of two streams goes first where nothing orders them, as a string of a's and b's. */
static std::string sequence_under(const char *schedule)
{
    rig r;
    std::string order;
    setenv("FX_FAKE_SCHEDULE", schedule, 1);
    for (int i = 0; i < 8; i++)
        for (const bool first : {true, false})
            fake_enqueue(first ? r.a : r.b, "work", {},
                         [&order, first] { order += first ? 'a' : 'b'; });
    cudaStreamSynchronize(r.a);
    cudaStreamSynchronize(r.b);
    setenv("FX_FAKE_SCHEDULE", "order", 1);
    return order;
}

static void schedules(void)
{
    holds(sequence_under("order") == "abababababababab", "as queued");
    holds(sequence_under("first") == "bbbbbbbbaaaaaaaa", "high priority first");
    holds(sequence_under("last") == "aaaaaaaabbbbbbbb", "high priority last");
    const std::string random = sequence_under("random");
    holds(random != sequence_under("random"), "random is not the same twice");
    for (const char *schedule : SCHEDULES) {
        rig r;
        float *device = r.device;
        setenv("FX_FAKE_SCHEDULE", schedule, 1);
        r.up(r.a);
        after(r.a, r.b);
        fake_enqueue(r.b, "double", {{device, rig::BYTES, true}}, [=] {
            for (int i = 0; i < rig::COUNT; i++)
                device[i] *= 2;
        });
        after(r.b, r.a);
        r.down(r.a);
        cudaStreamSynchronize(r.a);
        holds(r.pinned[7] == 14, schedule);
        setenv("FX_FAKE_SCHEDULE", "order", 1);
    }
}

static void touch(rig &r, cudaStream_t stream, const char *name, bool write, size_t from, size_t to)
{
    fake_enqueue(stream, name, {{(char *)r.device + from, to - from, write}}, [] {});
}

static void races(void)
{
    dies("read after write",
         "second on stream 2 reads allocation 1 of 4096 bytes, at 0, which first on "
         "stream 1 writes: nothing orders them",
         [] {
             rig r;
             touch(r, r.a, "first", true, 0, 64);
             touch(r, r.b, "second", false, 0, 64);
         });
    dies("write after read", "second on stream 2 writes allocation 1 of 4096 bytes, at 60, which first",
         [] {
             rig r;
             touch(r, r.a, "first", false, 0, 64);
             touch(r, r.b, "second", true, 60, 128);
         });
    dies("write after write", "which first on stream 1 writes", [] {
        rig r;
        touch(r, r.a, "first", true, 32, 64);
        touch(r, r.b, "second", true, 0, 128);
    });
    dies("an event before the work", "nothing orders them", [] {
        rig r;
        after(r.a, r.b);
        touch(r, r.a, "first", true, 0, 64);
        touch(r, r.b, "second", false, 0, 64);
    });
    dies("the host waits for another stream", "nothing orders them", [] {
        rig r;
        touch(r, r.a, "first", true, 0, 64);
        cudaStreamSynchronize(r.b);
        touch(r, r.b, "second", false, 0, 64);
    });
    dies("what an ordered write left of an earlier one", "at 64, which first on stream 1 writes", [] {
        rig r;
        cudaStream_t c = nullptr;
        cudaStreamCreateWithPriority(&c, cudaStreamNonBlocking, 0);
        touch(r, r.a, "first", true, 0, 128);
        after(r.a, r.b);
        touch(r, r.b, "second", true, 0, 64);
        touch(r, c, "third", false, 64, 128);
    });
    lives("two readers, neighbours, an event, the host", [] {
        rig r;
        touch(r, r.a, "first", false, 0, 64);
        touch(r, r.b, "second", false, 0, 64);
        touch(r, r.a, "first", true, 64, 128);
        touch(r, r.b, "second", true, 128, 192);
        after(r.b, r.a);
        touch(r, r.a, "first", true, 0, 192);
        cudaStreamSynchronize(r.a);
        touch(r, r.b, "second", true, 0, 192);
    });
    lives("order through a third stream", [] {
        rig r;
        cudaStream_t c = nullptr;
        cudaStreamCreateWithPriority(&c, cudaStreamNonBlocking, 0);
        touch(r, r.a, "first", true, 0, 64);
        after(r.a, c);
        after(c, r.b);
        touch(r, r.b, "second", true, 0, 64);
        cudaStreamSynchronize(c);
        cudaStreamDestroy(c);
    });
}

static void times(void)
{
    rig r;
    float milliseconds = -1;
    const cudaEvent_t untimed = new_event();
    cudaEvent_t start = nullptr, end = nullptr;
    is(cudaEventCreateWithFlags(&start, cudaEventDefault), cudaSuccess, "an event with a time");
    is(cudaEventCreateWithFlags(&end, cudaEventDefault), cudaSuccess, "an event with a time");
    is(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidResourceHandle,
       "events that were not recorded");
    cudaEventRecord(untimed, r.a);
    cudaEventRecord(start, r.a);
    for (int i = 0; i < 3; i++)
        fake_enqueue(r.a, "work", {}, [] {});
    cudaEventRecord(end, r.a);
    is(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady, "before the work is done");
    cudaStreamSynchronize(r.a);
    is(cudaEventElapsedTime(&milliseconds, untimed, end), cudaErrorInvalidResourceHandle,
       "an event without a time");
    is(cudaEventElapsedTime(&milliseconds, start, end), cudaSuccess, "after it is done");
    holds(milliseconds > 0.00299f && milliseconds < 0.00301f, "a microsecond for each piece of work");
    for (const cudaEvent_t event : {untimed, start, end})
        cudaEventDestroy(event);
}

int main(void)
{
    races();
    laziness();
    schedules();
    times();
    return end_of_checks();
}
