/* vector.h: exp and the activations as plain inline functions without branches, so that loops over them
 * vectorise (the mathematics library's expf doesn't, at the strict settings that we build with). Errors
 * are within 2 units in the last place of exp; a NaN stays a NaN. */
#ifndef FX_VECTOR_H
#define FX_VECTOR_H

#include <math.h>
#include <stdint.h>

/* exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; exp(r) by its Taylor polynomial of degree
 * 7 (error 2^-28). Below -87.3, where the result would be denormal, it is exp(-87.3); above 88.3
 * exp(88.3). */
static inline float fx_exp(float x)
{
    const float lowest = -87.3f, highest = 88.3f,
                shifter = 0x1.8p23f; /* adding it rounds to an integer */
    x = x < lowest ? lowest : x;
    x = x > highest ? highest : x;
    const float n = (x * 0x1.715476p0f + shifter) - shifter;
    const float r =
        (x - n * 0x1.63p-1f) + n * 0x1.bd0106p-13f; /* ln 2 in two parts: the first product is exact */
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const union {
        int32_t bits;
        float value;
    } power = {.bits = ((int32_t)n + 127) << 23};
    return p * power.value;
}

static inline float fx_sigmoid(float x)
{
    return 1.0f / (1.0f + fx_exp(-x));
}

/* y = x sigmoid(x), and dy/dx = s (1 + x (1 - s)). */
static inline float fx_silu(float x)
{
    return x * fx_sigmoid(x);
}

static inline float fx_dsilu(float x)
{
    const float s = fx_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

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
