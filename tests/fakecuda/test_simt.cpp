/* test_simt.cpp: kernels on fibers: the primitives of device.cuh give what they should, and what the
 * hardware leaves undefined is caught.
 *
 * Run: standin only
 * Planted and caught: in simt.cpp threads run in the order of their numbers, warps and blocks
 * likewise, lines not
 * compared, the margin of shared memory not looked at, shared memory zeroed; in simt.h a shuffle from
 * the lane beside, host pointers let through; in device.cuh the last barrier of fx_block_sum left out,
 * that of fx_block_raise; in simt.cpp one block at a time always, waits that pass, no end to waiting
 * for a block that has not begun.
 */
#include "bench.h"

FX_KERNEL void sums(float *out)
{
    FX_SHARED(bytes);
    const float v = (float)fx_thread();
    const float first = fx_block_sum(v, (float *)bytes), second = fx_block_sum(1.0f, (float *)bytes);
    out[fx_index()] = first + 10000 * second + (float)fx_block();
}

FX_KERNEL void shuffles(float *out)
{
    out[fx_thread()] = (float)(fx_shuffle(fx_thread(), 3) + 1000 * fx_shuffle_xor(fx_lane(), 5));
}

FX_KERNEL void neighbours(float *out)
{
    FX_SHARED(bytes);
    float *shared = (float *)bytes;
    shared[fx_thread()] = (float)fx_thread();
    fx_sync();
    out[fx_thread()] = shared[(fx_thread() + 1) % THREADS];
}

FX_KERNEL void wide(float *out, fx_bf16 *packed)
{
    float v[8];
    for (int i = 0; i < 8; i++)
        v[i] = (float)(fx_thread() + i) / 8;
    fx_set_wide(packed + 8 * fx_thread(), v);
    fx_get_wide(packed + 8 * fx_thread(), v);
    fx_set_wide(out + 4 * fx_thread(), v + 4);
}

static void values(void)
{
    bench b;
    run(b, START(sums, 2, WARPS * 4, k.out));
    float *got = b.result();
    for (int i = 0; i < 2 * THREADS; i++)
        holds(got[i] == 4560 + 10000 * 96 + (float)(i / THREADS), "sums over the block");
    run(b, START(shuffles, 1, 0, k.out));
    got = b.result();
    for (int i = 0; i < THREADS; i++)
        holds(got[i] == (float)(i / 32 * 32 + 3 + 1000 * (i % 32 ^ 5)), "shuffles");
    run(b, START(neighbours, 1, THREADS * 4, k.out));
    got = b.result();
    for (int i = 0; i < THREADS; i++)
        holds(got[i] == (float)((i + 1) % THREADS), "shared memory after a barrier");
    run(b, START(wide, 1, 0, k.out, (fx_bf16 *)(k.out + 512)));
    got = b.result();
    for (int i = 0; i < 4 * THREADS; i++)
        holds(got[i] == (float)(i / 4 + 4 + i % 4) / 8, "sixteen bytes at once");
}

FX_KERNEL void no_barrier(float *out)
{
    FX_SHARED(bytes);
    float *shared = (float *)bytes;
    shared[fx_thread()] = 1;
    out[fx_index()] = fx_thread() > 0 ? shared[fx_thread() - 1] : 1;
}

FX_KERNEL void read_first(float *out)
{
    FX_SHARED(bytes);
    out[fx_thread()] = ((float *)bytes)[fx_thread()];
}

FX_KERNEL void chain(float *out)
{
    if (fx_thread() == 0) out[fx_block()] = fx_block() == 0 ? 1 : out[fx_block() - 1] + 1;
}

/* Kernels that a sequential run would get right, or that read what nobody wrote. */
static void luck(void)
{
    bench b;
    bool wrong = false, across = false;
    run(b, START(no_barrier, 8, THREADS * 4, k.out));
    for (int i = 0; i < 8 * THREADS; i++)
        (i % FX_WARP == 0 ? across : wrong) |= b.result()[i] != 1;
    holds(wrong, "a missing barrier shows within a warp");
    holds(across, "a missing barrier shows between warps");
    run(b, START(read_first, 1, THREADS * 4, k.out));
    holds(b.result()[5] != b.result()[5], "shared memory starts as NaN");
    run(b, START(chain, 64, 0, k.out));
    wrong = false;
    for (int i = 0; i < 64; i++)
        wrong |= b.result()[i] != (float)(i + 1);
    holds(wrong, "blocks that count on their order show");
}

FX_KERNEL void parted_barrier(float *out)
{
    if (fx_thread() < 40)
        fx_sync();
    else
        fx_sync();
    out[fx_thread()] = 0;
}

FX_KERNEL void early_exit(float *out)
{
    if (fx_thread() == 70) return;
    fx_sync();
    out[fx_thread()] = 0;
}

FX_KERNEL void half_a_warp(float *out)
{
    if (fx_lane() < 16) out[fx_thread()] = fx_warp_sum(1.0f);
}

FX_KERNEL void warp_and_block(float *out)
{
    if (fx_lane() < 16)
        fx_sync();
    else
        fx_warp_sync();
    out[fx_thread()] = 0;
}

