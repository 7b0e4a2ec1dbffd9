/* CUDA twin of src/ops/diffuse.c and, for the noise level at a time that only the device knows, of
 * src/ops/schedule.c. A thread makes its pixels of both tasks, so that noise and last snapshot are read
 * once; a block computes its sample's noise level once, in double. Memory binds: 12 bytes a pixel read
 * and 4 for each snapshot, 16 written, with both tasks. */
#include "launch.cuh"

/* in[]: (B), (B,S,S,1), (B,S,S,1) or NULL, (B,S,S,cond), (B,S,S,1) or NULL */
enum { TIME, EPS, LOWRES, SNAPSHOTS, FUTURE };
/* out[]: (R,S,S,1) twice, (B,4): alpha, sigma, weight, logsnr */
enum { Z, TARGET, SCHEDULE };
enum { THREADS = 256, WIDE = fx_wide<float>::COUNT };

typedef struct view {
    fx_diffuse_attrs attrs;
    int64_t samples, pixels, cond;
} view;

FX_DEVICE double loss_weight(const fx_schedule_attrs &a, double alpha, double sigma, double logsnr)
{
    if (!a.sigmoid_weight || a.predict == FX_PREDICT_X) return 1.0;
    return a.predict == FX_PREDICT_V ? 1.0 / (alpha * alpha * exp(-a.sigmoid_shift) + sigma * sigma)
                                     : 1.0 / (1.0 + exp(logsnr - a.sigmoid_shift));
}

/* r = sigma / alpha = tan(a t + b) shift; see src/ops/schedule.c. */
FX_DEVICE void schedule_of(const fx_schedule_attrs &attrs, double t, float s[4])
{
    const double b = atan(exp(-10.0)), a = atan(exp(10.0)) - b;
    const double r = tan(a * t + b) * attrs.shift, logsnr = -2.0 * log(r);
    const double alpha = 1.0 / sqrt(1.0 + r * r), sigma = r * alpha;
    s[0] = (float)alpha;
    s[1] = (float)sigma;
    s[2] = (float)loss_weight(attrs, alpha, sigma, logsnr);
    s[3] = (float)logsnr;
}

/* z and target of W pixels, from (to - from) / scale. */
template <int W, typename T>
FX_DEVICE void say(const fx_diffuse_attrs &a, const float s[4], const float to[W], const float from[W],
                   float scale, const float noise[W], T *z, T *target)
{
    const float alpha = s[0], sigma = s[1];
    const fx_predict predict = a.schedule.predict;
    float mixed[W], wanted[W];
    for (int k = 0; k < W; k++) {
        const float R = (a.target.raw ? to[k] : to[k] - from[k]) / scale;
        mixed[k] = alpha * R + sigma * noise[k];
        wanted[k] = predict == FX_PREDICT_V   ? alpha * noise[k] - sigma * R
                    : predict == FX_PREDICT_X ? R
                                              : noise[k];
    }
    fx_set_all<W>(z, mixed);
    fx_set_all<W>(target, wanted);
}

/* Block (x, y): sample y. lowres or future may be NULL. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS)
    diffuse(view v, const float *t, const T *eps, const T *lowres, const T *snapshots, const T *future,
            T *z, T *target, float *schedule)
{
    FX_SHARED(bytes);
    float *s = (float *)bytes; /* 4 */
    const int64_t b = fx_block_y(), i = fx_index() * W, at = b * v.pixels + i;
    if (fx_thread() == 0) {
        schedule_of(v.attrs.schedule, (double)t[b], s);
        if (fx_block() == 0) fx_set_wide(schedule + 4 * b, s);
    }
    fx_sync();
    if (i >= v.pixels) return;
    float noise[W], last[W], other[W];
    fx_get_all<W>(eps + at, noise);
    for (int k = 0; k < W; k++)
        last[k] = fx_get(snapshots + (at + k) * v.cond + v.cond - 1);
    if (lowres) {
        fx_get_all<W>(lowres + at, other);
        say<W>(v.attrs, s, last, other, v.attrs.target.scale[0], noise, z + at, target + at);
    }
    if (future) {
        const int64_t row = at + (lowres ? v.samples * v.pixels : 0);
        fx_get_all<W>(future + at, other);
        say<W>(v.attrs, s, other, last, v.attrs.target.scale[1], noise, z + row, target + row);
    }
}

template <int W> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->in[EPS]->dim;
    const view v = {n->attrs.diffuse, d[0], d[1] * d[2], n->in[SNAPSHOTS]->dim[3]};
    FX_LAUNCH(exec, n, (diffuse<float, W>), dim3(fx_grid(v.pixels, W * THREADS), (unsigned)v.samples),
              THREADS, 4 * sizeof(float), v, fx_f32(n->in[TIME]), fx_f32(n->in[EPS]),
              fx_f32(n->in[LOWRES]), fx_f32(n->in[SNAPSHOTS]), fx_f32(n->in[FUTURE]), fx_f32(n->out[Z]),
              fx_f32(n->out[TARGET]), fx_f32(n->out[SCHEDULE]));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t *d = n->in[EPS]->dim;
    return d[1] * d[2] % WIDE == 0 ? forward_by<WIDE>(exec, n) : forward_by<1>(exec, n);
}

const fx_kernel fx_cuda_diffuse = {NULL, forward, NULL};
