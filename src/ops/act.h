/* act.h: activations and their derivatives over arrays; the loops vectorise (but for the error
 * function). */
#ifndef FX_ACT_H
#define FX_ACT_H

#include "flexhpc/attrs.h"
#include "vecmath.h"

/* y = x/2 (1 + tanh u) = x s, s = sigmoid(2u), 2u = 2 sqrt(2/pi) (x + 0.044715 x^3). */
static inline float fx_gelu_tanh(float x)
{
    return x * fx_sigmoid(1.5957691216f * x * (1.0f + 0.044715f * x * x));
}

static inline float fx_dgelu_tanh(float x)
{
    const float s = fx_sigmoid(1.5957691216f * x * (1.0f + 0.044715f * x * x));
    return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * x * x);
}

/* y = x Phi(x), Phi the normal distribution function;  dy/dx = Phi(x) + x phi(x). */
static inline float fx_gelu_erf(float x)
{
    return 0.5f * x * (1.0f + erff(0.70710678f * x));
}

static inline float fx_dgelu_erf(float x)
{
    return 0.5f * (1.0f + erff(0.70710678f * x)) + x * 0.39894228f * fx_exp(-0.5f * x * x);
}

#define FX_ACT_LOOP(result)                                                                            \
    for (int64_t i = 0; i < count; i++)                                                                \
        y[i] = (result);                                                                               \
    break

/* y = act(x); x and y may be one array. */
static inline void fx_activate(fx_act act, const float *x, float *y, int64_t count)
{
    switch (act) {
    case FX_LINEAR:
        FX_ACT_LOOP(x[i]);
    case FX_SILU:
        FX_ACT_LOOP(fx_silu(x[i]));
    case FX_GELU_TANH:
        FX_ACT_LOOP(fx_gelu_tanh(x[i]));
    case FX_GELU_ERF:
        FX_ACT_LOOP(fx_gelu_erf(x[i]));
    }
}

/* y *= act'(x); x is not read where act is linear. */
static inline void fx_times_derivative(fx_act act, const float *x, float *y, int64_t count)
{
    switch (act) {
    case FX_LINEAR:
        break;
    case FX_SILU:
        FX_ACT_LOOP(y[i] * fx_dsilu(x[i]));
    case FX_GELU_TANH:
        FX_ACT_LOOP(y[i] * fx_dgelu_tanh(x[i]));
    case FX_GELU_ERF:
        FX_ACT_LOOP(y[i] * fx_dgelu_erf(x[i]));
    }
}

#undef FX_ACT_LOOP

#endif
