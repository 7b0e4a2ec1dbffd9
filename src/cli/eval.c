/* flexhpc eval CONFIG --run DIR: how good the run's model is on a pack. Collective. */
#include "cli.h"
#include "flexhpc/train.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_REQUIRE(cli->run, FX_ECONFIG, "eval: --run DIR: which run is evaluated?");
    FX_TRY(fx_cli_config(cli, &config));
    return fx_evaluate(cli->comm, &config, cli->run);
}

const fx_command fx_command_eval = {
    .name = "eval",
    .arguments = "CONFIG",
    .help = "sample a trained model on a pack and score it against truth and floors (eval.* and "
            "sample.* keys)",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--run", "DIR", run, "the run whose model is evaluated")),
    .config = FX_NEEDS_CONFIG,
    .ranks = true,
    .run = run,
};
