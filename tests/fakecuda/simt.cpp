/* simt.cpp: runs a grid, block after block in random order. Within a block each warp in turn, in random
 * order, runs to the next barrier of the block before another warp begins; within a warp so does each
 * thread to the next meeting of its warp. */
#include "simt.h"
#include "../../cuda/exec.h"

#include <algorithm>
#include <numeric>
#include <sys/mman.h>
#include <vector>

#include "fake.h"
#include "fiber.h"

enum {
    WARP = 32,
    MAX_THREADS = 1024,
    MAX_SHARED = 227 << 10,
    PAGE = 4096,
    SHARED_ROOM = 228 << 10,
    QUAD = 16
};

enum state { READY, AT_BLOCK, AT_WARP, DONE };

struct copy {
    void *to;
    const void *from; /* NULL: zeros */
};

struct lane {
    fiber *control;
    state at;
    int line;
    unsigned turn; /* meetings of the warp so far: which of the two halves of `gifts` is the next */
    std::vector<copy> copies; /* begun, and not waited for */
};

fx_simt_position fx_simt;

static lane lanes[MAX_THREADS];
static fx_lane_gift gifts[2][MAX_THREADS]; /* two, so that a fast lane's next gift does not overwrite
                                              one that is still looked at */
static const char *grid_name;
static const std::function<void()> *body;
static unsigned char *shared_pages; /* SHARED_ROOM and a page without access on each side */

[[noreturn]] static void fault(int thread, const char *what)
{
    fake_fatal("%s, block (%d, %d, %d), thread %d, line %d: %s", grid_name, fx_simt.block[0],
               fx_simt.block[1], fx_simt.block[2], thread, lanes[thread].line, what);
}

static void run_thread(void)
{
    lane *l = &lanes[fx_simt.thread];
    (*body)();
    if (!l->copies.empty()) fault(fx_simt.thread, "ends before it waited for its copies");
    l->at = DONE;
    fiber_yield(l->control);
}

static void wait(state at, int line)
{
    lane *l = &lanes[fx_simt.thread];
    l->at = at;
    l->line = line;
    fiber_yield(l->control);
}

void fx_simt_sync(int line)
{
    wait(AT_BLOCK, line);
}

const fx_lane_gift *fx_simt_meet(const fx_lane_gift &gift, int line)
{
    fx_lane_gift *half = gifts[lanes[fx_simt.thread].turn++ % 2];
    half[fx_simt.thread] = gift;
    wait(AT_WARP, line);
    return half + fx_simt.thread / WARP * WARP;
}

uint64_t fx_simt_exchange(uint64_t bits, int source, int line)
{
    fx_lane_gift own = {};
    own.bits = bits;
    const fx_lane_gift *warp = fx_simt_meet(own, line);
    if (source < 0 || source >= WARP) fault(fx_simt.thread, "a shuffle from a lane outside the warp");
    return warp[source].bits;
}

/* The copies are made as late as they may be, and their targets are NaN until then: who looks too
 * early, or still looks, sees it. */
void fx_simt_copy_async(void *shared, const void *global, bool exists, int line)
{
    fx_simt_check_shared(shared, line);
    if ((uintptr_t)shared % QUAD != 0 || (uintptr_t)global % QUAD != 0) fx_simt_unaligned();
    memset(shared, 0xff, QUAD);
    lanes[fx_simt.thread].copies.push_back({shared, exists ? global : nullptr});
}

void fx_simt_copy_wait(void)
{
    std::vector<copy> &copies = lanes[fx_simt.thread].copies;
    for (const copy &c : copies)
        if (c.from) {
            fake_traffic_read(c.from, QUAD);
            memcpy(c.to, c.from, QUAD);
        } else {
            memset(c.to, 0, QUAD);
        }
    copies.clear();
}

void fx_simt_check_shared(const void *at, int line)
{
    const uintptr_t offset = (uintptr_t)at - (uintptr_t)fx_simt.shared;
    if (offset < fx_simt.shared_bytes && offset + QUAD <= fx_simt.shared_bytes) return;
    lanes[fx_simt.thread].line = line;
    fault(fx_simt.thread, "sixteen bytes that are not in shared memory");
}

void fx_simt_unaligned(void)
{
    fault(fx_simt.thread, "sixteen bytes at once from an address that 16 does not divide");
}

/* Lets go on those of [first, first + count) that wait for each other, if all are there. */
static bool release(int first, int count, state at, const char *diverged)
{
    int there = 0;
    for (int i = first; i < first + count; i++)
        there += lanes[i].at == at;
    if (there == 0) return false;
    for (int i = first; i < first + count; i++) {
        if (lanes[i].at == DONE) fault(i, diverged);
        if (lanes[i].at != at) return false;
        if (lanes[i].line != lanes[first].line) fault(i, diverged);
    }
    for (int i = first; i < first + count; i++)
        lanes[i].at = READY;
    return true;
}

static void shuffle(std::vector<int> &order)
{
    for (size_t i = order.size(); i > 1; i--)
        std::swap(order[i - 1], order[fake_random() % i]);
}

/* As far as it comes without the other warps. */
static void run_warp(int warp)
{
    const int first = warp * WARP, count = std::min<int>(WARP, fx_simt.threads - first);
    std::vector<int> order((size_t)count);
    std::iota(order.begin(), order.end(), first);
    do {
        shuffle(order);
        for (const int thread : order) {
            if (lanes[thread].at != READY) continue;
            fx_simt.thread = thread;
            fiber_resume(lanes[thread].control);
        }
    } while (release(first, count, AT_WARP, "the lanes of a warp parted"));
}

