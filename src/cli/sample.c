/* flexhpc sample CONFIG --run DIR --out FILE: what the run's model makes of patches, by one rank, or of
 * whole fields. Collective. */
#include "cli.h"
#include "flexhpc/train.h"

static fx_status sample_patches(const fx_cli *cli, const fx_config *config)
{
    FX_REQUIRE(
        cli->comm->size == 1, FX_ECONFIG,
        "sample: %d ranks: patches are sampled by one; whole fields (sample.source) by any number",
        cli->comm->size);
    return fx_sample_file(config, cli->run, cli->out);
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_REQUIRE(cli->run, FX_ECONFIG, "sample: --run DIR: which run's model is sampled?");
    FX_REQUIRE(cli->out, FX_ECONFIG, "sample: --out FILE: which file do the samples go to?");
    FX_TRY(fx_cli_config(cli, &config));
    if (config.sample_source[0])
        FX_TRY(fx_sample_field(cli->comm, &config, cli->run, cli->line, cli->out));
    else
        FX_TRY(sample_patches(cli, &config));
    if (cli->comm->rank == 0) printf("%s\n", cli->out);
    return FX_OK;
}

const fx_command fx_command_sample = {
    .name = "sample",
    .arguments = "CONFIG",
    .help = "write a trained model's samples of a pack's patches, or of whole fields (sample.source): "
            "super-resolution of any size, forecasts of any length; with inputs and truth, as HDF5",
    .example =
        "flexhpc sample configs/demo.yaml --run runs/first --out samples.h5 --set data.path=pack "
        "--set eval.patches=8",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--run", "DIR", run, "the run whose model is sampled"),
                          FX_OPTION_TEXT("--out", "FILE", out, "the HDF5 file that the samples go to")),
    .config = FX_NEEDS_CONFIG,
    .ranks = true,
    .run = run,
};
