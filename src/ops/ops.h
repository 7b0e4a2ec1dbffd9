/* ops.h: what op files share. Private to src/ops. */
#ifndef FX_OPS_H
#define FX_OPS_H

#include <math.h>
#include <stddef.h>

#include "flexhpc/backend.h"
#include "flexhpc/op.h"

/* Stores a gradient, or adds it where other readers of the tensor have stored theirs. */
static inline void fx_put(float *p, float value, unsigned add)
{
    *p = add ? *p + value : value;
}

/* The next multiple of 64: where a further array begins in scratch. */
static inline size_t fx_aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static inline unsigned fx_adds(const fx_node *n, int input)
{
    return n->accumulate & FX_IN(input);
}

#endif
