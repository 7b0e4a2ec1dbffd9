/* flexhpc plan CONFIG: what a training step will hold and do on the first of --ranks N, without doing
 * it or taking its memory. Local. */
#include "cli.h"
#include "flexhpc/checkpoint.h"
#include "flexhpc/data.h"
#include "flexhpc/io.h"
#include "flexhpc/train.h"

enum { RANKS_MAX = 1 << 20 };
enum { OPTIONS = FX_RECOMPUTE_ALL + 1 }; /* of model.recompute: the table's columns */

static const char *const option_names[OPTIONS] = {[FX_RECOMPUTE_NONE] = "none",
                                                  [FX_RECOMPUTE_CHEAP] = "cheap",
                                                  [FX_RECOMPUTE_RESBLOCK] = "resblock",
                                                  [FX_RECOMPUTE_ALL] = "all"};
static const char *const role_names[FX_ROLES] = {[FX_ACTIVATION] = "activation",
                                                 [FX_STATISTIC] = "statistic",
                                                 [FX_GRADIENT] = "gradient",
                                                 [FX_RECOMPUTED] = "recomputed"};
static const char *const slab_names[FX_SLABS] = {[FX_SLAB_VALUE] = "values",
                                                 [FX_SLAB_GRADIENT] = "gradients",
                                                 [FX_SLAB_MOMENT1] = "first moments",
                                                 [FX_SLAB_MOMENT2] = "second moments",
                                                 [FX_SLAB_EMA] = "EMA",
                                                 [FX_SLAB_COPY] = "bf16 copies"};

typedef struct column {
    fx_trainee *trainee;
    fx_plan_summary plan;
} column;

static void print_head(const column *c)
{
    const fx_plan_summary *s = &c->plan;
    printf("model.recompute %s\n", option_names[c->trainee->options.recompute]);
    printf("parameters %16lld\n", (long long)s->parameters);
    printf("nodes      %16d   forward %d, backward %d, recomputed %d, communication %d\n", s->nodes,
           s->forward, s->backward, s->recomputed, s->communication);
    printf("work       %16.1f   GFLOP a step and rank\n", 1e-9 * s->flops);
    printf("traffic    %16.1f   GB a step and rank, every tensor of an entry once\n", 1e-9 * s->bytes);
    printf("arena      %16.1f   MiB; %.1f without reuse; %.1f wait for backward\n",
           (double)s->arena_bytes / 1048576, (double)s->tensor_bytes / 1048576,
           (double)s->saved_bytes / 1048576);
}

/* How long an epoch is on the pack, where one is named; it need not be made yet. */
static fx_status print_epoch(const fx_config *c)
{
    char file[FX_PATH_MAX];
    fx_manifest manifest;
    fx_order *order = NULL;
    if (!c->data_path[0]) return FX_OK;
    FX_TRY(fx_path(file, "%s/manifest.json", c->data_path));
    if (!fx_file_exists(file)) {
        printf("epoch                     ?   no pack in %s yet\n", c->data_path);
        return FX_OK;
    }
    FX_TRY(fx_manifest_read(c->data_path, &manifest));
    const fx_order_options options = {.seed = (uint64_t)c->seed,
                                      .batch = c->train_global_batch,
                                      .cond = c->model_cond,
                                      .forecast_step = c->data_forecast_step,
                                      .reynolds = &c->data_reynolds,
                                      .weights = c->data_weights};
    const fx_status status = fx_order_create(&manifest, &options, &order);
    if (status == FX_OK) {
        const double steps = (double)fx_order_samples(order) / (double)c->train_global_batch;
        printf("epoch      %16.1f   steps: %lld samples, %lld a step; train.steps is %.2f epochs\n",
               steps, (long long)fx_order_samples(order), (long long)c->train_global_batch,
               (double)c->train_steps / steps);
    }
    fx_order_free(&order);
    fx_manifest_free(&manifest);
    return status;
}

/* With the most that a run's checkpoints come to. */
static void print_checkpoint(const fx_config *c, fx_params *params)
{
    const int64_t for_good =
        c->checkpoint_keep_every > 0 ? c->train_steps / c->checkpoint_keep_every : 0;
    const double mib = (double)fx_checkpoint_bytes(params) / 1048576;
    printf(
        "checkpoint %16.1f   MiB on disk; a run holds at most %.1f: %lld newest, %lld kept for good, "
        "1 being written\n",
        mib, mib * (double)(c->checkpoint_keep + for_good + 1), (long long)c->checkpoint_keep,
        (long long)for_good);
}

static void print_row(const char *group, const char *name, const double values[OPTIONS])
{
    printf("%-11s%-15s", group, name);
    for (int i = 0; i < OPTIONS; i++)
        printf("%12.1f", values[i]);
    printf("\n");
}

/* One row: `bytes` is a size_t expression of the column c. */
#define PRINT_BYTES(group, name, bytes)                                                                \
    do {                                                                                               \
        double row_[OPTIONS];                                                                          \
        for (const column *c = columns; c < columns + OPTIONS; c++)                                    \
            row_[c - columns] = (double)(bytes) / 1048576;                                             \
        print_row(group, name, row_);                                                                  \
    } while (0)

