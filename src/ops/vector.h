/* vector.h: the GELU activations as plain inline functions without branches, so that loops over them
 * vectorise. Private to src/ops. Includes vecmath.h, which has exp, sigmoid and SiLU. */
#ifndef FX_VECTOR_H
#define FX_VECTOR_H

#include "vecmath.h"

/* y = x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
static inline float fx_gelu_tanh(float x)
{
    return x * fx_sigmoid(1.5957691216f * x * (1.0f + 0.044715f * x * x));
}

static inline float fx_dgelu_tanh(float x)
{
    const float s = fx_sigmoid(1.5957691216f * x * (1.0f + 0.044715f * x * x));
    return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * x * x);
}

/* y = x Phi(x), Phi the normal distribution function; dy/dx = Phi(x) + x phi(x). */
static inline float fx_gelu_erf(float x)
{
    return 0.5f * x * (1.0f + erff(0.70710678f * x));
}

static inline float fx_dgelu_erf(float x)
{
    return 0.5f * (1.0f + erff(0.70710678f * x)) + x * 0.39894228f * fx_exp(-0.5f * x * x);
}

#endif