FX_KERNEL void lane_32(float *out)
{
    out[fx_thread()] = fx_shuffle(1.0f, fx_thread() == 0 ? 32 : 0);
}

FX_KERNEL void overrun(float *out, int at)
{
    FX_SHARED(bytes);
    ((float *)bytes)[at] = 1;
    out[fx_thread()] = 0;
}

FX_KERNEL void deep(float *out, int depth)
{
    volatile float room[15 << 10];
    room[depth] = 1;
    out[fx_thread()] = room[depth];
}

FX_KERNEL void unaligned(const float *x, float *out)
{
    float v[4];
    fx_get_wide(x, v);
    out[fx_thread()] = v[0];
}

static void errors(void)
{
    kernel_dies("two barriers", "parted_barrier (node), block (0, 0, 0), thread 40",
                START(parted_barrier, 1, 0, k.out));
    kernel_dies("a thread that left",
                "thread 70, line 0: the threads of a block parted before a barrier",
                START(early_exit, 1, 0, k.out));
    kernel_dies("half a warp", "the lanes of a warp parted", START(half_a_warp, 1, 0, k.out));
    kernel_dies("warp against block", "waits for threads that wait elsewhere",
                START(warp_and_block, 1, 0, k.out));
    kernel_dies("lane 32", "a shuffle from a lane outside the warp", START(lane_32, 1, 0, k.out));
    kernel_dies("shared memory, by one", "shared memory was written behind its end",
                START(overrun, 1, 20, k.out, 5));
    kernel_dies("shared memory, by four", "overrun (node) touches the page behind its shared memory",
                START(overrun, 1, 16, k.out, 4));
    kernel_dies("a full stack", "deep (node) touches the page behind a thread's stack",
                START(deep, 1, 0, k.out, 0));
    kernel_dies("host pointer", "overrun (node) is given a pointer to host memory",
                START(overrun, 1, 16, k.r.pinned - 4096, 0));
    kernel_dies("unaligned", "sixteen bytes at once from an address that 16 does not divide",
                START(unaligned, 1, 0, k.out + 1, k.out));
    bench b;
    holds(START(neighbours, 1, 256 << 10, k.out)(b) == FX_EDEVICE, "too much shared memory");
    holds(START(neighbours, dim3(1, 70000), 4, k.out)(b) == FX_EDEVICE, "too many blocks");
    holds(strstr(fx_error_message(), "neighbours (node)") != nullptr, "the refusal names the kernel");
}

/* Blocks that wait: part p of a launch stores a number, and part p - LAG is awaited before its own is
 * added to. With `barriers` both warps of a part come before the others hear of it. */
enum { PARTS = 9, LAG = 2 };

FX_KERNEL void waves(int *counters, float *out, bool awaits, bool barriers)
{
    FX_SHARED(bytes);
    const int part = fx_block_take(counters, (int *)bytes), t = fx_thread();
    float before = 0;
    if (part >= LAG) {
        if (awaits) fx_block_await(counters + 1 + part - LAG, 1);
        before = out[(part - LAG) * THREADS + (t + FX_WARP) % THREADS];
    }
    fx_sync();
    out[part * THREADS + t] = before + 1;
    if (barriers)
        fx_block_raise(counters + 1 + part);
    else if (t == 0)
        fx_raise(counters + 1 + part);
}

FX_KERNEL void ahead(int *counters)
{
    FX_SHARED(bytes);
    const int part = fx_block_take(counters, (int *)bytes);
    fx_block_await(counters + 1, part == 0);
    fx_block_raise(counters + 1);
}

static bool right(bool awaits, bool barriers)
{
    bool all = true;
    for (int trial = 0; trial < 16; trial++) {
        bench b;
        int *counters = (int *)(b.out + PARTS * THREADS);
        cudaMemsetAsync(b.out, 0, (PARTS * THREADS + PARTS + 1) * sizeof(float), b.r.a);
        run(b, [=](bench &k) -> fx_status {
            FX_LAUNCH(&k.exec.base, &k.node, waves, PARTS, THREADS, 16, counters, k.out, awaits,
                      barriers);
            return FX_OK;
        });
        const float *got = b.result();
        for (int i = 0; i < PARTS * THREADS; i++)
            all &= got[i] == (float)(i / THREADS / LAG + 1);
    }
    return all;
}

static void waiting(void)
{
    holds(right(true, true), "blocks that wait for earlier ones");
    holds(!right(false, true), "a block that should have waited shows");
    holds(!right(true, false), "a block that is heard of before its last warp shows");
    kernel_dies("the first part waits", "waits for a block that has not begun",
                [](bench &k) -> fx_status {
                    cudaMemsetAsync(k.out, 0, 2 * sizeof(float), k.r.a);
                    FX_LAUNCH(&k.exec.base, &k.node, ahead, 8, THREADS, 16, (int *)k.out);
                    return FX_OK;
                });
}

int main(void)
{
    values();
    luck();
    waiting();
    errors();
    return end_of_checks();
}
