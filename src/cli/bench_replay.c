/* flexhpc bench replay CONFIG --profile FILE: a step whose sums and gathers are real and whose compute
 * is waiting, as long as a profile says. Collective. */
#include "cli.h"
#include "flexhpc/bench.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    json_t *result = NULL;
    int64_t batch = 8;
    FX_REQUIRE(cli->profile, FX_ECONFIG, "bench replay: --profile FILE, of profile --json, is needed");
    FX_TRY(fx_cli_number("--batch", cli->batch, 1, 65536, &batch));
    FX_TRY(fx_agree(cli->comm, fx_cli_config(cli, &config)));
    FX_TRY(fx_bench_replay(cli->comm, &config, cli->profile, batch, &result));
    return fx_cli_rows(cli, result, fx_bench_replay_columns);
}

const fx_command fx_command_bench_replay = {
    .name = "bench replay",
    .arguments = "CONFIG",
    .help = "time a step's sums and gathers beside waits as long as a profile's compute: what predict "
            "predicts",
    .options = FX_OPTIONS(
        FX_OPTION_TEXT("--profile", "FILE", profile, "compute as profile --json measured it"),
        FX_OPTION_TEXT("--batch", "N", batch, "samples of a rank, as in the profile [8]"),
        FX_OPTION_TEXT("--json", "FILE", json, "writes the results as JSON"),
        FX_OPTION_TEXT("--csv", "FILE", csv, "and as CSV")),
    .config = FX_NEEDS_CONFIG,
    .ranks = true,
    .run = run,
};
