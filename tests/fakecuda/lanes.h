/* lanes.h: what the instructions on tiles of matrices do to the registers of a warp, lane by lane, in
 * plain C++ (PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type" and "ldmatrix").
 * simt.h makes the primitives of it; tests/gpu/asm_twins.cu compares it with the hardware. */
#ifndef FX_LANES_H
#define FX_LANES_H

#include <cstdint>
#include <cstring>

/* What a lane brings to a meeting of its warp. */
struct fx_lane_gift {
    uint32_t a[4], b[2]; /* an mma's operands: two bf16 in a word, the one of lower index below */
    const void *row;     /* of ldmatrix */
    uint64_t bits;       /* of a shuffle */
};

inline double fx_lane_bf16(uint32_t word, int high)
{
    const uint32_t bits = high ? word & 0xffff0000u : word << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Element (row, k) of A, 16 x 16, and (k, column) of B, 16 x 8. */
inline double fx_lane_a(const fx_lane_gift *warp, int row, int k)
{
    return fx_lane_bf16(warp[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2);
}
inline double fx_lane_b(const fx_lane_gift *warp, int k, int column)
{
    return fx_lane_bf16(warp[column * 4 + k % 8 / 2].b[k / 8], k % 2);
}

/* The lane's four elements of C += A B: products exact, their sum in double, rounded once. */
inline void fx_lane_mma(float c[4], const fx_lane_gift *warp, int lane)
{
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = c[i];
        for (int k = 0; k < 16; k++)
            sum += fx_lane_a(warp, row, k) * fx_lane_b(warp, k, column);
        c[i] = (float)sum;
    }
}

/* The lane's two elements of matrix `which`, 8 x 8, whose rows lanes 8 which .. 8 which + 7 name; of
 * its transpose. */
inline uint32_t fx_lane_matrix(const fx_lane_gift *warp, int which, bool transposed, int lane)
{
    uint16_t element[2];
    for (int i = 0; i < 2; i++) {
        const int row = transposed ? lane % 4 * 2 + i : lane / 4;
        const int column = transposed ? lane / 4 : lane % 4 * 2 + i;
        memcpy(&element[i], (const uint16_t *)warp[8 * which + row].row + column, sizeof element[i]);
    }
    return element[0] | (uint32_t)element[1] << 16;
}

#endif
