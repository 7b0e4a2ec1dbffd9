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

fx_status fx_exec_open(fx_comm *comm, const fx_config *config, fx_exec **out)
{
    const fx_backend *backend = NULL;
    fx_exec_options options = {.comm = comm,
                               .threads = (int)config->run_threads,
                               .connect_seconds = config->cuda_connect,
                               .plan_cache = config->cuda_plan_cache,
                               .autotune = config->cuda_autotune,
                               .eager = config->cuda_eager};
    FX_TRY(fx_backend_configured(comm, config, &backend));
    options.precision = precision_of(config->precision, backend);
    return backend->open(&options, out);
}
