/* dropout.h: the masks of dropout, computed wherever they are needed and never stored. Row b of a
 * tensor (its first dimension) is sample slot0 + rows.slot0 + b mod samples of the global batch and
 * task task0 + b / samples; element i of the row is kept if its Philox number of (seed; i/4, 2 slot +
 * task, stream, step) is at least p. So a mask depends on neither ranks nor threads nor order. */
#ifndef FX_DROPOUT_H
#define FX_DROPOUT_H

#include "flexhpc/backend.h"
#include "flexhpc/op.h"

typedef struct fx_dropout {
    uint64_t seed;
    uint32_t stream, step, slot0;
    fx_rows rows;
    uint32_t threshold; /* of 24-bit numbers: below it an element is dropped; 0: dropout is off */
    float scale;        /* of what is kept: 1 / (1 - p) */
} fx_dropout;

/* Word 1 of the Philox counter for row b: 2 slot + task. For every op that draws numbers. */
static inline uint32_t fx_slot_task(const fx_rows *rows, uint32_t slot0, int64_t b)
{
    const int64_t samples = rows->samples > 0 ? rows->samples : b + 1;
    const int64_t slot = (int64_t)slot0 + rows->slot0 + b % samples;
    return (uint32_t)(2 * slot + rows->task0 + b / samples);
}

/* The dropout of this node in the present step; off where `p` is 0 or the step has none. */
fx_dropout fx_dropout_of(const fx_exec *exec, const fx_node *node, float p);

static inline bool fx_dropout_on(const fx_dropout *d)
{
    return d->threshold > 0;
}

/* factor[k] = 0 or 1 / (1 - p) for elements first .. first + count - 1 of row b. Meant for pieces that
 * stay in cache (some hundred elements); pieces that start at multiples of 4 are fastest. */
void fx_dropout_factors(const fx_dropout *d, int64_t b, int64_t first, int64_t count, float *factor);

#endif
