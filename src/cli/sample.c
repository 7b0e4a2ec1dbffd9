/* flexhpc sample CONFIG --run DIR --out FILE: what the run's model makes of patches. Local. */
#include "cli.h"
#include "flexhpc/train.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_REQUIRE(cli->run, FX_ECONFIG, "sample: --run DIR: which run's model is sampled?");
    FX_REQUIRE(cli->out, FX_ECONFIG, "sample: --out FILE: which file do the samples go to?");
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_sample_file(&config, cli->run, cli->out));
    printf("%s\n", cli->out);
    return FX_OK;
}

const fx_command fx_command_sample = {
    .name = "sample",
    .arguments = "CONFIG",
    .help = "write a trained model's samples of a pack's patches, with inputs and truth, as HDF5 "
            "(eval.* and "
            "sample.* keys)",
    .options = "--set --run --out",
    .least = 1,
    .most = 1,
    .run = run,
};
