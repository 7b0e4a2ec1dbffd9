/* flexhpc data export FILE OUT: a file of fields in another format: into a folder as files of NSKT, one
 * a run, to a file as The Well's. Local. */
#include <sys/stat.h>

#include "data.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    fx_source *source = NULL;
    struct stat out;
    const char *path = cli->argument[1];
    FX_TRY(fx_cli_config(cli, &config));
    fx_status status = fx_source_open(cli->argument[0], &config, &source);
    const bool folder = stat(path, &out) == 0 && S_ISDIR(out.st_mode);
    if (status == FX_OK) status = folder ? fx_nskt_write(source, path) : fx_well_write(source, path);
    fx_source_close(&source);
    return status;
}

const fx_command fx_command_data_export = {
    .name = "data export",
    .arguments = "[CONFIG] FILE OUT",
    .help =
        "write a field in The Well's format, or, where OUT is a folder, as published FLEX data (NSKT)",
    .example = "flexhpc data export fields/500_512_512_seed_2150.h5 flow/data/train/500.hdf5",
    .options = FX_OPTIONS(FX_SOURCE_OPTIONS),
    .config = FX_MAY_HAVE_CONFIG,
    .least = 2,
    .most = 2,
    .run = run,
};
