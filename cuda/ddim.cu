/* CUDA twin of src/ops/ddim.c: one step of DDIM sampling. The noise levels are the node's own, so the
 * host computes them. Memory binds: 16 bytes an element, 14 where the network's output is bf16. */
#include "launch.cuh"

#include "flexhpc/schedule.h"

enum { X, NET };      /* in[]: (R,S,S,1) twice */
enum { XNEXT, MEAN }; /* out[]: the same */
enum { THREADS = 256 };

typedef struct levels {
    float alpha, sigma, alpha_next, sigma_next;
    bool net_is_mean;
} levels;

/* W divides count. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS)
    ddim(levels v, const float *x, const T *net, float *x_next, float *mean, int64_t count)
{
    const int64_t i = fx_index() * W;
    if (i >= count) return;
    float from[W], says[W], m[W], next[W];
    fx_get_all<W>(x + i, from);
    fx_get_all<W>(net + i, says);
    for (int k = 0; k < W; k++) {
        m[k] = v.net_is_mean ? says[k] : v.alpha * from[k] - v.sigma * says[k];
        const float e = v.net_is_mean ? (from[k] - v.alpha * m[k]) / v.sigma
                                      : v.alpha * says[k] + v.sigma * from[k];
        next[k] = v.alpha_next * m[k] + v.sigma_next * e;
    }
    fx_set_all<W>(mean + i, m);
    fx_set_all<W>(x_next + i, next);
}

template <typename T, int W> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const fx_ddim_attrs *a = &n->attrs.ddim;
    const fx_noise_level now = fx_schedule(a->t, a->shift), next = fx_schedule(a->t_next, a->shift);
    const levels v = {(float)now.alpha, (float)now.sigma, (float)next.alpha, (float)next.sigma,
                      a->predict == FX_PREDICT_X};
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, (ddim<T, W>), fx_grid(count, W * THREADS), THREADS, 0, v, fx_f32(n->in[X]),
              fx_data<T>(n->in[NET]), fx_f32(n->out[XNEXT]), fx_f32(n->out[MEAN]), count);
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return fx_count(n->in[X]) % WIDE == 0 ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[NET]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

const fx_kernel fx_cuda_ddim = {NULL, forward, NULL};
