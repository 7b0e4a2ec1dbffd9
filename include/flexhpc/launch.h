/* launch.h: how the ranks of a job find each other, and how they end. What main() needs of mpi/:
 *
 *     fx_comm *comm = NULL;
 *     fx_status status = fx_comm_start(&argc, &argv, &comm);
 *     if (status == FX_OK) status = command->run(...);
 *     return fx_comm_finish(&comm, status);
 *
 * main() prints no error itself: fx_comm_finish prints the one line of the job. A command that needs no
 * ranks (config, plan, info) may leave fx_comm_start out and still end this way. Includes comm.h. */
#ifndef FLEXHPC_LAUNCH_H
#define FLEXHPC_LAUNCH_H

#include <stdio.h>
#include "flexhpc/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The communicator of all ranks. Starts MPI (FUNNELED) where a launcher is seen in the environment
 * (mpirun, srun with PMIx or PMI, Cray PALS, or FLEXHPC_MPI=1 for another one); a process started by
 * hand is fx_comm_self() at once, without MPI. FX_ECOMM: Slurm started several tasks that don't know
 * of each other, MPI grants no FUNNELED, or an MPI call failed. Collective. */
fx_status fx_comm_start(int *argc, char ***argv, fx_comm **out);

/* Ends the job and returns main()'s exit code. `*comm` may be NULL (never started) and becomes NULL.
 *
 * All ranks bring FX_OK: ends MPI, returns 0. Otherwise exactly one line, "flexhpc: MESSAGE", goes to
 * standard error: the message of the lowest rank that failed by itself (FX_EPEER is silent), begun with
 * "rank R/N on HOST: " unless fx_agree has put it there; all ranks return that rank's exit code. A
 * failed rank whose peers don't come here within seconds, because they wait in a collective that it
 * left, prints its line and ends all ranks; then this does not return. Collective, but safe for one
 * rank alone to call with a failure. */
int fx_comm_finish(fx_comm **comm, fx_status status);

/* 0 for FX_OK, 2 for FX_ECONFIG, else 1. Local. */
int fx_exit_code(fx_status status);

/* One line a rank, in rank order, on rank 0's `out` (NULL elsewhere): host, local rank, pid, the
 * processors it may run on, and its GPU: what the rank gives as `device`, "-" where that is "". For the
 * record of a run. Collective. */
fx_status fx_comm_placement(fx_comm *comm, const char *device, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
