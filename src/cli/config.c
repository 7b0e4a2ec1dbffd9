/* flexhpc config show [CONFIG] | keys: the resolved configuration as YAML, or the table of keys. Local.
 */
#include <string.h>

#include "cli.h"

static fx_status show(const fx_cli *cli)
{
    const char *file = cli->arguments > 1 ? cli->argument[1] : NULL;
    fx_config config;
    if (cli->origin) return fx_config_print_origins(file, cli->override, stdout);
    FX_TRY(fx_config_load(&config, file, cli->override));
    return fx_config_print(&config, stdout);
}

static fx_status run(fx_cli *cli)
{
    const char *what = cli->argument[0];
    if (strcmp(what, "show") == 0) return show(cli);
    FX_REQUIRE(strcmp(what, "keys") == 0 && cli->arguments == 1, FX_ECONFIG,
               "config: %s is neither show [CONFIG] nor keys", what);
    return fx_config_print_keys(stdout);
}

const fx_command fx_command_config = {
    .name = "config",
    .arguments = "show [CONFIG] | keys",
    .help = "print the resolved configuration, or every key with default, range and meaning",
    .options = "--set --origin",
    .least = 1,
    .most = 2,
    .run = run,
};
