/* flexhpc verify FILE...: the model against golden files of the published implementation. Local. */

#include "cli.h"
#include "flexhpc/train.h"

enum { FIRST = 512 };

static fx_status run(fx_cli *cli)
{
    fx_config config;
    fx_exec *exec = NULL;
    char first[FIRST] = "";
    int agree = 0;
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_exec_open(cli->comm, &config, &exec));
    for (int i = 0; i < cli->arguments; i++) {
        if (fx_verify(exec, cli->argument[i], stdout) == FX_OK) {
            agree++;
            continue;
        }
        printf("  %s\n", fx_error_message());
        if (!first[0]) snprintf(first, sizeof first, "%s", fx_error_message());
        fx_error_clear();
    }
    exec->backend->close(&exec);
    printf("verify: %d of %d files agree\n", agree, cli->arguments);
    FX_REQUIRE(agree == cli->arguments, FX_EVALUE, "%s", first);
    return FX_OK;
}

const fx_command fx_command_verify = {
    .name = "verify",
    .arguments = "FILE...",
    .help =
        "compare the model with golden files: the largest deviation of each quantity, and its limit",
    .example = "flexhpc verify tests/golden/*.h5",
    .options = FX_OPTIONS(FX_OPTION_KEY("--backend", "cpu|cuda", "backend"),
                          FX_OPTION_KEY("--precision", "fp32|tf32|bf16", "precision")),
    .least = 1,
    .most = -1,
    .run = run,
};
