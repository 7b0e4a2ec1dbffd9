/* backend.c: the CUDA backend: one device a rank, one stream for kernels. A run is a walk over the list
 * that starts kernels and does not wait. */
#include <nvtx3/nvToolsExt.h>
#include <stdio.h>

#include "comm_nccl.h"
#include "conv_plans.h"
#include "exec.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"
#include "matmul.h"

fx_status fx_cuda_check(cudaError_t error, const char *what, const char *node)
{
    if (error == cudaSuccess) return FX_OK;
    const fx_status code = error == cudaErrorMemoryAllocation ? FX_ENOMEM : FX_EDEVICE;
    return fx_fail(code, "%s%s%s%s: %s", what, node ? " (" : "", node ? node : "", node ? ")" : "",
                   cudaGetErrorString(error));
}

/* Where no driver is installed the runtime speaks of one that is too old. */
static fx_status find(void)
{
    int count = 0, driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    FX_REQUIRE(driver > 0 || error == cudaSuccess, FX_EDEVICE, "no driver (libcuda.so.1): %s",
               cudaGetErrorString(error));
    FX_REQUIRE(error == cudaSuccess, FX_EDEVICE, "the driver, for CUDA %d.%d, says: %s", driver / 1000,
               driver % 1000 / 10, cudaGetErrorString(error));
    FX_REQUIRE(count > 0, FX_EDEVICE, "the driver sees no device");
    return FX_OK;
}

static fx_status await_stream(fx_cuda *exec, cudaStream_t stream)
{
    FX_CUDA(cudaEventRecord(exec->order, stream));
    return fx_cuda_await(exec, exec->order);
}

/* Both, also where the first fails: memory that they use may be freed then. */
fx_status fx_cuda_idle(fx_cuda *exec)
{
    const fx_status communication = await_stream(exec, exec->comm);
    FX_TRY(await_stream(exec, exec->stream));
    return communication;
}

void fx_cuda_quiesce(fx_cuda *exec)
{
    char before[1024];
    snprintf(before, sizeof before, "%s", fx_error_message());
    if (fx_cuda_idle(exec) == FX_OK) return;
    fx_error_clear();
    if (*before) (void)fx_fail(FX_EDEVICE, "%s", before);
}

static void close_cuda(fx_exec **base)
{
    if (!*base) return;
    fx_cuda *exec = fx_cuda_of(*base);
    if (exec->order) fx_cuda_quiesce(exec);
    fx_cuda_graphs_forget(exec, NULL);
    fx_nccl_close(exec);
    fx_cuda_staging_free(&exec->staging);
    fx_conv_close(exec);
    fx_matmul_close(exec);
    fx_cuda_energy_close(exec);
    if (exec->base.close_library) exec->base.close_library(exec->base.library);
    if (exec->counters) cudaFree(exec->counters);
    if (exec->step) cudaFree(exec->step);
    if (exec->order) cudaEventDestroy(exec->order);
    if (exec->exchanged) cudaEventDestroy(exec->exchanged);
    if (exec->comm) cudaStreamDestroy(exec->comm);
    if (exec->stream) cudaStreamDestroy(exec->stream);
    fx_free(exec);
    *base = NULL;
}

extern const fx_backend fx_backend_cuda;

static fx_status open_cuda(const fx_exec_options *options, fx_exec **out)
{
    fx_cuda *exec = NULL;
    fx_status status = FX_OK;
    int lowest = 0, highest = 0;
    const size_t counters_bytes = FX_COUNTERS * sizeof *exec->counters;
    FX_TRY(FX_ALLOC(exec, 1));
    exec->strict = options->precision == FX_PRECISION_FP32;
    exec->base.backend = &fx_backend_cuda;
    exec->base.storage = options->precision == FX_PRECISION_BF16 ? FX_BF16 : FX_F32;
    exec->base.options = *options;
    if (!exec->base.options.comm) exec->base.options.comm = fx_comm_self();
    FX_TRY_DONE(fx_cuda_pick_device(exec));
    FX_TRY_DONE(fx_cuda_check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "priorities", NULL));
    FX_TRY_DONE(fx_cuda_check(
        cudaStreamCreateWithPriority(&exec->stream, cudaStreamNonBlocking, lowest), "stream", NULL));
    FX_TRY_DONE(fx_cuda_check(cudaStreamCreateWithPriority(&exec->comm, cudaStreamNonBlocking, highest),
                              "stream", NULL));
    FX_TRY_DONE(
        fx_cuda_check(cudaEventCreateWithFlags(&exec->order, cudaEventDisableTiming), "event", NULL));
    FX_TRY_DONE(fx_cuda_check(cudaEventCreateWithFlags(&exec->exchanged, cudaEventDisableTiming),
                              "event", NULL));
    FX_TRY_DONE(fx_cuda_check(cudaMalloc((void **)&exec->step, sizeof *exec->step), "step", NULL));
    FX_TRY_DONE(fx_cuda_check(cudaMalloc((void **)&exec->counters, counters_bytes), "counters", NULL));
    FX_TRY_DONE(fx_cuda_check(cudaMemsetAsync(exec->counters, 0, counters_bytes, exec->stream),
                              "counters", NULL));
    FX_TRY_DONE(fx_cuda_staging_create(&exec->staging));
done:
    *out = &exec->base;
    if (status != FX_OK) close_cuda(out);
    return status;
}

/* Of several ranks' memory NCCL can register what its own allocator gave, and move it without copies
 * of its own. */
