/* simt.cpp: runs a grid, block after block in random order. Within a block, all threads that can run do
 * so, in random order, each until it waits; then whoever waits for a full warp or block goes on. */
#include "simt.h"

#include <algorithm>
#include <numeric>
#include <sys/mman.h>
#include <vector>

#include "fake.h"
#include "fiber.h"

enum { WARP = 32, MAX_THREADS = 1024, MAX_SHARED = 227 << 10, PAGE = 4096, SHARED_ROOM = 228 << 10 };

enum state { READY, AT_BLOCK, AT_WARP, DONE };

struct lane {
    fiber *control;
    state at;
    int line;
    unsigned turn;    /* collectives of the warp so far: which of the two slots is the next */
    uint64_t slot[2]; /* two, so that a fast lane's next gift does not overwrite one not yet taken */
};

fx_simt_position fx_simt;

static lane lanes[MAX_THREADS];
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

uint64_t fx_simt_exchange(uint64_t bits, int source, int line)
{
    lane *l = &lanes[fx_simt.thread];
    const unsigned slot = l->turn++ % 2;
    l->slot[slot] = bits;
    wait(AT_WARP, line);
    if (source < 0 || source >= WARP) fault(fx_simt.thread, "a shuffle from a lane outside the warp");
    return lanes[fx_simt.thread / WARP * WARP + source].slot[slot];
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

static void run_turn(std::vector<int> &order)
{
    for (size_t i = order.size(); i > 1; i--)
        std::swap(order[i - 1], order[fake_random() % i]);
    for (const int thread : order) {
        if (lanes[thread].at != READY) continue;
        fx_simt.thread = thread;
        fiber_resume(lanes[thread].control);
    }
}

static void run_block(std::vector<int> &order)
{
    const int threads = fx_simt.threads;
    for (int i = 0; i < threads; i++) {
        if (!lanes[i].control) lanes[i].control = fiber_create();
        lanes[i].at = READY;
        lanes[i].line = 0;
        lanes[i].turn = 0;
        fiber_reset(lanes[i].control, run_thread);
    }
    for (;;) {
        run_turn(order);
        bool moved = false;
        for (int w = 0; w < threads; w += WARP)
            moved |=
                release(w, std::min<int>(WARP, threads - w), AT_WARP, "the lanes of a warp parted");
        moved |= release(0, threads, AT_BLOCK, "the threads of a block parted before a barrier");
        if (moved) continue;
        for (int i = 0; i < threads; i++)
            if (lanes[i].at != DONE) fault(i, "waits for threads that wait elsewhere");
        return;
    }
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
    std::vector<int> order((size_t)threads);
    std::iota(order.begin(), order.end(), 0);
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    std::vector<uint64_t> sequence(blocks);
    std::iota(sequence.begin(), sequence.end(), 0);
    for (uint64_t i = blocks; i > 1; i--)
        std::swap(sequence[i - 1], sequence[fake_random() % i]);
    fx_simt.threads = threads;
    fx_simt.blocks = (int)grid.x;
    fx_simt.shared = room;
    for (const uint64_t b : sequence) {
        fx_simt.block[0] = (int)(b % grid.x);
        fx_simt.block[1] = (int)(b / grid.x % grid.y);
        fx_simt.block[2] = (int)(b / grid.x / grid.y);
        memset(room, 0xff, (shared + 15) / 16 * 16);
        run_block(order);
        check_margin(room, shared);
    }
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
    const cudaError_t error = fake_enqueue(stream, name, {}, [=] {
        grid_name = name.c_str();
        body = &thread;
        run_grid(grid, (int)block.x, shared);
    });
    return error == cudaSuccess
               ? FX_OK
               : fx_fail(FX_EDEVICE, "%s: %s", name.c_str(), cudaGetErrorString(error));
}
