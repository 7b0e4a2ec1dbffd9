/* test_matrix.cpp: the primitives of tensor cores on fibers. Registers are filled and read by the index
 * formulas of the PTX ISA ("Matrix fragments for mma.m16n8k16", "ldmatrix"), written down here once
 * more and not taken from lanes.h; values are whole numbers, so that every result is exact. Then what
 * the hardware leaves undefined: part of a warp, rows outside shared memory or across 16 bytes, shared
 * memory looked at before the wait for its copy, no wait.
 *
 * Run: standin only
 * Planted and caught: in lanes.h two registers of A or of B exchanged, rows of C, the transpose of a
 * matrix, its number; in simt.cpp shared memory kept until the wait, other bytes for zeros, rows across
 * the end let through. */
#include "bench.h"

enum { M = 16, N = 8, K = 16, C_OF_WARP = M * N };

FX_DEVICE float a_value(int warp, int row, int k)
{
    return (float)((7 * row + 3 * k + row * k + warp) % 13 - 6);
}
FX_DEVICE float b_value(int warp, int k, int column)
{
    return (float)((5 * k + 11 * column + k * column + 2 * warp) % 17 - 8);
}
FX_DEVICE float c_value(int row, int column)
{
    return (float)(100 * row + column);
}

/* Thread `lane` holds a0 .. a7, b0 .. b3, c0 .. c3 of the PTX ISA. */
FX_DEVICE int a_row(int lane, int i)
{
    return lane / 4 + (i < 2 || (i >= 4 && i < 6) ? 0 : 8);
}
FX_DEVICE int a_column(int lane, int i)
{
    return lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0);
}
FX_DEVICE int b_row(int lane, int i)
{
    return lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0);
}
FX_DEVICE int c_row(int lane, int i)
{
    return lane / 4 + (i < 2 ? 0 : 8);
}
FX_DEVICE int c_column(int lane, int i)
{
    return lane % 4 * 2 + i % 2;
}

FX_KERNEL void product(float *out)
{
    const int lane = fx_lane(), warp = fx_warp();
    uint32_t a[4], b[2];
    float c[4];
    for (int i = 0; i < 8; i += 2)
        a[i / 2] = fx_pack_bf16(a_value(warp, a_row(lane, i), a_column(lane, i)),
                                a_value(warp, a_row(lane, i + 1), a_column(lane, i + 1)));
    for (int i = 0; i < 4; i += 2)
        b[i / 2] = fx_pack_bf16(b_value(warp, b_row(lane, i), lane / 4),
                                b_value(warp, b_row(lane, i + 1), lane / 4));
    for (int i = 0; i < 4; i++)
        c[i] = c_value(c_row(lane, i), c_column(lane, i));
    fx_mma(c, a, b[0], b[1]);
    for (int i = 0; i < 4; i++)
        out[warp * C_OF_WARP + c_row(lane, i) * N + c_column(lane, i)] = c[i];
}

static void products(void)
{
    bench b;
    run(b, START(product, 1, 0, k.out));
    const float *got = b.result();
    for (int w = 0; w < WARPS; w++)
        for (int i = 0; i < M * N; i++) {
            float sum = c_value(i / N, i % N);
            for (int k = 0; k < K; k++)
                sum += a_value(w, i / N, k) * b_value(w, k, i % N);
            holds(got[w * C_OF_WARP + i] == sum, "C += A B");
        }
}

enum { ELEMENTS = 4 * 64, ROW = 8 }; /* of four matrices; of a row */

/* Row r of matrix j lies where nothing but its address tells: rows run backwards, matrices interleaved.
 */
FX_DEVICE int place_of(int j, int r)
{
    return ((7 - r) * 4 + j) * ROW;
}

FX_KERNEL void matrices(float *out, int transposed)
{
    FX_SHARED(bytes);
    uint16_t *shared = (uint16_t *)bytes;
    const int lane = fx_lane();
    uint32_t r[4];
    for (int i = fx_thread(); i < ELEMENTS; i += fx_threads())
        shared[place_of(i / 64, i % 64 / ROW) + i % ROW] = (uint16_t)(1000 + i);
    fx_sync();
    const uint16_t *row = shared + place_of(lane / 8, lane % 8);
    if (transposed)
        fx_ldmatrix_trans(r, row);
    else
        fx_ldmatrix(r, row);
    for (int j = 0; j < 4; j++)
        for (int e = 0; e < 2; e++)
            out[fx_warp() * ELEMENTS + (j * FX_WARP + lane) * 2 + e] =
                (float)(r[j] >> (16 * e) & 0xffff);
}

