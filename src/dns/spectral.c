/* spectral.c: the distributed transform. A 2-D transform is 1-D transforms along y of the rank's kx
 * columns, a transposition over ranks, and 1-D transforms along x of the rank's rows. All plans are
 * 1-D and executed on aligned lines by OpenMP threads, so the bits of a field depend neither on ranks
 * nor on threads. Exchange buffers, both sides: (peer, field, row of the row owner, column of the
 * column owner); one rank alone has one buffer for both. */
#include "spectral.h"

#include <fftw3.h>
#include <omp.h>
#include <string.h>

#include "flexhpc/mem.h"

enum { TOGETHER = 4 }; /* columns handled at a time: four complex numbers are one cache line */

struct fx_fourier {
    fx_comm *comm;
    fx_modes modes;
    int64_t grid, rows;  /* N, N / ranks */
    int64_t cut;         /* modes that this grid can carry: min(K, largest below N / 2) */
    int threads, fields; /* most that may be open */
    int open;            /* fields whose rows are in by_row */
    fftw_plan forward_x, inverse_x, forward_y, inverse_y;
    fx_complex *by_column, *by_row; /* exchange buffers; the same memory for one rank */
    fx_complex *lines;              /* (threads, TOGETHER, line) */
    int64_t line;                   /* N rounded up to a cache line */
};

