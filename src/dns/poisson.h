/* poisson.h: lap psi = -w in a square box, psi = 0 on its walls, by five-point differences. Private to
 * src/dns. Includes error.h.
 *
 * Fields are on the nodes (i h, j h), i, j = 0 .. N, the walls among them: value (i, j) is at
 * j pitch + i. In memory of fx_nodes_alloc's the first inner node of every row begins a cache line. */
#ifndef FLEXHPC_POISSON_H
#define FLEXHPC_POISSON_H

#include "flexhpc/mem.h"

typedef struct fx_poisson fx_poisson;

/* For N x N cells of size `h`. Local. */
fx_status fx_poisson_create(fx_poisson **out, int64_t n, double h);
void fx_poisson_free(fx_poisson **p);

/* psi from w, both (N + 1) rows of `pitch` in fx_nodes_alloc's memory; reads the inner nodes of w and
 * writes those of psi. By OpenMP threads, the same bits for any number of them. Local. */
void fx_poisson_solve(fx_poisson *p, const double *w, double *psi);

/* Values from one row of nodes to the next. Local. */
int64_t fx_nodes_pitch(int64_t n);

/* A zeroed field; NULL, with the error recorded, without memory. Local. */
double *fx_nodes_alloc(int64_t n);
void fx_nodes_free(double **nodes);

#endif
