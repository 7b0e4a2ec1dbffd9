/* simt.h: what device.cuh's primitives are when the C++ compiler compiles a .cu file: the threads of a
 * block are fibers of one host thread. A fiber runs until it waits for its block or its warp; in which
 * order they run is drawn anew at every turn. What the hardware leaves undefined ends the process with
 * one line that names kernel, node, block and thread. */
#ifndef FX_SIMT_H
#define FX_SIMT_H

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#include "flexhpc/backend.h"
#include "lanes.h"

#define FX_KERNEL      __attribute__((unused)) static
#define FX_BOUNDS(...) /* most threads a block: checked by ptxas */
#define FX_DEVICE      __attribute__((unused)) static inline
#define FX_UNROLL(times)
#define FX_UNROLL_ALL
#define FX_SHARED(bytes)                                                                               \
    unsigned char *bytes = (unsigned char *)__builtin_assume_aligned(fx_simt.shared, 16)

#define FX_ALIGNED(p)                                                                                  \
    do {                                                                                               \
        if ((uintptr_t)(p) % 16 != 0) fx_simt_unaligned();                                             \
    } while (0)

/* Of the thread that runs. */
struct fx_simt_position {
    int thread, threads, block[3], blocks;
    void *shared;
    size_t shared_bytes;
};
extern fx_simt_position fx_simt;

/* Waits until all threads of the block have come to the same line. */
void fx_simt_sync(int line);
/* Gives to the warp, and returns when all 32 lanes came to the same line with what each of them gave,
 * good until the lane comes to the next but one. */
const fx_lane_gift *fx_simt_meet(const fx_lane_gift &gift, int line);
/* The same, of the eight bytes that `lane` gave. */
uint64_t fx_simt_exchange(uint64_t bits, int lane, int line);

/* Sixteen bytes to shared memory, or zeros where the source does not exist: what it holds is lost now,
 * what it gets is there after the thread's next wait. */
void fx_simt_copy_async(void *shared, const void *global, bool exists, int line);
void fx_simt_copy_wait(void);

/* Of blocks that wait for each other. A grid that takes numbers has several blocks under way at once,
 * in random turns, or one. */
int fx_simt_take(int *counter);
void fx_simt_await(const int *counter, int count, int line);

[[noreturn]] void fx_simt_unaligned(void);
/* Ends the process unless the sixteen bytes lie in the block's shared memory. */
void fx_simt_check_shared(const void *at, int line);

/* Puts the grid into the stream's queue. */
fx_status fx_simt_enqueue(cudaStream_t stream, const char *kernel, const char *node, dim3 grid,
                          dim3 block, size_t shared, std::function<void()> thread);

FX_DEVICE int fx_thread(void)
{
    return fx_simt.thread;
}
FX_DEVICE int fx_threads(void)
{
    return fx_simt.threads;
}
FX_DEVICE int fx_block(void)
{
    return fx_simt.block[0];
}
FX_DEVICE int fx_block_y(void)
{
    return fx_simt.block[1];
}
FX_DEVICE int fx_block_z(void)
{
    return fx_simt.block[2];
}
FX_DEVICE int fx_blocks(void)
{
    return fx_simt.blocks;
}
FX_DEVICE void fx_sync(int line = __builtin_LINE())
{
    fx_simt_sync(line);
}
FX_DEVICE void fx_warp_sync(int line = __builtin_LINE())
{
    fx_simt_exchange(0, 0, line);
}
template <typename T> FX_DEVICE T fx_shuffle(T v, int lane, int line = __builtin_LINE())
{
    static_assert(sizeof(T) <= 8, "a lane gives at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    bits = fx_simt_exchange(bits, lane, line);
    memcpy(&v, &bits, sizeof v);
    return v;
}
template <typename T> FX_DEVICE T fx_shuffle_xor(T v, int mask, int line = __builtin_LINE())
{
    return fx_shuffle(v, (fx_simt.thread % 32) ^ mask, line);
}
FX_DEVICE float fx_float_of_bits(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

FX_DEVICE uint32_t fx_bits_of_float(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
FX_DEVICE void fx_store_quad(void *p, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const uint32_t quad[4] = {a, b, c, d};
    memcpy(p, quad, sizeof quad);
}
FX_DEVICE void fx_store_pair(void *p, uint32_t a, uint32_t b)
{
    const uint32_t pair[2] = {a, b};
    memcpy(p, pair, sizeof pair);
}
FX_DEVICE int fx_take(int *counter)
{
    return fx_simt_take(counter);
}
FX_DEVICE void fx_raise(int *counter)
{
    ++*counter;
}
FX_DEVICE void fx_await(const int *counter, int count, int line = __builtin_LINE())
{
    fx_simt_await(counter, count, line);
}
FX_DEVICE float fx_exp2(float x)
{
    return std::exp2(x);
}
FX_DEVICE void fx_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1,
                      int line = __builtin_LINE())
{
    const fx_lane_gift own = {{a[0], a[1], a[2], a[3]}, {b0, b1}, nullptr, 0};
    fx_lane_mma(c, fx_simt_meet(own, line), fx_simt.thread % 32);
}
FX_DEVICE void fx_simt_ldmatrix(uint32_t r[4], const void *row, bool transposed, int line)
{
    FX_ALIGNED(row);
    fx_simt_check_shared(row, line);
    fx_lane_gift own = {};
    own.row = row;
    const fx_lane_gift *warp = fx_simt_meet(own, line);
    for (int i = 0; i < 4; i++)
        r[i] = fx_lane_matrix(warp, i, transposed, fx_simt.thread % 32);
}
FX_DEVICE void fx_ldmatrix(uint32_t r[4], const void *row, int line = __builtin_LINE())
{
    fx_simt_ldmatrix(r, row, false, line);
}
FX_DEVICE void fx_ldmatrix_trans(uint32_t r[4], const void *row, int line = __builtin_LINE())
{
    fx_simt_ldmatrix(r, row, true, line);
}
FX_DEVICE void fx_copy_async(void *shared, const void *global, bool exists, int line = __builtin_LINE())
{
    fx_simt_copy_async(shared, global, exists, line);
}
FX_DEVICE void fx_copy_wait(void)
{
    fx_simt_copy_wait();
}
FX_DEVICE void fx_circle(double turns, double *sine, double *cosine)
{
    const double angle = turns * 6.283185307179586;
    *sine = std::sin(angle);
    *cosine = std::cos(angle);
}

/* A kernel's pointers must be the device's. */
void fx_simt_check_pointer(const char *kernel, const char *node, const void *argument);

template <typename T> void fx_simt_check(const char *kernel, const char *node, const T &argument)
{
    if constexpr (std::is_pointer_v<T>) fx_simt_check_pointer(kernel, node, argument);
}

/* A file's own: argument structs of several files have one name (view), and the linker would take one
 * file's launch for the other's. */
template <typename... P, typename... A>
static fx_status fx_simt_launch(cudaStream_t stream, const char *name, const char *node, dim3 grid,
                                dim3 block, size_t shared, void (*kernel)(P...), A... arguments)
{
    (fx_simt_check(name, node, arguments), ...);
    const std::tuple<P...> copies(arguments...);
    return fx_simt_enqueue(stream, name, node, grid, block, shared,
                           [kernel, copies] { std::apply(kernel, copies); });
}

#endif
