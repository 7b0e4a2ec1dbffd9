/* CUDA twin of src/ops/tree_sum.c: the same tree, hence the same bits. A thread sums one element over
 * all samples. The rows come in order; as in a binary counter, the sum of every finished subtree of 2^l
 * rows waits in waiting[l] for its right neighbour, so each row is read once. With several ranks, chunk
 * after chunk is gathered first, sample by sample, and nothing overlaps: a test oracle. Alone bound by
 * memory, 4 (G + 1) bytes an element; else by the network. */
#include "comm_nccl.h"
#include "launch.cuh"

enum { ALL }; /* in[]: (R, n), one gradient slab a local sample */
enum { THREADS = 256, LEVELS = 20 /* up to 2^20 - 1 samples */ };
static const int64_t CHUNK = 1 << 18; /* elements gathered at a time */

typedef struct view {
    int64_t samples, ranks, elements;
} view;

static view view_of(const fx_exec *exec, const fx_node *n)
{
    return view{n->in[ALL]->dim[0], exec->options.comm->size, n->in[ALL]->dim[1]};
}

static int64_t chunk_of(const view &v)
{
    return v.elements < CHUNK ? v.elements : CHUNK;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    const view v = view_of(exec, n);
    FX_REQUIRE(v.samples * v.ranks < 1 << LEVELS, FX_EARG, "%lld samples are too many",
               (long long)(v.samples * v.ranks));
    *scratch_bytes = v.ranks == 1 ? 0 : sizeof(float) * (size_t)(v.samples * v.ranks * chunk_of(v));
    return fx_nccl_prepare(exec, exec->options.comm);
}

/* Rows of x, `pitch` apart: sample s of rank r is row s ranks + r, its place in the sum r samples + s.
 * sum may be row 0. */
FX_KERNEL void FX_BOUNDS(THREADS)
    sum_rows(const float *x, view v, int64_t pitch, int64_t count, float *sum)
{
    const int64_t i = fx_index(), rows = v.samples * v.ranks;
    if (i >= count) return;
    float waiting[LEVELS] = {0};
    for (int64_t g = 0; g < rows; g++) {
        float part = x[(g % v.samples * v.ranks + g / v.samples) * pitch + i];
        bool grows = true;
        for (int l = 0; l < LEVELS; l++) { /* unrolled: waiting[] is registers */
            const bool merges = grows && (g >> l & 1);
            if (merges) part = waiting[l] + part;
            if (grows && !merges) waiting[l] = part;
            grows = merges;
        }
    }
    float whole = 0;
    bool any = false;
    for (int l = 0; l < LEVELS; l++)
        if (rows >> l & 1) {
            whole = any ? waiting[l] + whole : waiting[l];
            any = true;
        }
    sum[i] = whole;
}

static fx_status sum_chunk(fx_exec *exec, const fx_node *n, const view &v, int64_t at, int64_t count)
{
    float *slabs = fx_f32(n->in[ALL]) + at, *all = (float *)fx_scratch(exec);
    for (int64_t s = 0; s < v.samples; s++)
        FX_TRY(fx_nccl_start_gather(exec, exec->options.comm, n, slabs + s * v.elements, count,
                                    all + s * v.ranks * count));
    FX_TRY(fx_cuda_rejoin(fx_cuda_of(exec)));
    FX_LAUNCH(exec, n, sum_rows, fx_grid(count, THREADS), THREADS, 0, all, v, count, count, slabs);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(exec, n);
    const int64_t chunk = chunk_of(v);
    float *x = fx_f32(n->in[ALL]);
    if (v.ranks == 1) {
        FX_LAUNCH(exec, n, sum_rows, fx_grid(v.elements, THREADS), THREADS, 0, x, v, v.elements,
                  v.elements, x);
        return FX_OK;
    }
    for (int64_t at = 0; at < v.elements; at += chunk)
        FX_TRY(sum_chunk(exec, n, v, at, v.elements - at < chunk ? v.elements - at : chunk));
    return FX_OK;
}

const fx_kernel fx_cuda_tree_sum = {prepare, forward, NULL};
