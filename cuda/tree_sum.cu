/* CUDA twin of src/ops/tree_sum.c: the same tree, hence the same bits. A thread sums one element over
 * all samples. The rows come in order; as in a binary counter, the sum of every finished subtree of 2^l
 * rows waits in waiting[l] for its right neighbour, so each row is read once. Bound by memory: 4 (G +
 * 1) bytes an element. */
#include "launch.cuh"

enum { ALL }; /* in[]: (R, n), one gradient slab a local sample */
enum { THREADS = 256, LEVELS = 20 /* up to 2^20 - 1 samples */ };

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward, (void)scratch_bytes;
    FX_REQUIRE(exec->options.comm->size == 1, FX_EDEVICE, "a sum over ranks needs NCCL");
    FX_REQUIRE(n->in[ALL]->dim[0] < 1 << LEVELS, FX_EARG, "%lld samples are too many",
               (long long)n->in[ALL]->dim[0]);
    return FX_OK;
}

/* x (rows, pitch); sum may be row 0. */
FX_KERNEL void FX_BOUNDS(THREADS)
    sum_rows(const float *x, int64_t rows, int64_t pitch, int64_t count, float *sum)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    float waiting[LEVELS] = {0};
    for (int64_t g = 0; g < rows; g++) {
        float v = x[g * pitch + i];
        bool grows = true;
        for (int l = 0; l < LEVELS; l++) { /* unrolled: waiting[] is registers */
            const bool merges = grows && (g >> l & 1);
            if (merges) v = waiting[l] + v;
            if (grows && !merges) waiting[l] = v;
            grows = merges;
        }
    }
    float v = 0;
    bool any = false;
    for (int l = 0; l < LEVELS; l++)
        if (rows >> l & 1) {
            v = any ? waiting[l] + v : waiting[l];
            any = true;
        }
    sum[i] = v;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t rows = n->in[ALL]->dim[0], count = n->in[ALL]->dim[1];
    float *x = fx_f32(n->in[ALL]);
    FX_LAUNCH(exec, n, sum_rows, fx_grid(count, THREADS), THREADS, 0, x, rows, count, count, x);
    return FX_OK;
}

const fx_kernel fx_cuda_tree_sum = {prepare, forward, NULL};
