/* The diffused residuals and what the network is to say about them (spec 6). Per sample b with time t
 * and noise eps, for SR rows (where LOWRES is given) and then FC rows (where FUTURE is given):
 *   R = (last snapshot - lowres) / scale (SR), (future - last snapshot) / scale (FC), without what is
 *   taken off where it is raw
 *   z = alpha R + sigma eps;  target = alpha eps - sigma R (v), R (x), eps (eps)
 * The schedule is computed in double and rounded. Data, so there is no gradient. */
#include "ops.h"

#include "flexhpc/schedule.h"

/* in[]: (B), (B,S,S,1), (B,S,S,1) or NULL, (B,S,S,cond), (B,S,S,1) or NULL */
enum { T, EPS, LOWRES, SNAPSHOTS, FUTURE };
/* out[]: (R,S,S,1) twice, (B,4): alpha, sigma, weight, logsnr */
enum { Z, TARGET, SCHEDULE };

static fx_status shape(fx_node *n)
{
    const fx_tensor *eps = n->in[EPS], *past = n->in[SNAPSHOTS];
    FX_REQUIRE(n->in[T] && eps && past && eps->rank == 4 && eps->dim[3] == 1, FX_EARG,
               "needs times, noise and snapshots");
    const int64_t *d = eps->dim, tasks = (n->in[LOWRES] != NULL) + (n->in[FUTURE] != NULL);
    FX_REQUIRE(tasks > 0, FX_EARG, "neither a low resolution nor a future: no task");
    FX_REQUIRE(fx_has_shape(n->in[T], 1, d) &&
                   fx_has_shape(past, 4, FX_DIMS(d[0], d[1], d[2], past->dim[3])) &&
                   (!n->in[LOWRES] || fx_same_shape(n->in[LOWRES], eps)) &&
                   (!n->in[FUTURE] || fx_same_shape(n->in[FUTURE], eps)),
               FX_EARG, "times %s, low resolution %s, snapshots %s and future %s do not fit noise %s",
               fx_shape_text(n->in[T]), fx_shape_text(n->in[LOWRES]), fx_shape_text(past),
               fx_shape_text(n->in[FUTURE]), fx_shape_text(eps));
    const float *scale = n->attrs.diffuse.target.scale;
    FX_REQUIRE(scale[0] > 0 && scale[1] > 0, FX_EARG, "scales %g and %g are not above 0",
               (double)scale[0], (double)scale[1]);
    FX_TRY(fx_out_shape(n, Z, 4, FX_DIMS(tasks * d[0], d[1], d[2], 1)));
    FX_TRY(fx_out_shape(n, TARGET, 4, FX_DIMS(tasks * d[0], d[1], d[2], 1)));
    return fx_out_shape(n, SCHEDULE, 2, FX_DIMS(d[0], 4));
}

/* Pixels that stand so far apart. */
typedef struct field {
    const float *x;
    int64_t step;
} field;

/* One row: R = (to - from) / scale. */
static void diffuse(const fx_diffuse_attrs *a, const float *s, field to, field from, float scale,
                    const float *eps, float *z, float *target, int64_t pixels)
{
    const float alpha = s[0], sigma = s[1];
    const fx_predict predict = a->schedule.predict;
    for (int64_t i = 0; i < pixels; i++) {
        const float whole = to.x[i * to.step], base = from.x[i * from.step],
                    R = (a->target.raw ? whole : whole - base) / scale;
        z[i] = alpha * R + sigma * eps[i];
        target[i] = predict == FX_PREDICT_V   ? alpha * eps[i] - sigma * R
                    : predict == FX_PREDICT_X ? R
                                              : eps[i];
    }
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const fx_diffuse_attrs *a = &n->attrs.diffuse;
    const int64_t *d = n->in[EPS]->dim, B = d[0], P = d[1] * d[2], cond = n->in[SNAPSHOTS]->dim[3];
    const int64_t rows = n->out[Z]->dim[0], sr_rows = n->in[LOWRES] ? B : 0;
    const float *t = fx_f32(n->in[T]), *lowres = fx_f32(n->in[LOWRES]), *future = fx_f32(n->in[FUTURE]);
    float *schedule = fx_f32(n->out[SCHEDULE]);
    for (int64_t b = 0; b < B; b++) {
        const fx_noise_level level = fx_schedule((double)t[b], a->schedule.shift);
        schedule[4 * b] = (float)level.alpha;
        schedule[4 * b + 1] = (float)level.sigma;
        schedule[4 * b + 2] = (float)fx_loss_weight(&a->schedule, level);
        schedule[4 * b + 3] = (float)level.logsnr;
    }
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const int64_t b = r % B;
        const bool sr = r < sr_rows;
        const field last = {fx_f32(n->in[SNAPSHOTS]) + b * P * cond + cond - 1, cond},
                    other = {(sr ? lowres : future) + b * P, 1};
        diffuse(a, schedule + 4 * b, sr ? last : other, sr ? other : last, a->target.scale[sr ? 0 : 1],
                fx_f32(n->in[EPS]) + b * P, fx_f32(n->out[Z]) + r * P, fx_f32(n->out[TARGET]) + r * P,
                P);
    }
    return FX_OK;
}

#define IMAGE                                                                                          \
    {                                                                                                  \
        2, 3, 3, 1                                                                                     \
    }
#define IMAGE2                                                                                         \
    {                                                                                                  \
        2, 3, 3, 2                                                                                     \
    }
static const fx_op_case cases[] = {
    {.name = "v, both tasks",
     .attrs = {.diffuse = {{FX_PREDICT_V, 1.0, true, -1.0}, {false, {1, 1}}}},
     .dim = {{2}, IMAGE, IMAGE, IMAGE2, IMAGE}},
    {.name = "x, SR, raw",
     .attrs = {.diffuse = {{FX_PREDICT_X, 1.0, false, 0.0}, {true, {1, 1}}}},
     .dim = {{2}, IMAGE, IMAGE, IMAGE2}},
    {.name = "eps, FC, scaled",
     .attrs = {.diffuse = {{FX_PREDICT_EPS, 0.5, true, -1.0}, {false, {0.5f, 0.25f}}}},
     .dim = {{2}, IMAGE, {0}, IMAGE2, IMAGE}},
    {.name = "v, raw and scaled, four pixels at once",
     .attrs = {.diffuse = {{FX_PREDICT_V, 0.8, false, 0.0}, {true, {0.3f, 2}}}},
     .dim = {{2}, {2, 4, 4, 1}, {2, 4, 4, 1}, {2, 4, 4, 3}, {2, 4, 4, 1}}},
    {0},
};

/* Times in (0, 1). */
static fx_status make_input(const fx_op_case *c, int input, float *x, int64_t count)
{
    (void)c;
    for (int64_t i = 0; input == T && i < count; i++)
        x[i] = ((float)i + 0.5f) / (float)count;
    return FX_OK;
}

const fx_op fx_op_diffuse = {
    .name = "diffuse", .shape = shape, .fp32 = ~0u, .cases = cases, .make_input = make_input};
const fx_kernel fx_cpu_diffuse = {.forward = forward};
