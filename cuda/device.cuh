/* device.cuh: every device primitive that kernels use, each once. A lint refuses others in .cu files,
 * so that tests/fakecuda can run the same sources on the CPU: with FX_SIMT the threads of a block are
 * fibers (simt.h defines what differs). Blocks are one-dimensional. All shared memory is dynamic, its
 * bytes named at the launch. */
#ifndef FX_DEVICE_CUH
#define FX_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>
#include <string.h>

typedef __nv_bfloat16 fx_bf16;
enum { FX_WARP = 32 };

#ifdef FX_SIMT
#include "simt.h"
#else
#define FX_KERNEL        __global__ static
/* Most threads a block, least blocks an SM; 1 where the compiler's guess of more makes it spill. */
#define FX_BOUNDS(...)   __launch_bounds__(__VA_ARGS__)
#define FX_DEVICE        __device__ static __forceinline__
#define FX_ALIGNED(p)    ((void)0)
#define FX_SHARED(bytes) extern __shared__ __align__(16) unsigned char bytes[]
#define FX_PRAGMA(text)  _Pragma(#text)
#define FX_UNROLL(times) FX_PRAGMA(unroll times) /* the loop behind it: that many loads in flight */
#define FX_UNROLL_ALL    FX_PRAGMA(unroll)       /* wholly: arrays with its index stay in registers */

FX_DEVICE int fx_thread(void)
{
    return (int)threadIdx.x;
}
FX_DEVICE int fx_threads(void)
{
    return (int)blockDim.x;
}
FX_DEVICE int fx_block(void)
{
    return (int)blockIdx.x;
}
FX_DEVICE int fx_block_y(void)
{
    return (int)blockIdx.y;
}
FX_DEVICE int fx_block_z(void)
{
    return (int)blockIdx.z;
}
FX_DEVICE int fx_blocks(void)
{
    return (int)gridDim.x;
}
FX_DEVICE void fx_sync(void)
{
    __syncthreads();
}
FX_DEVICE void fx_warp_sync(void)
{
    __syncwarp();
}
template <typename T> FX_DEVICE T fx_shuffle(T v, int lane)
{
    return __shfl_sync(0xffffffffu, v, lane);
}
template <typename T> FX_DEVICE T fx_shuffle_xor(T v, int mask)
{
    return __shfl_xor_sync(0xffffffffu, v, mask);
}
FX_DEVICE float fx_float_of_bits(uint32_t bits)
{
    return __uint_as_float(bits);
}
FX_DEVICE uint32_t fx_bits_of_float(float v)
{
    return __float_as_uint(v);
}
/* Sixteen or eight bytes by one instruction, to memory of any kind: of a float4 the compiler may make
 * four. */
FX_DEVICE void fx_store_quad(void *p, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    asm volatile("st.v4.b32 [%0], {%1, %2, %3, %4};"
                 :
                 : "l"(p), "r"(a), "r"(b), "r"(c), "r"(d)
                 : "memory");
}
FX_DEVICE void fx_store_pair(void *p, uint32_t a, uint32_t b)
{
    asm volatile("st.v2.b32 [%0], {%1, %2};" : : "l"(p), "r"(a), "r"(b) : "memory");
}
/* Blocks that wait for others: see fx_block_take. Each by one thread; no floating-point numbers. */
FX_DEVICE int fx_take(int *counter)
{
    return atomicAdd(counter, 1);
}
FX_DEVICE void fx_raise(int *counter)
{
    __threadfence();
    atomicAdd(counter, 1);
}
FX_DEVICE void fx_await(const int *counter, int count)
{
    while (*(const volatile int *)counter < count)
        __nanosleep(100);
    __threadfence();
}
/* 2^x by one instruction, to two units in the last place; 0 below 2^-126. */
FX_DEVICE float fx_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* The five of tensor cores. All lanes of the warp call them together. With g = lane / 4 and t = lane %
 * 4:
 *
 * C += A B in fp32, A 16 x 16, B 16 x 8. A word holds two bf16, the one of lower index in its low half:
 *   a[0] (g, 2t) and (g, 2t + 1), a[1] row g + 8, a[2] columns + 8, a[3] both
 *   b0 (2t, g) and (2t + 1, g), b1 rows + 8;  c[0] (g, 2t), c[1] (g, 2t + 1), c[2] and c[3] row g + 8
 */
