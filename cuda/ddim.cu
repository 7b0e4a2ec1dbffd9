/* CUDA twin of src/ops/ddim.c: one step of DDIM sampling. The noise levels are the node's own, so the
 * host computes them. Memory binds: 16 bytes an element. */
#include "launch.cuh"

#include "flexhpc/schedule.h"

enum { X, NET };      /* in[]: (R,S,S,1) twice */
enum { XNEXT, MEAN }; /* out[]: the same */
enum { THREADS = 256, WIDE = fx_wide<float>::COUNT };

typedef struct levels {
    float alpha, sigma, alpha_next, sigma_next;
    bool net_is_mean;
} levels;

template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS)
    ddim(levels v, const T *x, const T *net, T *x_next, T *mean, int64_t count)
{
    const int64_t i = fx_index() * fx_wide<T>::COUNT, left = count - i;
    if (left <= 0) return;
    float from[fx_wide<T>::COUNT], says[fx_wide<T>::COUNT], m[fx_wide<T>::COUNT],
        next[fx_wide<T>::COUNT];
    fx_get_wide(x + i, left, from);
    fx_get_wide(net + i, left, says);
    for (int k = 0; k < fx_wide<T>::COUNT; k++) {
        m[k] = v.net_is_mean ? says[k] : v.alpha * from[k] - v.sigma * says[k];
        const float e = v.net_is_mean ? (from[k] - v.alpha * m[k]) / v.sigma
                                      : v.alpha * says[k] + v.sigma * from[k];
        next[k] = v.alpha_next * m[k] + v.sigma_next * e;
    }
    fx_set_wide(mean + i, left, m);
    fx_set_wide(x_next + i, left, next);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const fx_ddim_attrs *a = &n->attrs.ddim;
    const fx_noise_level now = fx_schedule(a->t, a->shift), next = fx_schedule(a->t_next, a->shift);
    const levels v = {(float)now.alpha, (float)now.sigma, (float)next.alpha, (float)next.sigma,
                      a->predict == FX_PREDICT_X};
    const int64_t count = fx_count(n->in[X]);
    FX_LAUNCH(exec, n, ddim<float>, fx_grid(count, WIDE * THREADS), THREADS, 0, v, fx_f32(n->in[X]),
              fx_f32(n->in[NET]), fx_f32(n->out[XNEXT]), fx_f32(n->out[MEAN]), count);
    return FX_OK;
}

const fx_kernel fx_cuda_ddim = {NULL, forward, NULL};
