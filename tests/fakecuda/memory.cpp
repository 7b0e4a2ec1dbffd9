/* memory.cpp: device and pinned memory. The device is a range of addresses without access; what work
 * touches of an allocation is opened as it is touched, and closed again before the host goes on: the
 * kernel's work on a page of memory costs more than most kernels' here. Every allocation ends at a page
 * without access, starts as NaN, and its addresses are never given out again. */
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "fake.h"

struct allocation {
    size_t bytes, pages; /* asked for; of the whole pages that hold it */
    char *base;          /* of the pages */
    int number;
};

struct span {
    char *from, *to;
};

static const size_t PAGE = 4096, ALIGNMENT = 256, SPACE = (size_t)1 << 38, CAPACITY = (size_t)80 << 30;
static const size_t OPENED = 64 * PAGE; /* at once */
static const int POISON = 0xff;         /* NaN, as float and as bf16 */

static char *space;
static size_t used = PAGE, in_use; /* addresses given out; bytes allocated */
static bool is_open;
static std::vector<span> opened; /* of the device, since the host waits */
static std::map<const char *, allocation> device, pinned;
static std::map<const char *, const char *> guards;
static const char *user = "";

static size_t up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

static const allocation *find(const std::map<const char *, allocation> &of, const void *at,
                              size_t bytes)
{
    auto next = of.upper_bound((const char *)at);
    if (next == of.begin()) return nullptr;
    --next;
    const size_t offset = (size_t)((const char *)at - next->first);
    return offset + bytes <= next->second.bytes ? &next->second : nullptr;
}

bool fake_is_device(const void *at, size_t bytes)
{
    return find(device, at, bytes) != nullptr;
}

bool fake_is_device_address(const void *at)
{
    return space && (const char *)at >= space && (const char *)at < space + SPACE;
}

bool fake_is_pinned(const void *at, size_t bytes)
{
    return find(pinned, at, bytes) != nullptr;
}

std::string fake_place(const void *at)
{
    for (const auto *of : {&device, &pinned}) {
        auto next = of->upper_bound((const char *)at);
        if (next == of->begin()) continue;
        --next;
        const long offset = (long)((const char *)at - next->first);
        if (of == &device || offset < (long)next->second.bytes)
            return "allocation " + std::to_string(next->second.number) + " of " +
                   std::to_string(next->second.bytes) + " bytes, at " + std::to_string(offset);
    }
    return "no allocation";
}

void fake_memory_user(const char *name)
{
    user = name;
}

void fake_memory_guard(const void *page, const char *what)
{
    guards[(const char *)page] = what;
}

static void protect(const span &s, int rights)
{
    if (mprotect(s.from, (size_t)(s.to - s.from), rights) != 0)
        fake_fatal("device memory can't be opened or closed");
}

static span pages_of(const allocation &a)
{
    return {a.base, a.base + a.pages};
}

/* The allocation that has the page, or NULL. */
static const allocation *owner(const char *page)
{
    const auto next = device.upper_bound(page), last = next == device.begin() ? next : std::prev(next);
    for (const auto &candidate : {next, last})
        if (candidate != device.end() && page >= candidate->second.base &&
            page < candidate->second.base + candidate->second.pages)
            return &candidate->second;
    return nullptr;
}

/* Opens the pages around the one at `at`, as far as they are of its allocation. */
static bool open_around(const char *at)
{
    const allocation *a = owner(at);
    if (!a) return false;
    const size_t offset = (size_t)(at - a->base) / OPENED * OPENED;
    opened.push_back({a->base + offset, a->base + std::min(offset + OPENED, a->pages)});
    protect(opened.back(), PROT_READ | PROT_WRITE);
    return true;
}

static struct sigaction before;

/* Opens what work may touch, names what nobody may; faults elsewhere go to whoever handled them before.
 */
static void on_fault(int signal, siginfo_t *info, void *context)
{
    const char *at = (const char *)info->si_addr;
    if (fake_is_device_address(at)) {
        if (!is_open) fake_fatal("the host touches device memory: %s", fake_place(at).c_str());
        if (open_around(at)) return;
        fake_fatal("%s touches what is not allocated: %s", user, fake_place(at).c_str());
    }
    const auto guard = guards.find((const char *)((uintptr_t)at / PAGE * PAGE));
    if (guard != guards.end()) fake_fatal("%s touches the page behind %s", user, guard->second);
    if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
    sigaction(SIGSEGV, &before, nullptr);
}

