/* flexhpc predict CONFIG: how a training step would do on many ranks of a network that isn't here.
 * Local. */
#include <stdlib.h>

#include "cli.h"
#include "flexhpc/bench.h"

enum { RANKS_MAX = 1 << 16, BATCH_MAX = 65536 };

static fx_status parse_fraction(const char *text, double *out)
{
    char *end = NULL;
    if (!text) return FX_OK;
    *out = strtod(text, &end);
    FX_REQUIRE(end != text && *end == '\0' && *out > 0 && *out <= 1, FX_ECONFIG,
               "--fraction: \"%s\" is no number above 0 and up to 1", text);
    return FX_OK;
}

static fx_status write_files(const fx_cli *cli, const json_t *result)
{
    if (cli->json) FX_TRY(fx_json_write(cli->json, result));
    return cli->csv ? fx_table_csv(cli->csv, json_object_get(result, "rows"), fx_foresee_columns)
                    : FX_OK;
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    json_t *result = NULL;
    int64_t ranks = 0;
    fx_foresee_options options = {.network = cli->network,
                                  .profile = cli->profile,
                                  .comm = cli->comm_file,
                                  .io = cli->io_file,
                                  .fraction = 0.6,
                                  .batch = 8,
                                  .plot = cli->plot};
    FX_TRY(parse_fraction(cli->fraction, &options.fraction));
    FX_TRY(fx_cli_number("--batch", cli->batch, 1, BATCH_MAX, &options.batch));
    FX_TRY(fx_cli_number("--ranks", cli->ranks, 1, RANKS_MAX, &ranks));
    options.ranks = (int)ranks;
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_foresee(&config, &options, stdout, &result));
    const fx_status status = write_files(cli, result);
    json_decref(result);
    return status;
}

const fx_command fx_command_predict = {
    .name = "predict",
    .arguments = "CONFIG",
    .help = "step time, efficiency and reading on up to 4,096 ranks of a named network",
    .example = "flexhpc predict configs/flex-big.yaml --network h100-200g --plot big.svg",
    .options = FX_OPTIONS(
        FX_OPTION_TEXT("--network", "NAME", network,
                       "h100-ndr, h200-ndr, a100-slingshot or h100-200g [h100-ndr]"),
        FX_OPTION_TEXT("--comm", "FILE", comm_file, "sums as bench comm --json measured them, instead"),
        FX_OPTION_TEXT("--profile", "FILE", profile, "compute as profile --json measured it"),
        FX_OPTION_TEXT("--fraction", "F", fraction,
                       "without a profile: of the device's limits that kernels reach [0.6]"),
        FX_OPTION_TEXT("--io", "FILE", io_file, "a rank reads no faster than in bench io --json's"),
        FX_OPTION_TEXT("--batch", "N", batch, "samples of a rank [8]"),
        FX_OPTION_TEXT("--ranks", "N", ranks, "this number alone"),
        FX_OPTION_TEXT("--plot", "FILE", plot, "efficiency by ranks as SVG"),
        FX_OPTION_TEXT("--json", "FILE", json, "writes the prediction as JSON"),
        FX_OPTION_TEXT("--csv", "FILE", csv, "and its table as CSV")),
    .config = FX_NEEDS_CONFIG,
    .run = run,
};
