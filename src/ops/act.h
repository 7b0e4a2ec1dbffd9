/* act.h: the activations and their derivatives, written so that loops over them vectorise (but for the
 * error function). */
#ifndef FX_ACT_H
#define FX_ACT_H

#include "vecmath.h"

/* y = x s, s = sigmoid(x);  dy/dx = s (1 + x (1 - s)). */
static inline float fx_silu1(float x)
{
    return x * fx_sigmoid(x);
}

static inline float fx_dsilu1(float x)
{
    const float s = fx_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

/* y = x/2 (1 + tanh u) = x s, s = sigmoid(2u), 2u = 2 sqrt(2/pi) (x + 0.044715 x^3). */
static inline float fx_gelu_tanh1(float x)
{
    return x * fx_sigmoid(1.5957691216f * x * (1.0f + 0.044715f * x * x));
}

static inline float fx_dgelu_tanh1(float x)
{
    const float s = fx_sigmoid(1.5957691216f * x * (1.0f + 0.044715f * x * x));
    return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * x * x);
}

/* y = x Phi(x), Phi the normal distribution function;  dy/dx = Phi(x) + x phi(x). */
static inline float fx_gelu_erf1(float x)
{
    return 0.5f * x * (1.0f + erff(0.70710678f * x));
}

static inline float fx_dgelu_erf1(float x)
{
    return 0.5f * (1.0f + erff(0.70710678f * x)) + x * 0.39894228f * fx_exp(-0.5f * x * x);
}

#endif
