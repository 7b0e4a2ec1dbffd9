/* flexhpc pack [CONFIG] [FILE...]: files of fields to shards of patches. Collective. */
#include "cli.h"
#include "flexhpc/data.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    const int files = fx_cli_is_config(cli->argument[0]) ? 1 : 0; /* where they begin */
    FX_TRY(fx_config_load(&config, files ? cli->argument[0] : NULL, cli->override));
    FX_REQUIRE(config.pack_path[0], FX_ECONFIG,
               "pack: --out DIR or pack.path: which folder does the pack go to?");
    if (cli->arguments == files) return fx_pack(cli->comm, &config);
    return fx_pack_files(cli->comm, &config, cli->argument + files, cli->arguments - files);
}

static const fx_flag flags[] = {
    {"--out", "DIR", "pack.path", "folder of the pack"},
    {"--patch", "N", "pack.patch", "side of a stored patch in pixels"},
    {0},
};

const fx_command fx_command_pack = {
    .name = "pack",
    .arguments = "[CONFIG] [FILE...]",
    .help = "cut files of fields into shards of patches: the named ones, or those of pack.source (a "
            "CONFIG ends in .yaml)",
    .options = "--set",
    .flags = flags,
    .least = 1,
    .most = FX_ARGUMENTS_MAX,
    .ranks = true,
    .run = run,
};
