/* order.cpp: finds work that is ordered by luck. Every piece of work has a time on its stream's clock;
 * waiting for an event, or the host for a stream, joins clocks. Two pieces of work that meet in memory,
 * one of them writing, must be ordered by these (Lamport 1978; Mattern 1988), whichever ran first. */
#include <map>

#include "fake.h"

struct access {
    int stream;
    uint64_t tick; /* 0: never */
    std::shared_ptr<const std::string> name;
};
struct piece {
    uintptr_t end;
    access write;
    std::vector<access> reads; /* since the write; one a stream */
};

static std::map<uintptr_t, piece> pieces; /* by first byte; they do not overlap */

void fake_clock_join(fake_clock &into, const fake_clock &other)
{
    if (into.size() < other.size()) into.resize(other.size());
    for (size_t i = 0; i < other.size(); i++)
        if (into[i] < other[i]) into[i] = other[i];
}

uint64_t fake_clock_at(const fake_clock &clock, int stream)
{
    return (size_t)stream < clock.size() ? clock[(size_t)stream] : 0;
}

/* Makes `at` the first byte of a piece, if it is within one. */
static void cut(uintptr_t at)
{
    auto p = pieces.upper_bound(at);
    if (p == pieces.begin()) return;
    --p;
    if (p->first == at || p->second.end <= at) return;
    piece rest = p->second;
    p->second.end = at;
    pieces.emplace(at, std::move(rest));
}

static void require(const access &before, const access &now, const fake_clock &clock, uintptr_t at,
                    const char *does, const char *did)
{
    if (before.tick <= fake_clock_at(clock, before.stream)) return;
    fake_fatal("%s on stream %d %s %s, which %s on stream %d %s: nothing orders them",
               now.name->c_str(), now.stream, does, fake_place((const void *)at).c_str(),
               before.name->c_str(), before.stream, did);
}

/* What was never written or read gets a piece of its own. */
static void fill_gaps(uintptr_t from, uintptr_t to)
{
    for (auto p = pieces.lower_bound(from); from < to; ++p) {
        const uintptr_t end = p == pieces.end() || p->first > to ? to : p->first;
        if (end > from) p = pieces.emplace(from, piece{end, {}, {}}).first;
        from = p->second.end;
    }
}

static void read(uintptr_t from, uintptr_t to, const access &now, const fake_clock &clock)
{
    cut(from);
    cut(to);
    fill_gaps(from, to);
    for (auto p = pieces.lower_bound(from); p != pieces.end() && p->first < to; ++p) {
        require(p->second.write, now, clock, p->first, "reads", "writes");
        std::vector<access> &reads = p->second.reads;
        size_t i = 0;
        while (i < reads.size() && reads[i].stream != now.stream)
            i++;
        if (i == reads.size()) reads.push_back(now);
        reads[i] = now;
    }
}

static void write(uintptr_t from, uintptr_t to, const access &now, const fake_clock &clock)
{
    cut(from);
    cut(to);
    auto p = pieces.lower_bound(from);
    while (p != pieces.end() && p->first < to) {
        require(p->second.write, now, clock, p->first, "writes", "writes");
        for (const access &reader : p->second.reads)
            require(reader, now, clock, p->first, "writes", "reads");
        p = pieces.erase(p);
    }
    pieces.emplace(from, piece{to, now, {}});
}

/* Reads come first, so that work may write what it reads. */
void fake_order_check(const std::string &name, int stream, const fake_clock &clock,
                      const std::vector<fake_range> &ranges)
{
    const access now = {stream, fake_clock_at(clock, stream),
                        std::make_shared<const std::string>(name)};
    for (const bool writes : {false, true})
        for (const fake_range &r : ranges)
            if (r.at && r.bytes > 0 && r.write == writes)
                (writes ? write : read)((uintptr_t)r.at, (uintptr_t)r.at + r.bytes, now, clock);
}

void fake_order_forget(const void *at, size_t bytes)
{
    const uintptr_t from = (uintptr_t)at, to = from + bytes;
    cut(from);
    cut(to);
    pieces.erase(pieces.lower_bound(from), pieces.lower_bound(to));
}
