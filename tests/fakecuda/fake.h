/* fake.h: what the parts of the stand-in share. The stand-in is strict: what CUDA leaves undefined, or
 * would let pass by luck, ends the process with one line. One host thread calls it. */
#ifndef FX_FAKE_H
#define FX_FAKE_H

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

/* Memory that a piece of work reads or writes; a null one is none. */
struct fake_range {
    const void *at;
    size_t bytes;
    bool write;
};

inline bool fake_overlap(const fake_range &a, const fake_range &b)
{
    return (const char *)a.at < (const char *)b.at + b.bytes &&
           (const char *)b.at < (const char *)a.at + a.bytes;
}

/* Puts `work` at the end of the stream's queue, or into the graph that the stream captures. `name` is
 * for messages: which call, of which node. Ranges of device memory are checked to be allocated. Work
 * that is not `ready` when its turn comes keeps its stream waiting; null: it always is. */
cudaError_t fake_enqueue(cudaStream_t stream, const std::string &name,
                         const std::vector<fake_range> &ranges, std::function<void()> work,
                         std::function<bool()> ready = nullptr);

/* One line on stderr, then abort. */
[[noreturn]] void fake_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The device's clock, which stands still but for work: each piece that runs takes it a microsecond on,
 * and another for each call of this while it runs. Events with times read it. */
void fake_spend(void);

/* For tests of what cuDNN is asked: heuristics that were asked, and the engine that ran last, by its
 * number among those proposed. */
extern int fake_heuristics, fake_engine;

/* Random numbers of the process, from FX_FAKE_SEED or 1. */
uint64_t fake_random(void);

/* memory.cpp. Device memory has no access rights but while work runs. */
void fake_memory_open(void);
void fake_memory_close(void);
/* Whether all of it lies in one allocation on the device, or of pinned host memory. */
bool fake_is_device(const void *at, size_t bytes);
bool fake_is_pinned(const void *at, size_t bytes);
/* Whether the address is one of the device's, allocated or not. */
bool fake_is_device_address(const void *at);
/* "allocation 3 + 128" */
std::string fake_place(const void *at);
/* A page without access, and what it is, for the message of a fault. */
void fake_memory_guard(const void *page, const char *what);
/* What runs, for the message of a fault. */
void fake_memory_user(const char *name);

/* order.cpp: the happens-before relation, as vector clocks: element s counts the work of stream s. */
typedef std::vector<uint64_t> fake_clock;
void fake_clock_join(fake_clock &into, const fake_clock &other);
uint64_t fake_clock_at(const fake_clock &clock, int stream);
/* Dies if work that a range meets is not known to come first. */
void fake_order_check(const std::string &name, int stream, const fake_clock &clock,
                      const std::vector<fake_range> &ranges);
void fake_order_forget(const void *at, size_t bytes);

/* stream.cpp. A mark is what an event was recorded to: one place in one stream's queue. */
struct fake_capture;
struct fake_mark {
    bool done;
    uint64_t time; /* the device's clock, microseconds, when it was done */
    fake_clock clock;
    int capture; /* number of the capture it was made in, where it has no time of its own; else 0 */
    int index;   /* among the capture's marks */
};
struct fake_work {
    enum { RUN, RECORD, WAIT } kind;
    std::string name;
    std::vector<fake_range> ranges;
    std::function<void()> run;
    std::shared_ptr<fake_mark> mark;
    uint64_t sequence;
    std::function<bool()> ready = nullptr;
};
CUstream_st *fake_stream_create(int priority);
void fake_stream_destroy(CUstream_st *stream, const char *what);
int fake_stream_priority(const CUstream_st *stream);
fake_capture *&fake_stream_capture(CUstream_st *stream);
void fake_push(CUstream_st *stream, fake_work work);
/* Dies if queued work uses the memory. */
void fake_require_unused(const void *at, size_t bytes, const char *what);
bool fake_is_stream(CUstream_st *stream);

/* graph.cpp */
void fake_capture_add(CUstream_st *stream, fake_work work);
/* True, and the capture is lost, when a call that no capture may see is made while one goes on. */
bool fake_capture_forbids(void);
cudaError_t fake_capture_record(CUstream_st *stream, std::shared_ptr<fake_mark> &mark);
cudaError_t fake_capture_wait(CUstream_st *stream, const std::shared_ptr<fake_mark> &mark);

/* For counting what a step of full size starts: while true nothing that is queued runs, and new memory
 * is not filled, so that none is taken. */
extern bool fake_dry;
extern uint64_t fake_started, fake_called; /* pieces of work put into streams; calls of cuDNN's and
                                              cuBLASLt's among them */

/* traffic.cpp: a grid, or one of its blocks, begins; the block comes after those before it also on
 * hardware; a load that no instrumented code does. */
void fake_traffic_launch(const char *name);
void fake_traffic_block(void);
void fake_traffic_ordered(void);
bool fake_traffic_counts(void);
void fake_traffic_read(const void *at, size_t bytes);

/* For tests: live allocations, streams, events and graphs. */
int fake_alive(void);
extern int fake_objects; /* streams, events, graphs */

#endif
