/* flexhpc data export FILE OUT: a file of fields in The Well's format. Local. */
#include "data.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    fx_source *source = NULL;
    FX_TRY(fx_cli_config(cli, &config));
    fx_status status = fx_source_open(cli->argument[0], &config, &source);
    if (status == FX_OK) status = fx_well_write(source, cli->argument[1]);
    fx_source_close(&source);
    return status;
}

const fx_command fx_command_data_export = {
    .name = "data export",
    .arguments = "[CONFIG] FILE OUT",
    .help = "write a doubly periodic file of fields in The Well's format",
    .example = "flexhpc data export fields/500_512_512_seed_2150.h5 flow/data/train/500.hdf5",
    .options = FX_OPTIONS(FX_SOURCE_OPTIONS),
    .config = FX_MAY_HAVE_CONFIG,
    .least = 2,
    .most = 2,
    .run = run,
};
