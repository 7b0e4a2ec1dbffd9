/* small_flex.h: a FLEX, a U-Net and a UViT of image 32 in training on the CPU, for the tests of the
 * tape: every op of the big ones, FLEX with 0.4 M parameters, dropout on. */
#ifndef SMALL_FLEX_H
#define SMALL_FLEX_H

#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/train.h"

static const char *const SMALL_SETTINGS[] = {
    "model.preset=custom", "data.patch=32",        "model.channels=32,32", "model.blocks=1,1",
    "model.depth=3",       "model.heads=2",        "model.mlp_ratio=2",    "model.dropout=0.1",
    "data.factor=4",       "train.global_batch=2", "train.bucket=0.25",    NULL};

static const char *const SMALL_UNET[] = {"model.arch=unet",
                                         "model.preset=custom",
                                         "data.patch=32",
                                         "model.channels=32,32",
                                         "model.blocks=1,1",
                                         "model.heads=2",
                                         "model.attention_sides=16",
                                         "data.factor=4",
                                         "train.global_batch=2",
                                         "train.bucket=0.25",
                                         NULL};

static const char *const SMALL_UVIT[] = {"model.arch=uvit",
                                         "model.preset=custom",
                                         "data.patch=32",
                                         "model.embed_dim=32",
                                         "model.depth=3",
                                         "model.heads=2",
                                         "model.mlp_ratio=2",
                                         "model.patch=4",
                                         "data.factor=4",
                                         "train.global_batch=2",
                                         "train.bucket=0.25",
                                         "model.condition_drop=0.5",
                                         NULL};

static inline fx_status small_options(const char *const *settings, fx_step_options *out)
{
    fx_config config;
    FX_TRY(fx_config_parse(&config, "settings", "", 0, settings));
    return fx_step_options_from_config(&config, fx_comm_self(), out);
}

static inline fx_status small_exec(fx_exec **out)
{
    const fx_backend *backend = NULL;
    FX_TRY(fx_backend_find("cpu", &backend));
    return backend->open(&(fx_exec_options){.threads = 1}, out);
}

/* Normal numbers by name and sample: sample i is the same in every micro-batch that holds it. */
static inline fx_status small_input(fx_trainee *t, int micro, const char *name, fx_tensor *tensor,
                                    float mean)
{
    const int64_t n = t->options.micro_batch, size = fx_count(tensor) / n;
    float *x = NULL;
    FX_TRY(FX_ALLOC(x, n * size));
    for (int64_t i = 0; i < n; i++)
        fx_fill_normal(5, (uint32_t)(micro * n + i), fx_crc32(name), 0, x + i * size, size);
    for (int64_t i = 0; i < n * size; i++)
        x[i] = mean + 0.3f * x[i];
    const fx_status status = fx_program_write(t->step, tensor, x);
    fx_free(x);
    return status;
}

/* Weights of which none is zero, so that a gradient reaches every parameter. */
static inline fx_status small_weights(fx_trainee *t)
{
    FX_TRY(fx_params_initialize(t->params, t->exec, 11));
    for (int i = 0; i < fx_params_count(t->params); i++) {
        const fx_param *p = fx_params_at(t->params, i);
        if (p->init.kind != FX_INIT_ZERO) continue;
        const int64_t count = fx_count(&p->value);
        float *x = NULL;
        FX_TRY(FX_ALLOC(x, count));
        fx_fill_normal(12, 0, p->stream, 0, x, count);
        for (int64_t k = 0; k < count; k++)
            x[k] *= 0.05f;
        const fx_status status = fx_params_write(t->params, t->exec, p, FX_SLAB_VALUE, x);
        fx_free(x);
        FX_TRY(status);
    }
    return FX_OK;
}

static inline fx_status small_step(fx_trainee *t, bool dropout, fx_step_report *report)
{
    const fx_step step = {
        .seed = 7, .learning_rate = 0, .update = 1, .gradient_scale = 1, .dropout = dropout};
    for (int k = 0; k < t->options.accumulate; k++) {
        FX_TRY(small_input(t, k, "snapshots", t->inputs[k].snapshots, 0));
        FX_TRY(small_input(t, k, "future", t->inputs[k].future, 0));
        FX_TRY(small_input(t, k, "re", t->inputs[k].re, 0.5f));
    }
    return fx_trainee_step(t, &step, report);
}

#endif
