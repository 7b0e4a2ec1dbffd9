/* flexhpc bench CONFIG, also called bench step: times training steps and sampling on synthetic inputs.
 * The other modes of bench have a file each. Collective. */
#include "cli.h"
#include "flexhpc/train.h"

static void print(const fx_bench_report *r)
{
    double least, median, sample, sample_median;
    fx_bench_order(r->step_s, r->count, &least, &median);
    fx_bench_order(r->sample_s, r->count, &sample, &sample_median);
    printf("%s; %d ranks, %lld samples a rank, %lld pixels a side, %lld parameters\n", r->backend,
           r->ranks, (long long)r->batch, (long long)r->image, (long long)r->parameters);
    printf("steps     ");
    for (int i = 0; i < r->count; i++)
        printf(" %.4f", r->step_s[i]);
    printf(" s\nstep       %.4f s at least, %.4f s median: %.2f samples/s, %.1f GFLOP/s a rank\n",
           least, median, (double)(r->batch * r->ranks) / least, 1e-9 * r->flop / least);
    printf("           %.1f %% of an observed step outside convolutions\n", 100 * r->outside_conv);
    printf("sampling   %.4f s at least, %.4f s median: two steps, %lld patches, one task\n", sample,
           sample_median, (long long)r->patches);
    printf("memory     %.1f MiB arena, %.1f MiB wait for backward, %.1f MiB resident at most\n",
           (double)r->arena_bytes / 1048576.0, (double)r->saved_bytes / 1048576.0,
           (double)r->resident_bytes / 1048576.0);
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    fx_bench_report report;
    fx_status status = FX_OK;
    FX_TRY(fx_agree(cli->comm, fx_cli_config(cli, &config)));
    FX_TRY(fx_bench(cli->comm, &config, &report));
    if (cli->comm->rank == 0) print(&report);
    if (cli->comm->rank == 0 && cli->json) status = fx_bench_write(&report, cli->json);
    return fx_agree(cli->comm, status);
}

#define BENCH(word)                                                                                    \
    {                                                                                                  \
        .name = word, .arguments = "CONFIG",                                                           \
        .help = "time training steps and sampling without a data set",                                 \
        .options = FX_OPTIONS(FX_OPTION_TEXT("--json", "FILE", json, "writes the results as JSON")),   \
        .config = FX_NEEDS_CONFIG, .ranks = true, .run = run                                           \
    }
const fx_command fx_command_bench = BENCH("bench");
const fx_command fx_command_bench_step = BENCH("bench step");
