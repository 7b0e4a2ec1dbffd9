/* buckets.c: who decides the order and size of gradient reductions. Parameters lie in the gradient slab
 * in the order in which backward finishes them, so a bucket is a range, and its reduction starts as
 * soon as the last gradient in it is written. */
#include "builder.h"

enum {
    TAIL_BYTES = 2 << 20, /* the last bucket can't hide behind anything: it is small */
    BUCKETS_USUAL = 16,
    USUAL_LEAST = 1 << 20,
    USUAL_MOST = 32 << 20
};

typedef struct bucket {
    int64_t offset, end; /* elements of the slab */
    int ready;           /* entry that writes its last gradient */
} bucket;

static int64_t end_of(fx_param *const *order, int i, int count, const fx_tensor *slab)
{
    return i + 1 < count ? order[i + 1]->offset : slab->dim[0];
}

/* First parameter of the last bucket: as many as fit into TAIL_BYTES, at least one. */
static int tail_start(fx_param *const *order, int count, const fx_tensor *slab)
{
    int i = count - 1;
    while (i > 0 && (slab->dim[0] - order[i - 1]->offset) * (int64_t)sizeof(float) <= TAIL_BYTES)
        i--;
    return i;
}

/* Larger ones lose less to latency, more of them hide better behind backward (docs/SCALING.md). */
static size_t usual_bytes(const fx_tensor *slab)
{
    const size_t share = fx_tensor_bytes(slab) / BUCKETS_USUAL;
    return share < USUAL_LEAST ? USUAL_LEAST : share > USUAL_MOST ? USUAL_MOST : share;
}

static int cut(fx_builder *g, const fx_tensor *slab, size_t bytes, bucket *out)
{
    const int tail = tail_start(g->ready, g->ready_count, slab);
    int count = 0;
    for (int i = 0; i < g->ready_count; i++) {
        const int64_t start = g->ready[i]->offset, end = end_of(g->ready, i, g->ready_count, slab);
        bucket *last = count > 0 ? &out[count - 1] : NULL;
        if (last && i != tail && (size_t)(end - last->offset) * sizeof(float) <= bytes)
            last->end = end;
        else
            out[count++] = (bucket){start, end, 0};
        out[count - 1].ready = g->ready[i]->gradient[0].last;
    }
    return count;
}

/* Moves the entries behind `at` one place on and records the reduction there. */
static void insert_reduction(fx_builder *g, fx_tensor *slab, const bucket *b, int number, size_t at,
                             bool bf16)
{
    char name[32];
    if (fx_print(name, sizeof name, "bucket.%d", number) != FX_OK) return;
    const fx_attrs attrs = {.reduce = {.offset = b->offset, .count = b->end - b->offset, .bf16 = bf16}};
    const fx_node *n = fx_record(g, FX_OP_all_reduce, name, attrs, &slab, 1);
    if (!n) return;
    if (bf16) n->out[0]->role = FX_GRADIENT;
    const fx_entry entry = g->entries[g->count - 1];
    for (size_t e = g->count - 1; e > at; e--)
        g->entries[e] = g->entries[e - 1];
    g->entries[at] = entry;
}

int fx_buckets(fx_builder *g, size_t bytes, bool bf16)
{
    fx_tensor *slab = fx_params_slab(g->params, FX_SLAB_GRADIENT, 0);
    if (g->status != FX_OK) return 0;
    if (!slab || g->ready_count == 0) {
        fx_builder_fail(g, FX_EARG, "buckets need the gradient slab and the backward pass");
        return 0;
    }
    for (int i = 1; i < g->ready_count; i++)
        if (g->ready[i]->offset < g->ready[i - 1]->offset) {
            fx_builder_fail(g, FX_EARG, "%s: the slab is not in order of readiness", g->ready[i]->name);
            return 0;
        }
    bucket *buckets = fx_calloc((size_t)g->ready_count, sizeof *buckets);
    if (!buckets) {
        fx_builder_fail(g, FX_ENOMEM, "no memory for %d buckets", g->ready_count);
        return 0;
    }
    const int count = cut(g, slab, bytes > 0 ? bytes : usual_bytes(slab), buckets);
    for (int k = count; k-- > 0;) /* from the end: earlier places stay valid */
        insert_reduction(g, slab, &buckets[k], k, (size_t)buckets[k].ready + 1, bf16);
    fx_free(buckets);
    return count;
}

void fx_buckets_join(fx_builder *g)
{
    fx_tensor *slab = fx_params_slab(g->params, FX_SLAB_GRADIENT, 0);
    const size_t behind = g->count;
    fx_record(g, FX_OP_join, "join", (fx_attrs){0}, NULL, 0);
    for (size_t e = 0; e < behind; e++) {
        const fx_node *n = g->entries[e].node;
        if (n->id == FX_OP_all_reduce && n->out[0])
            fx_record(g, FX_OP_widen, n->name, n->attrs, (fx_tensor *[]){n->out[0], slab}, 2);
    }
}
