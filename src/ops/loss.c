/* The loss of every row (spec 6): rows[r] = w_b mean over pixels of criterion(e), b = r % B, where
 *   e = pred - target                               v and x
 *   e = (alpha pred + sigma z) - target             eps: the network outputs v there as well
 * Criterion: |e|; e^2; or Huber with delta 1, e^2 / 2 up to |e| = 1 and |e| - 1/2 beyond. */
#include "ops.h"

/* in[]: (R,S,S,1) thrice, (B,4); Z may be NULL but for eps; B divides R */
enum { PRED, TARGET, Z, SCHEDULE };

typedef struct row {
    const float *pred, *target, *z; /* z NULL: e = pred - target */
    float alpha, sigma, weight;
    int64_t pixels;
} row;

static row row_of(const fx_node *n, int64_t r)
{
    const int64_t P = fx_count(n->in[PRED]) / n->in[PRED]->dim[0];
    const float *s = fx_f32(n->in[SCHEDULE]) + 4 * (r % n->in[SCHEDULE]->dim[0]);
    const bool eps = n->attrs.loss.predict == FX_PREDICT_EPS;
    return (row){.pred = fx_f32(n->in[PRED]) + r * P,
                 .target = fx_f32(n->in[TARGET]) + r * P,
                 .z = eps ? fx_f32(n->in[Z]) + r * P : NULL,
                 .alpha = eps ? s[0] : 1.0f,
                 .sigma = s[1],
                 .weight = s[2],
                 .pixels = P};
}

static inline float error_of(const row *v, int64_t i)
{
    return v->z ? v->alpha * v->pred[i] + v->sigma * v->z[i] - v->target[i] : v->pred[i] - v->target[i];
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *pred = n->in[PRED], *s = n->in[SCHEDULE];
    FX_REQUIRE(pred && n->in[TARGET] && s && (n->in[Z] || n->attrs.loss.predict != FX_PREDICT_EPS),
               FX_EARG, "needs a prediction, a target, a schedule and, for eps, z");
    FX_REQUIRE(fx_same_shape(pred, n->in[TARGET]) && (!n->in[Z] || fx_same_shape(pred, n->in[Z])),
               FX_EARG, "prediction %s, target %s and z %s differ", fx_shape_text(pred),
               fx_shape_text(n->in[TARGET]), fx_shape_text(n->in[Z]));
    FX_REQUIRE(s->rank == 2 && s->dim[1] == 4 && pred->dim[0] % s->dim[0] == 0, FX_EARG,
               "schedule %s does not fit %s", fx_shape_text(s), fx_shape_text(pred));
    return fx_out_shape(n, 0, 1, pred->dim);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->in[PRED]->dim[0];
    const fx_criterion criterion = n->attrs.loss.criterion;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < R; r++) {
        const row v = row_of(n, r);
        double sum = 0;
        for (int64_t i = 0; i < v.pixels; i++) {
            const double e = fabs((double)error_of(&v, i));
            sum += criterion == FX_L1    ? e
                   : criterion == FX_MSE ? e * e
                   : e <= 1              ? 0.5 * e * e
                                         : e - 0.5;
        }
        fx_f32(n->out[0])[r] = (float)((double)v.weight * sum / (double)v.pixels);
    }
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    (void)exec;
    const int64_t R = n->in[PRED]->dim[0];
    const fx_criterion criterion = n->attrs.loss.criterion;
    const unsigned adds = fx_adds(n, PRED);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < R; r++) {
        const row v = row_of(n, r);
        const float scale = fx_f32(n->dout[0])[r] * v.weight * v.alpha / (float)v.pixels;
        float *dpred = fx_f32(n->din[PRED]) + r * v.pixels;
        for (int64_t i = 0; i < v.pixels; i++) {
            const float e = error_of(&v, i), sign = (float)((e > 0) - (e < 0));
            const float slope = criterion == FX_MSE                      ? 2 * e
                                : criterion == FX_HUBER && sign * e <= 1 ? e
                                                                         : sign;
            fx_put(&dpred[i], scale * slope, adds);
        }
    }
    return FX_OK;
}

#define IMAGE                                                                                          \
    {                                                                                                  \
        4, 3, 5, 1                                                                                     \
    }
static const fx_op_case cases[] = {
    {.name = "l1", .attrs = {.loss = {FX_L1, FX_PREDICT_V}}, .dim = {IMAGE, IMAGE, {0}, {2, 4}}},
    {.name = "mse x", .attrs = {.loss = {FX_MSE, FX_PREDICT_X}}, .dim = {IMAGE, IMAGE, IMAGE, {4, 4}}},
    {.name = "huber eps",
     .attrs = {.loss = {FX_HUBER, FX_PREDICT_EPS}},
     .dim = {IMAGE, IMAGE, IMAGE, {2, 4}}},
    {.name = "l1 eps",
     .attrs = {.loss = {FX_L1, FX_PREDICT_EPS}},
     .dim = {IMAGE, IMAGE, IMAGE, {1, 4}}},
    {.name = "mse eps, many pixels",
     .attrs = {.loss = {FX_MSE, FX_PREDICT_EPS}},
     .dim = {{2, 72, 72, 1}, {2, 72, 72, 1}, {2, 72, 72, 1}, {2, 4}}},
    {0},
};

/* No error of the L1 cases near 0, where the slope jumps: their targets are about 4 or -4 and the rest
 * is small. */
static fx_status make_input(const fx_op_case *c, int input, float *x, int64_t count)
{
    for (int64_t i = 0; c->attrs.loss.criterion == FX_L1 && input != SCHEDULE && i < count; i++)
        x[i] = input == TARGET ? (x[i] > 0 ? 4.0f : -4.0f) : 0.3f * x[i];
    return FX_OK;
}

const fx_op fx_op_loss = {
    .name = "loss",
    .shape = shape,
    .fp32 = FX_IN(TARGET) | FX_IN(Z) | FX_IN(SCHEDULE) | FX_OUT(0),
    .gradients = FX_IN(PRED),
    .backward_reads = FX_IN(PRED) | FX_IN(TARGET) | FX_IN(Z) | FX_IN(SCHEDULE),
    .cases = cases,
    .make_input = make_input,
};
const fx_kernel fx_cpu_loss = {.forward = forward, .backward = backward};
