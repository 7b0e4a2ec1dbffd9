/* flexhpc bench gpu: what the GPUs give at their best. Collective. */
#include "cli.h"
#include "flexhpc/train.h"

static void print(const fx_gpu_report *r)
{
    printf("%s; %d ranks\n", r->backend, r->ranks);
    printf("product    bf16 %.1f, tf32 %.1f, fp32 %.1f TFLOP/s, of %lld x %lld matrices\n",
           1e-12 * r->product[FX_PRECISION_BF16], 1e-12 * r->product[FX_PRECISION_TF32],
           1e-12 * r->product[FX_PRECISION_FP32], (long long)r->side, (long long)r->side);
    printf("memory     %.1f GB/s read and written, copying %.1f MiB\n", 1e-9 * r->copy,
           (double)r->bytes / 1048576.0);
    printf("upload     %.1f GB/s from pinned memory\n", 1e-9 * r->upload);
    if (r->sum > 0)
        printf("all-reduce %.1f GB/s of data, %.1f GB/s on a ring's links\n", 1e-9 * r->sum,
               1e-9 * fx_gpu_bus(r));
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    fx_gpu_report report;
    fx_status status = FX_OK;
    FX_TRY(fx_agree(cli->comm, fx_cli_config(cli, &config)));
    FX_TRY(fx_bench_gpu(cli->comm, &config, &report));
    if (cli->comm->rank == 0) print(&report);
    if (cli->comm->rank == 0 && cli->json) status = fx_gpu_write(&report, cli->json);
    return fx_agree(cli->comm, status);
}

const fx_command fx_command_bench_gpu = {
    .name = "bench gpu",
    .arguments = "[CONFIG]",
    .help = "what the GPUs give at their best: products, copies, sums",
    .options = FX_OPTIONS(FX_OPTION_KEY("--backend", "NAME", "backend"),
                          FX_OPTION_TEXT("--json", "FILE", json, "writes the results as JSON")),
    .config = FX_MAY_HAVE_CONFIG,
    .ranks = true,
    .run = run,
};
