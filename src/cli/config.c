/* flexhpc config show [CONFIG], config keys, config diff A B: the resolved configuration as YAML, the
 * table of keys, and how two configurations or runs differ. Local. */
#include "cli.h"
#include "flexhpc/io.h"

enum { DIFFERENT = 1, DIFF_MAX = 4 * FX_CONFIG_TEXT_MAX /* both values and a name for every key */ };

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

/* A file, or the config.yaml of a run folder. */
static fx_status load(const char *name, fx_config *out)
{
    char path[FX_PATH_MAX];
    FX_TRY(fx_path(path, "%s/config.yaml", name));
    return fx_config_load(out, fx_file_exists(path) ? path : name, NULL);
}

static fx_status diff(fx_cli *cli)
{
    fx_config a, b;
    char *text = NULL;
    FX_TRY(load(cli->argument[0], &a));
    FX_TRY(load(cli->argument[1], &b));
    FX_TRY(FX_ALLOC(text, DIFF_MAX));
    if (fx_config_diff(&a, &b, text, DIFF_MAX) > 0) cli->exit_code = DIFFERENT;
    fputs(text, stdout);
    fx_free(text);
    return FX_OK;
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

const fx_command fx_command_config_diff = {
    .name = "config diff",
    .arguments = "A B",
    .help =
        "list the keys in which two configurations, or the runs of two folders, differ: KEY: A -> B",
    .example = "flexhpc config diff runs/first runs/second",
    .codes = "0 equal, 1 different, 2 usage, or a configuration that can't be read",
    .least = 2,
    .most = 2,
    .run = diff,
};