static int64_t round_up(int64_t value, int64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t clamp(int64_t value, int64_t high)
{
    return value < 0 ? 0 : least(value, high);
}

fx_modes fx_modes_of(const fx_comm *comm, int64_t grid)
{
    fx_modes m = {.cut = (grid - 1) / 3};
    m.heights = 2 * m.cut + 1;
    m.columns = round_up((m.cut + comm->size) / comm->size, TOGETHER);
    m.first = comm->rank * m.columns;
    m.mine = clamp(m.cut + 1 - m.first, m.columns);
    return m;
}

static fftw_complex *as_fftw(fx_complex *z)
{
    return (fftw_complex *)z;
}

static fx_status create(fx_fourier *f)
{
    FX_TRY(FX_ALLOC(f->lines, (int64_t)f->threads * TOGETHER * f->line));
    const int64_t exchanged = f->comm->size * f->fields * f->rows * f->modes.columns;
    FX_TRY(FX_ALLOC(f->by_column, exchanged));
    f->by_row = f->by_column;
    if (f->comm->size > 1) FX_TRY(FX_ALLOC(f->by_row, exchanged));

    const int n = (int)f->grid;
    double *real = (double *)(f->lines + f->line); /* planning with ESTIMATE touches no memory */
    f->forward_x = fftw_plan_dft_r2c_1d(n, real, as_fftw(f->lines), FFTW_ESTIMATE);
    f->inverse_x = fftw_plan_dft_c2r_1d(n, as_fftw(f->lines), real, FFTW_ESTIMATE);
    f->forward_y =
        fftw_plan_dft_1d(n, as_fftw(f->lines), as_fftw(f->lines), FFTW_FORWARD, FFTW_ESTIMATE);
    f->inverse_y =
        fftw_plan_dft_1d(n, as_fftw(f->lines), as_fftw(f->lines), FFTW_BACKWARD, FFTW_ESTIMATE);
    FX_REQUIRE(f->forward_x && f->inverse_x && f->forward_y && f->inverse_y, FX_ENOMEM,
               "FFTW makes no plan for a grid of %d", n);
    return FX_OK;
}

fx_status fx_fourier_create(fx_fourier **out, fx_comm *comm, const fx_modes *modes, int64_t grid,
                            int fields)
{
    *out = NULL;
    FX_REQUIRE(grid >= 4 && grid <= 1 << 20 && grid % 2 == 0, FX_EARG,
               "a grid of %lld points a side: an even number from 4 is needed", (long long)grid);
    FX_REQUIRE(grid % comm->size == 0, FX_EARG, "a grid of %lld rows does not divide over %d ranks",
               (long long)grid, comm->size);
    fx_fourier *f = NULL;
    fx_status status = FX_ALLOC(f, 1);
    if (status == FX_OK) {
        *f = (fx_fourier){.comm = comm,
                          .modes = *modes,
                          .grid = grid,
                          .rows = grid / comm->size,
                          .cut = least(modes->cut, (grid - 1) / 2),
                          .threads = omp_get_max_threads(),
                          .fields = fields,
                          .line = round_up(grid, TOGETHER)};
        status = create(f);
    }
    status = fx_agree(comm, status);
    if (status != FX_OK) fx_fourier_free(&f);
    *out = f;
    return status;
}

void fx_fourier_free(fx_fourier **f)
{
    fx_fourier *it = *f;
    if (!it) return;
    fftw_destroy_plan(it->forward_x);
    fftw_destroy_plan(it->inverse_x);
    fftw_destroy_plan(it->forward_y);
    fftw_destroy_plan(it->inverse_y);
    if (it->by_row != it->by_column) fx_free(it->by_row);
    fx_free(it->by_column);
    fx_free(it->lines);
    fx_free(it);
    *f = NULL;
}

int64_t fx_fourier_rows(const fx_fourier *f)
{
    return f->rows;
}

int fx_fourier_threads(const fx_fourier *f)
{
    return f->threads;
}

static fx_complex *my_lines(fx_fourier *f)
{
    return f->lines + omp_get_thread_num() * TOGETHER * f->line;
}

/* Columns `column` .. + TOGETHER of one field at row iy, in the buffer of the columns' owner. */
static fx_complex *in_columns(const fx_fourier *f, int fields, int field, int64_t iy, int64_t column)
{
    const int64_t peer = iy / f->rows, row = iy % f->rows;
    return f->by_column + ((peer * fields + field) * f->rows + row) * f->modes.columns + column;
}

/* Inverse transforms along y: columns of modes into the exchange buffer. */
static void columns_to_buffer(fx_fourier *f, int fields, fx_complex *const modes[])
{
    const int64_t n = f->grid, cut = f->cut, heights = f->modes.heights;
    const int64_t usable = clamp(cut + 1 - f->modes.first, f->modes.mine);
#pragma omp parallel for collapse(2) num_threads(f->threads)
    for (int field = 0; field < fields; field++)
        for (int64_t c0 = 0; c0 < usable; c0 += TOGETHER) {
            const int64_t count = least(TOGETHER, usable - c0);
            fx_complex *lines = my_lines(f);
            for (int64_t c = 0; c < count; c++) {
                fx_complex *line = lines + c * f->line;
                const fx_complex *column = modes[field] + (c0 + c) * heights;
                memcpy(line, column, (size_t)(cut + 1) * sizeof *line);
                memset(line + cut + 1, 0, (size_t)(n - 2 * cut - 1) * sizeof *line);
                memcpy(line + n - cut, column + heights - cut, (size_t)cut * sizeof *line);
                fftw_execute_dft(f->inverse_y, as_fftw(line), as_fftw(line));
            }
            for (int64_t iy = 0; iy < n; iy++) {
                fx_complex *out = in_columns(f, fields, field, iy, c0);
                for (int64_t c = 0; c < count; c++)
                    out[c] = lines[c * f->line + iy];
            }
        }
}

/* Forward transforms along y, normalised: the exchange buffer into columns of modes. */
static void buffer_to_columns(fx_fourier *f, int fields, fx_complex *const modes[])
{
    const int64_t n = f->grid, cut = f->cut, heights = f->modes.heights;
    const double scale = 1.0 / ((double)n * (double)n);
#pragma omp parallel for collapse(2) num_threads(f->threads)
    for (int field = 0; field < fields; field++)
        for (int64_t c0 = 0; c0 < f->modes.mine; c0 += TOGETHER) {
            const int64_t count = least(TOGETHER, f->modes.mine - c0);
            fx_complex *lines = my_lines(f);
            for (int64_t iy = 0; iy < n; iy++) {
                const fx_complex *in = in_columns(f, fields, field, iy, c0);
                for (int64_t c = 0; c < count; c++)
                    lines[c * f->line + iy] = in[c];
            }
            for (int64_t c = 0; c < count; c++) {
                fx_complex *line = lines + c * f->line;
                fftw_execute_dft(f->forward_y, as_fftw(line), as_fftw(line));
                fx_complex *column = modes[field] + (c0 + c) * heights;
                for (int64_t j = 0; j < heights; j++) {
                    const fx_complex z = line[j <= cut ? j : n - heights + j];
                    column[j] = (fx_complex){scale * z.re, scale * z.im};
                }
            }
        }
}

static fx_status exchange(fx_fourier *f, int fields, const fx_complex *send, fx_complex *recv)
{
    if (send == recv) return FX_OK;
    const size_t bytes = (size_t)(fields * f->rows * f->modes.columns) * sizeof *send;
    return f->comm->ops->all_to_all(f->comm, send, bytes, recv);
}

fx_status fx_fourier_open(fx_fourier *f, int fields, fx_complex *const modes[])
{
    f->open = fields;
    columns_to_buffer(f, fields, modes);
    return exchange(f, fields, f->by_column, f->by_row);
}

fx_status fx_fourier_close(fx_fourier *f, int fields, fx_complex *const modes[])
{
    FX_TRY(exchange(f, fields, f->by_row, f->by_column));
    buffer_to_columns(f, fields, modes);
    return FX_OK;
}

/* Rank `peer`'s columns of one field and row, in the buffer of the row's owner. */
static fx_complex *in_rows(const fx_fourier *f, int field, int64_t row, int peer)
{
    return f->by_row + (((int64_t)peer * f->open + field) * f->rows + row) * f->modes.columns;
}

void fx_fourier_read_row(fx_fourier *f, int field, int64_t row, double *values)
{
    fx_complex *line = my_lines(f);
    for (int64_t kx = 0, peer = 0; kx <= f->cut; kx += f->modes.columns, peer++)
        memcpy(line + kx, in_rows(f, field, row, (int)peer),
               (size_t)least(f->modes.columns, f->cut + 1 - kx) * sizeof *line);
    memset(line + f->cut + 1, 0, (size_t)(f->grid / 2 - f->cut) * sizeof *line);
    fftw_execute_dft_c2r(f->inverse_x, as_fftw(line), values);
}

void fx_fourier_write_row(fx_fourier *f, int field, int64_t row, double *values)
{
    fx_complex *line = my_lines(f);
    fftw_execute_dft_r2c(f->forward_x, values, as_fftw(line));
    for (int64_t kx = 0, peer = 0; kx <= f->cut; kx += f->modes.columns, peer++)
        memcpy(in_rows(f, field, row, (int)peer), line + kx,
               (size_t)least(f->modes.columns, f->cut + 1 - kx) * sizeof *line);
}

fx_status fx_fourier_to_rows(fx_fourier *f, fx_complex *modes, double *values)
{
    FX_TRY(fx_fourier_open(f, 1, &modes));
#pragma omp parallel for num_threads(f->threads)
    for (int64_t row = 0; row < f->rows; row++)
        fx_fourier_read_row(f, 0, row, values + row * f->grid);
    return FX_OK;
}

fx_status fx_fourier_to_modes(fx_fourier *f, double *values, fx_complex *modes)
{
    f->open = 1;
#pragma omp parallel for num_threads(f->threads)
    for (int64_t row = 0; row < f->rows; row++)
        fx_fourier_write_row(f, 0, row, values + row * f->grid);
    return fx_fourier_close(f, 1, &modes);
}
