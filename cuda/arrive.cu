/* CUDA twin of src/ops/arrive.c: waits for what `exchange` began, and for no other communication, and
 * places it; backward packs, and NCCL begins, beside the kernels that follow. Bound by memory: every
 * number is read and written once. */
#include "comm_nccl.h"
#include "launch.cuh"

enum { ARRIVED, BOX }; /* in[]: (N,B,2,w) both, as exchange made them */
enum { PART };         /* out[]: (G,2,w), G = N * stride */
enum { THREADS = 256 };

typedef struct arrive_view {
    int64_t block, pitch, offset, count; /* elements: of one rank's block; from one to the next in PART;
                                            before the first; of all blocks */
} arrive_view;

static arrive_view view_of(const fx_node *n)
{
    const int64_t *d = n->in[ARRIVED]->dim, row = d[2] * d[3];
    const fx_gather_attrs *a = &n->attrs.gather;
    return arrive_view{d[1] * row, a->stride * row, a->offset * row, d[0] * d[1] * row};
}

/* One reader alone has the gradient of ARRIVED: what comes in is stored, not added. */
static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    *scratch_bytes = 0;
    FX_REQUIRE(fx_group(exec)->size == n->attrs.gather.ranks, FX_EARG,
               "recorded for %d ranks, run by %d", n->attrs.gather.ranks, fx_group(exec)->size);
    FX_REQUIRE(!backward || !fx_adds(n, ARRIVED) || n->attrs.gather.ranks == 1, FX_EARG,
               "what comes from %d ranks can't be added", n->attrs.gather.ranks);
    return fx_nccl_prepare(exec, fx_group(exec));
}

FX_DEVICE int64_t place_of(const arrive_view &v, int64_t i)
{
    return i / v.block * v.pitch + v.offset + i % v.block;
}

template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) place(arrive_view v, const T *blocks, T *part)
{
    const int64_t i = fx_index();
    if (i < v.count) fx_set(part + place_of(v, i), fx_get(blocks + i));
}

template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS) collect(arrive_view v, const T *part, T *blocks, bool add)
{
    const int64_t i = fx_index();
    if (i < v.count) fx_put(blocks + i, fx_get(part + place_of(v, i)), add);
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const arrive_view v = view_of(n);
    if (n->attrs.gather.ranks > 1) FX_TRY(fx_nccl_await_exchange(exec));
    FX_LAUNCH(exec, n, place<T>, fx_grid(v.count, THREADS), THREADS, 0, v, fx_data<T>(n->in[ARRIVED]),
              fx_data<T>(n->out[PART]));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[ARRIVED]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const arrive_view v = view_of(n);
    const bool alone = n->attrs.gather.ranks == 1;
    T *arrived = fx_data<T>(n->din[ARRIVED]), *out = alone ? arrived : fx_data<T>(n->in[BOX]);
    FX_LAUNCH(exec, n, collect<T>, fx_grid(v.count, THREADS), THREADS, 0, v, fx_data<T>(n->dout[PART]),
              out, fx_adds(n, ARRIVED));
    if (alone) return FX_OK;
    return fx_nccl_start_exchange(exec, fx_group(exec), n, out, sizeof(T) * (size_t)v.block, arrived);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[ARRIVED]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_arrive = {prepare, forward, backward};
