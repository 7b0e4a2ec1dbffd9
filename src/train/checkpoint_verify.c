/* checkpoint_verify.c: a checkpoint against itself: it holds every tensor of the model that its own
 * configuration describes, and no other, each of that shape and with its checksum. */
#include <string.h>

#include "checkpoint_file.h"
#include "flexhpc/interchange.h"
#include "flexhpc/mem.h"

typedef struct expected {
    const char *path;
    fx_params *params;
    unsigned slabs;
} expected;

static fx_status refuse_unknown(void *self, fx_h5 *f, const char *name)
{
    const expected *e = self;
    (void)f;
    for (int kind = 0; kind < FX_CHECKPOINT_KINDS; kind++) {
        const size_t length = strlen(fx_checkpoint_kinds[kind].name);
        if (strncmp(name, fx_checkpoint_kinds[kind].name, length) != 0 || name[length] != '/') continue;
        const fx_param *p = fx_params_find(e->params, name + length + 1);
        if (p && fx_checkpoint_has(e->slabs, p, kind)) return FX_OK;
    }
    return fx_fail(FX_EVALUE, "%s: %s: no tensor of this model", e->path, name);
}

typedef fx_status (*visitor)(fx_h5 *f, const char *path, int kind, const fx_param *p, float *buffer);

static fx_status describe(fx_h5 *f, const char *path, int kind, const fx_param *p, float *unused)
{
    (void)unused;
    return fx_checkpoint_describe(f, path, kind, p);
}

static fx_status read(fx_h5 *f, const char *path, int kind, const fx_param *p, float *buffer)
{
    return fx_checkpoint_tensor(f, path, fx_checkpoint_kinds[kind].slab, p, buffer);
}

static fx_status visit_all(fx_h5 *f, const expected *e, visitor visit, float *buffer)
{
    for (int i = 0; i < fx_params_count(e->params); i++)
        for (int kind = 0; kind < FX_CHECKPOINT_KINDS; kind++) {
            const fx_param *p = fx_params_at(e->params, i);
            if (fx_checkpoint_has(e->slabs, p, kind)) FX_TRY(visit(f, e->path, kind, p, buffer));
        }
    return FX_OK;
}

/* Shapes first: memory is taken for what is in the file, not for what a configuration claims. */
static fx_status verify_file(fx_h5 *f, expected *e)
{
    float *buffer = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_h5_walk(f, refuse_unknown, e));
    FX_TRY(visit_all(f, e, describe, NULL));
    FX_TRY(fx_checkpoint_room(e->params, &buffer));
    status = visit_all(f, e, read, buffer);
    fx_free(buffer);
    return status;
}

fx_status fx_checkpoint_verify_as(const char *path, fx_params *params, unsigned slabs)
{
    fx_h5 *f = NULL;
    fx_progress progress;
    FX_TRY(fx_h5_open(path, FX_H5_OURS, &f));
    fx_status status = fx_progress_read(f, path, &progress);
    if (status == FX_OK) status = verify_file(f, &(expected){path, params, slabs});
    fx_h5_abandon(&f);
    return status;
}

/* What a training writes, or an import, which has no moments. An older version's file does not say
 * which it is. */
static unsigned slabs_of(fx_h5 *f, const fx_progress *progress)
{
    const unsigned weights = 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA, one = 1u << FX_SLAB_MOMENT1,
                   both = one | 1u << FX_SLAB_MOMENT2;
    const bool trained = progress->moments < 0 ? fx_h5_exists(f, "moment1") : progress->moments > 0;
    if (!trained) return weights;
    return weights | (progress->config.train_optimizer == FX_ADAMW ? both : one);
}

fx_status fx_checkpoint_verify(const char *path)
{
    fx_h5 *f = NULL;
    fx_progress progress;
    fx_step_options options;
    expected e = {.path = path};
    fx_status status = FX_OK;
    FX_TRY(fx_h5_open(path, FX_H5_OURS, &f));
    FX_TRY_DONE(fx_progress_read(f, path, &progress));
    FX_TRY_DONE(fx_step_options_alone(&progress.config, &options));
    FX_TRY_DONE(fx_model_parameters(&options, FX_F32, &e.params));
    e.slabs = slabs_of(f, &progress);
    status = verify_file(f, &e);
done:
    fx_params_free(&e.params);
    fx_h5_abandon(&f);
    return status;
}
