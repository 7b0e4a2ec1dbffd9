/* watchdog.h: MPI waits for ever, and a rank that hangs makes all others wait without a word. A thread
 * a rank looks at the heartbeats (heartbeat.h) of the ranks of its node, which share them in memory;
 * when one has shown no progress within its deadline, the lowest rank that still lives prints one line
 * and ends the job:
 *
 *   flexhpc: rank 2/4 on n07 pid 814: no progress for 30 s in step 512, encoder.input_blocks.3.0 (the
 *   process does not run; collective 8817, others wait in 8818, all-gather)
 *
 * A rank whose process has ended without a word (killed, crashed) is told of at once, within two or
 * three periods of a second, not after a deadline. Otherwise blamed is the rank whose own thread is
 * silent (stopped, swapped out, gone), otherwise the one that has entered and left the fewest
 * collectives: all others wait for it. Limit: a node sees its own ranks only; a node where nobody is
 * behind, or who is behind waits in a collective itself, leaves the word to the others for three
 * seconds before it reports what it sees, and says nothing when a TERM or INT shows that one of them
 * has ended the job: one line for one fault, unless that takes longer. Includes comm.h. */
#ifndef FLEXHPC_WATCHDOG_H
#define FLEXHPC_WATCHDOG_H

#include "flexhpc/comm.h"
#include "flexhpc/heartbeat.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_watchdog fx_watchdog;

/* Starts this rank's thread. `deadline` in seconds is for FX_PHASE_STEP; 0: ten times the slowest
 * recent step, at least 30 s; negative: no watchdog, *out is NULL. FX_PHASE_READ has 10 times as long
 * and at least 5 minutes, SAVE, SETUP, COMPILE and VALIDATE 10 times and at least 30 minutes; a process
 * that does not run at all has `deadline` in every phase. A rank under a debugger, or one that was
 * suspended itself, starts anew. The thread makes no MPI call but the final abort, and allocates
 * nothing. fx_heartbeat_move'd lines end with fx_watchdog_stop. Collective. */
fx_status fx_watchdog_start(fx_comm *comm, double deadline, fx_watchdog **out);

/* Ends the thread and frees *watchdog, which becomes NULL; the other ranks no longer wait for a sign of
 * this one. Before fx_comm_finish. Local. */
void fx_watchdog_stop(fx_watchdog **watchdog);

#ifdef __cplusplus
}
#endif
#endif
