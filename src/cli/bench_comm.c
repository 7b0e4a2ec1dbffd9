/* flexhpc bench comm [CONFIG]: how long sums over all ranks take, by size. Collective. */
#include "cli.h"
#include "flexhpc/bench.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    json_t *result = NULL;
    FX_TRY(fx_agree(cli->comm, fx_cli_config(cli, &config)));
    FX_TRY(fx_bench_comm(cli->comm, &config, &result));
    return fx_cli_rows(cli, result, fx_bench_comm_columns);
}

const fx_command fx_command_bench_comm = {
    .name = "bench comm",
    .arguments = "[CONFIG]",
    .help = "time sums over all ranks, alone and in a queue, from one number to train.bucket",
    .example = "mpiexec -n 4 flexhpc bench comm --set train.bucket=64 --json comm.json",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--json", "FILE", json, "writes the results as JSON"),
                          FX_OPTION_TEXT("--csv", "FILE", csv, "and as CSV")),
    .config = FX_MAY_HAVE_CONFIG,
    .ranks = true,
    .run = run,
};
