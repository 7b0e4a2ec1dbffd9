/* tape.h: a step as a list. Model code records nodes through the builder; autodiff, recomputation,
 * buckets and the planner are passes over the list. Build order is execution order. Includes params.h.
 */
#ifndef FLEXHPC_TAPE_H
#define FLEXHPC_TAPE_H

#include "flexhpc/params.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fx_pass { FX_FORWARD, FX_BACKWARD } fx_pass;
typedef struct fx_entry {
    fx_node *node;
    fx_pass pass;
    size_t scratch_bytes, scratch_offset; /* the planner's */
} fx_entry;

/* What autodiff keeps for backward and what it computes again (docs/DECISIONS.md, recomputation). */
typedef enum fx_recompute {
    FX_RECOMPUTE_NONE,
    FX_RECOMPUTE_CHEAP,
    FX_RECOMPUTE_RESBLOCK,
    FX_RECOMPUTE_ALL
} fx_recompute;

/* Records nodes. The error is sticky: the first failure is kept with its scope name, later calls do
 * nothing and return NULL, NULL inputs are accepted silently after it, so model code has no status in
 * sight. */
typedef struct fx_builder fx_builder;

fx_status fx_builder_create(fx_params *params, fx_builder **out);
void fx_builder_free(fx_builder **g);
fx_status fx_builder_status(const fx_builder *g); /* the first failure; its message is recorded again */
void fx_builder_fail(fx_builder *g, fx_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
fx_params *fx_builder_params(fx_builder *g);

/* Names: "encoder", then "input_blocks.3.0" gives "encoder.input_blocks.3.0.". */
void fx_scope_push(fx_builder *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fx_scope_pop(fx_builder *g);

/* Weights that later nodes read: raw values (the default) or the EMA, which must not be sharded. */
void fx_builder_use_ema(fx_builder *g, bool ema);

/* Which samples the rows of later nodes are. */
void fx_builder_rows(fx_builder *g, fx_rows rows);
fx_rows fx_builder_rows_now(const fx_builder *g);

/* A kept tensor that the host writes before a run: fp32, or in the type that the tape stores. */
fx_tensor *fx_input(fx_builder *g, const char *name, int rank, const int64_t *dim);
fx_tensor *fx_input_stored(fx_builder *g, const char *name, int rank, const int64_t *dim);

/* Marks a recorded tensor as kept, so that the host can read it after a run; returns it. */
fx_tensor *fx_keep(fx_builder *g, fx_tensor *t);

/* A parameter under the present scope, as a tensor of the weights in use. */
fx_tensor *fx_weight(fx_builder *g, const char *name, fx_init init, int rank, const int64_t *dim);

/* Records one node named scope + `name`; in[i] NULL where the op allows it. Returns the node: its
 * outputs are node->out[]. NULL after an error. `count` inputs. */
fx_node *fx_record(fx_builder *g, fx_op_id id, const char *name, fx_attrs attrs, fx_tensor *const *in,
                   int count);

/* The same, into tensors that exist already (`out`, count_out): gathers that fill one tensor piece by
 * piece. */
fx_node *fx_record_into(fx_builder *g, fx_op_id id, const char *name, fx_attrs attrs,
                        fx_tensor *const *in, int count, fx_tensor *const *out, int count_out);

/* Adds weight * sum(t) to the objective that fx_autodiff differentiates. */
void fx_objective(fx_builder *g, fx_tensor *t, float weight);

/* Cuts for recomputation: nodes recorded after this call belong to a new part (a residual or
 * transformer block), or a new section (a level). FX_RECOMPUTE_RESBLOCK keeps what is read across
 * parts, FX_RECOMPUTE_ALL what is read across sections. */
void fx_part(fx_builder *g);
void fx_section(fx_builder *g);

/* Appends the backward pass of the objectives added since the last call, through the nodes recorded
 * since then: one call a micro-batch keeps memory at one micro-batch's. Gradients of parameters add up
 * over the calls. */
void fx_autodiff(fx_builder *g, fx_recompute recompute);

/* Trained parameters in the order in which autodiff finishes their gradients; count of them. The array
 * lives as long as the builder. After fx_autodiff. */
int fx_readiness(fx_builder *g, fx_param ***order);

/* Puts an all_reduce node behind the last gradient write of each bucket of at most `bytes` (0: a
 * sixteenth of the gradients, from 1 to 32 MiB); the last bucket is cut to at most 2 MiB. The slabs
 * must be allocated in readiness order. bf16: sums go between the ranks rounded. Returns the number of
 * buckets. */
int fx_buckets(fx_builder *g, size_t bytes, bool bf16);

/* Records the end of these sums: behind it the gradient slab holds them. */
void fx_buckets_join(fx_builder *g);

int fx_builder_entries(const fx_builder *g, const fx_entry **entries);

#ifdef __cplusplus
}
#endif
#endif
