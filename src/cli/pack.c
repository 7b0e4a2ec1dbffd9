/* flexhpc pack CONFIG: files of fields to shards of patches. Collective. */
#include "cli.h"
#include "flexhpc/data.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_TRY(fx_cli_config(cli, &config));
    return fx_pack(cli->comm, &config);
}

const fx_command fx_command_pack = {
    .name = "pack",
    .arguments = "CONFIG",
    .help = "cut files of fields into shards of patches (pack.* keys)",
    .options = "--set",
    .least = 1,
    .most = 1,
    .ranks = true,
    .run = run,
};