/* Others may have put theirs in its place since: cmocka does so for every test. */
static void handle_faults(void)
{
    struct sigaction handler = {}, there;
    handler.sa_sigaction = on_fault;
    handler.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &handler, &there);
    if (!(there.sa_flags & SA_SIGINFO) || there.sa_sigaction != on_fault) before = there;
}

static void reserve(void)
{
    space = (char *)mmap(nullptr, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) fake_fatal("no addresses for device memory");
    static char stack[64 << 10]; /* a fault may be for want of one */
    const stack_t alternative = {stack, 0, sizeof stack};
    sigaltstack(&alternative, nullptr);
    handle_faults();
    on_exit(
        [](int status, void *) {
            if (status == 0 && fake_alive() > 0)
                fake_fatal("at exit %zu allocations, %zu of pinned memory and %d streams, events and "
                           "graphs are alive",
                           device.size(), pinned.size(), fake_objects);
        },
        nullptr);
}

int fake_alive(void)
{
    return (int)(device.size() + pinned.size()) + fake_objects;
}

/* The bytes between an allocation's end and its last page's must stay as they were. */
static void check_margin(const char *end, const char *page_end)
{
    for (const char *p = end; p < page_end; p++)
        if ((unsigned char)*p != POISON)
            fake_fatal("%s was written behind its end", fake_place(p).c_str());
}

void fake_memory_open(void)
{
    is_open = true;
    handle_faults();
}

void fake_memory_close(void)
{
    for (const span &s : opened) {
        const auto entry = std::prev(device.upper_bound(s.to - 1));
        check_margin(entry->first + entry->second.bytes, s.to);
        protect(s, PROT_NONE);
    }
    opened.clear();
    is_open = false;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    static int number;
    *memory = nullptr;
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    if (!space) reserve();
    if (bytes == 0) return cudaSuccess;
    const size_t pages = up(bytes, PAGE);
    if (in_use + bytes > CAPACITY || used + pages + PAGE > SPACE) return cudaErrorMemoryAllocation;
    const allocation a = {bytes, pages, space + used, ++number};
    used += pages + PAGE;
    in_use += bytes;
    if (!fake_dry) {
        protect(pages_of(a), PROT_READ | PROT_WRITE);
        memset(a.base, POISON, pages);
        protect(pages_of(a), PROT_NONE);
    }
    *memory = a.base + pages - up(bytes, ALIGNMENT);
    device[(char *)*memory] = a;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all)
{
    *all = CAPACITY;
    *free_bytes = CAPACITY - in_use;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    if (!memory) return cudaSuccess;
    const auto entry = device.find((char *)memory);
    if (entry == device.end()) fake_fatal("cudaFree of what cudaMalloc did not give, or twice");
    const allocation a = entry->second;
    fake_require_unused(memory, a.bytes, "cudaFree");
    fake_order_forget(memory, a.bytes);
    madvise(a.base, a.pages, MADV_DONTNEED);
    in_use -= a.bytes;
    device.erase(entry);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned)
{
    static int number;
    *memory = nullptr;
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    if (bytes == 0) return cudaSuccess;
    *memory = aligned_alloc(PAGE, up(bytes, PAGE));
    if (!*memory) return cudaErrorMemoryAllocation;
    memset(*memory, POISON, up(bytes, PAGE));
    pinned[(char *)*memory] = {bytes, up(bytes, PAGE), (char *)*memory, --number};
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory)
{
    if (fake_capture_forbids()) return cudaErrorStreamCaptureUnsupported;
    const auto entry = pinned.find((char *)memory);
    if (entry == pinned.end()) fake_fatal("cudaFreeHost of what cudaHostAlloc did not give, or twice");
    fake_require_unused(memory, entry->second.bytes, "cudaFreeHost");
    fake_order_forget(memory, entry->second.bytes);
    pinned.erase(entry);
    free(memory);
    return cudaSuccess;
}
