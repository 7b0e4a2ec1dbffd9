/* flexhpc import FILE --run DIR: weights from other programs, from safetensors. Local. */
#include "cli.h"
#include "flexhpc/interchange.h"

static fx_status run(fx_cli *cli)
{
    FX_REQUIRE(cli->run, FX_ECONFIG, "import: --run DIR: which folder does the model go to?");
    return fx_import(cli->argument[0], cli->run,
                     &(fx_import_options){.config = cli->config,
                                          .overrides = cli->override,
                                          .command = cli->line,
                                          .partial = cli->partial});
}

const fx_command fx_command_import = {
    .name = "import",
    .arguments = "[CONFIG] FILE",
    .help = "make a run folder of a safetensors file, for eval, sample and train.init_from; the "
            "configuration is the file's own where it has one",
    .example = "flexhpc import flex.yaml weights.safetensors --run runs/published --set "
               "data.scale=5.4574137",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--run", "DIR", run, "the new run folder"),
                          FX_OPTION_TEXT("--partial", NULL, partial,
                                         "parameters that the file lacks, or has in another shape, "
                                         "start as in a new model")),
    .config = FX_MAY_HAVE_CONFIG,
    .least = 1,
    .most = 1,
    .run = run,
};
