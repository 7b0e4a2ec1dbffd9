/* limits.c: what the device gives at its best: a large matrix product by cuBLASLt, a copy within its
 * memory, one from pinned memory of the host, and a sum over the ranks, each the fastest of a few, by
 * events. Operands are normal numbers: a product of zeros draws less power, and is faster. */
#include "comm_nccl.h"
#include "exec.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "matmul.h"

enum { WARM = 2, RUNS = 5, CHUNK = 1 << 20 };

typedef struct work {
    fx_cuda *exec;
    fx_matmul product;
    void *a, *b, *d, *workspace; /* on the device */
    void *host;                  /* pinned */
    size_t bytes;
} work;

static fx_status multiply(const work *w)
{
    return fx_matmul_run(&w->exec->base, &w->product, w->a, w->b, NULL, NULL, w->d, w->workspace);
}

static fx_status copy(const work *w)
{
    return fx_cuda_check(
        cudaMemcpyAsync(w->b, w->a, w->bytes, cudaMemcpyDeviceToDevice, w->exec->stream), "copy", NULL);
}

static fx_status upload(const work *w)
{
    return fx_cuda_check(
        cudaMemcpyAsync(w->a, w->host, w->bytes, cudaMemcpyHostToDevice, w->exec->stream), "upload",
        NULL);
}

static fx_status sum(const work *w)
{
    const fx_node node = {.name = "limits"};
    FX_TRY(fx_nccl_start_sum(&w->exec->base, w->exec->base.options.comm, &node, w->a,
                             (int64_t)(w->bytes / sizeof(float)), FX_F32));
    return fx_cuda_rejoin(w->exec);
}

static fx_status time_once(const work *w, fx_status (*start)(const work *), cudaEvent_t before,
                           cudaEvent_t after, double *seconds)
{
    float milliseconds = 0;
    FX_CUDA(cudaEventRecord(before, w->exec->stream));
    FX_TRY(start(w));
    FX_CUDA(cudaEventRecord(after, w->exec->stream));
    FX_TRY(fx_cuda_idle(w->exec));
    FX_CUDA(cudaEventElapsedTime(&milliseconds, before, after));
    *seconds = 1e-3 * (double)milliseconds;
    return FX_OK;
}

/* `amount` over the least seconds of several runs, on the slowest rank. Collective. */
static fx_status rate(const work *w, fx_status (*start)(const work *), double amount, double *out)
{
    fx_status status = FX_OK;
    cudaEvent_t before = NULL, after = NULL;
    double least = 0;
    FX_TRY_DONE(fx_cuda_check(cudaEventCreateWithFlags(&before, cudaEventDefault), "event", NULL));
    FX_TRY_DONE(fx_cuda_check(cudaEventCreateWithFlags(&after, cudaEventDefault), "event", NULL));
    for (int i = 0; i < WARM + RUNS; i++) {
        double seconds = 0;
        FX_TRY_DONE(time_once(w, start, before, after, &seconds));
        if (i == WARM || (i > WARM && seconds < least)) least = seconds;
    }
done:
    if (before) cudaEventDestroy(before);
    if (after) cudaEventDestroy(after);
    FX_TRY(fx_agree(w->exec->base.options.comm, status));
    FX_TRY(fx_comm_max_f64(w->exec->base.options.comm, &least));
    *out = least > 0 ? amount / least : 0;
    return FX_OK;
}

static fx_status fill(fx_exec *exec, void *memory, fx_dtype dtype, int64_t count)
{
    float *values = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(values, CHUNK));
    fx_fill_normal(1, 0, fx_crc32("limits"), 0, values, CHUNK);
    for (int64_t first = 0; first < count && status == FX_OK; first += CHUNK) {
        const int64_t size = count - first < CHUNK ? count - first : CHUNK;
        const fx_tensor part = {.rank = 1,
                                .dim = {size},
                                .dtype = dtype,
                                .data = (char *)memory + (size_t)first * fx_dtype_bytes(dtype)};
        status = fx_tensor_write(exec, &part, values);
    }
    fx_free(values);
    return status;
}

static fx_status product_rate(fx_cuda *exec, int64_t side, double *out)
{
    fx_exec *base = &exec->base;
    const fx_backend *backend = base->backend;
    const fx_matrix square = {.pitch = side};
    work w = {.exec = exec,
              .product = {.m = side,
                          .n = side,
                          .k = side,
                          .a = square,
                          .b = square,
                          .d = square,
                          .operands = base->storage,
                          .result = base->storage}};
    const size_t bytes = (size_t)(side * side) * fx_dtype_bytes(base->storage);
    size_t room = 0;
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_matmul_prepare(base, &w.product, &room));
    FX_TRY_DONE(backend->allocate(base, bytes, &w.a));
    FX_TRY_DONE(backend->allocate(base, bytes, &w.b));
    FX_TRY_DONE(backend->allocate(base, bytes, &w.d));
    FX_TRY_DONE(backend->allocate(base, room, &w.workspace));
    FX_TRY_DONE(fill(base, w.a, base->storage, side * side));
    FX_TRY_DONE(fill(base, w.b, base->storage, side * side));
done:
    status = fx_agree(base->options.comm, status);
    if (status == FX_OK)
        status = rate(&w, multiply, 2.0 * (double)side * (double)side * (double)side, out);
    backend->release(base, w.workspace, room);
    backend->release(base, w.d, bytes);
    backend->release(base, w.b, bytes);
    backend->release(base, w.a, bytes);
    return status;
}

static fx_status copy_rates(fx_cuda *exec, size_t bytes, fx_device_limits *out)
{
    fx_exec *base = &exec->base;
    const fx_backend *backend = base->backend;
    work w = {.exec = exec, .bytes = bytes};
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_nccl_prepare(base, base->options.comm));
    FX_TRY_DONE(backend->allocate(base, bytes, &w.a));
    FX_TRY_DONE(backend->allocate(base, bytes, &w.b));
    FX_TRY_DONE(fx_cuda_check(cudaHostAlloc(&w.host, bytes, cudaHostAllocDefault), "pinned", NULL));
done:
    status = fx_agree(base->options.comm, status);
    if (status == FX_OK) status = rate(&w, copy, 2 * (double)bytes, &out->copy);
    if (status == FX_OK) status = rate(&w, upload, (double)bytes, &out->upload);
    if (status == FX_OK && exec->nccl) status = rate(&w, sum, (double)bytes, &out->sum);
    fx_cuda_quiesce(exec);
    if (w.host) cudaFreeHost(w.host);
    backend->release(base, w.b, bytes);
    backend->release(base, w.a, bytes);
    return status;
}

fx_status fx_cuda_limits(fx_exec *base, int64_t side, size_t bytes, fx_device_limits *out)
{
    fx_cuda *exec = fx_cuda_of(base);
    *out = (fx_device_limits){0};
    FX_TRY(product_rate(exec, side, &out->product));
    return copy_rates(exec, bytes, out);
}
