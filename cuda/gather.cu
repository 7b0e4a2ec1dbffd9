/* CUDA twin of src/ops/gather.c: pack, gather by NCCL, place. The ranks' blocks lie in ALL as they come
 * where one node brings all samples of a rank; then they are gathered there, in place, no kernel places
 * them, and kernels that follow run beside it, up to `join`. Bound by the network: ranks - 1 blocks
 * come in, of 8 bytes a number of a latent and sample, in bf16 4. NCCL is given words of 4 bytes,
 * whatever they hold. */
#include "comm_nccl.h"
#include "launch.cuh"

enum { E };   /* in[]: (2B,T,D) or images (2B,h,w,D), T = h w; SR rows then FC rows */
enum { ALL }; /* out[]: (G,2,T,D), G = ranks * stride */
enum { THREADS = 256 };

typedef struct view {
    int64_t B, stride, offset, ranks, size; /* size: elements of one latent */
} view;

static view view_of(const fx_node *n)
{
    const int64_t *d = n->in[E]->dim;
    const fx_gather_attrs *a = &n->attrs.gather;
    return view{d[0] / 2, a->stride, a->offset, a->ranks, fx_count(n->in[E]) / d[0]};
}

static int64_t block_elements(const view &v)
{
    return 2 * v.B * v.size;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    const view v = view_of(n);
    FX_REQUIRE(fx_group(exec)->size == v.ranks, FX_EARG, "recorded for %lld ranks, run by %d",
               (long long)v.ranks, fx_group(exec)->size);
    *scratch_bytes =
        v.stride == v.B ? 0 : fx_dtype_bytes(n->in[E]->dtype) * (size_t)(v.ranks * block_elements(v));
    return fx_nccl_prepare(exec, fx_group(exec));
}

/* Block (x, k): part of row k of E, (task, sample), to its place (sample, task). */
template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) pack(view v, const T *e, T *block)
{
    const int64_t i = fx_index(), k = fx_block_y(), to = k % v.B * 2 + k / v.B;
    if (i < v.size) fx_set(block + to * v.size + i, fx_get(e + k * v.size + i));
}

/* Block (x, r): part of rank r's block to its place in ALL. */
template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) place(view v, const T *blocks, T *all)
{
    const int64_t i = fx_index(), rank = fx_block_y(), count = 2 * v.B * v.size;
    const int64_t to = (rank * v.stride + v.offset) * 2 * v.size;
    if (i < count) fx_set(all + to + i, fx_get(blocks + rank * count + i));
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const bool direct = v.stride == v.B;
    const int64_t count = block_elements(v);
    T *all = fx_data<T>(n->out[ALL]), *blocks = direct ? all : (T *)fx_scratch(exec);
    T *mine = blocks + fx_group(exec)->rank * count;
    FX_LAUNCH(exec, n, pack<T>, dim3(fx_grid(v.size, THREADS), (unsigned)(2 * v.B)), THREADS, 0, v,
              fx_data<T>(n->in[E]), mine);
    const int64_t words = count * (int64_t)sizeof(T) / (int64_t)sizeof(float); /* count is even */
    if (v.ranks > 1)
        FX_TRY(
            fx_nccl_start_gather(exec, fx_group(exec), n, (const float *)mine, words, (float *)blocks));
    if (direct) return FX_OK; /* under way up to `join` */
    FX_TRY(fx_cuda_rejoin(fx_cuda_of(exec)));
    FX_LAUNCH(exec, n, place<T>, dim3(fx_grid(count, THREADS), (unsigned)v.ranks), THREADS, 0, v,
              blocks, all);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[E]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

const fx_kernel fx_cuda_gather = {prepare, forward, NULL};
