/* flexhpc bench scaling CONFIG: training steps at this number of ranks, weak and strong. Collective.
 * flexhpc bench scaling --plot PREFIX FILE...: the curve through the results of several such jobs.
 * Local: one rank. */
#include "cli.h"
#include "flexhpc/bench.h"

static fx_status join(const fx_cli *cli)
{
    json_t *result = NULL;
    fx_status status = FX_OK;
    FX_REQUIRE(!cli->config && cli->arguments > 0, FX_ECONFIG,
               "bench scaling: --plot takes the JSON files of several jobs, and no CONFIG");
    if (cli->comm->rank == 0)
        status =
            fx_scaling_curve((const char *const *)cli->argument, cli->arguments, cli->plot, &result);
    status = fx_agree(cli->comm, status);
    if (status == FX_OK) return fx_cli_rows(cli, result, fx_scaling_curve_columns);
    json_decref(result);
    return status;
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    json_t *result = NULL;
    int64_t batch = 8, repeats = 3;
    if (cli->plot) return join(cli);
    FX_REQUIRE(cli->config && cli->arguments == 0, FX_ECONFIG,
               "bench scaling: usage: flexhpc bench scaling CONFIG, or --plot PREFIX FILE...");
    FX_TRY(fx_cli_number("--batch", cli->batch, 1, 65536, &batch));
    FX_TRY(fx_cli_number("--repeats", cli->repeats, 1, 100, &repeats));
    FX_TRY(fx_agree(cli->comm, fx_cli_config(cli, &config)));
    FX_TRY(fx_bench_scaling(cli->comm, &config, batch, (int)repeats, &result));
    return fx_cli_rows(cli, result, fx_bench_scaling_columns);
}

const fx_command fx_command_bench_scaling = {
    .name = "bench scaling",
    .arguments = "CONFIG | --plot PREFIX FILE...",
    .help = "time training steps at this number of ranks, weak and strong; join such results",
    .example = "flexhpc bench scaling --plot scaling n1.json n2.json n4.json",
    .options = FX_OPTIONS(
        FX_OPTION_TEXT("--json", "FILE", json, "writes the results as JSON"),
        FX_OPTION_TEXT("--csv", "FILE", csv, "and as CSV"),
        FX_OPTION_TEXT("--batch", "N", batch,
                       "weak: samples of a rank [8]; strong is train.global_batch"),
        FX_OPTION_TEXT("--repeats", "N", repeats, "of bench.warmup and bench.steps [3]"),
        FX_OPTION_TEXT("--plot", "PREFIX", plot, "joins FILEs into PREFIX.svg, .csv and .json")),
    .config = FX_MAY_HAVE_CONFIG,
    .most = -1,
    .ranks = true,
    .run = run,
};
