/* rng.c: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC11).
 */
#include "flexhpc/rng.h"

#include <math.h>
#include <string.h>

fx_philox fx_philox4x32(uint64_t key, const uint32_t counter[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (fx_philox){{c0, c1, c2, c3}};
}

float fx_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

uint64_t fx_random_key(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x >= 0 && x <= 0x1p53 && x == floor(x) ? (uint64_t)x : bits;
}

uint32_t fx_random_word(double x)
{
    const uint64_t key = fx_random_key(x);
    return key <= UINT32_MAX ? (uint32_t)key : (uint32_t)(key * 0x9E3779B97F4A7C15u >> 32);
}

void fx_normal4(const fx_philox *random, float out[4])
{
    for (int pair = 0; pair < 2; pair++) {
        const double u =
            ((double)random->word[2 * pair] + 1.0) * 0x1p-32; /* (0, 1]: the logarithm exists */
        const double angle = (double)random->word[2 * pair + 1] * 0x1p-32 * 6.283185307179586;
        const double radius = sqrt(-2.0 * log(u));
        out[2 * pair] = (float)(radius * cos(angle));
        out[2 * pair + 1] = (float)(radius * sin(angle));
    }
}

static fx_philox draw(uint64_t seed, uint32_t slot_task, uint32_t stream, uint32_t step, int64_t block)
{
    return fx_philox4x32(seed, (const uint32_t[4]){(uint32_t)block, slot_task, stream, step});
}

void fx_fill_uniform(uint64_t seed, uint32_t slot_task, uint32_t stream, uint32_t step, float *out,
                     int64_t count)
{
    for (int64_t i = 0; i < count; i += 4) {
        const fx_philox r = draw(seed, slot_task, stream, step, i / 4);
        for (int64_t k = i; k < count && k < i + 4; k++)
            out[k] = fx_uniform(r.word[k - i]);
    }
}

void fx_fill_normal(uint64_t seed, uint32_t slot_task, uint32_t stream, uint32_t step, float *out,
                    int64_t count)
{
    for (int64_t i = 0; i < count; i += 4) {
        const fx_philox r = draw(seed, slot_task, stream, step, i / 4);
        float four[4];
        fx_normal4(&r, four);
        for (int64_t k = i; k < count && k < i + 4; k++)
            out[k] = four[k - i];
    }
}
