/* flexhpc info [DIR...]: what this build and this machine are. Collective under a launcher. */
#include "cli.h"
#include "flexhpc/backend.h"
#include "flexhpc/io.h"
#include "flexhpc/launch.h"
#include "version.h"

/* `device` becomes the rank's GPU. */
static fx_status print_backend(fx_comm *comm, const fx_backend *backend, char device[FX_DEVICE_MAX])
{
    fx_exec *exec = NULL;
    char text[256];
    FX_TRY(backend->open(&(fx_exec_options){.comm = comm}, &exec));
    const fx_status status = backend->describe(exec, text, sizeof text);
    if (status == FX_OK && comm->rank == 0) printf("flexhpc %s, backend %s\n", FX_VERSION, text);
    snprintf(device, FX_DEVICE_MAX, "%s", exec->device);
    backend->close(&exec);
    return status;
}

static fx_status run(fx_cli *cli)
{
    const fx_backend *backend = NULL;
    char device[FX_DEVICE_MAX];
    FX_TRY(fx_backend_find("cpu", &backend));
    FX_TRY(print_backend(cli->comm, backend, device));
    fx_status cuda = fx_agree(cli->comm, fx_backend_find("cuda", &backend));
    if (cuda == FX_OK) cuda = print_backend(cli->comm, backend, device);
    if (cuda != FX_OK && cli->comm->rank == 0) printf("no CUDA: %s\n", fx_error_message());
    fx_error_clear();
    if (cli->comm->rank == 0)
        fx_machine_print(stdout, cli->arguments ? (const char *const *)cli->argument
                                                : (const char *const[]){".", NULL});
    return fx_comm_placement(cli->comm, device, cli->comm->rank == 0 ? stdout : NULL);
}

const fx_command fx_command_info = {
    .name = "info",
    .arguments = "[DIR...]",
    .help = "this build, libraries, limits, where the ranks run, and the file systems of folders [.]",
    .example = "srun --mpi=pmix flexhpc info runs packs",
    .most = -1,
    .ranks = true,
    .run = run,
};
