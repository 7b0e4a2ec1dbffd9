/* flexhpc report DIR: one HTML file from a run folder. Local. */
#include "cli.h"
#include "flexhpc/train.h"

static fx_status run(fx_cli *cli)
{
    FX_TRY(fx_run_report(cli->argument[0]));
    printf("%s/report.html\n", cli->argument[0]);
    return FX_OK;
}

const fx_command fx_command_report = {
    .name = "report",
    .arguments = "DIR",
    .help = "write DIR/report.html: what a run was and how good it is",
    .least = 1,
    .most = 1,
    .run = run,
};