static fx_status allocate(fx_exec *base, size_t bytes, void **out)
{
    fx_cuda *exec = fx_cuda_of(base);
    const size_t room = bytes > 0 ? bytes : 1;
    size_t free_bytes = 0, all = 0;
    *out = NULL;
    const bool by_nccl = base->options.comm->size > 1;
    fx_status status = by_nccl ? fx_nccl_allocate(room, out)
                               : fx_cuda_check(cudaMalloc(out, room), "cudaMalloc", NULL);
    if (status != FX_OK && cudaMemGetInfo(&free_bytes, &all) == cudaSuccess)
        status = fx_context(status, "%zu bytes asked for, %zu of %zu free", room, free_bytes, all);
    FX_TRY(status);
    FX_CUDA(cudaMemsetAsync(*out, 0, room, exec->stream));
    return FX_OK;
}

static void release(fx_exec *base, void *memory, size_t bytes)
{
    (void)bytes;
    if (!memory) return;
    fx_cuda_quiesce(fx_cuda_of(base));
    if (base->options.comm->size > 1)
        fx_nccl_release(memory);
    else
        cudaFree(memory);
}

static fx_status allocate_host(fx_exec *base, size_t bytes, void **out)
{
    return fx_cuda_host_allocate(fx_cuda_of(base), bytes, out);
}

static void release_host(fx_exec *base, void *memory)
{
    fx_cuda_host_release(fx_cuda_of(base), memory);
}

static fx_status upload(fx_exec *base, void *device, const void *host, size_t bytes)
{
    return fx_cuda_upload(fx_cuda_of(base), device, host, bytes);
}

static fx_status download(fx_exec *base, void *host, const void *device, size_t bytes)
{
    return fx_cuda_download(fx_cuda_of(base), host, device, bytes);
}

fx_status fx_cuda_start(fx_cuda *cuda, const fx_entry *entry, void *arena)
{
    fx_exec *exec = &cuda->base;
    const fx_kernel *kernel = fx_cuda_kernels[entry->node->id];
    nvtxRangePushA(entry->node->name); /* a tool's; nothing without one */
    exec->scratch = (char *)arena + entry->scratch_offset;
#ifdef FX_SIMT
    fx_simt_entry(entry, exec->scratch);
#endif
    const fx_status status = entry->pass == FX_FORWARD ? kernel->forward(exec, entry->node)
                                                       : kernel->backward(exec, entry->node);
#ifdef FX_SIMT
    fx_simt_entry(NULL, NULL);
#endif
    nvtxRangePop();
    if (status != FX_OK) return fx_context(status, "%s (%s)", entry->node->name, entry->node->op->name);
    return FX_OK;
}

static fx_status wait(fx_exec *base)
{
    return fx_cuda_idle(fx_cuda_of(base));
}

/* An observer sees an entry begin and end on the device: it is waited for. */
fx_status fx_cuda_walk(fx_cuda *exec, const fx_entry *entries, int count, void *arena,
                       const fx_observer *observer)
{
    for (int e = 0; e < count; e++) {
        fx_beat_at(entries[e].node->name);
        if (observer) FX_TRY(wait(&exec->base));
        if (observer && observer->begin) observer->begin(observer->self, &entries[e], e);
        FX_TRY(fx_cuda_start(exec, &entries[e], arena));
        if (observer) FX_TRY_CTX(wait(&exec->base), "%s", entries[e].node->name);
        if (observer && observer->end) FX_TRY(observer->end(observer->self, &entries[e], e));
    }
    return FX_OK;
}

static fx_status run(fx_exec *base, const fx_entry *entries, int count, const fx_step *step,
                     void *arena, const fx_observer *observer)
{
    fx_cuda *exec = fx_cuda_of(base);
    base->step = step;
    FX_TRY(fx_conv_keep(exec));
    FX_TRY(fx_nccl_check(exec));
    FX_TRY(fx_cuda_store_step(exec, step));
    if (observer && observer->timed) return fx_cuda_timed_walk(exec, entries, count, arena, observer);
    if (observer || base->options.eager) return fx_cuda_walk(exec, entries, count, arena, observer);
    return fx_cuda_replay(exec, entries, count, arena);
}

static void forget(fx_exec *base, const fx_entry *entries)
{
    if (entries) fx_cuda_graphs_forget(fx_cuda_of(base), entries);
}

static fx_status describe(fx_exec *exec, char *text, size_t size)
{
    static const char *const precisions[] = {"fp32", "tf32", "bf16"}; /* by fx_precision */
    struct cudaDeviceProp device;
    int runtime = 0, driver = 0;
    FX_CUDA(cudaGetDeviceProperties(&device, fx_cuda_of(exec)->device));
    FX_CUDA(cudaRuntimeGetVersion(&runtime));
    FX_CUDA(cudaDriverGetVersion(&driver));
    return fx_print(text, size,
                    "cuda, %s, %s, compute capability %d.%d, %.0f GiB, CUDA %d.%d, driver %d.%d%s",
                    precisions[exec->options.precision], device.name, device.major, device.minor,
                    (double)device.totalGlobalMem / 0x1p30, runtime / 1000, runtime % 1000 / 10,
                    driver / 1000, driver % 1000 / 10, exec->options.eager ? ", eager" : "");
}

const fx_backend fx_backend_cuda = {
    .name = "cuda",
    .build_id = FX_BUILD_ID,
    .kernels = fx_cuda_kernels,
    .find = find,
    .open = open_cuda,
    .close = close_cuda,
    .allocate = allocate,
    .release = release,
    .allocate_host = allocate_host,
    .release_host = release_host,
    .upload = upload,
    .download = download,
    .run = run,
    .forget = forget,
    .wait = wait,
    .limits = fx_cuda_limits,
    .energy = fx_cuda_energy,
    .describe = describe,
    .flow = &fx_cuda_flow,
};
