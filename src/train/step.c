/* step.c: the whole training step on one tape: inputs, noise, network, losses, backward, reduction of
 * gradients as they become ready, clipping, update, EMA. Micro-batches are unrolled, each with its own
 * backward, so memory is one micro-batch's and gradients add up in one order. */
#include <math.h>
#include <string.h>

#include "energy.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"
#include "flexhpc/train.h"
#include "step_inputs.h"

/* What a rank tells the others at the end of a step; those before OWN are added up. */
enum { LOSS0, LOSS1, CONTRAST, BAD, JOULES, OWN = JOULES + FX_ENERGY_KINDS, WORDS };

/* The term is the mean over groups; every rank adds its own group's. */
static fx_objective_options objective_of(const fx_step_options *o, int ranks)
{
    const int64_t local = o->micro_batch * o->accumulate;
    const int group = o->contrast_ranks > 0 ? o->contrast_ranks : ranks;
    return (fx_objective_options){.schedule = o->schedule,
                                  .target = o->target,
                                  .criterion = o->criterion,
                                  .contrast_weight = o->contrast_weight * ((float)group / (float)ranks),
                                  .contrast_temperature = o->contrast_temperature,
                                  .global_samples = local * ranks,
                                  .stride = local,
                                  .contrast_ranks = group};
}

static bool has_contrast(const fx_step_options *o)
{
    return o->contrast_weight > 0 && o->model.tasks == (FX_TASK_SR | FX_TASK_FC);
}

static void record_micro_batch(fx_builder *g, fx_trainee *t, const fx_objective_options *objective,
                               int micro)
{
    const fx_step_options *o = &t->options;
    fx_builder_rows(
        g, (fx_rows){.samples = o->micro_batch, .slot0 = micro * o->micro_batch, .micro = micro});
    fx_scope_push(g, "micro.%d", micro);
    fx_record_inputs(g, o, o->micro_batch, true, &t->inputs[micro]);
    fx_scope_pop(g);
    t->nodes[micro].all = micro > 0 ? t->nodes[micro - 1].all : NULL;
    fx_record_objective(g, &o->model, objective, &t->inputs[micro], &t->nodes[micro]);
    fx_keep(g, t->nodes[micro].loss);
    if (o->given) {
        fx_keep(g, t->nodes[micro].z);
        fx_keep(g, t->nodes[micro].latent);
        fx_keep(g, t->nodes[micro].velocity);
        fx_keep(g, t->nodes[micro].schedule);
    }
}

/* Each micro-batch with its own backward behind it, unless the contrast needs the latents of all of
 * them first. */
static void record_passes(fx_builder *g, fx_trainee *t)
{
    const fx_step_options *o = &t->options;
    const bool contrast = has_contrast(o);
    fx_objective_options objective = objective_of(o, t->exec->options.comm->size);
    if (contrast) objective.exchange = o->contrast_features ? FX_EXCHANGE_FEATURES : FX_EXCHANGE_GATHER;
    for (int micro = 0; micro < o->accumulate; micro++) {
        record_micro_batch(g, t, &objective, micro);
        if (!contrast) fx_autodiff(g, o->recompute);
    }
    if (!contrast) return;
    fx_record_contrast(g, &objective, t->nodes, o->accumulate);
    for (int micro = 0; micro < o->accumulate; micro++)
        fx_keep(g, t->nodes[micro].contrast);
    fx_autodiff(g, o->recompute);
}

/* Gradients become those of the global batch on every rank. */
static void record_reduction(fx_builder *g, fx_trainee *t)
{
    if (t->options.fixed) {
        fx_tensor *all = fx_params_gradients(t->params);
        fx_record(g, FX_OP_tree_sum, "tree_sum", (fx_attrs){0}, &all, 1);
        return;
    }
    const bool bf16 = t->options.reduce_bf16 && t->exec->options.comm->size > 1;
    t->buckets = fx_buckets(g, t->options.bucket_bytes, bf16);
    fx_buckets_join(g);
}

/* Each rank has updated its share of the weights: they go to all. */
static void record_exchange(fx_builder *g, fx_trainee *t)
{
    fx_tensor *weights = fx_params_shares(t->params);
    if (!weights) return;
    const fx_attrs attrs = {.all_gather = {t->exec->options.comm->size}};
    fx_record(g, FX_OP_all_gather, "weights", attrs, &weights, 1);
    fx_record(g, FX_OP_join, "join", (fx_attrs){0}, NULL, 0);
}

