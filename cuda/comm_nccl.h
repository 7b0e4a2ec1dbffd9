/* comm_nccl.h: sums and gathers over the GPUs of all ranks, on the communication stream, ordered with
 * the kernels by events, eager and captured alike. One communicator a rank; its collectives are in the
 * tape's order, which is the same on all ranks. On one rank alone there is no communicator, and the ops
 * do without. Private to cuda/. */
#ifndef FX_COMM_NCCL_H
#define FX_COMM_NCCL_H

#include "exec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For prepare() of ops that communicate: connects all ranks at its first call; the others do nothing.
 * Collective: all tapes have the same such ops. FX_ECOMM, the same on all ranks, names one that failed.
 */
fx_status fx_nccl_prepare(fx_exec *exec);

/* Device memory that NCCL can register. FX_ENOMEM. Local. */
fx_status fx_nccl_allocate(size_t bytes, void **out);
void fx_nccl_release(void *memory);

/* FX_ECOMM where the communicator was aborted: what was captured with it must not be launched. Local.
 */
fx_status fx_nccl_check(const fx_cuda *exec);

/* Flushes and ends the communicator, or aborts it where an error is recorded or its peers do not
 * answer. After all graphs that hold its collectives are gone. */
void fx_nccl_close(fx_cuda *exec);

/* Start, after all that the kernels' stream holds, and return. Device memory, busy until what comes
 * after fx_cuda_rejoin. Sums are in place; a gather has this rank's part, `count` elements, anywhere or
 * at its own place of `all`, ranks * count elements. Not collective: NCCL brings the ranks together on
 * the device. */
fx_status fx_nccl_start_sum(fx_exec *exec, const fx_node *node, void *data, int64_t count,
                            fx_dtype dtype);
fx_status fx_nccl_start_gather(fx_exec *exec, const fx_node *node, const float *mine, int64_t count,
                               float *all);

#ifdef __cplusplus
}
#endif
#endif
