/* trainee_load.c: batches of the loader into the inputs of a step. */
#include "trainee_load.h"

/* Samples [first, first + inputs' own number) of a batch into the inputs of one micro-batch. */
static fx_status write_samples(fx_program *step, const fx_batch *in, const fx_loader_batch *batch,
                               int64_t first)
{
    const int64_t n = in->re->dim[0];
    FX_TRY(
        fx_program_write(step, in->snapshots, batch->snapshots + first * fx_count(in->snapshots) / n));
    FX_TRY(fx_program_write(step, in->re, batch->re + first));
    if (in->coarse)
        FX_TRY(fx_program_write(step, in->coarse, batch->coarse + first * fx_count(in->coarse) / n));
    if (in->future)
        FX_TRY(fx_program_write(step, in->future, batch->future + first * fx_count(in->future) / n));
    return FX_OK;
}

/* train.reduce: fixed takes the samples of the loader's one micro-batch apart. */
fx_status fx_trainee_load(fx_trainee *t, fx_loader *loader, int64_t step)
{
    const bool apart = t->options.fixed;
    fx_loader_batch batch;
    for (int micro = 0; micro < t->options.accumulate; micro++) {
        if (micro == 0 || !apart) FX_TRY(fx_loader_next(loader, step, micro, &batch));
        FX_TRY(write_samples(t->step, &t->inputs[micro], &batch, apart ? micro : 0));
    }
    return FX_OK;
}