static void run_block(void)
{
    const int threads = fx_simt.threads;
    std::vector<int> warps((size_t)(threads + WARP - 1) / WARP);
    std::iota(warps.begin(), warps.end(), 0);
    for (int i = 0; i < threads; i++) {
        if (!lanes[i].control) lanes[i].control = fiber_create();
        lanes[i].at = READY;
        lanes[i].line = 0;
        lanes[i].turn = 0;
        fiber_reset(lanes[i].control, run_thread);
    }
    do {
        shuffle(warps);
        for (const int warp : warps)
            run_warp(warp);
    } while (release(0, threads, AT_BLOCK, "the threads of a block parted before a barrier"));
    for (int i = 0; i < threads; i++)
        if (lanes[i].at != DONE) fault(i, "waits for threads that wait elsewhere");
}

/* Shared memory ends at a page without access, is NaN at first, and the rest of its pages must stay as
 * it was. */
static unsigned char *place_shared(size_t bytes)
{
    if (!shared_pages) {
        const size_t all = SHARED_ROOM + 2 * PAGE;
        shared_pages = (unsigned char *)mmap(nullptr, all, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (shared_pages == MAP_FAILED || mprotect(shared_pages, PAGE, PROT_NONE) != 0 ||
            mprotect(shared_pages + all - PAGE, PAGE, PROT_NONE) != 0)
            fake_fatal("no memory for a block's shared memory");
        fake_memory_guard(shared_pages + all - PAGE, "its shared memory");
        shared_pages += PAGE;
    }
    return shared_pages + SHARED_ROOM - (bytes + 15) / 16 * 16;
}

static void check_margin(const unsigned char *shared, size_t bytes)
{
    for (const unsigned char *p = shared + bytes; p < shared_pages + SHARED_ROOM; p++)
        if (*p != 0xff) fault(0, "shared memory was written behind its end");
}

static void run_grid(dim3 grid, int threads, size_t shared)
{
    unsigned char *room = place_shared(shared);
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    std::vector<uint64_t> sequence(blocks);
    std::iota(sequence.begin(), sequence.end(), 0);
    for (uint64_t i = blocks; i > 1; i--)
        std::swap(sequence[i - 1], sequence[fake_random() % i]);
    fx_simt.threads = threads;
    fx_simt.blocks = (int)grid.x;
    fx_simt.shared = room;
    fx_simt.shared_bytes = shared;
    for (const uint64_t b : sequence) {
        fx_simt.block[0] = (int)(b % grid.x);
        fx_simt.block[1] = (int)(b / grid.x % grid.y);
        fx_simt.block[2] = (int)(b / grid.x / grid.y);
        memset(room, 0xff, (shared + 15) / 16 * 16);
        fake_traffic_block();
        run_block();
        check_margin(room, shared);
    }
}

static std::vector<fake_range> ranges; /* of the entry whose kernels are started */

static void add_range(const fx_tensor *t, bool write)
{
    if (t) ranges.push_back({t->data, fx_tensor_bytes(t), write});
}

/* Forward reads in[] and writes out[] and saved[]; an op without outputs works in place. Backward reads
 * what the op declares, and writes din[]. */
void fx_simt_entry(const fx_entry *entry, const void *scratch)
{
    ranges.clear();
    if (!entry) return;
    const fx_node *n = entry->node;
    const bool backward = entry->pass == FX_BACKWARD;
    const unsigned reads = backward ? n->op->backward_reads : ~0u;
    for (int i = 0; i < FX_MAX_IN; i++) {
        if (reads & FX_IN(i)) add_range(n->in[i], false);
        if (!backward && !n->out[0]) add_range(n->in[i], true);
        if (backward) add_range(n->din[i], true);
    }
    for (int i = 0; i < FX_MAX_OUT; i++) {
        if (!backward || (reads & FX_OUT(i))) add_range(n->out[i], !backward);
        if (backward) add_range(n->dout[i], false);
    }
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (!backward || (reads & FX_SAVED(i))) add_range(n->saved[i], !backward);
    ranges.push_back({scratch, entry->scratch_bytes, true});
}

void fx_simt_check_pointer(const char *kernel, const char *node, const void *argument)
{
    if (argument && !fake_is_device(argument, 1) && !fake_is_pinned(argument, 1))
        fake_fatal("%s (%s) is given a pointer to host memory", kernel, node);
}

fx_status fx_simt_enqueue(cudaStream_t stream, const char *kernel, const char *node, dim3 grid,
                          dim3 block, size_t shared, std::function<void()> thread)
{
    const std::string name = std::string(kernel) + " (" + node + ")";
    if (block.x < 1 || block.x > MAX_THREADS || block.y != 1 || block.z != 1 || grid.x < 1 ||
        grid.x > INT32_MAX || grid.y < 1 || grid.y > 65535 || grid.z < 1 || grid.z > 65535 ||
        shared > MAX_SHARED)
        return fx_fail(FX_EDEVICE, "%s: grid (%u, %u, %u), block (%u, %u, %u), %zu bytes shared: %s",
                       name.c_str(), grid.x, grid.y, grid.z, block.x, block.y, block.z, shared,
                       cudaGetErrorString(cudaErrorInvalidConfiguration));
    const cudaError_t error = fake_enqueue(stream, name, ranges, [=] {
        grid_name = name.c_str();
        fake_traffic_launch(grid_name);
        body = &thread;
        run_grid(grid, (int)block.x, shared);
    });
    return error == cudaSuccess
               ? FX_OK
               : fx_fail(FX_EDEVICE, "%s: %s", name.c_str(), cudaGetErrorString(error));
}
