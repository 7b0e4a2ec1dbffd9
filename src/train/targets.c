/* targets.c: the fields that a network is trained to make, seen before any training: for the scale that
 * they are divided by, and for statistics of them. */
#include <math.h>

#include "flexhpc/data.h"
#include "flexhpc/eval.h"
#include "flexhpc/mem.h"
#include "flexhpc/train.h"
#include "step_inputs.h"

enum { CPU = 1, FP32 = 1 }; /* of the keys `backend` and `precision` */

typedef struct viewer {
    fx_config config;
    fx_step_options options;
    fx_exec *exec;
    fx_params *none; /* a tape wants parameters */
    fx_loader *loader;
    fx_program *upsampling; /* NULL: no super-resolution */
    fx_batch inputs;
    float *base, *last; /* (S, S) */
} viewer;

/* One sample at a time, drawn for one rank, whatever the run's ranks, batch and seed. */
static fx_config alone(const fx_config *config)
{
    fx_config c = *config;
    c.seed = 0;
    c.backend = CPU;
    c.precision = FP32;
    c.contrast_weight = 0;
    c.train_global_batch = c.train_accumulate = 1;
    c.train_reduce = c.train_reduce_type = 0;
    c.data_prefetch = -1;
    c.data_keep_strata = false;
    (void)fx_print(c.data_stage, sizeof c.data_stage, "off"); /* it fits */
    return c;
}

static fx_status record(viewer *v)
{
    fx_builder *g = NULL;
    FX_TRY(fx_params_create(&v->none));
    FX_TRY(fx_params_store_as(v->none, v->exec->storage));
    FX_TRY(fx_builder_create(v->none, &g));
    fx_builder_rows(g, (fx_rows){.samples = 1});
    fx_record_inputs(g, &v->options, 1, false, &v->inputs);
    return fx_program_create(v->exec, &g, false, &v->upsampling);
}

static fx_status open_viewer(const fx_config *config, viewer *v)
{
    const int64_t side = config->data_patch;
    v->config = alone(config);
    FX_TRY(fx_step_options_alone(&v->config, &v->options));
    FX_TRY(fx_exec_open(fx_comm_self(), &v->config, &v->exec));
    FX_TRY(fx_loader_create(fx_comm_self(), &v->config, NULL, &v->loader));
    if (v->options.model.tasks & FX_TASK_SR) FX_TRY(record(v));
    FX_TRY(FX_ALLOC(v->base, side * side));
    return FX_ALLOC(v->last, side * side);
}

static void close_viewer(viewer *v)
{
    fx_program_free(&v->upsampling);
    fx_params_free(&v->none);
    fx_loader_free(&v->loader);
    if (v->exec) v->exec->backend->close(&v->exec);
    fx_free(v->base);
    fx_free(v->last);
}

static fx_status interpolate(viewer *v, const fx_loader_batch *batch)
{
    static const fx_step step = {.gradient_scale = 1};
    FX_TRY(fx_program_write(v->upsampling, v->inputs.snapshots, batch->snapshots));
    if (v->inputs.coarse) FX_TRY(fx_program_write(v->upsampling, v->inputs.coarse, batch->coarse));
    FX_TRY(fx_program_run(v->upsampling, &step, NULL));
    return fx_program_read(v->upsampling, v->inputs.lowres, v->base);
}

static fx_status view(viewer *v, int64_t i, fx_target_visit visit, void *self)
{
    const int64_t side = v->config.data_patch, n = side * side, cond = v->options.model.cond;
    fx_loader_batch batch;
    FX_TRY(fx_loader_next(v->loader, i, 0, &batch));
    for (int64_t k = 0; k < n; k++)
        v->last[k] = batch.snapshots[k * cond + cond - 1];
    if (v->upsampling) FX_TRY(interpolate(v, &batch));
    if (v->upsampling) FX_TRY(visit(self, FX_SR, v->last, v->base, n));
    if (v->options.model.tasks & FX_TASK_FC) FX_TRY(visit(self, FX_FC, batch.future, v->last, n));
    return FX_OK;
}

fx_status fx_targets_visit(const fx_config *config, int64_t count, fx_target_visit visit, void *self)
{
    viewer *v = NULL;
    FX_TRY(FX_ALLOC(v, 1));
    fx_status status = open_viewer(config, v);
    for (int64_t i = 0; status == FX_OK && i < count; i++)
        status = view(v, i, visit, self);
    close_viewer(v);
    fx_free(v);
    return status;
}

/* ---- The scale. */

enum { SAMPLES = 256 };

double fx_residual_scale(const fx_config *config, fx_task task)
{
    return fx_list_at(&config->diffusion_residual_scale, (int)task);
}

typedef struct squares {
    bool raw;
    double mean[2];
} squares;

static fx_status add_square(void *self, fx_task task, const float *truth, const float *base, int64_t n)
{
    squares *s = self;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)truth[i] - (s->raw ? 0 : (double)base[i]);
        sum += x * x;
    }
    s->mean[task] += sum / (double)n / SAMPLES;
    return FX_OK;
}

fx_status fx_targets_scale(fx_config *config)
{
    squares s = {.raw = !config->diffusion_residual};
    fx_list found = {.count = 2};
    if (fx_residual_scale(config, FX_SR) > 0 && fx_residual_scale(config, FX_FC) > 0) return FX_OK;
    FX_TRY_CTX(fx_targets_visit(config, SAMPLES, add_square, &s), "diffusion.residual_scale");
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        const bool has = config->model_tasks == 0 || config->model_tasks == 1 + (int)task;
        const double given = fx_residual_scale(config, task), root = (double)(float)sqrt(s.mean[task]);
        FX_REQUIRE(!has || given > 0 || (root > 0 && isfinite(root)), FX_EVALUE,
                   "diffusion.residual_scale: %s: the root mean square of what is diffused is %g in %d "
                   "samples of %s",
                   fx_task_titles[task], fabs(root) /* no "-nan" */, SAMPLES, config->data_path);
        found.value[task] = given > 0 ? given : has ? root : 1;
    }
    config->diffusion_residual_scale = found;
    return FX_OK;
}
