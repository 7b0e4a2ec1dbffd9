/* The optimizer's update of all parameters, in place, and of their moving average (spec 8). With g the
 * clipped gradient, lr and d (EMA) from the step, w the decoupled weight decay, u the update, from 1:
 *   Lion:  p -= lr (sign(b1 m + (1 - b1) g) + w p),  m = b2 m + (1 - b2) g
 *   AdamW: m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,
 *          p -= lr (m / (1 - b1^u) / (sqrt(v / (1 - b2^u)) + eps) + w p)
 *   ema -= (1 - d)(ema - p)
 *   copy = p, and of the EMA where that is read too, as kernels read them, where that is not p itself
 * One pass over memory. Does nothing where `clip` found a norm that is not finite: the trainer decides
 * then. */
#include <string.h>

#include "ops.h"

/* in[]: (n) each, V NULL for Lion, EMA may be NULL; (4) as of clip; (1,n), of P, or (2,n), of P and
 * EMA, or NULL */
enum { P, G, M, V, EMA, NORM, COPY };

static fx_status shape(fx_node *n)
{
    const bool adamw = n->attrs.update.optimizer == FX_ADAMW;
    FX_REQUIRE(n->in[P] && n->in[NORM] && fx_count(n->in[NORM]) == 4, FX_EARG,
               "needs parameters and clip's result");
    for (int i = G; i <= EMA; i++)
        FX_REQUIRE(n->in[i] ? fx_same_shape(n->in[i], n->in[P]) : i == EMA || (i == V && !adamw),
                   FX_EARG, "input %d is %s, the parameters are %s", i, fx_shape_text(n->in[i]),
                   fx_shape_text(n->in[P]));
    const int64_t copies = n->in[COPY] ? n->in[COPY]->dim[0] : 0;
    FX_REQUIRE(copies == 0 || ((copies == 1 || (copies == 2 && n->in[EMA])) &&
                               fx_has_shape(n->in[COPY], 2, FX_DIMS(copies, fx_count(n->in[P])))),
               FX_EARG, "copies %s do not fit the parameters %s", fx_shape_text(n->in[COPY]),
               fx_shape_text(n->in[P]));
    return FX_OK;
}

static inline float average(float old, float now, float keep, float take)
{
    return keep * old + take * now;
}

static void lion(const fx_node *n, const fx_step *step, float factor)
{
    const fx_update_attrs *a = &n->attrs.update;
    const float b1 = (float)a->beta1, c1 = (float)(1 - a->beta1), b2 = (float)a->beta2,
                c2 = (float)(1 - a->beta2);
    const float lr = step->learning_rate, decay = (float)a->decay, rest = 1 - step->ema_decay;
    const float *g = fx_f32(n->in[G]);
    float *p = fx_f32(n->in[P]), *m = fx_f32(n->in[M]), *ema = fx_f32(n->in[EMA]);
    const int64_t count = fx_count(n->in[P]);
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float gradient = factor * g[i], u = average(m[i], gradient, b1, c1);
        p[i] -= lr * ((float)((u > 0) - (u < 0)) + decay * p[i]);
        m[i] = average(m[i], gradient, b2, c2);
        if (ema) ema[i] -= rest * (ema[i] - p[i]);
    }
}

static void adamw(const fx_node *n, const fx_step *step, float factor)
{
    const fx_update_attrs *a = &n->attrs.update;
    const float b1 = (float)a->beta1, c1 = (float)(1 - a->beta1), b2 = (float)a->beta2,
                c2 = (float)(1 - a->beta2);
    const float bias1 = (float)(1 / (1 - pow(a->beta1, (double)step->update)));
    const float bias2 = (float)(1 / (1 - pow(a->beta2, (double)step->update)));
    const float lr = step->learning_rate, decay = (float)a->decay, eps = (float)a->eps,
                rest = 1 - step->ema_decay;
    const float *g = fx_f32(n->in[G]);
    float *p = fx_f32(n->in[P]), *m = fx_f32(n->in[M]), *v = fx_f32(n->in[V]),
          *ema = fx_f32(n->in[EMA]);
    const int64_t count = fx_count(n->in[P]);
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float gradient = factor * g[i];
        m[i] = average(m[i], gradient, b1, c1);
        v[i] = average(v[i], gradient * gradient, b2, c2);
        p[i] -= lr * (m[i] * bias1 / (sqrtf(v[i] * bias2) + eps) + decay * p[i]);
        if (ema) ema[i] -= rest * (ema[i] - p[i]);
    }
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const float *norm = fx_f32(n->in[NORM]);
    const size_t bytes = fx_tensor_bytes(n->in[P]);
    if (norm[2] == 0.0f) return FX_OK;
    if (n->attrs.update.optimizer == FX_LION)
        lion(n, exec->step, norm[1]);
    else
        adamw(n, exec->step, norm[1]);
    if (!n->in[COPY]) return FX_OK;
    memcpy(n->in[COPY]->data, n->in[P]->data, bytes);
    if (n->in[COPY]->dim[0] == 2) memcpy((char *)n->in[COPY]->data + bytes, n->in[EMA]->data, bytes);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "lion",
     .attrs = {.update = {FX_LION, 0.9, 0.98, 0, 0}},
     .dim = {{50}, {50}, {50}, {0}, {50}, {4}}},
    {.name = "adamw",
     .attrs = {.update = {FX_ADAMW, 0.9, 0.999, 1e-8, 0.01}},
     .dim = {{50}, {50}, {50}, {50}, {50}, {4}}},
    {.name = "copies",
     .attrs = {.update = {FX_LION, 0.9, 0.98, 0, 0.01}},
     .dim = {{2056}, {2056}, {2056}, {0}, {2056}, {4}, {2, 2056}}},
    {.name = "copy of values only",
     .attrs = {.update = {FX_LION, 0.9, 0.98, 0, 0.01}},
     .dim = {{70}, {70}, {70}, {0}, {70}, {4}, {1, 70}}},
    {.name = "copy without average",
     .attrs = {.update = {FX_ADAMW, 0.9, 0.999, 1e-8, 0}},
     .dim = {{50}, {50}, {50}, {50}, {0}, {4}, {1, 50}}},
    {.name = "no average",
     .attrs = {.update = {FX_ADAMW, 0.9, 0.999, 1e-8, 0.01}},
     .dim = {{9001}, {9001}, {9001}, {9001}, {0}, {4}}},
    {0},
};

/* Second moments are not negative, and the norm is finite. */
static fx_status make_input(const fx_op_case *c, int input, float *x, int64_t count)
{
    (void)c;
    for (int64_t i = 0; i < count; i++)
        x[i] = input == V ? x[i] * x[i] : input == NORM ? 1.0f : x[i];
    return FX_OK;
}

const fx_op fx_op_update = {
    .name = "update", .shape = shape, .fp32 = ~FX_IN(COPY), .cases = cases, .make_input = make_input};
const fx_kernel fx_cpu_update = {.forward = forward};
