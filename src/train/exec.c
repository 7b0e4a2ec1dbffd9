/* exec.c: the backend that a configuration asks for. */
#include <string.h>

#include "flexhpc/train.h"

/* The choices of the key `precision`. */
enum { AUTO, FP32, TF32, BF16 };

static fx_precision precision_of(int64_t choice, const fx_backend *backend)
{
    if (choice == AUTO) choice = strcmp(backend->name, "cuda") == 0 ? BF16 : FP32;
    return choice == BF16 ? FX_PRECISION_BF16 : choice == TF32 ? FX_PRECISION_TF32 : FX_PRECISION_FP32;
}

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
    const fx_backend *backend = NULL;
    fx_exec_options options = {.comm = comm,
                               .threads = (int)config->run_threads,
                               .connect_seconds = config->cuda_connect,
                               .eager = config->cuda_eager};
    fx_status status = fx_backend_find(names[config->backend], &backend);
    if (status != FX_OK) status = fx_context(status, "backend");
    FX_TRY(fx_agree(comm, status));
    FX_TRY(same_backend(comm, backend));
    options.precision = precision_of(config->precision, backend);
    return backend->open(&options, out);
}