/* What is alive at the entry where most is; gaps are the arena's bytes that nothing uses then. The rows
 * add up to the last one. */
static void print_table(const column columns[OPTIONS])
{
    double work[OPTIONS], traffic[OPTIONS];
    printf("\nMiB a rank, at the arena's peak");
    printf("%7s%12s%12s%12s   by model.recompute\n", option_names[0], option_names[1], option_names[2],
           option_names[3]);
    for (int r = 0; r < FX_ROLES; r++)
        PRINT_BYTES("arena", role_names[r], c->plan.peak_by_role[r]);
    PRINT_BYTES("arena", "scratch", c->plan.peak_scratch);
    PRINT_BYTES("arena", "gaps", c->plan.arena_bytes - c->plan.peak_bytes);
    for (int s = 0; s < FX_SLABS; s++)
        PRINT_BYTES("parameters", slab_names[s], fx_params_slab_bytes(c->trainee->params, (fx_slab)s));
    PRINT_BYTES("kept", "in and out", c->plan.kept_bytes);
    PRINT_BYTES("in all", "", fx_trainee_bytes(c->trainee));
    for (int i = 0; i < OPTIONS; i++) {
        work[i] = 1e-9 * columns[i].plan.flops;
        traffic[i] = 1e-9 * columns[i].plan.bytes;
    }
    print_row("work", "GFLOP a step", work);
    print_row("traffic", "GB a step", traffic);
    for (int i = 0; i < OPTIONS; i++)
        printf("peak of %-8s  at %s\n", option_names[i], columns[i].plan.peak_node);
}

static fx_status print_validation(const fx_config *c, const fx_trainee *trainee)
{
    size_t bytes = 0;
    if (c->validate_every == 0) return FX_OK;
    FX_TRY(fx_validation_bytes(trainee, c, &bytes));
    printf("\nvalidation %16.1f   MiB beside it, for losses and samples every %lld steps\n",
           (double)bytes / 1048576, (long long)c->validate_every);
    return FX_OK;
}

/* What this rank leaves to others, by slab: all of it less what is held. */
static void print_shards(const column *c, int ranks)
{
    fx_params *params = c->trainee->params;
    const size_t whole = fx_tensor_bytes(fx_params_slab(params, FX_SLAB_GRADIENT, 0));
    double all = 0;
    if (!fx_params_shares(params)) return;
    printf("\nsharded over %d ranks, MiB less on each:", ranks);
    for (int s = 0; s < FX_SLABS; s++) {
        const fx_tensor *slab = fx_params_slab(params, (fx_slab)s, 0);
        if (!slab || slab->dtype != FX_F32 || fx_tensor_bytes(slab) >= whole) continue;
        const double less = (double)(whole - fx_tensor_bytes(slab)) / 1048576;
        printf(" %s %.1f,", slab_names[s], less);
        all += less;
    }
    printf(" in all %.1f\n", all);
}

static fx_status write_nodes(const fx_trainee *t, const char *file)
{
    FILE *out = fopen(file, "we");
    FX_REQUIRE(out, FX_EIO, "%s: can't be written", file);
    fx_status status = fx_program_dump(t->step, out);
    if (fclose(out) != 0 && status == FX_OK) status = fx_fail(FX_EIO, "%s: can't be written", file);
    return status;
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    fx_step_options options;
    column columns[OPTIONS] = {0};
    fx_exec *exec = NULL;
    fx_comm job = *cli->comm; /* whose other ranks are not there */
    int64_t ranks = 1;
    fx_status status = FX_OK;
    FX_TRY(fx_cli_number("--ranks", cli->ranks, 1, RANKS_MAX, &ranks));
    job.size = (int)ranks;
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_step_options_from_config(&config, &job, &options));
    const column *chosen = &columns[options.recompute];
    FX_TRY_DONE(fx_exec_open(cli->comm, &config, &exec));
    exec->options.comm = &job;
    for (int i = 0; i < OPTIONS; i++) {
        options.recompute = (fx_recompute)i;
        FX_TRY_DONE(fx_trainee_create(exec, &options, true, &columns[i].trainee));
        columns[i].plan = fx_program_summary(columns[i].trainee->step);
    }
    print_head(chosen);
    print_checkpoint(&config, chosen->trainee->params);
    FX_TRY_DONE(print_epoch(&config));
    print_table(columns);
    FX_TRY_DONE(print_validation(&config, chosen->trainee));
    print_shards(chosen, job.size);
    if (cli->out) status = write_nodes(chosen->trainee, cli->out);
done:
    for (int i = 0; i < OPTIONS; i++)
        fx_trainee_free(&columns[i].trainee);
    if (exec) exec->backend->close(&exec);
    return status;
}

const fx_command fx_command_plan = {
    .name = "plan",
    .arguments = "CONFIG",
    .help = "parameters, work and peak memory of one training step",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--out", "FILE", out, "lists the nodes of the step"),
                          FX_OPTION_TEXT("--ranks", "N", ranks, "of the run; 1 when not given")),
    .config = FX_NEEDS_CONFIG,
    .run = run,
};
