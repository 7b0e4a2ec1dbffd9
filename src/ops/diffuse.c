/* The diffused residuals and what the network is to say about them (spec 6). Per sample b with time t
 * and noise eps, for SR rows (where LOWRES is given) and then FC rows (where FUTURE is given):
 *   R = last snapshot - lowres (SR), future - last snapshot (FC)
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
    FX_TRY(fx_out_shape(n, Z, 4, FX_DIMS(tasks * d[0], d[1], d[2], 1)));
    FX_TRY(fx_out_shape(n, TARGET, 4, FX_DIMS(tasks * d[0], d[1], d[2], 1)));
    return fx_out_shape(n, SCHEDULE, 2, FX_DIMS(d[0], 4));
}

/* One row: residual = to - from, both with their own distance between pixels. */
static void diffuse(const fx_schedule_attrs *a, const float *s, const float *to, int64_t to_stride,
                    const float *from, int64_t from_stride, const float *eps, float *z, float *target,
                    int64_t pixels)
{
    const float alpha = s[0], sigma = s[1];
    for (int64_t i = 0; i < pixels; i++) {
        const float R = to[i * to_stride] - from[i * from_stride];
        z[i] = alpha * R + sigma * eps[i];
        target[i] = a->predict == FX_PREDICT_V   ? alpha * eps[i] - sigma * R
                    : a->predict == FX_PREDICT_X ? R
                                                 : eps[i];
    }
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const fx_schedule_attrs *a = &n->attrs.diffuse;
    const int64_t *d = n->in[EPS]->dim, B = d[0], P = d[1] * d[2], cond = n->in[SNAPSHOTS]->dim[3];
    const int64_t rows = n->out[Z]->dim[0], sr_rows = n->in[LOWRES] ? B : 0;
    const float *t = fx_f32(n->in[T]), *lowres = fx_f32(n->in[LOWRES]), *future = fx_f32(n->in[FUTURE]);
    float *schedule = fx_f32(n->out[SCHEDULE]);
    for (int64_t b = 0; b < B; b++) {
        const fx_noise_level level = fx_schedule((double)t[b], a->shift);
        schedule[4 * b] = (float)level.alpha;
        schedule[4 * b + 1] = (float)level.sigma;
        schedule[4 * b + 2] = (float)fx_loss_weight(a, level);
        schedule[4 * b + 3] = (float)level.logsnr;
    }
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const int64_t b = r % B;
        const float *last = fx_f32(n->in[SNAPSHOTS]) + b * P * cond + cond - 1,
                    *eps = fx_f32(n->in[EPS]) + b * P;
        float *z = fx_f32(n->out[Z]) + r * P, *target = fx_f32(n->out[TARGET]) + r * P;
        if (r < sr_rows)
            diffuse(a, schedule + 4 * b, last, cond, lowres + b * P, 1, eps, z, target, P);
        else
            diffuse(a, schedule + 4 * b, future + b * P, 1, last, cond, eps, z, target, P);
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
     .attrs = {.diffuse = {FX_PREDICT_V, 1.0, true, -1.0}},
     .dim = {{2}, IMAGE, IMAGE, IMAGE2, IMAGE}},
    {.name = "x, SR",
     .attrs = {.diffuse = {FX_PREDICT_X, 1.0, false, 0.0}},
     .dim = {{2}, IMAGE, IMAGE, IMAGE2}},
    {.name = "eps, FC",
     .attrs = {.diffuse = {FX_PREDICT_EPS, 0.5, true, -1.0}},
     .dim = {{2}, IMAGE, {0}, IMAGE2, IMAGE}},
    {.name = "v, four pixels at once",
     .attrs = {.diffuse = {FX_PREDICT_V, 0.8, false, 0.0}},
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
