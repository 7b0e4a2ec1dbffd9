/* rng.h: counter-based random numbers (Philox4x32-10; Salmon et al., SC11). A number is a pure function
 * of seed, stream name, step, sample and element, so it does not depend on ranks, threads or order.
 * Includes nothing of ours. */
#ifndef FLEXHPC_RNG_H
#define FLEXHPC_RNG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_philox {
    uint32_t word[4];
} fx_philox;

/* Ten rounds. key: the 64-bit seed; counter: {element / 4, 2 * slot + task, crc32(stream name), step}.
 * Local. */
fx_philox fx_philox4x32(uint64_t key, const uint32_t counter[4]);

/* A real number as word of a counter, and as key: a whole one that fits, up to 2^32 - 1 and 2^53, is
 * itself, any other its bits, mixed to a word. Local. */
uint32_t fx_random_word(double x);
uint64_t fx_random_key(double x);

/* Uniform in [0, 1) with 24 bits, and standard normals by Box-Muller: pairs of words (0,1) and (2,3).
 * Local. */
float fx_uniform(uint32_t word);
void fx_normal4(const fx_philox *random, float out[4]);

/* count numbers of one sample's stream. Elements are 0 .. count - 1. Local. */
void fx_fill_uniform(uint64_t seed, uint32_t slot_task, uint32_t stream, uint32_t step, float *out,
                     int64_t count);
void fx_fill_normal(uint64_t seed, uint32_t slot_task, uint32_t stream, uint32_t step, float *out,
                    int64_t count);

#ifdef __cplusplus
}
#endif
#endif
