/* dropout.c: Philox4x32-10 (rng.h) for many counters at once. With AVX2 four counters are worked on in
 * the low halves of 64-bit lanes, which is what the 32 x 32 -> 64 bit multiplication wants; what
 * collects in the high halves is never read. Elsewhere rng.h's function is called. */
#include "dropout.h"

#include <math.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#else
#include "flexhpc/rng.h"
#endif

enum { COUNTERS = 16, WORDS = 4 * COUNTERS }; /* worked on at once */

fx_dropout fx_dropout_of(const fx_exec *exec, const fx_node *node, float p)
{
    fx_dropout d = {.seed = exec->step->seed,
                    .stream = node->stream,
                    .step = exec->step->step,
                    .slot0 = exec->step->slot0,
                    .rows = node->rows,
                    .scale = 1.0f};
    if (exec->step->dropout && p > 0.0f) {
        d.threshold = (uint32_t)ceil((double)p * 0x1p24); /* uniform >= p, without rounding */
        d.scale = 1.0f / (1.0f - p);
    }
    return d;
}

#ifdef __AVX2__

enum { GROUPS = COUNTERS / 4 };

static void factors(const fx_dropout *d, uint32_t slot_task, uint32_t block, float factor[WORDS])
{
    const __m256i m0 = _mm256_set1_epi64x(0xD2511F53), m1 = _mm256_set1_epi64x(0xCD9E8D57);
    __m256i c0[GROUPS], c1[GROUPS], c2[GROUPS], c3[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        const uint32_t first = block + 4 * (uint32_t)g;
        c0[g] = _mm256_set_epi64x(first + 3, first + 2, first + 1, first);
        c1[g] = _mm256_set1_epi64x(slot_task);
        c2[g] = _mm256_set1_epi64x(d->stream);
        c3[g] = _mm256_set1_epi64x(d->step);
    }
    uint32_t key0 = (uint32_t)d->seed, key1 = (uint32_t)(d->seed >> 32);
    for (int round = 0; round < 10; round++) {
        const __m256i k0 = _mm256_set1_epi64x(key0), k1 = _mm256_set1_epi64x(key1);
        for (int g = 0; g < GROUPS; g++) {
            const __m256i p0 = _mm256_mul_epu32(c0[g], m0), p1 = _mm256_mul_epu32(c2[g], m1);
            c0[g] = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), _mm256_xor_si256(c1[g], k0));
            c2[g] = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), _mm256_xor_si256(c3[g], k1));
            c1[g] = p1;
            c3[g] = p0;
        }
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    /* Words 0..3 of a counter side by side; 24-bit numbers compare correctly as signed ones. */
    const __m256i least = _mm256_set1_epi32((int)d->threshold - 1);
    const __m256i scale = _mm256_castps_si256(_mm256_set1_ps(d->scale));
    for (int g = 0; g < GROUPS; g++) {
        const __m256i w01 = _mm256_blend_epi32(c0[g], _mm256_slli_epi64(c1[g], 32), 0xAA);
        const __m256i w23 = _mm256_blend_epi32(c2[g], _mm256_slli_epi64(c3[g], 32), 0xAA);
        const __m256i even = _mm256_unpacklo_epi64(w01, w23), odd = _mm256_unpackhi_epi64(w01, w23);
        const __m256i low = _mm256_srli_epi32(_mm256_permute2x128_si256(even, odd, 0x20), 8);
        const __m256i high = _mm256_srli_epi32(_mm256_permute2x128_si256(even, odd, 0x31), 8);
        __m256i *to = (__m256i *)(void *)(factor + 16 * g);
        _mm256_storeu_si256(to, _mm256_and_si256(_mm256_cmpgt_epi32(low, least), scale));
        _mm256_storeu_si256(to + 1, _mm256_and_si256(_mm256_cmpgt_epi32(high, least), scale));
    }
}

#else

static void factors(const fx_dropout *d, uint32_t slot_task, uint32_t block, float factor[WORDS])
{
    for (uint32_t i = 0; i < COUNTERS; i++) {
        const fx_philox r =
            fx_philox4x32(d->seed, (const uint32_t[4]){block + i, slot_task, d->stream, d->step});
        for (uint32_t k = 0; k < 4; k++)
            factor[4 * i + k] = (r.word[k] >> 8) >= d->threshold ? d->scale : 0.0f;
    }
}

#endif

void fx_dropout_factors(const fx_dropout *d, int64_t b, int64_t first, int64_t count, float *factor)
{
    const uint32_t slot_task = fx_slot_task(&d->rows, d->slot0, b);
    for (int64_t done = 0; done < count;) {
        const int64_t element = first + done, skip = element % 4;
        const int64_t room = WORDS - skip, n = room < count - done ? room : count - done;
        if (n == WORDS) {
            factors(d, slot_task, (uint32_t)(element / 4), factor + done);
        } else {
            float piece[WORDS];
            factors(d, slot_task, (uint32_t)(element / 4), piece);
            memcpy(factor + done, piece + skip, (size_t)n * sizeof *piece);
        }
        done += n;
    }
}
