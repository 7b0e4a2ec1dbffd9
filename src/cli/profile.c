/* flexhpc profile CONFIG: where the time of a training step goes, by op and entry. Collective. */
#include "cli.h"
#include "flexhpc/train.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_TRY(fx_agree(cli->comm, fx_cli_config(cli, &config)));
    return fx_profile(cli->comm, &config, cli->out, cli->json, cli->comm->rank == 0 ? stdout : NULL);
}

const fx_command fx_command_profile = {
    .name = "profile",
    .arguments = "CONFIG",
    .help = "where a training step's time goes, by op",
    .options =
        FX_OPTIONS(FX_OPTION_KEY("--backend", "NAME", "backend"),
                   FX_OPTION_TEXT("--out", "FILE", out, "a trace of every entry, in Chrome's format"),
                   FX_OPTION_TEXT("--json", "FILE", json,
                                  "mean seconds of every entry, for predict and bench replay")),
    .config = FX_NEEDS_CONFIG,
    .ranks = true,
    .run = run,
};
