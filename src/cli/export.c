/* flexhpc export RUN|CHECKPOINT OUT: weights for other programs, as safetensors. Local. */
#include <string.h>

#include "cli.h"
#include "flexhpc/interchange.h"

static fx_status weights_of(const char *word, fx_weights *out)
{
    static const char *const words[] = {"ema", "raw", "both"};
    *out = FX_WEIGHTS_EMA;
    if (!word) return FX_OK;
    for (int i = 0; i < 3; i++)
        if (strcmp(words[i], word) == 0) {
            *out = (fx_weights)i;
            return FX_OK;
        }
    return fx_fail(FX_ECONFIG, "export: --weights: %s is none of ema, raw, both", word);
}

static fx_status run(fx_cli *cli)
{
    fx_weights weights;
    FX_TRY(weights_of(cli->weights, &weights));
    FX_TRY(fx_export(cli->argument[0], weights, cli->argument[1]));
    printf("%s\n", cli->argument[1]);
    return FX_OK;
}

const fx_command fx_command_export = {
    .name = "export",
    .arguments = "RUN|CHECKPOINT OUT",
    .help = "write a model's weights as safetensors, under the published names of parameters",
    .example = "flexhpc export runs/first weights.safetensors",
    .options = FX_OPTIONS(FX_OPTION_TEXT("--weights", "ema|raw|both", weights,
                                         "their moving average, the default, or as trained, or the "
                                         "former as ema.NAME beside the latter")),
    .least = 2,
    .most = 2,
    .run = run,
};
