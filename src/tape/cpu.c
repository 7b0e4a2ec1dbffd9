/* cpu.c: the CPU backend: the reference, and enough for a laptop or CI. Runs the list in order, one
 * entry after the other, and moves started communication on between entries. */
#include "cpu.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/flow.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

#define FX_OP(name) extern const fx_kernel fx_cpu_##name;
#include "flexhpc/oplist.h"
#undef FX_OP

static const fx_kernel *const kernels[FX_OP_COUNT] = {
#define FX_OP(name) [FX_OP_##name] = &fx_cpu_##name,
#include "flexhpc/oplist.h"
#undef FX_OP
};

static fx_status find(void)
{
    return FX_OK;
}

static fx_status open_cpu(const fx_exec_options *options, fx_exec **out)
{
    fx_exec *exec = NULL;
    FX_REQUIRE(options->precision != FX_PRECISION_TF32, FX_ECONFIG,
               "precision: the CPU backend has fp32 and bf16, no tf32");
    if (options->precision == FX_PRECISION_BF16 && !fx_cpu_has_bf16())
        fx_log(FX_INFO,
               "bf16: this processor has no bf16 products: operands are rounded, nothing is faster");
    FX_TRY(FX_ALLOC(exec, 1));
    exec->backend = &fx_backend_cpu;
    exec->options = *options;
    if (!exec->options.comm) exec->options.comm = fx_comm_self();
    omp_set_dynamic(0); /* the number of threads decides the order of sums */
    if (options->threads > 0) omp_set_num_threads(options->threads);
    exec->options.threads = omp_get_max_threads();
    *out = exec;
    return FX_OK;
}

static void close_cpu(fx_exec **exec)
{
    if (*exec && (*exec)->close_library) (*exec)->close_library((*exec)->library);
    fx_free(*exec);
    *exec = NULL;
}

static fx_status allocate(fx_exec *exec, size_t bytes, void **out)
{
    (void)exec;
    return (*out = fx_map(bytes)) ? FX_OK : FX_ENOMEM;
}

static void release(fx_exec *exec, void *memory, size_t bytes)
{
    (void)exec;
    fx_unmap(memory, bytes);
}

static fx_status copy(fx_exec *exec, void *to, const void *from, size_t bytes)
{
    (void)exec;
    memcpy(to, from, bytes);
    return FX_OK;
}

static fx_status run_entry(fx_exec *exec, const fx_entry *entry, void *arena)
{
    const fx_kernel *kernel = kernels[entry->node->id];
    exec->scratch = (char *)arena + entry->scratch_offset;
    const fx_status status = entry->pass == FX_FORWARD ? kernel->forward(exec, entry->node)
                                                       : kernel->backward(exec, entry->node);
    if (status != FX_OK) return fx_context(status, "%s (%s)", entry->node->name, entry->node->op->name);
    return exec->options.comm->ops->progress(exec->options.comm);
}

static fx_status run(fx_exec *exec, const fx_entry *entries, int count, const fx_step *step,
                     void *arena, const fx_observer *observer)
{
    exec->step = step;
    for (int e = 0; e < count; e++) {
        fx_beat_at(entries[e].node->name);
        const bool timed = observer && observer->timed;
        const double start = timed ? fx_now() : 0;
        if (!timed && observer && observer->begin) observer->begin(observer->self, &entries[e], e);
        FX_TRY(run_entry(exec, &entries[e], arena));
        if (timed)
            observer->timed(observer->self, e, start, fx_now());
        else if (observer && observer->end)
            FX_TRY(observer->end(observer->self, &entries[e], e));
    }
    return FX_OK;
}

static fx_status allocate_host(fx_exec *exec, size_t bytes, void **out)
{
    (void)exec;
    *out = fx_calloc(bytes, 1);
    return *out ? FX_OK : FX_ENOMEM;
}

static void release_host(fx_exec *exec, void *memory)
{
    (void)exec;
    fx_free(memory);
}

static void forget(fx_exec *exec, const fx_entry *entries)
{
    (void)exec, (void)entries;
}

static fx_status wait(fx_exec *exec)
{
    (void)exec;
    return FX_OK;
}

static fx_status limits(fx_exec *exec, int64_t side, size_t bytes, fx_device_limits *out)
{
    (void)exec, (void)side, (void)bytes;
    *out = (fx_device_limits){0};
    return fx_fail(FX_EDEVICE, "backend cpu: there is no GPU to measure");
}

static fx_status describe(fx_exec *exec, char *text, size_t size)
{
    char library[64];
    fx_cpu_library(library, sizeof library);
    return fx_print(text, size, "cpu, %d threads, %s, %s", exec->options.threads, library,
                    fx_cpu_has_bf16() ? "bf16 products" : "no bf16 products");
}

const fx_backend fx_backend_cpu = {
    .name = "cpu",
    .build_id = "built in",
    .kernels = kernels,
    .find = find,
    .open = open_cpu,
    .close = close_cpu,
    .allocate = allocate,
    .release = release,
    .allocate_host = allocate_host,
    .release_host = release_host,
    .upload = copy,
    .download = copy,
    .run = run,
    .forget = forget,
    .wait = wait,
    .limits = limits,
    .describe = describe,
    .flow = &fx_cpu_flow,
};
