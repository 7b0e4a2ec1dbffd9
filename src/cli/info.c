/* flexhpc info: what this build and this machine are. Collective under a launcher. */
#include "cli.h"
#include "flexhpc/backend.h"
#include "flexhpc/launch.h"

static fx_status run(fx_cli *cli)
{
    const fx_backend *backend = NULL;
    fx_exec *exec = NULL;
    char text[256];
    FX_TRY(fx_backend_find("cpu", &backend));
    FX_TRY(backend->open(&(fx_exec_options){.comm = cli->comm}, &exec));
    fx_status status = backend->describe(exec, text, sizeof text);
    if (status == FX_OK && cli->comm->rank == 0) printf("flexhpc, backend %s\n", text);
    if (status == FX_OK && cli->comm->rank == 0 && fx_backend_find("cuda", &backend) != FX_OK)
        printf("no CUDA: %s\n", fx_error_message());
    exec->backend->close(&exec);
    if (status != FX_OK) return status;
    return fx_comm_placement(cli->comm, cli->comm->rank == 0 ? stdout : NULL);
}

const fx_command fx_command_info = {
    .name = "info",
    .arguments = "",
    .help = "backends of this build, and where the ranks run",
    .options = "",
    .ranks = true,
    .run = run,
};
