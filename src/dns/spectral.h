/* spectral.h: Fourier transforms between the retained modes of a real field and rows of a grid, split
 * over the ranks of a communicator. Private to src/dns. Includes flow.h.
 *
 *   f(x, y) = sum over |kx|, |ky| <= K of F(kx, ky) exp(i (kx x + ky y)),   x = 2 pi ix / N, y = 2 pi
 * iy / N
 *
 * Rows: rank r holds iy = r N / ranks ... (N / ranks rows), a row being ix = 0 .. N - 1, contiguous.
 * Columns: of fx_modes. Only what the 2/3 rule retains is stored, moved or transformed along y. */
#ifndef FLEXHPC_SPECTRAL_H
#define FLEXHPC_SPECTRAL_H

#include "flexhpc/flow.h"

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

#endif
