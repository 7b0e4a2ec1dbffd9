/* comm_nccl.h: sums, gathers and exchanges over the GPUs of all ranks, on the communication stream,
 * ordered with the kernels by events, eager and captured alike. One communicator of all ranks, and one
 * of the group that shares a contrastive term where that is not all; their collectives are in the
 * tape's order, which is the same on all ranks. Of one rank alone there is no communicator, and the ops
 * do without. Private to cuda/. */
#ifndef FX_COMM_NCCL_H
#define FX_COMM_NCCL_H

#include "exec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For prepare() of ops that communicate `over` all ranks, or fx_group: connects them at its first call;
 * the others do nothing. Collective over all ranks: all tapes have the same such ops. FX_ECOMM, the
 * same on all ranks, names one that failed. */
fx_status fx_nccl_prepare(fx_exec *exec, fx_comm *over);

/* Device memory that NCCL can register. FX_ENOMEM. Local. */
fx_status fx_nccl_allocate(size_t bytes, void **out);
void fx_nccl_release(void *memory);

/* FX_ECOMM where communicators were aborted: what was captured with them must not be launched. Local.
 */
fx_status fx_nccl_check(const fx_cuda *exec);

/* Flushes and ends the communicators, or aborts them where an error is recorded or peers do not answer.
 * After all graphs that hold their collectives are gone. */
void fx_nccl_close(fx_cuda *exec);

/* Start, after all that the kernels' stream holds, and return. `over`: all ranks, or fx_group. Device
 * memory, busy until what comes after fx_cuda_rejoin. Sums are in place; a gather has this rank's part,
 * `count` elements, anywhere or at its own place of `all`, ranks * count elements; an exchange sends
 * block p of `send` to rank p, from which block p of `received` comes, `bytes` each, a multiple of 4,
 * to other memory. Not collective: NCCL brings the ranks together on the device. */
fx_status fx_nccl_start_sum(fx_exec *exec, const fx_comm *over, const fx_node *node, void *data,
                            int64_t count, fx_dtype dtype);
fx_status fx_nccl_start_gather(fx_exec *exec, const fx_comm *over, const fx_node *node,
                               const float *mine, int64_t count, float *all);
fx_status fx_nccl_start_exchange(fx_exec *exec, const fx_comm *over, const fx_node *node,
                                 const void *send, size_t bytes, void *received);

/* What comes after this in the kernels' stream comes after the exchange started last, whatever else is
 * under way. */
fx_status fx_nccl_await_exchange(fx_exec *exec);

#ifdef __cplusplus
}
#endif
#endif