/* The last ranks of many may have nothing to update. */
static void record_update(fx_builder *g, fx_trainee *t)
{
    fx_params *p = t->params;
    fx_tensor *gradient = fx_params_slab(p, FX_SLAB_GRADIENT, 0);
    const fx_node *clip =
        fx_record(g, FX_OP_clip, "clip", (fx_attrs){.clip = t->options.clip}, &gradient, 1);
    if (!clip) return;
    t->norm = fx_keep(g, clip->out[0]);
    if (fx_count(fx_params_share(p, FX_SLAB_VALUE)) == 0) return;
    fx_record(g, FX_OP_update, "update", (fx_attrs){.update = t->options.update},
              (fx_tensor *[]){fx_params_share(p, FX_SLAB_VALUE), fx_params_share(p, FX_SLAB_GRADIENT),
                              fx_params_share(p, FX_SLAB_MOMENT1), fx_params_share(p, FX_SLAB_MOMENT2),
                              fx_params_share(p, FX_SLAB_EMA), t->norm,
                              fx_params_share(p, FX_SLAB_COPY)},
              7);
}

static fx_status build(fx_trainee *t, bool plan_only)
{
    fx_status status = FX_OK;
    fx_builder *g = NULL;
    fx_param **order = NULL;
    FX_TRY_DONE(fx_builder_create(t->params, &g));
    record_passes(g, t);
    fx_readiness(g, &order);
    FX_TRY_DONE(fx_builder_status(g));
    const unsigned adamw = t->options.update.optimizer == FX_ADAMW ? 1u << FX_SLAB_MOMENT2 : 0;
    const unsigned slabs = 1u << FX_SLAB_VALUE | 1u << FX_SLAB_GRADIENT | 1u << FX_SLAB_MOMENT1 |
                           adamw | 1u << FX_SLAB_EMA;
    FX_TRY_DONE(plan_only ? fx_params_lay_out(t->params, order, slabs)
                          : fx_params_allocate(t->params, t->exec, order, slabs));
    record_reduction(g, t);
    record_update(g, t);
    record_exchange(g, t);
    FX_TRY_DONE(fx_program_create(t->exec, &g, plan_only, &t->step));
done:
    fx_builder_free(&g);
    return status;
}

/* The ranks that share a contrastive term. With contrast.group: node each rank knows its own node
 * alone. Collective. */
static fx_status open_group(fx_trainee *t, bool plan_only)
{
    fx_comm *comm = t->exec->options.comm;
    const int members = t->options.contrast_ranks;
    int64_t most = members, least = -(int64_t)members;
    if (!plan_only) FX_TRY(fx_comm_max_i64(comm, &most));
    if (!plan_only) FX_TRY(fx_comm_max_i64(comm, &least));
    FX_REQUIRE(most == -least, FX_ECONFIG,
               "contrast.group: node: nodes have %lld to %lld ranks; each must have as many",
               (long long)-least, (long long)most);
    if (members == 0 || members == comm->size) return FX_OK;
    if (members > 1)
        FX_TRY(comm->ops->split(comm, members, &t->group));
    else
        t->group = fx_comm_self();
    t->exec->options.group = t->group;
    return FX_OK;
}

fx_status fx_trainee_create(fx_exec *exec, const fx_step_options *options, bool plan_only,
                            fx_trainee **out)
{
    fx_status status = FX_OK;
    fx_trainee *t = NULL;
    FX_TRY(FX_ALLOC(t, 1));
    t->exec = exec;
    t->options = *options;
    FX_TRY_DONE(FX_ALLOC(t->inputs, options->accumulate));
    FX_TRY_DONE(FX_ALLOC(t->nodes, options->accumulate));
    FX_TRY_DONE(fx_params_create(&t->params));
    FX_TRY_DONE(fx_params_store_as(t->params, exec->storage));
    if (options->fixed) FX_TRY_DONE(fx_params_replicas(t->params, options->accumulate));
    const fx_comm *comm = exec->options.comm;
    FX_TRY_DONE(FX_ALLOC(t->words, (int64_t)comm->size * WORDS));
    FX_TRY_DONE(FX_ALLOC(t->own, comm->size));
    if (options->shard) FX_TRY_DONE(fx_params_shard(t->params, comm->rank, comm->size));
    FX_TRY_DONE(open_group(t, plan_only));
    FX_TRY_DONE(build(t, plan_only));
    *out = t;
    return FX_OK;
done:
    fx_trainee_free(&t);
    return status;
}

