/* CUDA twin of src/ops/update.c: all parameters in one launch. The step's numbers and clip's result are
 * read on the device, so a captured step needs no host. Bound by memory: an element costs 28 bytes with
 * Lion (reads P, G, M, EMA, writes P, M, EMA), 36 with AdamW, 8 less without EMA; where kernels read
 * bf16, 4 more for the copies of P and EMA (2 without it), from the same registers. */
#include "launch.cuh"

/* in[]: (n) each, V NULL for Lion, EMA may be NULL; (4) as of clip; (1,n), of P, or (2,n), of P and
 * EMA, or NULL */
enum { P, G, M, V, EMA, NORM, COPY };
enum { FACTOR = 1, FINITE = 2 }; /* of NORM */
enum { THREADS = 256, ROUNDS = 8, WIDE = 4 };

/* T: what kernels read. */
template <typename T> struct slabs {
    float *p, *m, *v, *ema;
    const float *g;
    T *copy[2]; /* of p and ema; NULL: none */
    int64_t count;
};

typedef struct rates {
    double beta[2];
    float keep[2], take[2], eps, decay; /* keep: beta, take: 1 - beta */
} rates;

static rates rates_of(const fx_update_attrs *a)
{
    return rates{{a->beta1, a->beta2},
                 {(float)a->beta1, (float)a->beta2},
                 {(float)(1 - a->beta1), (float)(1 - a->beta2)},
                 (float)a->eps,
                 (float)a->decay};
}

/* What the present step scales the gradient and its moments with. */
typedef struct scales {
    float factor, lr, rest, bias[2];
} scales;

FX_DEVICE float average(float old, float now, const rates &a, int which)
{
    return a.keep[which] * old + a.take[which] * now;
}

FX_DEVICE float lion(float gradient, const rates &a, float *m)
{
    const float u = average(*m, gradient, a, 0);
    *m = average(*m, gradient, a, 1);
    return (float)((u > 0) - (u < 0));
}

FX_DEVICE float adamw(float gradient, const rates &a, const scales &s, float *m, float *v)
{
    *m = average(*m, gradient, a, 0);
    *v = average(*v, gradient * gradient, a, 1);
    return *m * s.bias[0] / (sqrtf(*v * s.bias[1]) + a.eps);
}

/* WIDE elements, in one store. */
FX_DEVICE void copy_wide(float *to, int64_t left, const float *v)
{
    fx_set_wide(to, left, v);
}
FX_DEVICE void copy_wide(fx_bf16 *to, int64_t left, const float *v)
{
    if (left >= WIDE) return fx_store_pair(to, fx_pack_bf16(v[0], v[1]), fx_pack_bf16(v[2], v[3]));
    for (int k = 0; k < WIDE; k++)
        if (k < left) fx_set(to + k, v[k]);
}

template <bool ADAMW, typename T>
FX_DEVICE void update_wide(const slabs<T> &x, const rates &a, const scales &s, int64_t i)
{
    const int64_t left = x.count - i;
    float p[WIDE], g[WIDE], m[WIDE], v[WIDE], ema[WIDE];
    fx_get_wide(x.p + i, left, p);
    fx_get_wide(x.g + i, left, g);
    fx_get_wide(x.m + i, left, m);
    if (ADAMW) fx_get_wide(x.v + i, left, v);
    if (x.ema) fx_get_wide(x.ema + i, left, ema);
    for (int k = 0; k < WIDE; k++) {
        const float gradient = s.factor * g[k];
        const float change = ADAMW ? adamw(gradient, a, s, &m[k], &v[k]) : lion(gradient, a, &m[k]);
        p[k] -= s.lr * (change + a.decay * p[k]);
        if (x.ema) ema[k] -= s.rest * (ema[k] - p[k]);
    }
    fx_set_wide(x.p + i, left, p);
    fx_set_wide(x.m + i, left, m);
    if (ADAMW) fx_set_wide(x.v + i, left, v);
    if (x.ema) fx_set_wide(x.ema + i, left, ema);
    if (x.copy[0]) copy_wide(x.copy[0] + i, left, p);
    if (x.copy[1]) copy_wide(x.copy[1] + i, left, ema);
}

template <bool ADAMW, typename T>
FX_KERNEL void FX_BOUNDS(THREADS) update(slabs<T> x, rates a, const float *norm, const fx_step *step)
{
    FX_SHARED(bytes);
    float *bias = (float *)bytes; /* powers are dear: two threads of a block compute them for all */
    if (norm[FINITE] == 0.0f) return;
    scales s = {norm[FACTOR], step->learning_rate, 1 - step->ema_decay, {0, 0}};
    if (ADAMW) {
        const int t = fx_thread();
        const double beta = t == 0 ? a.beta[0] : a.beta[1];
        if (t < 2) bias[t] = (float)(1 / (1 - pow(beta, (double)step->update)));
        fx_sync();
        s.bias[0] = bias[0], s.bias[1] = bias[1];
    }
    const int64_t first = (int64_t)fx_block() * THREADS * ROUNDS + fx_thread();
    for (int r = 0; r < ROUNDS; r++) {
        const int64_t i = WIDE * (first + r * THREADS);
        if (i >= x.count) return;
        update_wide<ADAMW>(x, a, s, i);
    }
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[P]);
    T *copy = fx_data<T>(n->in[COPY]);
    const slabs<T> x = {fx_f32(n->in[P]),
                        fx_f32(n->in[M]),
                        fx_f32(n->in[V]),
                        fx_f32(n->in[EMA]),
                        fx_f32(n->in[G]),
                        {copy, copy && n->in[COPY]->dim[0] == 2 ? copy + count : NULL},
                        count};
    const rates a = rates_of(&n->attrs.update);
    const unsigned grid = fx_grid(count, THREADS * ROUNDS * WIDE);
    const size_t shared = sizeof(float) * 2;
    if (n->attrs.update.optimizer == FX_LION)
        FX_LAUNCH(exec, n, (update<false, T>), grid, THREADS, shared, x, a, fx_f32(n->in[NORM]),
                  fx_cuda_step(exec));
    else
        FX_LAUNCH(exec, n, (update<true, T>), grid, THREADS, shared, x, a, fx_f32(n->in[NORM]),
                  fx_cuda_step(exec));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[COPY]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

const fx_kernel fx_cuda_update = {NULL, forward, NULL};
