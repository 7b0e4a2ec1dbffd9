/* flexhpc plan CONFIG: what a training step will hold and do, without doing it. Local. */
#include "cli.h"
#include "flexhpc/train.h"

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

static void print(const fx_trainee *t)
{
    static const char *const roles[FX_ROLES] = {"activations", "statistics", "gradients", "recomputed"};
    const fx_plan_summary s = fx_program_summary(t->step);
    printf("parameters    %13lld\n", (long long)s.parameters);
    printf("nodes         %13d   forward %d, backward %d, recomputed %d, communication %d\n", s.nodes,
           s.forward, s.backward, s.recomputed, s.communication);
    printf("work          %13.1f   GFLOP a step and rank\n", 1e-9 * s.flops);
    printf("weights, gradient, moments, EMA %.1f MiB\n", mib(fx_params_bytes(t->params)));
    printf("inputs        %13.1f MiB\n", mib(s.kept_bytes));
    printf("arena         %13.1f MiB   %.1f MiB without reuse; %.1f MiB wait for backward\n",
           mib(s.arena_bytes), mib(s.tensor_bytes), mib(s.saved_bytes));
    printf("at its peak, %s:\n", s.peak_node);
    for (int r = 0; r < FX_ROLES; r++)
        printf("  %-12s%13.1f MiB\n", roles[r], mib(s.peak_by_role[r]));
    printf("  %-12s%13.1f MiB\n", "scratch", mib(s.peak_scratch));
    printf("a rank in all %13.1f MiB\n",
           mib(s.arena_bytes + s.kept_bytes + fx_params_bytes(t->params)));
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    fx_step_options options;
    fx_trainee *t = NULL;
    fx_exec *exec = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_step_options_from_config(&config, cli->comm->size, &options));
    FX_TRY_DONE(fx_exec_open(cli->comm, &config, &exec));
    FX_TRY_DONE(fx_trainee_create(exec, &options, true, &t));
    print(t);
    if (cli->out) {
        FILE *out = fopen(cli->out, "we");
        FX_REQUIRE_DONE(out, FX_EIO, "%s: can't be written", cli->out);
        status = fx_program_dump(t->step, out);
        if (fclose(out) != 0 && status == FX_OK)
            status = fx_fail(FX_EIO, "%s: can't be written", cli->out);
    }
done:
    fx_trainee_free(&t);
    if (exec) exec->backend->close(&exec);
    return status;
}

const fx_command fx_command_plan = {
    .name = "plan",
    .arguments = "CONFIG",
    .help = "parameters, work and peak memory of one training step",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--out", "FILE", out, "lists the nodes of the step")),
    .config = FX_NEEDS_CONFIG,
    .run = run,
};
