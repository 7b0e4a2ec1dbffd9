/* synthetic.c: the trainee behind `bench` and `profile`, and the observer that both time it with. */
#include "synthetic.h"

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

fx_status fx_synthetic_normal(const fx_synthetic *s, fx_program *program, fx_tensor *t)
{
    float *values = NULL;
    if (!t) return FX_OK;
    const int64_t count = fx_count(t);
    FX_TRY(FX_ALLOC(values, count));
    fx_fill_normal((uint64_t)s->config->seed, (uint32_t)s->comm->rank, fx_crc32("synthetic"), 0, values,
                   count);
    const fx_status status = fx_program_write(program, t, values);
    fx_free(values);
    return status;
}

fx_status fx_synthetic_condition(fx_program *program, fx_tensor *t)
{
    float *values = NULL;
    FX_TRY(FX_ALLOC(values, fx_count(t)));
    for (int64_t i = 0; i < fx_count(t); i++)
        values[i] = 0.05f; /* Re 2000 with the default data.condition_scale */
    const fx_status status = fx_program_write(program, t, values);
    fx_free(values);
    return status;
}

static fx_status open_local(fx_synthetic *s)
{
    fx_step_options options;
    FX_TRY(fx_agree(s->comm, fx_step_options_from_config(s->config, s->comm, &options)));
    FX_TRY(fx_exec_open(s->comm, s->config, &s->exec));
    FX_TRY(fx_trainee_create(s->exec, &options, false, &s->trainee));
    FX_TRY(fx_params_initialize(s->trainee->params, s->exec, (uint64_t)s->config->seed));
    for (int micro = 0; micro < options.accumulate; micro++) {
        const fx_batch *in = &s->trainee->inputs[micro];
        FX_TRY(fx_synthetic_normal(s, s->trainee->step, in->snapshots));
        FX_TRY(fx_synthetic_normal(s, s->trainee->step, in->future));
        FX_TRY(fx_synthetic_normal(s, s->trainee->step, in->coarse));
        FX_TRY(fx_synthetic_condition(s->trainee->step, in->re));
    }
    return FX_OK;
}

fx_status fx_synthetic_open(fx_comm *comm, const fx_config *config, fx_synthetic *out)
{
    *out = (fx_synthetic){.comm = comm, .config = config};
    return fx_agree(comm, open_local(out));
}

void fx_synthetic_close(fx_synthetic *s)
{
    fx_trainee_free(&s->trainee);
    if (s->exec) s->exec->backend->close(&s->exec);
}

fx_status fx_synthetic_step(fx_synthetic *s, double *seconds)
{
    const fx_config *c = s->config;
    const fx_step_options *o = &s->trainee->options;
    const fx_step step = {.seed = (uint64_t)c->seed,
                          .step = (uint32_t)s->steps,
                          .slot0 = (uint32_t)(s->comm->rank * o->micro_batch * o->accumulate),
                          .learning_rate = (float)c->train_learning_rate,
                          .ema_decay = (float)fx_ema_decay(c->train_ema_decay, s->steps + 1),
                          .update = s->steps + 1,
                          .gradient_scale = 1,
                          .dropout = true};
    fx_step_report report;
    FX_TRY(s->comm->ops->barrier(s->comm));
    const double start = fx_now();
    FX_TRY(fx_trainee_step(s->trainee, &step, &report));
    *seconds = fx_now() - start;
    s->steps++;
    FX_REQUIRE(report.finite, FX_EVALUE, "synthetic step %lld: the loss or gradient is not finite",
               (long long)s->steps);
    return fx_comm_max_f64(s->comm, seconds);
}

static void timed(void *self, int index, double start, double end)
{
    fx_recorder *r = self;
    r->span[index] = (fx_span){start, end};
    r->total[index] += end - start;
}

fx_status fx_recorder_create(fx_trainee *trainee, fx_recorder *out)
{
    *out = (fx_recorder){.observer = {.self = out, .timed = timed}};
    out->count = fx_program_entries(trainee->step, &out->entries);
    FX_TRY(FX_ALLOC(out->span, out->count));
    FX_TRY(FX_ALLOC(out->total, out->count));
    trainee->observer = &out->observer;
    return FX_OK;
}

void fx_recorder_free(fx_recorder *r, fx_trainee *trainee)
{
    if (trainee) trainee->observer = NULL;
    fx_free(r->span);
    fx_free(r->total);
    *r = (fx_recorder){0};
}

double fx_recorder_outside_conv(const fx_recorder *r, double seconds)
{
    double conv = 0;
    for (int e = 0; e < r->count; e++)
        if (r->entries[e].node->id == FX_OP_conv) conv += r->total[e];
    return seconds > 0 ? 1 - conv / seconds : 0;
}
