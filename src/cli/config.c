/* flexhpc config [CONFIG]: the resolved configuration as YAML, or the table of keys. Local. */
#include <string.h>

#include "cli.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    if (cli->arguments > 0 && strcmp(cli->argument[0], "--keys") == 0)
        return fx_config_print_keys(stdout);
    FX_TRY(fx_cli_config(cli, &config));
    return fx_config_print(&config, stdout);
}

const fx_command fx_command_config = {
    .name = "config",
    .arguments = "[CONFIG | --keys]",
    .help = "print the resolved configuration, or every key with default, range and meaning",
    .options = "--set",
    .least = 0,
    .most = 1,
    .run = run,
};
