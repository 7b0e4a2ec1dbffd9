/* flexhpc verify FILE...: the model against golden files of the published implementation. Local. */
#include "cli.h"
#include "flexhpc/train.h"

static fx_status run(fx_cli *cli)
{
    const fx_backend *backend = NULL;
    fx_exec *exec = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_backend_find("cpu", &backend));
    FX_TRY(backend->open(&(fx_exec_options){.comm = cli->comm}, &exec));
    for (int i = 0; i < cli->arguments; i++)
        FX_TRY_DONE(fx_verify(exec, cli->argument[i], stdout));
    printf("%d files agree\n", cli->arguments);
done:
    backend->close(&exec);
    return status;
}

const fx_command fx_command_verify = {
    .name = "verify",
    .arguments = "FILE...",
    .help = "compare the model with golden files, value by value",
    .options = "",
    .least = 1,
    .most = FX_ARGUMENTS_MAX,
    .run = run,
};
