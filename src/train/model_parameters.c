/* model_parameters.c: a model's parameters without a program that runs. */
#include "flexhpc/interchange.h"

/* Parameters come from recording: sampling both tasks in one step has all of them. */
static fx_status record(const fx_step_options *options, fx_params *params)
{
    fx_builder *g = NULL;
    FX_TRY(fx_builder_create(params, &g));
    const fx_model *m = &options->model;
    const int64_t side = m->image, tasks = m->tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    const fx_batch in = {.snapshots = fx_input(g, "snapshots", 4, FX_DIMS(1, side, side, m->cond)),
                         .lowres = fx_input(g, "lowres", 4, FX_DIMS(1, side, side, 1)),
                         .re = fx_input_stored(g, "re", 2, FX_DIMS(1, 1))};
    fx_tensor *x = fx_input(g, "x", 4, FX_DIMS(tasks, side, side, 1));
    fx_conditions conditions;
    fx_model_conditions(g, m, in.lowres, in.snapshots, in.re, &conditions);
    fx_record_sampler(g, m, options->schedule, 1, &conditions, in.re, x);
    const fx_status status = fx_builder_status(g);
    fx_builder_free(&g);
    return status;
}

fx_status fx_model_parameters(const fx_step_options *options, fx_dtype storage, fx_params **out)
{
    fx_params *params = NULL;
    FX_TRY(fx_params_create(&params));
    fx_status status = fx_params_store_as(params, storage);
    if (status == FX_OK) status = record(options, params);
    if (status == FX_OK)
        *out = params;
    else
        fx_params_free(&params);
    return status;
}
