/* flow_slots.c: fields of the flow solver on their way to the host. Each slot has memory of its own on
 * both sides, so that nothing on the device waits for a copy: the host has waited for it before the
 * slot is filled again. */
#include "flow_slots.h"

#include "flexhpc/mem.h"

struct slot {
    float *room, *host;         /* on the device; pinned */
    cudaEvent_t ready, arrived; /* `room` is filled; `host` is */
};

struct fx_flow_slots {
    fx_exec *exec;
    cudaStream_t stream; /* of the copies */
    int count;
    size_t bytes; /* of a slot */
    struct slot slots[];
};

static fx_status make_slot(fx_flow_slots *s, struct slot *it)
{
    FX_TRY(s->exec->backend->allocate(s->exec, s->bytes, (void **)&it->room));
    FX_CUDA(cudaHostAlloc((void **)&it->host, s->bytes, 0));
    FX_CUDA(cudaEventCreateWithFlags(&it->ready, cudaEventDisableTiming));
    FX_CUDA(cudaEventCreateWithFlags(&it->arrived, cudaEventDisableTiming));
    return FX_OK;
}

static fx_status make_slots(fx_flow_slots *s)
{
    FX_CUDA(cudaStreamCreateWithPriority(&s->stream, cudaStreamNonBlocking, 0));
    for (int i = 0; i < s->count; i++)
        FX_TRY(make_slot(s, &s->slots[i]));
    return FX_OK;
}

fx_status fx_flow_slots_open(fx_flow_slots **out, fx_exec *exec, int count, int64_t values)
{
    *out = NULL;
    if (count == 0) return FX_OK;
    fx_flow_slots *s = fx_calloc(1, sizeof *s + (size_t)count * sizeof *s->slots);
    if (!s) return FX_ENOMEM;
    s->exec = exec;
    s->count = count;
    s->bytes = (size_t)values * sizeof(float);
    const fx_status status = make_slots(s);
    if (status != FX_OK) fx_flow_slots_close(&s);
    *out = s;
    return status;
}

void fx_flow_slots_close(fx_flow_slots **out)
{
    fx_flow_slots *s = *out;
    if (!s) return;
    if (s->stream) cudaStreamSynchronize(s->stream);
    for (struct slot *it = s->slots; it < s->slots + s->count; it++) {
        s->exec->backend->release(s->exec, it->room, s->bytes);
        if (it->host) cudaFreeHost(it->host);
        if (it->ready) cudaEventDestroy(it->ready);
        if (it->arrived) cudaEventDestroy(it->arrived);
    }
    if (s->stream) cudaStreamDestroy(s->stream);
    fx_free(s);
    *out = NULL;
}

float *fx_flow_slot_room(fx_flow_slots *s, int slot)
{
#ifdef FX_SIMT
    fx_simt_writes(s->slots[slot].room, s->bytes);
#endif
    return s->slots[slot].room;
}

fx_status fx_flow_slot_send(fx_flow_slots *s, int slot)
{
    struct slot *it = &s->slots[slot];
#ifdef FX_SIMT
    fx_simt_writes(NULL, 0);
#endif
    FX_CUDA(cudaEventRecord(it->ready, fx_cuda_stream(s->exec)));
    FX_CUDA(cudaStreamWaitEvent(s->stream, it->ready, 0));
    FX_CUDA(cudaMemcpyAsync(it->host, it->room, s->bytes, cudaMemcpyDeviceToHost, s->stream));
    FX_CUDA(cudaEventRecord(it->arrived, s->stream));
    return FX_OK;
}

fx_status fx_flow_slot_receive(fx_flow_slots *s, int slot, const float **values)
{
    FX_TRY(fx_cuda_await(fx_cuda_of(s->exec), s->slots[slot].arrived));
    *values = s->slots[slot].host;
    return FX_OK;
}
