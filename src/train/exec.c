/* exec.c: the backend that a configuration asks for. */
#include <string.h>

#include "flexhpc/train.h"

/* Where a GPU answers on some ranks alone, `auto` would mean different backends. */
static fx_status same_backend(fx_comm *comm, const fx_backend *backend)
{
    int64_t any = strcmp(backend->name, "cuda") == 0, other = !any;
    FX_TRY(fx_comm_max_i64(comm, &any));
    FX_TRY(fx_comm_max_i64(comm, &other));
    FX_REQUIRE(!any || !other, FX_EDEVICE,
               "backend: auto takes cuda on some ranks and cpu on others: say which");
    return FX_OK;
}

fx_status fx_exec_open(fx_comm *comm, const fx_config *config, fx_exec **out)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    static const fx_precision precisions[] = {FX_PRECISION_FP32, FX_PRECISION_FP32, FX_PRECISION_TF32,
                                              FX_PRECISION_BF16};
    const fx_backend *backend = NULL;
    const fx_exec_options options = {.comm = comm,
                                     .threads = (int)config->run_threads,
                                     .connect_seconds = config->cuda_connect,
                                     .eager = config->cuda_eager,
                                     .precision = precisions[config->precision]};
    fx_status status = fx_backend_find(names[config->backend], &backend);
    if (status != FX_OK) status = fx_context(status, "backend");
    FX_TRY(fx_agree(comm, status));
    FX_TRY(same_backend(comm, backend));
    return backend->open(&options, out);
}
