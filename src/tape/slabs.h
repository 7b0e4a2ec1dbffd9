/* slabs.h: what params.c, which lists parameters, and slabs.c, which gives them memory, share. Private
 * to both. */
#ifndef FX_SLABS_H
#define FX_SLABS_H

#include "flexhpc/mem.h"
#include "flexhpc/params.h"

struct fx_params {
    fx_pool *pool;
    fx_param **list;
    size_t count, capacity;
    int replicas;
    int rank, ranks; /* that share the sharded slabs */
    fx_dtype storage;

    fx_exec *exec;            /* of the slabs' memory; NULL: none yet */
    unsigned slabs;           /* laid out: bits 1 << fx_slab */
    fx_tensor slab[FX_SLABS]; /* (n); gradients (replicas, n) */
    fx_tensor *gradient;      /* one a replica, in that block */
    size_t slab_bytes[FX_SLABS];
    int64_t trained_elements; /* with alignment gaps */
    int64_t buffers_start, all_elements;

    fx_range share;                 /* of this rank */
    fx_tensor share_view[FX_SLABS]; /* of slabs that are whole */
    fx_tensor shares;
};

/* Gives the memory of all slabs back. */
void fx_params_release(fx_params *params);

#endif