FX_DEVICE void fx_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/* Four matrices of 8 x 8 16-bit elements from shared memory; lane i names the row i % 8, 16 bytes, of
 * matrix i / 8. r[j] of matrix j: elements (g, 2t) and (g, 2t + 1). */
FX_DEVICE void fx_ldmatrix(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}
/* The same, elements (2t, g) and (2t + 1, g). */
FX_DEVICE void fx_ldmatrix_trans(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}
/* Begins a copy of 16 bytes to shared memory; of zeros where they do not exist, and then `global` is
 * any address. Not collective; neither is the wait for all copies that the thread began. */
FX_DEVICE void fx_copy_async(void *shared, const void *global, bool exists)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((uint32_t)__cvta_generic_to_shared(shared)), "l"(global), "r"(exists ? 16 : 0)
                 : "memory");
}
FX_DEVICE void fx_copy_wait(void)
{
    asm volatile("cp.async.wait_all;" : : : "memory");
}

/* Sine and cosine of 2 pi `turns`. */
FX_DEVICE void fx_circle(double turns, double *sine, double *cosine)
{
    sincospi(2.0 * turns, sine, cosine);
}
#endif

FX_DEVICE int fx_lane(void)
{
    return fx_thread() % FX_WARP;
}
FX_DEVICE int fx_warp(void)
{
    return fx_thread() / FX_WARP;
}
/* Of the thread among all of the grid's first dimension. */
FX_DEVICE int64_t fx_index(void)
{
    return (int64_t)fx_block() * fx_threads() + fx_thread();
}

/* Storage is float or bf16, arithmetic float. */
FX_DEVICE float fx_get(const float *p)
{
    return *p;
}
FX_DEVICE float fx_get(const fx_bf16 *p)
{
    return __bfloat162float(*p);
}
FX_DEVICE void fx_set(float *p, float v)
{
    *p = v;
}
FX_DEVICE void fx_set(fx_bf16 *p, float v)
{
    *p = __float2bfloat16(v);
}

/* Stores a gradient, or adds it where other readers of the tensor have stored theirs. */
template <typename T> FX_DEVICE void fx_put(T *p, float v, bool add)
{
    fx_set(p, add ? fx_get(p) + v : v);
}

/* Sixteen bytes at once, from an address divisible by 16 (FX_ALIGNED: only the stand-in looks): 4
 * floats or 8 bf16. */
template <typename T> struct fx_wide {
    enum { COUNT = 16 / (int)sizeof(T) };
};
FX_DEVICE void fx_get_wide(const float *p, float v[4])
{
    FX_ALIGNED(p);
    const float4 q = *(const float4 *)p;
    v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
}
FX_DEVICE void fx_set_wide(float *p, const float v[4])
{
    FX_ALIGNED(p);
    fx_store_quad(p, fx_bits_of_float(v[0]), fx_bits_of_float(v[1]), fx_bits_of_float(v[2]),
                  fx_bits_of_float(v[3]));
}
FX_DEVICE void fx_get_wide(const fx_bf16 *p, float v[8])
{
    FX_ALIGNED(p);
    const uint4 q = *(const uint4 *)p;
    const uint32_t word[4] = {q.x, q.y, q.z, q.w};
    for (int i = 0; i < 4; i++) {
        v[2 * i] = fx_float_of_bits(word[i] << 16);
        v[2 * i + 1] = fx_float_of_bits(word[i] & 0xffff0000u);
    }
}
/* One instruction, where two roundings and a shift would be four. */
FX_DEVICE uint32_t fx_pack_bf16(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}
/* Two elements, from an address divisible by 4. */
FX_DEVICE void fx_set_pair(fx_bf16 *p, float low, float high)
{
    *(__nv_bfloat162 *)p = __floats2bfloat162_rn(low, high);
}
FX_DEVICE void fx_set_wide(fx_bf16 *p, const float v[8])
{
    FX_ALIGNED(p);
    fx_store_quad(p, fx_pack_bf16(v[0], v[1]), fx_pack_bf16(v[2], v[3]), fx_pack_bf16(v[4], v[5]),
                  fx_pack_bf16(v[6], v[7]));
}

