/* CUDA twin of src/ops/exchange.c: packs, and NCCL begins, beside the kernels that follow. Bound by
 * memory: every number of the own latents is read and written once; over the network go ranks - 1 of
 * ranks parts of that. NCCL is given words of 4 bytes, whatever they hold. */
#include "comm_nccl.h"
#include "launch.cuh"

enum { E };            /* in[]: (2B,T,D) or images (2B,h,w,D), SR rows then FC rows */
enum { ARRIVED, BOX }; /* out[]: (N,B,2,w) both, block p from rank p, and for it */
enum { THREADS = 256 };

typedef struct exchange_view {
    int64_t B, ranks, size, width; /* size: elements of one latent; width: w */
} exchange_view;

static exchange_view view_of(const fx_node *n)
{
    const int64_t *d = n->in[E]->dim, *box = n->out[BOX]->dim;
    return exchange_view{d[0] / 2, box[0], fx_count(n->in[E]) / d[0], box[3]};
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)backward;
    *scratch_bytes = 0;
    FX_REQUIRE(fx_group(exec)->size == n->attrs.gather.ranks, FX_EARG,
               "recorded for %d ranks, run by %d", n->attrs.gather.ranks, fx_group(exec)->size);
    return fx_nccl_prepare(exec, fx_group(exec));
}

/* Every element of the box, (rank, sample, task, feature), from (task, sample, feature). */
template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) pack(exchange_view v, const T *e, T *box)
{
    const int64_t i = fx_index(), row = i / v.width, task = row % 2, b = row / 2 % v.B;
    const int64_t feature = row / 2 / v.B * v.width + i % v.width;
    if (i >= v.ranks * v.B * 2 * v.width) return;
    fx_set(box + i, feature < v.size ? fx_get(e + (task * v.B + b) * v.size + feature) : 0.0f);
}

/* Every element of dE from its place in what came. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS) unpack(exchange_view v, const T *arrived, T *de, bool add)
{
    const int64_t i = fx_index(), k = i / v.size, feature = i % v.size, rank = feature / v.width;
    if (i >= 2 * v.B * v.size) return;
    const int64_t row = (rank * v.B + k % v.B) * 2 + k / v.B;
    fx_put(de + i, fx_get(arrived + row * v.width + feature % v.width), add);
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const exchange_view v = view_of(n);
    const int64_t count = fx_count(n->out[BOX]);
    T *box = fx_data<T>(n->out[BOX]), *arrived = fx_data<T>(n->out[ARRIVED]);
    FX_LAUNCH(exec, n, pack<T>, fx_grid(count, THREADS), THREADS, 0, v, fx_data<T>(n->in[E]), box);
    if (v.ranks > 1)
        return fx_nccl_start_exchange(exec, fx_group(exec), n, box,
                                      fx_tensor_bytes(n->out[BOX]) / (size_t)v.ranks, arrived);
    FX_LAUNCH(exec, n, pack<T>, fx_grid(count, THREADS), THREADS, 0, v, fx_data<T>(n->in[E]), arrived);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[E]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const exchange_view v = view_of(n);
    if (v.ranks > 1) FX_TRY(fx_nccl_await_exchange(exec));
    FX_LAUNCH(exec, n, unpack<T>, fx_grid(fx_count(n->in[E]), THREADS), THREADS, 0, v,
              fx_data<T>(n->dout[ARRIVED]), fx_data<T>(n->din[E]), fx_adds(n, E));
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[E]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_exchange = {prepare, forward, backward};
