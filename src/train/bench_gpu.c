/* bench_gpu.c: what the GPUs give at their best, for `bench gpu`; `profile` measures its steps by it.
 * Words: benchmarks/TERMS.md. */
#include "flexhpc/json.h"
#include "flexhpc/train.h"

/* The choices of the keys `backend` and `precision`. */
enum { CPU = 1, CUDA = 2, FP32 = 1 };

fx_status fx_exec_limits(fx_exec *exec, const fx_config *config, fx_device_limits *out)
{
    return exec->backend->limits(exec, config->bench_matrix, (size_t)config->bench_copy << 20, out);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Each precision is an exec of its own; what does not depend on it is the best of the three. */
static fx_status measure(fx_comm *comm, fx_config *config, int precision, fx_gpu_report *out)
{
    fx_exec *exec = NULL;
    fx_device_limits limits;
    config->precision = FP32 + precision;
    FX_TRY(fx_agree(comm, fx_exec_open(comm, config, &exec)));
    fx_status status = exec->backend->describe(exec, out->backend, sizeof out->backend);
    if (status == FX_OK) status = fx_exec_limits(exec, config, &limits);
    exec->backend->close(&exec);
    FX_TRY(fx_agree(comm, status));
    out->product[precision] = limits.product;
    out->copy = larger(out->copy, limits.copy);
    out->upload = larger(out->upload, limits.upload);
    out->sum = larger(out->sum, limits.sum);
    return FX_OK;
}

fx_status fx_bench_gpu(fx_comm *comm, const fx_config *config, fx_gpu_report *out)
{
    fx_config gpu = *config;
    const fx_backend *backend = NULL;
    *out =
        (fx_gpu_report){.ranks = comm->size, .side = gpu.bench_matrix, .bytes = gpu.bench_copy << 20};
    fx_status status = config->backend == CPU ? fx_fail(FX_EDEVICE, "backend cpu is asked for")
                                              : fx_backend_find("cuda", &backend);
    if (status != FX_OK) status = fx_context(status, "there is no GPU to measure");
    FX_TRY(fx_agree(comm, status));
    gpu.backend = CUDA;
    for (int p = 0; p < FX_PRECISIONS; p++)
        FX_TRY(measure(comm, &gpu, p, out));
    return FX_OK;
}

double fx_gpu_bus(const fx_gpu_report *r)
{
    return r->sum * 2 * (r->ranks - 1) / r->ranks;
}

fx_status fx_gpu_write(const fx_gpu_report *r, const char *file)
{
    const double *product = r->product;
    json_t *root =
        json_pack("{s:s, s:s, s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "program", "flexhpc",
                  "backend", r->backend, "ranks", r->ranks, "matrix", (json_int_t)r->side, "copy_size",
                  (json_int_t)r->bytes, "fp32_flops", product[FX_PRECISION_FP32], "tf32_flops",
                  product[FX_PRECISION_TF32], "bf16_flops", product[FX_PRECISION_BF16], "copy", r->copy,
                  "upload", r->upload, "all_reduce", r->sum, "all_reduce_bus", fx_gpu_bus(r));
    const fx_status status = fx_json_write(file, root);
    json_decref(root);
    return status;
}
