/* runtime.cpp: the CUDA runtime's entry points that the backend uses. */
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fake.h"

void fake_fatal(const char *fmt, ...)
{
    va_list arguments;
    va_start(arguments, fmt);
    fputs("fakecuda: ", stderr);
    vfprintf(stderr, fmt, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

/* SplitMix64 (Steele, Lea and Flood, 2014). */
uint64_t fake_random(void)
{
    static uint64_t state = getenv("FX_FAKE_SEED") ? strtoull(getenv("FX_FAKE_SEED"), nullptr, 10) : 1;
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* FX_FAKE_DEVICES: as many are on the node, and seen by all its processes. Without it each sees one of
 * its own. */
static int devices(void)
{
    const char *text = getenv("FX_FAKE_DEVICES");
    return text ? atoi(text) : 1;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = devices();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device >= 0 && device < devices() ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device)
{
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    if (device < 0 || device >= devices()) return cudaErrorInvalidDevice;
    if (!getenv("FX_FAKE_DEVICES") && local) device = atoi(local);
    return snprintf(text, (size_t)size, "0000:%02x:00.0", device + 1) < size ? cudaSuccess
                                                                             : cudaErrorInvalidValue;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    if (device < 0 || device >= devices()) return cudaErrorInvalidDevice;
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "stand-in on the CPU");
    p->major = 9;
    p->multiProcessorCount = 132;
    p->totalGlobalMem = (size_t)80 << 30;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *lowest, int *highest)
{
    *lowest = 0;
    *highest = -5;
    return cudaSuccess;
}

/* Host memory must be pinned: what is not is copied before the call returns, and never overlaps. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const bool to_host = kind == cudaMemcpyDeviceToHost, from_host = kind == cudaMemcpyHostToDevice;
    if (!to_host && !from_host && kind != cudaMemcpyDeviceToDevice) return cudaErrorInvalidValue;
    if (!(to_host ? fake_is_pinned : fake_is_device)(to, bytes))
        fake_fatal("cudaMemcpyAsync to what is not %s: %s", to_host ? "pinned" : "on the device",
                   fake_place(to).c_str());
    if (!(from_host ? fake_is_pinned : fake_is_device)(from, bytes))
        fake_fatal("cudaMemcpyAsync from what is not %s: %s", from_host ? "pinned" : "on the device",
                   fake_place(from).c_str());
    return fake_enqueue(stream, "cudaMemcpyAsync", {{from, bytes, false}, {to, bytes, true}},
                        [=] { memcpy(to, from, bytes); });
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    if (!fake_is_device(memory, bytes))
        fake_fatal("cudaMemsetAsync of what is not on the device: %s", fake_place(memory).c_str());
    return fake_enqueue(stream, "cudaMemsetAsync", {{memory, bytes, true}},
                        [=] { memset(memory, value, bytes); });
}

/* No call leaves an error for the next one here. */
cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    static const struct {
        cudaError_t error;
        const char *text;
    } known[] = {
        {cudaSuccess, "no error"},
        {cudaErrorMemoryAllocation, "out of memory"},
        {cudaErrorInvalidValue, "invalid argument"},
        {cudaErrorInvalidDevice, "invalid device ordinal"},
        {cudaErrorInvalidConfiguration, "invalid configuration argument"},
        {cudaErrorInvalidResourceHandle, "invalid resource handle"},
        {cudaErrorIllegalState, "the operation cannot be performed in the present state"},
        {cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"},
        {cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"},
        {cudaErrorStreamCaptureUnmatched, "the capture was not initiated in this stream"},
        {cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"},
        {cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"},
        {cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capture"},
    };
    for (const auto &k : known)
        if (k.error == error) return k.text;
    return "an error that the stand-in has no text for";
}
