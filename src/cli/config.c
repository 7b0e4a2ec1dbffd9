/* flexhpc config show [CONFIG], config keys: the resolved configuration as YAML, and the table of keys.
 * Local. */
#include "cli.h"

static fx_status show(fx_cli *cli)
{
    fx_config config;
    if (cli->origin) return fx_config_print_origins(cli->config, cli->override, stdout);
    FX_TRY(fx_cli_config(cli, &config));
    return fx_config_print(&config, stdout);
}

static fx_status keys(fx_cli *cli)
{
    (void)cli;
    return fx_config_print_keys(stdout);
}

const fx_command fx_command_config_show = {
    .name = "config show",
    .arguments = "[CONFIG]",
    .help = "print the resolved configuration as YAML",
    .example = "flexhpc config show configs/demo.yaml --origin --set train.steps=10",
    .options =
        FX_OPTIONS(FX_OPTION_TEXT("--origin", NULL, origin,
                                  "says beside each value whether it is the default's, the file's "
                                  "(with its line), the command line's, or follows from other keys")),
    .config = FX_MAY_HAVE_CONFIG,
    .run = show,
};

const fx_command fx_command_config_keys = {
    .name = "config keys",
    .arguments = "",
    .help = "list every configuration key with default, range and meaning",
    .run = keys,
};
