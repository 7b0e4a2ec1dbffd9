/* plan.c: where every tensor lives in the arena. Lifetimes are two integers a tensor, so the arena and
 * its peak are known before the first step. Placement is greedy by size: each block, largest first,
 * takes the lowest gap that is free over its whole life (Pisarchyk and Lee, Efficient memory management
 * for deep neural net inference, 2020). */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

typedef struct block { /* a planned tensor, or the scratch of an entry */
    size_t bytes, offset;
    int first, last;
    fx_tensor *tensor;
    fx_entry *entry;
} block;

static void live(fx_tensor *t, int at)
{
    if (!t) return;
    if (t->first < 0) t->first = at;
    t->last = at;
}

/* A forward entry reads in[] and writes out[] and saved[]; a backward entry reads what its op declares.
 */
static void mark_lifetimes(fx_builder *g)
{
    for (size_t i = 0; i < g->tensor_count; i++)
        g->tensors[i]->first = g->tensors[i]->last = -1;
    for (size_t e = 0; e < g->count; e++) {
        const fx_node *n = g->entries[e].node;
        const bool backward = g->entries[e].pass == FX_BACKWARD;
        const unsigned reads = backward ? n->op->backward_reads : ~0u;
        for (int i = 0; i < FX_MAX_IN; i++) {
            if (reads & FX_IN(i)) live(n->in[i], (int)e);
            if (backward) live(n->din[i], (int)e);
        }
        for (int i = 0; i < FX_MAX_OUT; i++) {
            if (reads & FX_OUT(i)) live(n->out[i], (int)e);
            if (backward) live(n->dout[i], (int)e);
        }
        for (int i = 0; i < FX_MAX_SAVED; i++)
            if (reads & FX_SAVED(i)) live(n->saved[i], (int)e);
    }
}

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t collect(fx_builder *g, block *blocks)
{
    size_t count = 0;
    for (size_t i = 0; i < g->tensor_count; i++) {
        fx_tensor *t = g->tensors[i];
        if (t->memory != FX_PLANNED || t->first < 0) continue;
        blocks[count++] = (block){round_up(fx_tensor_bytes(t)), 0, t->first, t->last, t, NULL};
    }
    for (size_t e = 0; e < g->count; e++)
        if (g->entries[e].scratch_bytes > 0)
            blocks[count++] =
                (block){round_up(g->entries[e].scratch_bytes), 0, (int)e, (int)e, NULL, &g->entries[e]};
    return count;
}

/* Largest first; equal sizes in order of birth, so that the plan is a function of the tape alone. */
static int by_size(const void *a, const void *b)
{
    const block *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->last < y->last ? -1 : x->last > y->last;
}

/* `placed` is sorted by offset. Returns where the block goes and inserts it. */
static void place(block *b, block **placed, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const block *p = placed[i];
        if (p->last < b->first || p->first > b->last) continue;
        if (p->offset >= at + b->bytes) break;
        if (p->offset + p->bytes > at) at = p->offset + p->bytes;
    }
    b->offset = at;
    size_t i = count;
    for (; i > 0 && placed[i - 1]->offset > at; i--)
        placed[i] = placed[i - 1];
    placed[i] = b;
}

static void summarize(const block *blocks, size_t count, int forward_end, int peak, fx_plan_summary *s)
{
    for (size_t i = 0; i < count; i++) {
        const block *b = &blocks[i];
        if (b->offset + b->bytes > s->arena_bytes) s->arena_bytes = b->offset + b->bytes;
        if (b->tensor) s->tensor_bytes += b->bytes;
        if (b->tensor && b->first < forward_end && b->last >= forward_end) s->saved_bytes += b->bytes;
        if (b->first > peak || b->last < peak) continue;
        s->peak_bytes += b->bytes;
        if (b->tensor)
            s->peak_by_role[b->tensor->role] += b->bytes;
        else
            s->peak_scratch += b->bytes;
    }
}

/* The entry at which most bytes are alive: prefix sums of births and deaths. */
static fx_status find_peak(const fx_builder *g, const block *blocks, size_t count, int *peak)
{
    int64_t *change = NULL;
    FX_TRY(FX_ALLOC(change, g->count + 1));
    for (size_t i = 0; i < count; i++) {
        change[blocks[i].first] += (int64_t)blocks[i].bytes;
        change[blocks[i].last + 1] -= (int64_t)blocks[i].bytes;
    }
    int64_t alive = 0, most = -1;
    for (size_t e = 0; e < g->count; e++) {
        alive += change[e];
        if (alive > most) {
            most = alive;
            *peak = (int)e;
        }
    }
    fx_free(change);
    return FX_OK;
}

static int first_backward(const fx_builder *g)
{
    size_t e = 0;
    while (e < g->count && g->entries[e].pass == FX_FORWARD)
        e++;
    return (int)e;
}

fx_status fx_plan(fx_builder *g, fx_plan_summary *out)
{
    fx_status status = FX_OK;
    block *blocks = NULL, **placed = NULL;
    int peak = 0;
    mark_lifetimes(g);
    FX_TRY_DONE(FX_ALLOC(blocks, g->tensor_count + g->count));
    const size_t count = collect(g, blocks);
    FX_TRY_DONE(FX_ALLOC(placed, count));
    if (count > 0) qsort(blocks, count, sizeof *blocks, by_size);
    for (size_t i = 0; i < count; i++) {
        place(&blocks[i], placed, i);
        if (blocks[i].tensor)
            blocks[i].tensor->offset = blocks[i].offset;
        else
            blocks[i].entry->scratch_offset = blocks[i].offset;
    }
    for (size_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->memory == FX_KEPT)
            out->kept_bytes += round_up(fx_tensor_bytes(g->tensors[i]));
    FX_TRY_DONE(find_peak(g, blocks, count, &peak));
    summarize(blocks, count, first_backward(g), peak, out);
    out->peak_node = g->count > 0 ? g->entries[peak].node->name : "";
done:
    fx_free(blocks);
    fx_free(placed);
    return status;
}
