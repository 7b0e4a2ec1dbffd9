/* clock.c: how long each entry of a run takes on the device, by an event between any two, in the
 * kernels' stream. Nothing is waited for meanwhile, so a kernel that takes longer than the host needs
 * to start the next one is timed as in a captured run; a shorter one has the host's time in it. What
 * communication does beside the kernels shows in the entry that joins it. */
#include "exec.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"

static fx_status walk(fx_cuda *exec, const fx_entry *entries, int count, void *arena,
                      const cudaEvent_t *event)
{
    FX_CUDA(cudaEventRecord(event[0], exec->stream));
    for (int e = 0; e < count; e++) {
        fx_beat_at(entries[e].node->name);
        FX_TRY(fx_cuda_start(exec, &entries[e], arena));
        FX_CUDA(cudaEventRecord(event[e + 1], exec->stream));
    }
    return fx_cuda_idle(exec);
}

static fx_status tell(const cudaEvent_t *event, int count, const fx_observer *observer)
{
    double start = 0;
    for (int e = 0; e < count; e++) {
        float milliseconds = 0;
        FX_CUDA(cudaEventElapsedTime(&milliseconds, event[e], event[e + 1]));
        const double end = start + 1e-3 * (double)milliseconds;
        observer->timed(observer->self, e, start, end);
        start = end;
    }
    return FX_OK;
}

fx_status fx_cuda_timed_walk(fx_cuda *exec, const fx_entry *entries, int count, void *arena,
                             const fx_observer *observer)
{
    fx_status status = FX_OK;
    cudaEvent_t *event = NULL;
    FX_TRY(FX_ALLOC(event, count + 1));
    for (int e = 0; e <= count; e++)
        FX_TRY_DONE(
            fx_cuda_check(cudaEventCreateWithFlags(&event[e], cudaEventDefault), "event", NULL));
    FX_TRY_DONE(walk(exec, entries, count, arena, event));
    FX_TRY_DONE(tell(event, count, observer));
done:
    for (int e = 0; e <= count; e++)
        if (event[e]) cudaEventDestroy(event[e]);
    fx_free(event);
    return status;
}
