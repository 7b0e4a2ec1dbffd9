/* test_fake_memory.cpp: the stand-in's rules for memory, each broken once and caught, beside a control
 * that is let through.
 *
 * Run: standin only
 * Planted and caught: in memory.cpp device memory left open after work ran, more of it opened than
 * the allocation has, the margin not looked at, freed pages left open, the count of live objects left
 * out; in runtime.cpp any host memory taken for pinned. */
#include "dies.h"

#include <cmath>

static void write_at(rig &r, long offset, size_t bytes)
{
    char *to = (char *)r.device + offset;
    fake_enqueue(r.a, "kernel", {}, [=] { memset(to, 1, bytes); });
    cudaStreamSynchronize(r.a);
}

static void host_access(void)
{
    dies("host reads", "the host touches device memory: allocation 1 of 4096 bytes, at 12", [] {
        rig r;
        cudaMemsetAsync(r.device, 0, rig::BYTES, r.a);
        cudaStreamSynchronize(r.a);
        printf("%f\n", (double)r.device[3]);
    });
    dies("host writes", "the host touches device memory", [] {
        rig r;
        memset(r.device, 0, rig::BYTES);
    });
    lives("work writes", [] {
        rig r;
        write_at(r, 0, rig::BYTES);
    });
}

static void bounds(void)
{
    dies("behind the end", "at 1000 was written behind its end", [] {
        rig r;
        float *small = nullptr;
        cudaMalloc((void **)&small, 1000);
        fake_enqueue(r.a, "kernel", {}, [=] { small[250] = 1; });
        cudaStreamSynchronize(r.a);
    });
    dies("far behind the end",
         "kernel touches what is not allocated: allocation 1 of 4096 bytes, at 4096", [] {
             rig r;
             write_at(r, rig::BYTES, 4);
         });
    dies("before the start", "kernel touches what is not allocated", [] {
        rig r;
        write_at(r, -4, 4);
    });
    dies("after free", "kernel touches what is not allocated", [] {
        rig r;
        char *memory = nullptr;
        cudaMalloc((void **)&memory, 4096);
        cudaFree(memory);
        fake_enqueue(r.a, "kernel", {}, [=] { memory[0] = 1; });
        cudaStreamSynchronize(r.a);
    });
    dies("a range that is not allocated", "writes 8192 bytes: allocation 1", [] {
        rig r;
        fake_enqueue(r.a, "kernel", {{r.device, 8192, true}}, [] {});
    });
}

static void lifetime(void)
{
    dies("free while in use", "cudaFree of allocation 1 of 4096 bytes, at 0, which queued work uses",
         [] {
             rig r;
             r.up(r.a);
             cudaFree(r.device);
         });
    dies("free of pinned memory in use", "cudaFreeHost", [] {
        rig r;
        r.up(r.a);
        cudaFreeHost(r.pinned);
    });
    dies("free twice", "or twice", [] {
        rig r;
        cudaFree(r.device);
        cudaFree(r.device);
    });
    dies("leak", "at exit 1 allocations, 0 of pinned memory", [] {
        void *memory = nullptr;
        cudaMalloc(&memory, 1);
    });
    dies("leaked stream", "1 streams", [] {
        void *memory = nullptr;
        cudaStream_t stream = nullptr;
        cudaMalloc(&memory, 1);
        cudaFree(memory);
        cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
    });
    dies("stream with work", "cudaStreamDestroy with work queued: cudaMemcpyAsync", [] {
        rig r;
        r.up(r.a);
        cudaStreamDestroy(r.a);
    });
}

static void copies(void)
{
    dies("upload from pageable memory", "cudaMemcpyAsync from what is not pinned", [] {
        rig r;
        float here[4] = {};
        cudaMemcpyAsync(r.device, here, sizeof here, cudaMemcpyHostToDevice, r.a);
    });
    dies("download to pageable memory", "cudaMemcpyAsync to what is not pinned", [] {
        rig r;
        float here[4];
        cudaMemcpyAsync(here, r.device, sizeof here, cudaMemcpyDeviceToHost, r.a);
    });
    rig r;
    r.down(r.a);
    cudaStreamSynchronize(r.a);
    holds(std::isnan(r.pinned[0]) && std::isnan(r.pinned[rig::COUNT - 1]), "fresh memory is NaN");
    r.pinned[5] = 1;
    r.up(r.a);
    r.pinned[5] = 2; /* too early: the copy has not read it */
    cudaStreamSynchronize(r.a);
    r.pinned[5] = 0;
    r.down(r.a);
    cudaStreamSynchronize(r.a);
    holds(r.pinned[5] == 2, "an upload reads its source when it runs");
}

static void refusals(void)
{
    void *memory = &memory;
    is(cudaMalloc(&memory, (size_t)1 << 40), cudaErrorMemoryAllocation, "more than the device has");
    holds(memory == nullptr, "no pointer without memory");
    cudaStream_t stream = nullptr;
    is(cudaStreamCreateWithPriority(&stream, 0, 0), cudaErrorInvalidValue, "a stream that blocks");
    is(cudaStreamSynchronize(nullptr), cudaErrorInvalidResourceHandle, "the legacy stream");
    is(fake_enqueue(nullptr, "work", {}, [] {}), cudaErrorInvalidResourceHandle, "work in it");
}

int main(void)
{
    host_access();
    bounds();
    lifetime();
    copies();
    refusals();
    return end_of_checks();
}
