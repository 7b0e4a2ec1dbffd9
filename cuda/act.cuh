/* act.cuh: activations and their derivatives, the formulas of src/ops/{act,vecmath}.h. */
#ifndef FX_CUDA_ACT_CUH
#define FX_CUDA_ACT_CUH

#include "device.cuh"
#include "flexhpc/attrs.h"

FX_DEVICE float fx_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
FX_DEVICE float fx_silu(float x)
{
    return x * fx_sigmoid(x);
}
/* With s = sigmoid(x): s (1 + x (1 - s)). */
FX_DEVICE float fx_dsilu(float x)
{
    const float s = fx_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

/* GELU by tanh is x sigmoid(u), u = 2 sqrt(2/pi) (x + 0.044715 x^3). */
FX_DEVICE float fx_gelu_argument(float x)
{
    return 1.5957691216f * x * (1.0f + 0.044715f * x * x);
}

/* act(x); `act` is the same for all threads. */
FX_DEVICE float fx_activate(fx_act act, float x)
{
    switch (act) {
    case FX_SILU:
        return fx_silu(x);
    case FX_GELU_TANH:
        return x * fx_sigmoid(fx_gelu_argument(x));
    case FX_GELU_ERF:
        return 0.5f * x * (1.0f + erff(0.70710678f * x));
    default:
        return x;
    }
}

/* act'(x) */
FX_DEVICE float fx_act_derivative(fx_act act, float x)
{
    switch (act) {
    case FX_SILU:
        return fx_dsilu(x);
    case FX_GELU_TANH: {
        const float s = fx_sigmoid(fx_gelu_argument(x));
        return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * x * x);
    }
    case FX_GELU_ERF: /* Phi(x) + x phi(x) */
        return 0.5f * (1.0f + erff(0.70710678f * x)) + x * 0.39894228f * expf(-0.5f * x * x);
    default:
        return 1.0f;
    }
}

#endif
