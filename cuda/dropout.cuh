/* dropout.cuh: the masks of dropout, computed wherever they are needed and never stored: the counters
 * and the bits of src/ops/dropout.{h,c}. One Philox counter decides four consecutive elements of a row
 * (a row: one element of a tensor's first dimension), which is also what a thread loads at once. */
#ifndef FX_CUDA_DROPOUT_CUH
#define FX_CUDA_DROPOUT_CUH

#include <math.h>

#include "flexhpc/op.h"
#include "rng.cuh"

/* What the host knows of a node's mask: an argument of its kernels. */
typedef struct fx_masked {
    uint32_t stream;
    uint32_t samples, first; /* row b: sample b mod samples; its counter's word 1 in slot 0 */
    uint32_t threshold;      /* of 24-bit numbers: below it an element is dropped; 0: no dropout */
    float scale;             /* of what is kept: 1 / (1 - p) */
} fx_masked;

static inline fx_masked fx_masked_of(const fx_node *n, float p)
{
    const fx_rows *r = &n->rows;
    return fx_masked{n->stream, r->samples > 0 ? (uint32_t)r->samples : UINT32_MAX,
                     (uint32_t)(2 * r->slot0 + r->task0), (uint32_t)ceil((double)p * 0x1p24),
                     1.0f / (1.0f - p)};
}

/* The mask in the present run; step: fx_cuda_step(exec). */
typedef struct fx_mask {
    fx_masked of;
    uint64_t seed;
    uint32_t step, slot0;
    bool on;
} fx_mask;

FX_DEVICE fx_mask fx_mask_of(const fx_masked &m, const fx_step *step)
{
    return fx_mask{m, step->seed, step->step, step->slot0, m.threshold > 0 && step->dropout};
}

/* factor[k] = 0 or 1 / (1 - p) for element 4 block + k of row b; 1 where dropout is off. */
FX_DEVICE void fx_mask_factors(const fx_mask &m, int64_t b, int64_t block, float factor[4])
{
    const uint32_t row = (uint32_t)b,
                   slot_task = 2 * (m.slot0 + row % m.of.samples) + m.of.first + row / m.of.samples;
    factor[0] = factor[1] = factor[2] = factor[3] = 1.0f;
    if (!m.on) return;
    const fx_philox r = fx_random(m.seed, (uint32_t)block, slot_task, m.of.stream, m.step);
    for (int k = 0; k < 4; k++)
        factor[k] = r.word[k] >> 8 >= m.of.threshold ? m.of.scale : 0.0f;
}

#endif
