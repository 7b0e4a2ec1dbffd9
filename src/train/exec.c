/* exec.c: the backend that a configuration asks for. */
#include "flexhpc/train.h"

fx_status fx_exec_open(fx_comm *comm, const fx_config *config, fx_exec **out)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    const fx_backend *backend = NULL;
    const fx_exec_options options = {.comm = comm, .threads = (int)config->run_threads};
    FX_TRY_CTX(fx_backend_find(names[config->backend], &backend), "backend");
    return backend->open(&options, out);
}
