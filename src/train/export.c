/* export.c: a checkpoint's weights as a safetensors file. */
#include <stdio.h>
#include <string.h>

#include "checkpoint_file.h"
#include "flexhpc/interchange.h"
#include "flexhpc/mem.h"
#include "flexhpc/safetensors.h"

/* A tensor of the file, and where it comes from. */
typedef struct source {
    const fx_param *param;
    fx_slab slab;
} source;

typedef struct exporter {
    char path[FX_PATH_MAX]; /* of the checkpoint */
    fx_progress progress;
    fx_params *params;
    fx_h5 *file;
    fx_pool *names;
    fx_safetensor *tensor;
    source *source; /* of each tensor */
    int count;
    float *buffer; /* the largest tensor's room */
} exporter;

static fx_status add(exporter *e, const fx_param *p, fx_slab slab, const char *prefix)
{
    fx_safetensor *t = &e->tensor[e->count];
    t->name = fx_pool_print(e->names, "%s%s", prefix, p->name);
    FX_REQUIRE(t->name, FX_ENOMEM, "no memory for names");
    t->rank = p->value.rank;
    memcpy(t->dim, p->value.dim, sizeof *t->dim * (size_t)t->rank);
    e->source[e->count++] = (source){p, slab};
    return FX_OK;
}

/* Buffers are not averaged: they go beside either. */
static fx_status list(exporter *e, fx_weights weights)
{
    const int params = fx_params_count(e->params);
    int64_t largest = 1;
    FX_TRY(fx_pool_create(&e->names));
    FX_TRY(FX_ALLOC(e->tensor, 2 * params));
    FX_TRY(FX_ALLOC(e->source, 2 * params));
    for (int i = 0; i < params; i++) {
        const fx_param *p = fx_params_at(e->params, i);
        const bool averaged = weights == FX_WEIGHTS_EMA && p->trained;
        FX_TRY(add(e, p, averaged ? FX_SLAB_EMA : FX_SLAB_VALUE, ""));
        if (weights == FX_WEIGHTS_BOTH && p->trained) FX_TRY(add(e, p, FX_SLAB_EMA, "ema."));
        if (fx_count(&p->value) > largest) largest = fx_count(&p->value);
    }
    return FX_ALLOC(e->buffer, largest);
}

static fx_status copy(exporter *e, fx_safetensors_writer *w)
{
    for (int i = 0; i < e->count; i++) {
        const source *s = &e->source[i];
        FX_TRY(fx_checkpoint_tensor(e->file, e->path, s->slab, s->param, e->buffer));
        FX_TRY(fx_safetensors_write(w, i, e->buffer));
    }
    return FX_OK;
}

static fx_status write(exporter *e, fx_weights weights, const char *out)
{
    static const char *const words[] = {"ema", "raw", "both"}, *const archs[] = {"flex", "unet",
                                                                                 "uvit"};
    char *config = NULL, step[32];
    fx_safetensors_writer *w = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(config, FX_CONFIG_TEXT_MAX));
    if (e->progress.config.data_scale == 0) e->progress.config.data_scale = e->progress.data_scale;
    FX_TRY_DONE(fx_config_text(&e->progress.config, config, FX_CONFIG_TEXT_MAX));
    snprintf(step, sizeof step, "%lld", (long long)e->progress.step);
    const char *const metadata[] = {"arch",    archs[e->progress.config.model_arch],
                                    "config",  config,
                                    "format",  "pt",
                                    "step",    step,
                                    "weights", words[weights],
                                    NULL};
    FX_TRY_DONE(fx_safetensors_create(out, e->tensor, e->count, metadata, &w));
    FX_TRY_DONE(copy(e, w));
    status = fx_safetensors_finish(&w);
done:
    fx_safetensors_abandon(&w);
    fx_free(config);
    return status;
}

/* The model that a checkpoint is of. */
static fx_status open_checkpoint(const char *name, exporter *e)
{
    fx_step_options options;
    FX_TRY(fx_checkpoint_named(fx_comm_self(), name, e->path));
    FX_TRY(fx_checkpoint_peek(fx_comm_self(), e->path, &e->progress));
    FX_TRY(fx_step_options_alone(&e->progress.config, &options));
    FX_TRY(fx_model_parameters(&options, FX_F32, &e->params));
    return fx_h5_open(e->path, FX_H5_OURS, &e->file);
}

fx_status fx_export(const char *checkpoint, fx_weights weights, const char *out)
{
    exporter *e = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(e, 1));
    FX_TRY_DONE(open_checkpoint(checkpoint, e));
    FX_TRY_DONE(list(e, weights));
    status = write(e, weights, out);
done:
    fx_h5_abandon(&e->file);
    fx_params_free(&e->params);
    fx_pool_free(&e->names);
    fx_free(e->tensor);
    fx_free(e->source);
    fx_free(e->buffer);
    fx_free(e);
    return status;
}