static void loads(void)
{
    bench b;
    for (int transposed = 0; transposed < 2; transposed++) {
        if (transposed)
            run(b, START(matrices, 1, 2 * ELEMENTS, k.out, 1));
        else
            run(b, START(matrices, 1, 2 * ELEMENTS, k.out, 0));
        const float *got = b.result();
        for (int i = 0; i < WARPS * ELEMENTS; i++) {
            const int j = i % ELEMENTS / 64, lane = i / 2 % FX_WARP, e = i % 2;
            const int own = lane / 4, pair = lane % 4 * 2 + e; /* the lane's row, and place in it */
            const int at = transposed ? pair * ROW + own : own * ROW + pair;
            holds(got[i] == (float)(1000 + j * 64 + at), "four matrices");
        }
    }
}

FX_KERNEL void copies(const float *from, float *out)
{
    FX_SHARED(bytes);
    float *shared = (float *)bytes;
    shared[4 * fx_thread()] = 1;
    fx_copy_async(shared + 4 * fx_thread(), from + 4 * fx_thread(), fx_thread() % 3 != 0);
    const float early = shared[4 * fx_thread()];
    fx_copy_wait();
    fx_sync();
    const int other = (fx_thread() + 1) % THREADS;
    out[2 * fx_thread()] = shared[4 * other + 3];
    out[2 * fx_thread() + 1] = early;
}

static void copied(void)
{
    bench b;
    b.r.up(b.r.a);
    run(b, START(copies, 1, 16 * THREADS, k.out, k.out + 512));
    const float *got = b.result() + 512;
    for (int i = 0; i < THREADS; i++) {
        const int other = (i + 1) % THREADS;
        holds(got[2 * i] == (other % 3 != 0 ? (float)(4 * other + 3) : 0), "a copy, or zeros");
        holds(got[2 * i + 1] != got[2 * i + 1], "nothing is there before the wait");
    }
}

FX_KERNEL void half_a_product(float *out)
{
    const uint32_t a[4] = {};
    float c[4] = {};
    if (fx_lane() < 16) fx_mma(c, a, 0, 0);
    out[fx_thread()] = c[0];
}

FX_KERNEL void load_from(const float *at, float *out, int shift)
{
    FX_SHARED(bytes);
    uint32_t r[4];
    fx_ldmatrix(r, at ? (const void *)at : (const void *)(bytes + shift));
    out[fx_thread()] = (float)r[0];
}

FX_KERNEL void two_places(float *out)
{
    FX_SHARED(bytes);
    uint32_t r[4];
    if (fx_lane() < 16)
        fx_ldmatrix(r, bytes);
    else
        fx_ldmatrix(r, bytes);
    out[fx_thread()] = (float)r[0];
}

FX_KERNEL void copy_to(const float *from, float *to, int shift, int waits)
{
    FX_SHARED(bytes);
    fx_copy_async(to ? (unsigned char *)to : bytes + shift, from, true);
    if (waits) fx_copy_wait();
}

static void errors(void)
{
    kernel_dies("half a warp", "the lanes of a warp parted", START(half_a_product, 1, 0, k.out));
    kernel_dies("two lines", "the lanes of a warp parted", START(two_places, 1, 16, k.out));
    kernel_dies("a row in device memory", "sixteen bytes that are not in shared memory",
                START(load_from, 1, 16, k.out, k.out, 0));
    kernel_dies("a row across the end", "sixteen bytes that are not in shared memory",
                START(load_from, 1, 40, (const float *)nullptr, k.out, 32));
    kernel_dies("a row at 8", "from an address that 16 does not divide",
                START(load_from, 1, 32, (const float *)nullptr, k.out, 8));
    kernel_dies("a copy to device memory", "sixteen bytes that are not in shared memory",
                START(copy_to, 1, 16, k.out, k.out, 0, 1));
    kernel_dies("a copy to 8", "from an address that 16 does not divide",
                START(copy_to, 1, 32, k.out, (float *)nullptr, 8, 1));
    kernel_dies("a copy from 4", "from an address that 16 does not divide",
                START(copy_to, 1, 32, k.out + 1, (float *)nullptr, 0, 1));
    kernel_dies("no wait", "ends before it waited for its copies",
                START(copy_to, 1, 16, k.out, (float *)nullptr, 0, 0));
}

int main(void)
{
    products();
    loads();
    copied();
    errors();
    return end_of_checks();
}