void fx_trainee_free(fx_trainee **trainee)
{
    fx_trainee *t = *trainee;
    if (!t) return;
    fx_program_free(&t->step);
    fx_params_free(&t->params);
    if (t->group) {
        t->exec->options.group = NULL;
        t->group->ops->close(t->group);
    }
    fx_free(t->inputs);
    fx_free(t->nodes);
    fx_free(t->words);
    fx_free(t->own);
    fx_free(t);
    *trainee = NULL;
}

size_t fx_trainee_bytes(const fx_trainee *t)
{
    const fx_plan_summary s = fx_program_summary(t->step);
    return s.arena_bytes + s.kept_bytes + fx_params_bytes(t->params);
}

/* Sums of this rank's loss rows by task, and its group's contrast. */
static fx_status read_losses(fx_trainee *t, double sum[2], double *contrast)
{
    float *rows = NULL;
    fx_status status = FX_OK;
    const int64_t n = t->options.micro_batch;
    FX_TRY(FX_ALLOC(rows, 2 * n));
    for (int micro = 0; micro < t->options.accumulate; micro++) {
        const fx_objective_nodes *nodes = &t->nodes[micro];
        FX_TRY_DONE(fx_program_read(t->step, nodes->loss, rows));
        const int first = t->options.model.tasks & FX_TASK_SR ? FX_SR : FX_FC;
        for (int64_t r = 0; r < fx_count(nodes->loss); r++)
            sum[first + r / n] += (double)rows[r];
        if (nodes->contrast) FX_TRY_DONE(fx_program_read(t->step, nodes->contrast, rows));
        *contrast = nodes->contrast ? (double)rows[0] : 0.0;
    }
done:
    fx_free(rows);
    return status;
}

/* The losses of all ranks, added up in rank order, and who is to blame. */
static fx_status exchange(fx_trainee *t, const double mine[WORDS], double sum[OWN], int *culprit)
{
    fx_comm *comm = t->exec->options.comm;
    *culprit = -1;
    FX_TRY(comm->ops->all_gather(comm, mine, WORDS * sizeof *mine, t->words));
    for (int r = comm->size - 1; r >= 0; r--)
        if (t->words[r * WORDS + BAD] != 0) *culprit = r;
    for (int i = 0; i < OWN; i++) {
        sum[i] = 0;
        for (int r = 0; r < comm->size; r++)
            sum[i] += t->words[r * WORDS + i];
    }
    for (int r = 0; r < comm->size; r++)
        t->own[r] = t->words[r * WORDS + OWN];
    return FX_OK;
}

static void read_energy(const fx_trainee *t, double joules[FX_ENERGY_KINDS])
{
    for (int kind = 0; kind < FX_ENERGY_KINDS; kind++)
        joules[kind] = NAN;
    if (t->energy) fx_energy_read(t->energy, joules);
}

fx_status fx_trainee_step(fx_trainee *t, const fx_step *step, fx_step_report *report)
{
    fx_comm *comm = t->exec->options.comm;
    float norm[4];
    double loss[2] = {0, 0}, contrast = 0, sum[OWN];
    fx_status status = fx_program_run(t->step, step, t->observer);
    if (status == FX_OK) status = read_losses(t, loss, &contrast);
    if (status == FX_OK) status = fx_program_read(t->step, t->norm, norm);
    FX_TRY(fx_agree(comm, status));

    const bool finite = isfinite(loss[0]) && isfinite(loss[1]);
    double mine[WORDS] = {[LOSS0] = finite ? loss[0] : 0,
                          [LOSS1] = finite ? loss[1] : 0,
                          [CONTRAST] = contrast,
                          [BAD] = finite ? 0 : 1,
                          [OWN] = fx_beat_own()};
    read_energy(t, mine + JOULES);
    FX_TRY(exchange(t, mine, sum, &report->culprit));
    const double samples = (double)(t->options.micro_batch * t->options.accumulate * comm->size);
    const int tasks = t->options.model.tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    report->loss_task[0] = sum[LOSS0] / samples;
    report->loss_task[1] = sum[LOSS1] / samples;
    report->loss = (sum[LOSS0] + sum[LOSS1]) / (samples * tasks);
    report->contrast = sum[CONTRAST] / comm->size;
    report->norm = (double)norm[0];
    report->finite = sum[BAD] == 0 && norm[2] != 0;
    report->own = t->own;
    memcpy(report->joules, sum + JOULES, sizeof report->joules);
    return FX_OK;
}

