/* op.h: what an op is. Owns the op descriptor, the node and the kernel table of a backend.
 * Layout of every image tensor: (B, H, W, C), C fastest, on all backends. Includes attrs.h, error.h,
 * tensor.h. */
#ifndef FLEXHPC_OP_H
#define FLEXHPC_OP_H

#include "flexhpc/attrs.h"
#include "flexhpc/error.h"
#include "flexhpc/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_exec
    fx_exec; /* a backend's run-time state: streams, handles, threads, the communicator */
typedef struct fx_comm fx_comm;

enum { FX_MAX_IN = 7, FX_MAX_OUT = 3, FX_MAX_SAVED = 3 };
#define FX_IN(i)    (1u << (i)) /* masks for backward_reads, gradients, accumulate */
#define FX_OUT(i)   (1u << ((i) + 8))
#define FX_SAVED(i) (1u << ((i) + 16))

typedef enum fx_op_id {
#define FX_OP(name) FX_OP_##name,
#include "flexhpc/oplist.h"
#undef FX_OP
    FX_OP_COUNT
} fx_op_id;

/* Which samples the rows of a batch are, for random numbers: row b is sample slot0 + b % samples of
 * this rank's part of the global batch, task task0 + b / samples (0 SR, 1 FC). `micro` counts
 * micro-batches. */
typedef struct fx_rows {
    int64_t samples, slot0;
    int task0, micro;
} fx_rows;

/* What changes from step to step; kernels read it from memory, so that a captured graph can be
 * replayed. */
typedef struct fx_step {
    uint64_t seed;
    uint32_t step;  /* Philox counter word 3 */
    uint32_t slot0; /* this rank's first slot of the global batch */
    float learning_rate;
    float ema_decay;
    int64_t update;       /* counts from 1; AdamW's bias correction */
    float gradient_scale; /* multiplies every gradient before clipping; 1 but in tests */
    bool dropout;         /* false: all dropouts are the identity (evaluation, golden files) */
} fx_step;

/* One op applied to tensors. Both passes run on nodes of the same op; the tape holds (node, pass)
 * pairs. din[i] is NULL where no gradient is wanted. Bit i of `accumulate`: add to din[i], don't
 * overwrite. */
typedef struct fx_node {
    const struct fx_op *op;
    fx_op_id id;
    const char *name; /* published module name, e.g. "encoder.input_blocks.3.0.in_layers.0" */
    uint32_t stream;  /* crc32 of the name: Philox counter word 2 */
    fx_attrs attrs;
    fx_rows rows;
    fx_tensor *in[FX_MAX_IN], *out[FX_MAX_OUT], *saved[FX_MAX_SAVED];
    fx_tensor *din[FX_MAX_IN], *dout[FX_MAX_OUT];
    unsigned accumulate;
    int part, section; /* see fx_part, fx_section */
    bool recomputed;   /* a copy that runs forward again before backward */
} fx_node;

/* An op, apart from any backend. The gradient rule is data: which tensors backward reads. Autodiff and
 * planner need no more, and the tests poison the rest with NaN, so a wrong mask can't pass. */
typedef struct fx_op {
    const char *name;
    fx_status (*shape)(
        fx_node *node);       /* checks in[], sets the dimensions of out[] and saved[]; see fx_want */
    unsigned gradients;       /* FX_IN bits: inputs that backward can write a gradient for; 0: none */
    unsigned backward_reads;  /* beside dout[0], which it may always read */
    unsigned parameters;      /* FX_IN bits: weights; their gradients are fp32 */
    unsigned fp32;            /* bits of all three kinds: fp32 whatever the tape stores: statistics,
                                 losses, times, noise, targets, fields of the host */
    unsigned bf16;            /* bits likewise: bf16 whatever the tape stores: sums between ranks */
    unsigned converts;        /* FX_IN bits: may be fp32 where the tape stores bf16 */
    unsigned passes_gradient; /* FX_IN bits: the gradient of this input is dout[0] itself, where shapes
                                 agree */
    bool communicates;        /* collective: every rank runs it at the same place of the tape */
    bool cheap;               /* worth recomputing instead of keeping (model.recompute: cheap) */
    const struct fx_op_case
        *cases; /* what the tests and benchmarks run; at least one, name-terminated */
    fx_status (*make_input)(const struct fx_op_case *c, int input, float *x,
                            int64_t count); /* NULL: normal numbers */
} fx_op;

/* An op on one backend. `prepare` runs once a tape entry, before planning: it picks the algorithm and
 * says how many bytes of scratch the pass needs. The passes allocate nothing, never wait, and are
 * deterministic. backward: only dout[0] carries a gradient; it writes each din[i] that is not NULL. */
typedef struct fx_kernel {
    fx_status (*prepare)(fx_exec *exec, const fx_node *node, bool backward,
                         size_t *scratch_bytes); /* may be NULL */
    fx_status (*forward)(fx_exec *exec, const fx_node *node);
    fx_status (*backward)(fx_exec *exec, const fx_node *node); /* NULL: op has no gradient */
} fx_kernel;

/* One row of the tests and benchmarks of an op. A dimension list ends at its first 0; none: input
 * absent. */
typedef struct fx_op_case {
    const char *name;
    fx_attrs attrs;
    int64_t dim[FX_MAX_IN][FX_MAX_RANK];
    fx_rows rows;
    float scale; /* standard deviation of the inputs of 3 and 4 dimensions; 0 means 1 */
} fx_op_case;

extern const fx_op *const fx_ops[FX_OP_COUNT];

/* For shape rules: sets the shape of out[i] or saved[i], making the tensor where the node has none yet.
 * A NULL node->out[i] after shape() means that the op has no such output for these attributes. Local.
 */
fx_status fx_out_shape(fx_node *node, int i, int rank, const int64_t *dim);
fx_status fx_saved_shape(fx_node *node, int i, int rank, const int64_t *dim);

/* The type of in[i], out[i] or saved[i] (`bit`: FX_IN(i) and so on) on a tape that stores `storage`,
 * and that of the gradient of in[i]. Local. */
static inline fx_dtype fx_type_of(const fx_op *op, unsigned bit, fx_dtype storage)
{
    return op->fp32 & bit ? FX_F32 : op->bf16 & bit ? FX_BF16 : storage;
}
static inline fx_dtype fx_gradient_type_of(const fx_op *op, unsigned bit, fx_dtype storage)
{
    return op->parameters & bit ? FX_F32 : fx_type_of(op, bit, storage);
}

#ifdef __cplusplus
}
#endif
#endif
