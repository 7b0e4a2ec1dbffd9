/* flexhpc verify FILE...: the model against golden files of the published implementation. Local. */
#include <string.h>

#include "cli.h"
#include "flexhpc/train.h"

static fx_status run(fx_cli *cli)
{
    const fx_backend *backend = NULL;
    fx_config config;
    fx_exec *exec = NULL;
    int agree = 0;
    FX_TRY(fx_config_load(&config, NULL, cli->override));
    FX_REQUIRE(!cli->precision || strcmp(cli->precision, "fp32") == 0, FX_ECONFIG,
               "--precision: %s is not part of this build; there is fp32", cli->precision);
    FX_TRY(fx_exec_open(cli->comm, &config, &exec));
    backend = exec->backend;
    fx_status last = FX_OK;
    for (int i = 0; i < cli->arguments; i++) {
        const fx_status status = fx_verify(exec, cli->argument[i], stdout);
        agree += status == FX_OK;
        if (status == FX_OK) continue;
        last = status;
        if (i + 1 < cli->arguments) printf("DISAGREES: %s\n", fx_error_message());
    }
    if (last != FX_OK && agree < cli->arguments - 1)
        last = fx_fail(last, "%d of %d files disagree", cli->arguments - agree, cli->arguments);
    printf("verify: %d of %d files agree\n", agree, cli->arguments);
    backend->close(&exec);
    return last;
}

static const fx_flag flags[] = {
    {"--backend", "auto|cpu|cuda", "backend", "where kernels run"},
    {0},
};

const fx_command fx_command_verify = {
    .name = "verify",
    .arguments = "FILE...",
    .help = "compare the model with golden files, value by value",
    .options = "--precision",
    .flags = flags,
    .least = 1,
    .most = FX_ARGUMENTS_MAX,
    .run = run,
};