/* Parameters that are only laid out make programs that are only planned. */
static bool is_plan(fx_params *params)
{
    const fx_tensor *values = fx_params_slab(params, FX_SLAB_VALUE, 0);
    return values && !values->data;
}

fx_status fx_probe_create(fx_exec *exec, fx_params *params, const fx_step_options *options, bool ema,
                          fx_probe *out)
{
    fx_builder *g = NULL;
    *out = (fx_probe){0};
    const fx_objective_options objective = objective_of(options, exec->options.comm->size);
    FX_TRY(fx_builder_create(params, &g));
    fx_builder_use_ema(g, ema);
    fx_builder_rows(g, (fx_rows){.samples = options->micro_batch});
    fx_record_inputs(g, options, options->micro_batch, true, &out->inputs);
    fx_record_objective(g, &options->model, &objective, &out->inputs, &out->nodes);
    fx_keep(g, out->nodes.loss);
    fx_keep(g, out->nodes.target);
    fx_keep(g, out->nodes.velocity);
    return fx_program_create(exec, &g, is_plan(params), &out->program);
}

/* What the denoiser reads lives as long as the encoder. */
static void keep_features(fx_builder *g, fx_conditions *conditions)
{
    for (int task = 0; task < 2; task++) {
        fx_keep(g, conditions->task[task].out);
        for (int k = 0; k < conditions->task[task].skips; k++)
            fx_keep(g, conditions->task[task].skip[k]);
    }
}

static fx_status create_encoder(fx_exec *exec, fx_params *params, const fx_step_options *options,
                                int64_t batch, bool ema, fx_sampler *out, fx_conditions *conditions)
{
    fx_builder *g = NULL;
    fx_batch *in = &out->inputs;
    FX_TRY(fx_builder_create(params, &g));
    fx_builder_use_ema(g, ema);
    fx_builder_rows(g, (fx_rows){.samples = batch});
    fx_record_inputs(g, options, batch, false, in);
    fx_model_conditions(g, &options->model, in->lowres, in->snapshots, in->re, conditions);
    keep_features(g, conditions);
    return fx_program_create(exec, &g, is_plan(params), &out->encoder);
}

fx_status fx_sampler_create(fx_exec *exec, fx_params *params, const fx_step_options *options,
                            int64_t batch, int steps, bool ema, fx_sampler *out)
{
    fx_builder *g = NULL;
    fx_conditions conditions;
    *out = (fx_sampler){0};
    const int64_t side = options->model.image;
    const int64_t rows = options->model.tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 * batch : batch;
    FX_TRY(create_encoder(exec, params, options, batch, ema, out, &conditions));
    FX_TRY(fx_builder_create(params, &g));
    fx_builder_use_ema(g, ema);
    fx_builder_rows(g, (fx_rows){.samples = batch});
    out->x = fx_input(g, "x", 4, FX_DIMS(rows, side, side, 1));
    out->residual = fx_keep(g, fx_record_sampler(g, &options->model, options->schedule, steps,
                                                 &conditions, out->inputs.re, out->x));
    return fx_program_create(exec, &g, is_plan(params), &out->denoiser);
}

void fx_sampler_free(fx_sampler *s)
{
    fx_program_free(&s->denoiser);
    fx_program_free(&s->encoder);
}

static const fx_step SAMPLING = {.gradient_scale = 1};

fx_status fx_sampler_encode(const fx_sampler *s)
{
    return fx_program_run(s->encoder, &SAMPLING, NULL);
}

fx_status fx_sampler_denoise(const fx_sampler *s)
{
    return fx_program_run(s->denoiser, &SAMPLING, NULL);
}