/* The same near the end of an array: of the elements from p on, `left` exist; the rest are 0, and not
 * stored. */
template <typename T> FX_DEVICE void fx_get_wide(const T *p, int64_t left, float *v)
{
    if (left >= fx_wide<T>::COUNT) return fx_get_wide(p, v);
    for (int i = 0; i < fx_wide<T>::COUNT; i++)
        v[i] = i < left ? fx_get(p + i) : 0.0f;
}
template <typename T> FX_DEVICE void fx_set_wide(T *p, int64_t left, const float *v)
{
    if (left >= fx_wide<T>::COUNT) return fx_set_wide(p, v);
    for (int i = 0; i < fx_wide<T>::COUNT; i++) /* not to `left`: v stays in registers */
        if (i < left) fx_set(p + i, v[i]);
}

/* WIDTH consecutive elements: one at a time, or a multiple of fx_wide<T>::COUNT, wide. */
template <int WIDTH, typename T> FX_DEVICE void fx_get_all(const T *p, float *v)
{
    if constexpr (WIDTH == 1)
        v[0] = fx_get(p);
    else
        for (int i = 0; i < WIDTH; i += fx_wide<T>::COUNT)
            fx_get_wide(p + i, v + i);
}
template <int WIDTH, typename T> FX_DEVICE void fx_set_all(T *p, const float *v)
{
    if constexpr (WIDTH == 1)
        fx_set(p, v[0]);
    else
        for (int i = 0; i < WIDTH; i += fx_wide<T>::COUNT)
            fx_set_wide(p + i, v + i);
}
template <int WIDTH, typename T> FX_DEVICE void fx_put_all(T *p, const float *v, bool add)
{
    float sum[WIDTH] = {};
    if (add) fx_get_all<WIDTH>(p, sum);
    for (int i = 0; i < WIDTH; i++)
        sum[i] = add ? sum[i] + v[i] : v[i];
    fx_set_all<WIDTH>(p, sum);
}

/* Sum over the warp, the same bits on every lane. */
template <typename T> FX_DEVICE T fx_warp_sum(T v)
{
    for (int mask = FX_WARP / 2; mask > 0; mask /= 2)
        v += fx_shuffle_xor(v, mask);
    return v;
}

/* Largest of the warp, on every lane. */
FX_DEVICE float fx_warp_max(float v)
{
    for (int mask = FX_WARP / 2; mask > 0; mask /= 2)
        v = fmaxf(v, fx_shuffle_xor(v, mask));
    return v;
}

/* Blocks of one launch that wait for each other. Each takes the next number of a counter, and by it its
 * part of the work; it may wait only for parts of lower numbers. Those have begun, so that the lowest
 * part that is not done never waits, and all end on any device, however few blocks it holds at once.
 * The number: the same on every thread. `shared`: one int; free again after the call. */
FX_DEVICE int fx_block_take(int *counter, int *shared)
{
    if (fx_thread() == 0) *shared = fx_take(counter);
    fx_sync();
    const int own = *shared;
    fx_sync();
    return own;
}
/* Adds one to the counter when all threads of the block are here; who awaits it sees what they stored.
 */
FX_DEVICE void fx_block_raise(int *counter)
{
    fx_sync();
    if (fx_thread() == 0) fx_raise(counter);
}
FX_DEVICE void fx_block_await(const int *counter, int count)
{
    if (fx_thread() == 0) fx_await(counter, count);
    fx_sync();
}

/* Sum over the block, the same bits on every thread. `shared`: one value a warp; free again after the
 * call. */
template <typename T> FX_DEVICE T fx_block_sum(T v, T *shared)
{
    const T own = fx_warp_sum(v);
    if (fx_lane() == 0) shared[fx_warp()] = own;
    fx_sync();
    T sum = 0;
    for (int w = 0; w < (fx_threads() + FX_WARP - 1) / FX_WARP; w++)
        sum += shared[w];
    fx_sync();
    return sum;
}

#endif
