/* exec.c: the backend that a configuration asks for. */
#include "flexhpc/train.h"

fx_status fx_exec_open(fx_comm *comm, const fx_config *config, fx_exec **out)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    static const fx_precision precisions[] = {FX_PRECISION_FP32, FX_PRECISION_FP32, FX_PRECISION_TF32,
                                              FX_PRECISION_BF16};
    const fx_backend *backend = NULL;
    const fx_exec_options options = {.comm = comm,
                                     .threads = (int)config->run_threads,
                                     .eager = config->cuda_eager,
                                     .precision = precisions[config->precision]};
    FX_TRY_CTX(fx_backend_find(names[config->backend], &backend), "backend");
    return backend->open(&options, out);
}
