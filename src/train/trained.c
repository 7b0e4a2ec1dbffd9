/* trained.c: a trained model opened for sampling. The two tasks are sampled by programs of their own,
 * so that who wants one does not pay for both, and a row's bits don't depend on what else was asked
 * for. */
#include "flexhpc/trained.h"

#include <stdio.h>

#include "flexhpc/interchange.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"

/* Parameters need their slabs before programs read them. */
static fx_status make_parameters(fx_trained *m)
{
    FX_TRY(fx_model_parameters(&m->options, m->exec->storage, &m->params));
    return fx_params_allocate(m->params, m->exec, NULL, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA);
}

static fx_status make_buffers(fx_trained *m)
{
    const int64_t fields = m->batch * m->pixels;
    FX_TRY(FX_ALLOC(m->snapshots, fields * m->options.model.cond));
    if (m->options.coarse) FX_TRY(FX_ALLOC(m->coarse, fields / m->options.factor / m->options.factor));
    FX_TRY(FX_ALLOC(m->re, m->batch));
    FX_TRY(FX_ALLOC(m->noise, fields));
    FX_TRY(FX_ALLOC(m->base, fields));
    return FX_ALLOC(m->estimate, fields);
}

fx_status fx_trained_open(fx_comm *comm, const fx_config *config, const char *path, fx_trained **out)
{
    fx_trained *m = NULL;
    FX_TRY(fx_agree(comm, FX_ALLOC(m, 1)));
    *out = m;
    m->batch = config->eval_batch;
    m->steps = (int)config->sample_steps;
    FX_TRY(fx_agree(comm, fx_exec_open(comm, config, &m->exec)));
    FX_TRY(fx_checkpoint_named(comm, path, m->path));
    FX_TRY(fx_checkpoint_peek(comm, m->path, &m->progress));
    FX_TRY(fx_step_options_alone(&m->progress.config, &m->options));
    for (fx_task task = FX_SR; task <= FX_FC; task++)
        FX_REQUIRE(!fx_trained_has(m, task) || fx_residual_scale(&m->progress.config, task) > 0,
                   FX_EVALUE, "%s: diffusion.residual_scale: the checkpoint does not say it", m->path);
    m->pixels = m->options.model.image * m->options.model.image;
    FX_TRY(fx_agree(comm, make_parameters(m)));
    FX_TRY(fx_checkpoint_load(comm, m->params, m->exec, m->path, true));
    return fx_agree(comm, make_buffers(m));
}

fx_status fx_trained_of(const fx_trainee *trainee, const fx_config *config, const fx_progress *progress,
                        fx_trained **out)
{
    fx_trained *m = NULL;
    FX_REQUIRE(!trainee->options.shard, FX_ECONFIG,
               "validate.every: with train.shard_optimizer no rank has the EMA weights");
    FX_TRY(FX_ALLOC(m, 1));
    *out = m;
    m->borrowed = true;
    m->progress = *progress;
    m->options = trainee->options;
    m->exec = trainee->exec;
    m->params = trainee->params;
    m->batch = config->eval_batch;
    m->steps = (int)config->sample_steps;
    m->pixels = m->options.model.image * m->options.model.image;
    return make_buffers(m);
}

void fx_trained_close(fx_trained **trained)
{
    fx_trained *m = *trained;
    if (!m) return;
    for (int task = 0; task < 2; task++)
        fx_sampler_free(&m->sampler[task]);
    if (!m->borrowed) fx_params_free(&m->params);
    float *buffers[] = {m->snapshots, m->coarse, m->re, m->noise, m->base, m->estimate};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        fx_free(buffers[i]);
    if (m->exec && !m->borrowed) m->exec->backend->close(&m->exec);
    fx_free(m);
    *trained = NULL;
}

bool fx_trained_has(const fx_trained *m, fx_task task)
{
    return m->options.model.tasks & (task == FX_SR ? FX_TASK_SR : FX_TASK_FC);
}

bool fx_trained_with_zero(const fx_trained *m)
{
    const fx_list *list = &m->progress.config.data_reynolds;
    for (int i = 0; i < list->count; i++)
        if (list->value[i] == 0) return true;
    return m->progress.condition_least == 0; /* not NaN */
}

fx_status fx_trained_prepare(fx_trained *m, fx_task task)
{
    fx_step_options one = m->options;
    if (m->sampler[task].denoiser) return FX_OK;
    one.model.tasks = task == FX_SR ? FX_TASK_SR : FX_TASK_FC;
    const fx_status status =
        fx_sampler_create(m->exec, m->params, &one, m->batch, m->steps, true, &m->sampler[task]);
    if (status != FX_OK) fx_sampler_free(&m->sampler[task]);
    return status;
}

uint32_t fx_trained_stream(uint32_t member)
{
    char name[32] = "x_T"; /* member 0's, as it was before there were members */
    if (member > 0) snprintf(name, sizeof name, "x_T.%u", member);
    return fx_crc32(name);
}

void fx_trained_tell(fx_trained *m, int64_t b, double condition)
{
    m->re[b] = (float)(condition / m->progress.config.data_condition_scale);
}

void fx_trained_draw(fx_trained *m, fx_task task, int64_t b, uint64_t seed, uint32_t number,
                     uint32_t member, double reynolds)
{
    fx_trained_tell(m, b, reynolds);
    fx_fill_normal(seed, 2 * number + (uint32_t)task, fx_trained_stream(member),
                   fx_random_word(reynolds), m->noise + b * m->pixels, m->pixels);
}

fx_status fx_trained_encode(fx_trained *m, fx_task task)
{
    const fx_sampler *s = &m->sampler[task];
    const int64_t cond = m->options.model.cond, fields = m->batch * m->pixels;
    FX_TRY(fx_program_write(s->encoder, s->inputs.snapshots, m->snapshots));
    FX_TRY(fx_program_write(s->encoder, s->inputs.re, m->re));
    if (s->inputs.coarse) FX_TRY(fx_program_write(s->encoder, s->inputs.coarse, m->coarse));
    FX_TRY(fx_sampler_encode(s));
    if (task == FX_SR) return fx_program_read(s->encoder, s->inputs.lowres, m->base);
    for (int64_t k = 0; k < fields; k++)
        m->base[k] = m->snapshots[k * cond + cond - 1];
    return FX_OK;
}

fx_status fx_trained_denoise(fx_trained *m, fx_task task)
{
    const fx_sampler *s = &m->sampler[task];
    const fx_target_attrs *target = &m->options.target;
    const float scale = target->scale[task];
    FX_TRY(fx_program_write(s->denoiser, s->x, m->noise));
    FX_TRY(fx_sampler_denoise(s));
    FX_TRY(fx_program_read(s->denoiser, s->residual, m->estimate));
    for (int64_t k = 0; k < m->batch * m->pixels; k++)
        m->estimate[k] = target->raw ? scale * m->estimate[k] : m->base[k] + scale * m->estimate[k];
    return FX_OK;
}

fx_status fx_trained_run(fx_trained *m, fx_task task)
{
    FX_TRY(fx_trained_encode(m, task));
    return fx_trained_denoise(m, task);
}
