/* program.h: a tape that was planned and bound to a backend, ready to run. Includes backend.h. */
#ifndef FLEXHPC_PROGRAM_H
#define FLEXHPC_PROGRAM_H

#include <stdio.h>
#include "flexhpc/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_program fx_program;

typedef struct fx_plan_summary {
    int nodes, forward, backward, recomputed, communication;
    size_t arena_bytes;  /* planned tensors and scratch, with reuse */
    size_t tensor_bytes; /* the same tensors without reuse */
    size_t kept_bytes;   /* inputs and outputs of the host */
    size_t saved_bytes;  /* planned tensors alive when forward ends: what backward waits for */
    size_t peak_bytes;   /* alive at the peak entry: at most arena_bytes */
    size_t peak_by_role[FX_ROLES], peak_scratch; /* what they are */
    const char *peak_node;
    int64_t parameters; /* trained and buffers */
    double flops;       /* of one run: 2 per multiply-add of convolutions, products and attention */
    double bytes;       /* of one run: fx_node_bytes of all entries */
} fx_plan_summary;

/* Prepares kernels, plans memory and takes the builder over (also on failure; *g becomes NULL). With
 * `plan_only` no memory is allocated and the program can't run. The parameters' slabs must have been
 * allocated unless plan_only. A sticky error of the builder is returned here. Local. */
fx_status fx_program_create(fx_exec *exec, fx_builder **g, bool plan_only, fx_program **out);
void fx_program_free(fx_program **program);

/* One run of the whole list. Collective when the tape communicates, else Local. */
fx_status fx_program_run(fx_program *program, const fx_step *step, const fx_observer *observer);

/* Kept tensors, by float values in host memory, rounded where the tensor is bf16. Local. */
fx_status fx_program_write(fx_program *program, fx_tensor *t, const float *values);
fx_status fx_program_read(fx_program *program, const fx_tensor *t, float *values);

fx_plan_summary fx_program_summary(const fx_program *program);
int fx_program_entries(const fx_program *program, const fx_entry **entries);

/* 2 per multiply-add of one pass of a node; 0 where that isn't what its time goes into. Local. */
double fx_node_flops(const fx_node *node, fx_pass pass);

/* Bytes of the tensors that one pass of a node reads and writes, each once; one that is added to,
 * twice. Less can't be moved where nothing stays in a cache from entry to entry. 0 of what
 * communicates. Local.
 */
double fx_node_bytes(const fx_node *node, fx_pass pass);

/* One line an entry: index, pass, name, op, shapes, offsets, scratch, FLOP and bytes as above. Local.
 */
fx_status fx_program_dump(const fx_program *program, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
