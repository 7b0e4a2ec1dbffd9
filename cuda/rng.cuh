/* rng.cuh: counter-based random numbers on the device, the bits of src/core/rng.c: Philox4x32-10
 * (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC11). Some 60 integer
 * instructions for four words. */
#ifndef FX_CUDA_RNG_CUH
#define FX_CUDA_RNG_CUH

#include "device.cuh"
#include "flexhpc/rng.h"

/* Ten rounds; the counter is {element / 4, 2 * slot + task, stream, step}. */
FX_DEVICE fx_philox fx_random(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return fx_philox{{c0, c1, c2, c3}};
}

#endif
