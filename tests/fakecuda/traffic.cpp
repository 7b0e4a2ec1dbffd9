/* traffic.cpp: see fake_traffic.h. A sector knows the span and the block that touched it last; a span
 * is a launch, or a block of a launch whose blocks have an order. The distance of a repeated read is
 * the number of sectors that the spans from its last touch to the present one touched, which is how
 * many of all sectors were last touched by one of these. */
#include "fake_traffic.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "fake.h"

enum { SECTOR = 32, PAGE = 4096, RECENT = 256 };

struct sector {
    uint32_t span, block; /* of the last touch; 0: none */
    uint32_t got;         /* bytes that this block read of it */
    bool written;
};
struct page {
    sector own[PAGE / SECTOR];
};

static bool counting;
static std::string chosen;   /* the one kernel that counts; "": all do */
static uint32_t span, block; /* numbers of the present ones, from 1 */
static std::unordered_map<uintptr_t, page> pages;
static uintptr_t recent_number[RECENT]; /* pages found last, by number modulo RECENT */
static page *recent[RECENT];
static std::vector<uint64_t> last; /* sectors whose last touch was by span i */
static std::map<uint32_t, double>
    reread; /* bytes that the present span reads again, by the span before */
static std::vector<fake_traffic> kernels;
static fake_traffic *now;

static sector *sector_at(uintptr_t at)
{
    const uintptr_t number = at / PAGE;
    const size_t slot = number % RECENT;
    if (!recent[slot] || recent_number[slot] != number) {
        recent_number[slot] = number;
        recent[slot] = &pages[number];
    }
    return &recent[slot]->own[at % PAGE / SECTOR];
}

static void touch(sector *s)
{
    if (s->span) last[s->span]--;
    last[span]++;
    s->span = span;
    if (s->block != block) s->got = 0;
    s->block = block;
}

static void read_part(sector *s, uint32_t bytes)
{
    if (s->span == 0) {
        now->read += SECTOR;
    } else if (s->block != block) {
        now->again += SECTOR;
        reread[s->span] += SECTOR;
    }
    const bool mine = s->block == block;
    touch(s);
    const uint32_t room = mine && s->got == 0 ? 0 : SECTOR - s->got; /* written by the block itself */
    s->got += std::min(bytes, room);
    now->inside += bytes - std::min(bytes, room);
}

static void write_part(sector *s)
{
    if (!s->written)
        now->wrote += SECTOR;
    else if (s->block != block)
        now->rewrote += SECTOR;
    s->written = true;
    touch(s);
}

static void access(const void *at, size_t bytes, bool write)
{
    if (!counting || !now || !fake_is_device_address(at)) return;
    const uintptr_t first = (uintptr_t)at, end = first + bytes;
    for (uintptr_t p = first; p < end;) {
        const uintptr_t next = std::min(end, p / SECTOR * SECTOR + SECTOR);
        if (write)
            write_part(sector_at(p));
        else
            read_part(sector_at(p), (uint32_t)(next - p));
        p = next;
    }
}

static void close_span(void)
{
    for (const auto &[from, bytes] : reread) {
        uint64_t sectors = 0;
        for (uint32_t l = from; l <= span; l++)
            sectors += last[l];
        const double distance = (double)sectors * SECTOR;
        if (distance > FAKE_TRAFFIC_NEAR) now->far += bytes;
        now->distance += distance * bytes;
    }
    reread.clear();
}

void fake_traffic_launch(const char *name)
{
    if (!counting) return;
    close_span();
    now = nullptr;
    const char *start = name + (*name == '('); /* template arguments stand in parentheses */
    const std::string kernel(start, strcspn(start, "<, ("));
    if (!chosen.empty() && kernel != chosen) return;
    auto found = std::find_if(kernels.begin(), kernels.end(),
                              [&](const fake_traffic &k) { return kernel == k.kernel; });
    if (found == kernels.end()) {
        fake_traffic k = {};
        snprintf(k.kernel, sizeof k.kernel, "%s", kernel.c_str());
        found = kernels.insert(found, k);
    }
    now = &*found;
    now->launches++;
    span++;
    last.push_back(0);
}

void fake_traffic_ordered(void)
{
    if (!counting || !now) return;
    close_span();
    span++;
    last.push_back(0);
}

bool fake_traffic_counts(void)
{
    return counting;
}

void fake_traffic_block(void)
{
    block++;
}

void fake_traffic_read(const void *at, size_t bytes)
{
    access(at, bytes, false);
}

void fake_traffic_begin(const char *kernel)
{
    chosen = kernel ? kernel : "";
    pages.clear();
    std::fill(recent, recent + RECENT, nullptr);
    kernels.clear();
    last.assign(1, 0);
    span = 0;
    reread.clear();
    now = nullptr;
    counting = true;
}

int fake_traffic_end(fake_traffic out[FAKE_TRAFFIC_KERNELS])
{
    close_span();
    counting = false;
    const size_t count = std::min(kernels.size(), (size_t)FAKE_TRAFFIC_KERNELS - 1);
    if (count < kernels.size()) fake_fatal("more kernels than fake_traffic_end has room for");
    out[0] = {};
    for (size_t i = 0; i < count; i++) {
        const fake_traffic &k = out[i + 1] = kernels[i];
        out[0].launches += k.launches;
        out[0].read += k.read, out[0].wrote += k.wrote;
        out[0].again += k.again, out[0].inside += k.inside, out[0].rewrote += k.rewrote;
        out[0].far += k.far, out[0].distance += k.distance;
    }
    for (size_t i = 0; i <= count; i++)
        if (out[i].again > 0) out[i].distance /= out[i].again;
    return (int)count + 1;
}

/* The calls of the instrumentation. */
#define FAKE_ACCESS(bytes)                                                                             \
    void __tsan_read##bytes(void *at)                                                                  \
    {                                                                                                  \
        access(at, bytes, false);                                                                      \
    }                                                                                                  \
    void __tsan_write##bytes(void *at)                                                                 \
    {                                                                                                  \
        access(at, bytes, true);                                                                       \
    }                                                                                                  \
    void __tsan_unaligned_read##bytes(void *at)                                                        \
    {                                                                                                  \
        access(at, bytes, false);                                                                      \
    }                                                                                                  \
    void __tsan_unaligned_write##bytes(void *at)                                                       \
    {                                                                                                  \
        access(at, bytes, true);                                                                       \
    }
extern "C" {
FAKE_ACCESS(1)
FAKE_ACCESS(2)
FAKE_ACCESS(4)
FAKE_ACCESS(8)
FAKE_ACCESS(16)
void __tsan_read_range(void *at, size_t bytes)
{
    access(at, bytes, false);
}
void __tsan_write_range(void *at, size_t bytes)
{
    access(at, bytes, true);
}
void __tsan_vptr_update(void **, void *)
{
}
void __tsan_init(void)
{
}
}
