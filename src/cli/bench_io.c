/* flexhpc bench io CONFIG: how fast the samples of a training come from its pack. Collective. */
#include "cli.h"
#include "flexhpc/bench.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    json_t *result = NULL;
    FX_TRY(fx_agree(cli->comm, fx_cli_config(cli, &config)));
    FX_TRY(fx_bench_io(cli->comm, &config, &result));
    return fx_cli_rows(cli, result, fx_bench_io_columns);
}

const fx_command fx_command_bench_io = {
    .name = "bench io",
    .arguments = "CONFIG",
    .help = "time reading data.path as training does, cold and warm",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--json", "FILE", json, "writes the results as JSON"),
                          FX_OPTION_TEXT("--csv", "FILE", csv, "and as CSV")),
    .config = FX_NEEDS_CONFIG,
    .ranks = true,
    .run = run,
};
