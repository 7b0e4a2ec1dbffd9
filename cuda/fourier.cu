/* CUDA twin of src/ops/fourier.c: y = sqrt(2) cos(t f + p), in double. A thread an element; some
 * thousand in all, so only the start of the kernel counts. */
#include "launch.cuh"

enum { TIME, FREQS, PHASES, THREADS = 256 };

template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS)
    fourier(const float *t, const float *freqs, const float *phases, T *y, int64_t D, int64_t count)
{
    const int64_t i = fx_index();
    if (i >= count) return;
    const double angle = (double)t[i / D] * (double)freqs[i % D] + (double)phases[i % D];
    fx_set(y + i, (float)(1.4142135623730951 * cos(angle)));
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->out[0]);
    FX_LAUNCH(exec, n, fourier<T>, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->in[TIME]),
              fx_f32(n->in[FREQS]), fx_f32(n->in[PHASES]), fx_data<T>(n->out[0]), n->out[0]->dim[1],
              count);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->out[0]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

const fx_kernel fx_cuda_fourier = {NULL, forward, NULL};
