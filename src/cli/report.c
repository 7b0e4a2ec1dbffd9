/* flexhpc report DIR...: one HTML file from a run folder, or from several a comparison. Local. */
#include "cli.h"
#include "flexhpc/train.h"

static fx_status run(fx_cli *cli)
{
    if (cli->arguments == 1) {
        FX_REQUIRE(!cli->out, FX_ECONFIG,
                   "report: --out is for a comparison of several runs; that of one is DIR/report.html");
        FX_TRY(fx_run_report(cli->argument[0]));
        printf("%s/report.html\n", cli->argument[0]);
        return FX_OK;
    }
    FX_REQUIRE(cli->out, FX_ECONFIG, "report: --out FILE: where does the comparison of %d runs go?",
               cli->arguments);
    FX_TRY(fx_run_compare((const char *const *)cli->argument, cli->arguments, cli->out));
    printf("%s\n", cli->out);
    return FX_OK;
}

const fx_command fx_command_report = {
    .name = "report",
    .arguments = "DIR... [options]",
    .help = "write DIR/report.html: what a run was, how good it is and what is wrong with it; of 2 to "
            "6 runs a "
            "comparison: what differs, scores side by side and against the first run's on the same "
            "samples, curves "
            "and spectra over each other. Forecasts of many snapshots that flexhpc sample wrote to "
            "DIR/sample-*.h5 are "
            "shown as strips, with their scores by lead",
    .example = "flexhpc report runs/first runs/second --out compare.html",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--out", "FILE", out, "where a comparison goes")),
    .least = 1,
    .most = -1,
    .run = run,
};
