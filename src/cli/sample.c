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
    .help = "write a trained model's samples of a pack's patches, with inputs and truth, as HDF5",
    .example =
        "flexhpc sample configs/demo.yaml --run runs/first --out samples.h5 --set data.path=pack "
        "--set eval.patches=8",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--run", "DIR", run, "the run whose model is sampled"),
                          FX_OPTION_TEXT("--out", "FILE", out, "the HDF5 file that the samples go to")),
    .config = FX_NEEDS_CONFIG,
    .run = run,
};
