/* vecmath.h: arithmetic that the compiler can vectorise without changing values: exponential, sigmoid,
 * and sums with a fixed order. Private to src/ops. Includes nothing of ours. */
#ifndef FX_VECMATH_H
#define FX_VECMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* a b + c, in one rounding where the processor does that at full speed. */
static inline float fx_fma(float a, float b, float c)
{
#ifdef FP_FAST_FMAF
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* e^x = q 2^n for -87 <= x <= 88; returns q, and 2^n in *power.
 *   x = n ln 2 + r, |r| <= ln 2 / 2;  e^x = 2^n (1 + r + r^2 q(r)),  q of degree 4, fitted: relative
 * error 3e-9 */
static inline float fx_exp_parts(float x, float *power)
{
    const float shift = 0x1.8p23f; /* adding it rounds to an integer, which its low bits then hold */
    const float shifted = fx_fma(x, 0x1.715476p0f, shift), n = shifted - shift;
    float r = fx_fma(n, -0x1.62e4p-1f,
                     x); /* ln 2 in two parts: the first has 15 bits, so n times it is exact */
    r = fx_fma(n, -0x1.7f7d1cp-20f, r);
    float q = 0x1.6a23d0p-10f;
    q = fx_fma(q, r, 0x1.123a20p-7f);
    q = fx_fma(q, r, 0x1.5558f2p-5f);
    q = fx_fma(q, r, 0x1.555492p-3f);
    q = fx_fma(q, r, 0x1.fffffcp-2f);
    q = fx_fma(q * r, r, r) + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127u) << 23;
    memcpy(power, &bits, sizeof bits);
    return q;
}

/* e^x within 2 ulp; x below -87 and above 88 gives the value there, NaN gives NaN. */
static inline float fx_exp(float x)
{
    float power;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float q = fx_exp_parts(x, &power);
    return q * power;
}

/* 1 + e^-x; x outside -87 .. 87, and NaN, gives a value at an end. The bits are compared as integers,
 * which is one instruction an end: positive numbers are in order as int32_t, negative ones, the other
 * way round, as uint32_t. */
static inline float fx_exp_plus_1(float x)
{
    const int32_t most = 0x42ae0000;    /* 87 */
    const uint32_t least = 0xc2ae0000u; /* -87 */
    int32_t above;
    float power;
    x = -x;
    memcpy(&above, &x, sizeof above);
    above = above < most ? above : most;
    uint32_t bits = (uint32_t)above;
    bits = bits < least ? bits : least;
    memcpy(&x, &bits, sizeof x);
    const float q = fx_exp_parts(x, &power);
    return fx_fma(q, power, 1.0f);
}

/* 1 / (1 + e^-x), within 3 ulp for x > -87. */
static inline float fx_sigmoid(float x)
{
    return 1.0f / fx_exp_plus_1(x);
}

/* y = x sigmoid(x), and dy/dx = s (1 + x (1 - s)), s = sigmoid(x). NaN gives NaN. */
static inline float fx_silu(float x)
{
    return x / fx_exp_plus_1(x);
}

static inline float fx_dsilu(float x)
{
    const float s = fx_sigmoid(x);
    return s * fx_fma(x, 1.0f - s, 1.0f);
}

enum { FX_LANES = 16 }; /* independent partial sums: enough to hide the latency of an addition */

/* Adds the lanes pairwise. */
static inline double fx_fold(double lane[FX_LANES])
{
    for (int half = FX_LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            lane[k] += lane[k + half];
    return lane[0];
}

/* sum over i of x[i] y[i], and of x[i]; in double. */
static inline double fx_dot(const float *x, const float *y, int64_t count)
{
    double lane[FX_LANES] = {0};
    int64_t i = 0;
    for (; i + FX_LANES <= count; i += FX_LANES)
        for (int k = 0; k < FX_LANES; k++)
            lane[k] += (double)x[i + k] * (double)y[i + k];
    for (int k = 0; i < count; i++, k++)
        lane[k] += (double)x[i] * (double)y[i];
    return fx_fold(lane);
}

static inline double fx_sum(const float *x, int64_t count)
{
    double lane[FX_LANES] = {0};
    int64_t i = 0;
    for (; i + FX_LANES <= count; i += FX_LANES)
        for (int k = 0; k < FX_LANES; k++)
            lane[k] += (double)x[i + k];
    for (int k = 0; i < count; i++, k++)
        lane[k] += (double)x[i];
    return fx_fold(lane);
}

#endif
