/* spectral.h: Fourier transforms between the retained modes of a real field and rows of a grid, split
 * over the ranks of a communicator. Private to src/dns. Includes comm.h.
 *
 *   f(x, y) = sum over |kx|, |ky| <= K of F(kx, ky) exp(i (kx x + ky y)),   x = 2 pi ix / N, y = 2 pi
 * iy / N
 *
 * Rows: rank r holds iy = r N / ranks ... (N / ranks rows), a row being ix = 0 .. N - 1, contiguous.
 * Columns: a rank holds some kx >= 0 (F(-k) is the conjugate of F(k)), a column being the 2 K + 1
 * values of ky in the order 0 .. K, -K .. -1. Only what the 2/3 rule retains is stored, moved or
 * transformed along y. */
#ifndef FLEXHPC_SPECTRAL_H
#define FLEXHPC_SPECTRAL_H

#include <stdbool.h>
#include "flexhpc/comm.h"

typedef struct fx_complex {
    double re, im;
} fx_complex;

/* Which modes are kept, and who keeps them. */
typedef struct fx_modes {
    int64_t cut;     /* K */
    int64_t heights; /* 2 K + 1 values of ky */
    int64_t columns; /* that each rank has room for, a multiple of four: one cache line */
    int64_t first;   /* kx of this rank's column 0 */
    int64_t mine;    /* columns of this rank with kx <= K; the rest of `columns` is padding */
} fx_modes;

/* The modes of the 2/3 rule on `grid` points: the largest K below grid / 3. Local. */
fx_modes fx_modes_of(const fx_comm *comm, int64_t grid);

static inline int64_t fx_modes_ky(const fx_modes *m, int64_t j)
{
    return j <= m->cut ? j : j - m->heights;
}

static inline size_t fx_modes_count(const fx_modes *m)
{
    return (size_t)(m->columns * m->heights);
}

typedef struct fx_fourier fx_fourier;

/* Transforms of `modes` on a grid that the ranks divide; up to `fields` at once. A grid too coarse for
 * all modes takes those below its Nyquist frequency (spectral truncation) and can only be read.
 * Collective. */
fx_status fx_fourier_create(fx_fourier **out, fx_comm *comm, const fx_modes *modes, int64_t grid,
                            int fields);
void fx_fourier_free(fx_fourier **f);

/* Rows that this rank holds. Local. */
int64_t fx_fourier_rows(const fx_fourier *f);

/* Threads that may call read_row and write_row at once: the num_threads of the loop around them. Local.
 */
int fx_fourier_threads(const fx_fourier *f);

/* From columns to rows and back. open: inverse transforms along y, and the exchange; then, by any of
 * the threads, each row of each field may be read (N doubles) and replaced; close: the exchange, and
 * forward transforms along y. modes[i]: (columns, 2 K + 1). open and close: Collective; the others:
 * Local. */
fx_status fx_fourier_open(fx_fourier *f, int fields, fx_complex *const modes[]);
void fx_fourier_read_row(fx_fourier *f, int field, int64_t row, double *values);
void fx_fourier_write_row(fx_fourier *f, int field, int64_t row, double *values);
fx_status fx_fourier_close(fx_fourier *f, int fields, fx_complex *const modes[]);

/* The same for one whole field: (columns, 2 K + 1) to (rows, N) and back. Collective. */
fx_status fx_fourier_to_rows(fx_fourier *f, fx_complex *modes, double *values);
fx_status fx_fourier_to_modes(fx_fourier *f, double *values, fx_complex *modes);

/* initial.c: w of decaying turbulence, (columns, 2 K + 1). Local. */
void fx_random_vorticity(const fx_modes *m, uint64_t seed, fx_complex *w);

#endif
