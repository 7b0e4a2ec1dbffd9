/* init.c: initial values of parameters (flex-model 5), a function of seed and published name. */
#include <math.h>

#include "flexhpc/backend.h"
#include "flexhpc/mem.h"
#include "flexhpc/params.h"
#include "flexhpc/rng.h"

static const double TWO_PI = 6.283185307179586;

/* u in [0, 1) becomes uniform in [-limit, limit). */
static void spread(float *x, int64_t count, double limit)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)((2.0 * (double)x[i] - 1.0) * limit);
}

static void scale(float *x, int64_t count, double factor)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)((double)x[i] * factor);
}

static void fill(const fx_param *p, uint64_t seed, float *x)
{
    const int64_t count = fx_count(&p->value);
    const double in = (double)p->init.fan_in, out = (double)p->init.fan_out;
    switch (p->init.kind) {
    case FX_INIT_ZERO:
    case FX_INIT_ONE:
        for (int64_t i = 0; i < count; i++)
            x[i] = p->init.kind == FX_INIT_ONE ? 1.0f : 0.0f;
        break;
    case FX_INIT_UNIFORM:
        fx_fill_uniform(seed, 0, p->stream, 0, x, count);
        spread(x, count, 1.0 / sqrt(in));
        break;
    case FX_INIT_XAVIER:
        fx_fill_uniform(seed, 0, p->stream, 0, x, count);
        spread(x, count, sqrt(6.0 / (in + out)));
        break;
    case FX_INIT_NORMAL_002:
        fx_fill_normal(seed, 0, p->stream, 0, x, count);
        scale(x, count, 0.02);
        break;
    case FX_INIT_FREQUENCIES:
        fx_fill_normal(seed, 0, p->stream, 0, x, count);
        scale(x, count, TWO_PI);
        break;
    case FX_INIT_PHASES:
        fx_fill_uniform(seed, 0, p->stream, 0, x, count);
        scale(x, count, TWO_PI);
        break;
    }
}

fx_status fx_params_initialize(fx_params *params, fx_exec *exec, uint64_t seed)
{
    int64_t largest = 1;
    for (int i = 0; i < fx_params_count(params); i++)
        if (fx_count(&fx_params_at(params, i)->value) > largest)
            largest = fx_count(&fx_params_at(params, i)->value);
    float *x = NULL;
    FX_TRY(FX_ALLOC(x, largest));
    fx_status status = FX_OK;
    for (int i = 0; i < fx_params_count(params); i++) {
        const fx_param *p = fx_params_at(params, i);
        fill(p, seed, x);
        FX_TRY_DONE(fx_params_write(params, exec, p, FX_SLAB_VALUE, x));
        if (p->trained && fx_params_slab(params, FX_SLAB_EMA, 0))
            FX_TRY_DONE(fx_params_write(params, exec, p, FX_SLAB_EMA, x));
    }
done:
    fx_free(x);
    return status;
}
