/* params.h: the parameters of a model, shared by all its tapes. Owns their descriptions and the slabs
 * that hold them: value, gradient, optimizer moments, EMA, all fp32. Where kernels read bf16, a further
 * slab holds copies of values and EMA as they read them: whoever writes those writes it too (the op
 * `update`, fx_params_write). Slabs may be sharded over ranks (fx_params_shard). Names and shapes are
 * the published state_dict's. Includes op.h. */
#ifndef FLEXHPC_PARAMS_H
#define FLEXHPC_PARAMS_H

#include "flexhpc/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a parameter starts (flex-model 5). UNIFORM: +-1/sqrt(fan_in). XAVIER: uniform
 * +-sqrt(6/(fan_in+fan_out)). FREQUENCIES: 2 pi N(0,1); PHASES: 2 pi U(0,1): buffers, not trained. */
typedef enum fx_init_kind {
    FX_INIT_ZERO,
    FX_INIT_ONE,
    FX_INIT_UNIFORM,
    FX_INIT_XAVIER,
    FX_INIT_NORMAL_002,
    FX_INIT_FREQUENCIES,
    FX_INIT_PHASES
} fx_init_kind;
typedef struct fx_init {
    fx_init_kind kind;
    int64_t fan_in, fan_out;
} fx_init;

typedef enum fx_slab {
    FX_SLAB_VALUE,
    FX_SLAB_GRADIENT,
    FX_SLAB_MOMENT1,
    FX_SLAB_MOMENT2,
    FX_SLAB_EMA,
    FX_SLAB_COPY, /* bf16 */
    FX_SLABS
} fx_slab;

typedef struct fx_param {
    const char *name; /* "encoder.time_embed.0.weight" */
    uint32_t stream;  /* crc32 of the name */
    fx_init init;
    bool trained;   /* false: a buffer */
    int64_t offset; /* elements, the same in every slab; -1 until fx_params_lay_out */
    fx_tensor value,
        ema; /* as kernels read them: a trained parameter's are the copies where there are */
    fx_tensor *gradient; /* one a replica (see fx_params_replicas) */
} fx_param;

typedef struct fx_params fx_params;

fx_status fx_params_create(fx_params **out);
void fx_params_free(fx_params **params);

/* Gradient slabs: 1, or one a sample for the reduction in a fixed tree. Before the first tape. Local.
 */
fx_status fx_params_replicas(fx_params *params, int replicas);
int fx_params_replica_count(const fx_params *params);

/* What kernels read trained parameters as, and tapes over them store activations as: FX_F32, which it
 * is, or FX_BF16. Before the first tape. Local. */
fx_status fx_params_store_as(fx_params *params, fx_dtype storage);
fx_dtype fx_params_storage(const fx_params *params);

/* Elements [first, first + count). */
typedef struct fx_range {
    int64_t first, count;
} fx_range;

/* A rank's share of a slab of `elements`: all ranks have fx_share_width but the last ones, which have
 * less, or none. Borders are multiples of 64 elements. Local. */
int64_t fx_share_width(int64_t elements, int ranks);
fx_range fx_share_of(int64_t elements, int rank, int ranks);

/* Of what only the update needs, which is moments, EMA and, where kernels read copies, values, this
 * rank will hold its share of the trained elements alone. Tapes over the EMA are refused then. Before
 * the layout; nothing on one rank. Local. */
fx_status fx_params_shard(fx_params *params, int rank, int ranks);

/* Finds the parameter, or adds it; the same name must keep shape and init. Local. */
fx_status fx_params_get(fx_params *params, const char *name, fx_init init, int rank, const int64_t *dim,
                        fx_param **out);

int fx_params_count(const fx_params *params);
fx_param *fx_params_at(fx_params *params, int i);                  /* in order of creation */
fx_param *fx_params_find(fx_params *params, const char *name);     /* NULL: no such parameter */
int64_t fx_params_elements(const fx_params *params, bool trained); /* trained only, or buffers only */

/* Gives the trained parameters their places in the slabs, in the given order (NULL: order of creation),
 * each start a multiple of 16 elements; buffers come last. `slabs`: bits 1 << fx_slab; that of the
 * copies comes by itself. Once; no memory is taken, which is enough for a plan. Local. */
fx_status fx_params_lay_out(fx_params *params, fx_param *const *order, unsigned slabs);

/* Lays the slabs out and takes their memory, which is zero. FX_ENOMEM. Local. */
fx_status fx_params_allocate(fx_params *params, fx_exec *exec, fx_param *const *order, unsigned slabs);

/* The trained part of a slab that this rank holds as one tensor (n), n being less where it is sharded;
 * of replica r for gradients; the copies as (1, n), of the values, or (2, n) with those of the EMA,
 * which sharding leaves out. NULL when the layout has no such slab; its data is NULL until
 * fx_params_allocate. */
fx_tensor *fx_params_slab(fx_params *params, fx_slab slab, int replica);
/* What the update works on, in any slab, of gradients in replica 0: this rank's share, (n) or (1, n) as
 * fx_params_slab, and that itself without sharding. n may be 0. */
fx_tensor *fx_params_share(fx_params *params, fx_slab slab);
/* What kernels read of the trained values as all ranks' shares in order, (ranks * fx_share_width); NULL
 * without sharding. */
fx_tensor *fx_params_shares(fx_params *params);
/* All replicas of the gradient slab as one tensor (replicas, n); NULL as fx_params_slab. */
fx_tensor *fx_params_gradients(fx_params *params);
/* Bytes of a slab, all its replicas; 0 when the layout has none. Then of all slabs. */
size_t fx_params_slab_bytes(const fx_params *params, fx_slab slab);
size_t fx_params_bytes(const fx_params *params);

/* Initial values from (seed, name); EMA starts as a copy of the values, moments and gradients as 0.
 * Local. */
fx_status fx_params_initialize(fx_params *params, fx_exec *exec, uint64_t seed);

/* The elements of a tensor that a rank holds in a slab: all of them unless the slab is sharded. Local.
 */
fx_range fx_params_part(const fx_params *params, const fx_param *p, fx_slab slab, int rank);

/* One tensor to and from host memory (float, row-major published shape); slab VALUE or EMA, MOMENT1,
 * MOMENT2, GRADIENT (replica 0). Where this rank holds a part, that part of `out` or `in`. Local. */
fx_status fx_params_read(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab, float *out);
fx_status fx_params_write(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab,
                          const float *in);

/* fx_params_read of the whole tensor, put together from all ranks' parts. Collective. */
fx_status fx_params_read_whole(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab,
                               float *out);

#ifdef __cplusplus
}
#endif
#endif
