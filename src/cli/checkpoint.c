/* flexhpc checkpoint FILE...: every tensor against its checksum. Local. */
#include "cli.h"
#include "flexhpc/checkpoint.h"

static fx_status run(fx_cli *cli)
{
    for (int i = 0; i < cli->arguments; i++) {
        FX_TRY(fx_checkpoint_verify(cli->argument[i]));
        printf("%s: whole\n", cli->argument[i]);
    }
    return FX_OK;
}

const fx_command fx_command_checkpoint = {
    .name = "checkpoint",
    .arguments = "FILE...",
    .help = "verify checkpoints: every tensor against its checksum",
    .options = "",
    .least = 1,
    .most = FX_ARGUMENTS_MAX,
    .run = run,
};
