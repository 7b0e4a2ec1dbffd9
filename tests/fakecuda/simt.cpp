/* simt.cpp: runs a grid, block after block in random order. Within a block each warp in turn, in random
 * order, runs to the next barrier of the block before another warp begins; within a warp so does each
 * thread to the next meeting of its warp. A grid whose blocks wait for each other has up to MOST_BLOCKS
 * of them on the device, how many is drawn: one, and who waits for a block that has not begun waits
 * forever; several, of which each turn runs a warp of any, and what was not waited for is not there. */
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
    QUAD = 16,
    MOST_BLOCKS = 4
};

enum state { READY, AT_BLOCK, AT_WARP, AT_COUNTER, DONE };

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
    const int *counter;       /* that it waits for */
    int count;
};

/* A block that is on the device. */
struct resident {
    int block[3];
    lane lanes[MAX_THREADS];
    fx_lane_gift gifts[2][MAX_THREADS]; /* two, so that a fast lane's next gift does not overwrite one
                                           that is still looked at */
    std::vector<int> warps;             /* in the order of the present turn */
    size_t next;                        /* of them */
    unsigned char *shared_pages;        /* SHARED_ROOM and a page without access on each side */
    unsigned char *shared;
};

fx_simt_position fx_simt;

static resident rooms[MOST_BLOCKS], *device[MOST_BLOCKS], *present; /* the block that runs */
static lane *lanes;                                                 /* of it */
static bool waits; /* the grid's blocks wait for each other */
static const char *grid_name;
static const std::function<void()> *body;

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
    fx_lane_gift *half = present->gifts[lanes[fx_simt.thread].turn++ % 2];
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

int fx_simt_take(int *counter)
{
    waits = true;
    fake_traffic_ordered();
    return (*counter)++;
}

void fx_simt_await(const int *counter, int count, int line)
{
    lane *l = &lanes[fx_simt.thread];
    l->counter = counter;
    l->count = count;
    while (*counter < count)
        wait(AT_COUNTER, line);
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

/* Shared memory ends at a page without access, is NaN at first, and the rest of its pages must stay as
 * it was. */
static unsigned char *place_shared(resident *r, size_t bytes)
{
    if (!r->shared_pages) {
        const size_t all = SHARED_ROOM + 2 * PAGE;
        r->shared_pages = (unsigned char *)mmap(nullptr, all, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (r->shared_pages == MAP_FAILED || mprotect(r->shared_pages, PAGE, PROT_NONE) != 0 ||
            mprotect(r->shared_pages + all - PAGE, PAGE, PROT_NONE) != 0)
            fake_fatal("no memory for a block's shared memory");
        fake_memory_guard(r->shared_pages + all - PAGE, "its shared memory");
        r->shared_pages += PAGE;
    }
    return r->shared_pages + SHARED_ROOM - (bytes + 15) / 16 * 16;
}

static void check_margin(const resident *r)
{
    for (const unsigned char *p = r->shared + fx_simt.shared_bytes; p < r->shared_pages + SHARED_ROOM;
         p++)
        if (*p != 0xff) fault(0, "shared memory was written behind its end");
}

static void enter(resident *r)
{
    present = r;
    lanes = r->lanes;
    fx_simt.shared = r->shared;
    std::copy(r->block, r->block + 3, fx_simt.block);
}

static void begin(resident *r, uint64_t number, dim3 grid, size_t shared)
{
    const int threads = fx_simt.threads;
    r->block[0] = (int)(number % grid.x);
    r->block[1] = (int)(number / grid.x % grid.y);
    r->block[2] = (int)(number / grid.x / grid.y);
    r->shared = place_shared(r, shared);
    memset(r->shared, 0xff, (shared + 15) / 16 * 16);
    r->warps.resize((size_t)(threads + WARP - 1) / WARP);
    std::iota(r->warps.begin(), r->warps.end(), 0);
    shuffle(r->warps);
    r->next = 0;
    for (int i = 0; i < threads; i++) {
        lane *l = &r->lanes[i];
        if (!l->control) l->control = fiber_create();
        l->at = READY;
        l->line = 0;
        l->turn = 0;
        fiber_reset(l->control, run_thread);
    }
    fake_traffic_block();
}

/* Lets go on those that wait for a counter which is there now. */
static bool counted(void)
{
    bool any = false;
    for (int i = 0; i < fx_simt.threads; i++)
        if (lanes[i].at == AT_COUNTER && *lanes[i].counter >= lanes[i].count) {
            lanes[i].at = READY;
            any = true;
        }
    return any;
}

enum progress { RUNS, STALLED, ENDED };

/* One warp of the block, as far as it comes without the others. */
static progress advance(resident *r)
{
    const int threads = fx_simt.threads;
    enter(r);
    if (r->next == r->warps.size()) {
        if (!release(0, threads, AT_BLOCK, "the threads of a block parted before a barrier") &&
            !counted()) {
            bool waiting = false;
            for (int i = 0; i < threads; i++)
                waiting |= lanes[i].at == AT_COUNTER;
            if (waiting) return STALLED;
            for (int i = 0; i < threads; i++)
                if (lanes[i].at != DONE) fault(i, "waits for threads that wait elsewhere");
            check_margin(r);
            return ENDED;
        }
        shuffle(r->warps);
        r->next = 0;
    }
    run_warp(r->warps[r->next++]);
    return RUNS;
}

/* Blocks [0, count) of the device run until one of them ends, whose place is the last then. A block
 * goes on for some turns, 4 on average, so that others come far while it stands still. */
static void run_until_end(size_t count)
{
    size_t stalled = 0; /* of the device's blocks, the first ones */
    for (size_t one = 0;;) {
        if (stalled > 0 || fake_random() % 4 == 0) one = stalled + fake_random() % (count - stalled);
        const progress p = advance(device[one]);
        if (p == ENDED) {
            std::swap(device[one], device[count - 1]);
            return;
        }
        if (p == RUNS) {
            stalled = 0;
            continue;
        }
        std::swap(device[one], device[stalled++]);
        if (stalled == count) fault(fx_simt.thread, "waits for a block that has not begun");
    }
}

static void run_grid(dim3 grid, int threads, size_t shared)
{
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    std::vector<uint64_t> sequence(blocks);
    std::iota(sequence.begin(), sequence.end(), 0);
    for (uint64_t i = blocks; i > 1; i--)
        std::swap(sequence[i - 1], sequence[fake_random() % i]);
    fx_simt.threads = threads;
    fx_simt.blocks = (int)grid.x;
    fx_simt.shared_bytes = shared;
    for (int i = 0; i < MOST_BLOCKS; i++)
        device[i] = &rooms[i];
    waits = false;
    size_t most = 1, there = 0;
    for (uint64_t begun = 0; begun < blocks || there > 0;) {
        if (begun < blocks && there < most) {
            begin(device[there++], sequence[begun++], grid, shared);
            continue;
        }
        const bool knew = waits;
        run_until_end(there);
        there--;
        if (waits && !knew && !fake_traffic_counts()) most = 1 + fake_random() % MOST_BLOCKS;
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

void fx_simt_writes(const void *at, size_t bytes)
{
    ranges.clear();
    if (at) ranges.push_back({at, bytes, true});
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
