/* flexhpc pack [CONFIG] [FILE...]: files of fields to shards of patches. Collective. */
#include "data.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_TRY(fx_cli_config(cli, &config));
    FX_REQUIRE(config.pack_path[0], FX_ECONFIG,
               "pack.path: which folder does the pack go to? --out DIR says it");
    if (cli->arguments > 0)
        return fx_pack_files(cli->comm, &config, (const char *const *)cli->argument, cli->arguments);
    FX_REQUIRE(config.pack_source[0], FX_ECONFIG,
               "pack.source: names no file or folder, and there is no FILE argument");
    return fx_pack(cli->comm, &config);
}

const fx_command fx_command_pack = {
    .name = "pack",
    .arguments = "[CONFIG] [FILE...]",
    .help = "cut files of fields into shards of patches",
    .example = "flexhpc pack fields/*.h5 --out pack --patch 64",
    .options = FX_OPTIONS(FX_OPTION_KEY("--out", "DIR", "pack.path"),
                          FX_OPTION_KEY("--patch", "PIXELS", "pack.patch"),
                          FX_OPTION_KEY("--re", "RE,...", "pack.reynolds"), FX_SOURCE_OPTIONS),
    .config = FX_MAY_HAVE_CONFIG,
    .most = -1,
    .ranks = true,
    .run = run,
};
