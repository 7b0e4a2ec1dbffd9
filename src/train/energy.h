/* energy.h: what a run uses, in joules, where machines have counters that may be read: packages and
 * memory of every node once, whatever the number of its ranks, and every rank's GPU. A counter is of
 * all that uses the machine, other jobs on the node as well. Private to src/train. */
#ifndef FX_ENERGY_H
#define FX_ENERGY_H

#include <stdio.h>

#include "flexhpc/train.h"

/* Finds the counters: by powercap.h on the first rank of every node, by the backend on every rank. A
 * kind counts when all that should read it can, so that no sum is of a part; nodes count for ranks
 * that have them to themselves, not for several groups of a job. None is no failure.
 * Collective. */
fx_status fx_energy_open(fx_comm *comm, fx_exec *exec, fx_energy **out);
void fx_energy_close(fx_energy **energy);

/* Joules by kind since the call before, of the counters that this rank reads, 0 where it reads none;
 * NaN of a kind that does not count, or that could not be read, which is then logged once. A GPU is
 * asked ten times a second at most: its counter is renewed no more often. Local. */
void fx_energy_read(fx_energy *energy, double joules[FX_ENERGY_KINDS]);

/* A line for env.txt: which kinds count, or why one does not. Local. */
void fx_energy_print(const fx_energy *energy, FILE *out);

#endif
