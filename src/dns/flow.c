/* flow.c: the arrays of the flow solver on the CPU, over the ranks of a communicator; the formulas are
 * solver.c's. Modes are columns of fx_modes, on the grid a rank holds rows. Rows of u and v go from one
 * 1-D transform to the next without ever being a whole field in memory. */
#include "flexhpc/flow.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "spectral.h"

struct fx_flow {
    fx_comm *comm;
    fx_flow_options options;
    fx_modes modes;
    fx_fourier *solve, *output; /* output may be the same */

    fx_complex *w, *stage, *next, *rate; /* (columns, 2 K + 1) */
    fx_complex *pair[2];                 /* transforms of u, v; then A, B */
    double *decay_x, *decay_y;           /* exp(-nu k^2 h / 2) = decay_x[kx] decay_y[ky] */
    double *speed;                       /* (rows): max(|u| + |v|) of each */
    double *values;                      /* (rows, N): a field on the grid */
    double *scratch;                     /* (threads, 2, N): a row of u, of v */
};

static int64_t cells(const fx_flow *f)
{
    return fx_fourier_rows(f->solve) * f->options.grid;
}

static fx_status allocate(fx_flow *f)
{
    const size_t count = fx_modes_count(&f->modes);
    fx_complex **const arrays[] = {&f->w, &f->stage, &f->next, &f->rate, &f->pair[0], &f->pair[1]};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        FX_TRY(FX_ALLOC(*arrays[i], count));
    FX_TRY(FX_ALLOC(f->decay_x, f->modes.columns));
    FX_TRY(FX_ALLOC(f->decay_y, f->modes.heights));
    FX_TRY(FX_ALLOC(f->speed, fx_fourier_rows(f->solve)));
    FX_TRY(FX_ALLOC(f->values, cells(f)));
    return FX_ALLOC(f->scratch, fx_fourier_threads(f->solve) * 2 * f->options.grid);
}

static void close_flow(fx_flow **out)
{
    fx_flow *f = *out;
    if (!f) return;
    if (f->output != f->solve) fx_fourier_free(&f->output);
    fx_fourier_free(&f->solve);
    fx_free(f->w);
    fx_free(f->stage);
    fx_free(f->next);
    fx_free(f->rate);
    fx_free(f->pair[0]);
    fx_free(f->pair[1]);
    fx_free(f->decay_x);
    fx_free(f->decay_y);
    fx_free(f->speed);
    fx_free(f->values);
    fx_free(f->scratch);
    fx_free(f);
    *out = NULL;
}

static fx_status open_flow(fx_flow **out, fx_exec *exec, fx_comm *comm, const fx_flow_options *options)
{
    (void)exec;
    *out = NULL;
    fx_flow *f = NULL;
    FX_TRY(fx_agree(comm, FX_ALLOC(f, 1)));
    *f = (fx_flow){.comm = comm, .options = *options, .modes = fx_modes_of(comm, options->grid)};
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_fourier_create(&f->solve, comm, &f->modes, options->grid, 2));
    f->output = f->solve;
    if (options->output_grid != options->grid)
        FX_TRY_DONE(fx_fourier_create(&f->output, comm, &f->modes, options->output_grid, 1));
    FX_TRY_DONE(fx_agree(comm, allocate(f)));
    *out = f;
    f = NULL;
done:
    close_flow(&f);
    return status;
}

static fx_status load(fx_flow *f, uint64_t seed)
{
    fx_random_vorticity(&f->modes, seed, f->w);
    return FX_OK;
}

static fx_status load_rows(fx_flow *f, const double *w)
{
    memcpy(f->values, w, (size_t)cells(f) * sizeof *w);
    FX_TRY(fx_fourier_to_modes(f->solve, f->values, f->w));
    if (f->modes.first == 0) f->w[0] = (fx_complex){0, 0};
    return FX_OK;
}

/* Transforms of u (field 0) and v (field 1), mean flow included: U = i ky W / k^2, V = -i kx W / k^2.
 */
static void velocity_modes(const fx_flow *f, const fx_complex *w, fx_complex *u, fx_complex *v)
{
    const fx_modes *m = &f->modes;
#pragma omp parallel for
    for (int64_t i = 0; i < m->mine; i++) {
        const double kx = (double)(m->first + i);
        for (int64_t j = 0; j < m->heights; j++) {
            const double ky = (double)fx_modes_ky(m, j), k2 = kx * kx + ky * ky;
            const double inverse = k2 > 0 ? 1.0 / k2 : 0.0;
            const int64_t at = i * m->heights + j;
            const fx_complex psi = {inverse * w[at].re, inverse * w[at].im};
            u[at] = (fx_complex){-ky * psi.im, ky * psi.re};
            v[at] = (fx_complex){kx * psi.im, -kx * psi.re};
        }
    }
    if (m->first == 0) {
        u[0].re = f->options.mean_flow[0];
        v[0].re = f->options.mean_flow[1];
    }
}

/* u and v of a row into u v and v^2 - u^2; the largest |u| + |v|, or NaN where there is one. */
static double multiply(int64_t n, double *u, double *v)
{
    double fastest = 0;
    for (int64_t i = 0; i < n; i++) {
        const double a = u[i], b = v[i], speed = fabs(a) + fabs(b);
        fastest = speed > fastest ? speed : fastest;
        u[i] = a * b;
        v[i] = (b - a) * (b + a);
    }
    return isfinite(u[0]) ? fastest : NAN; /* a transform spreads what is not finite over the row */
}

/* Over all ranks, at the last evaluation. */
static fx_status fastest(const fx_flow *f, double *speed)
{
    *speed = 0;
    for (int64_t row = 0; row < fx_fourier_rows(f->solve); row++)
        if (!isnan(*speed) && !(f->speed[row] <= *speed)) *speed = f->speed[row];
    return fx_comm_max_f64(f->comm, speed);
}

static fx_status evaluate(fx_flow *f, int s, double *speed)
{
    const int64_t n = f->options.grid;
    const fx_modes *m = &f->modes;
    velocity_modes(f, s == 1 ? f->w : f->stage, f->pair[0], f->pair[1]);
    FX_TRY(fx_fourier_open(f->solve, 2, f->pair));
#pragma omp parallel for num_threads(fx_fourier_threads(f->solve))
    for (int64_t row = 0; row < fx_fourier_rows(f->solve); row++) {
        double *u = f->scratch + omp_get_thread_num() * 2 * n, *v = u + n;
        fx_fourier_read_row(f->solve, 0, row, u);
        fx_fourier_read_row(f->solve, 1, row, v);
        f->speed[row] = multiply(n, u, v);
        fx_fourier_write_row(f->solve, 0, row, u);
        fx_fourier_write_row(f->solve, 1, row, v);
    }
    FX_TRY(fx_fourier_close(f->solve, 2, f->pair));
#pragma omp parallel for
    for (int64_t i = 0; i < m->mine; i++) {
        const double kx = (double)(m->first + i);
        for (int64_t j = 0; j < m->heights; j++) {
            const double ky = (double)fx_modes_ky(m, j), p = (kx - ky) * (kx + ky), q = kx * ky;
            const int64_t at = i * m->heights + j;
            const fx_complex a = f->pair[0][at], b = f->pair[1][at];
            f->rate[at] = (fx_complex){p * a.re + q * b.re, p * a.im + q * b.im};
        }
    }
    return speed ? fastest(f, speed) : FX_OK;
}

static void set_decay(fx_flow *f, double h)
{
    const fx_modes *m = &f->modes;
    const double nu = f->options.viscosity;
    for (int64_t i = 0; i < m->mine; i++) {
        const double kx = (double)(m->first + i);
        f->decay_x[i] = exp(-0.5 * nu * h * kx * kx);
    }
    for (int64_t j = 0; j < m->heights; j++) {
        const double ky = (double)fx_modes_ky(m, j);
        f->decay_y[j] = exp(-0.5 * nu * h * ky * ky);
    }
}

static fx_status combine(fx_flow *f, int s, double h)
{
    const fx_modes *m = &f->modes;
    const fx_complex *w = f->w, *k = f->rate;
    fx_complex *next = f->next, *stage = f->stage;
    if (s == 1) set_decay(f, h);
#pragma omp parallel for
    for (int64_t i = 0; i < m->mine; i++)
        for (int64_t j = 0; j < m->heights; j++) {
            const int64_t at = i * m->heights + j;
            const double e = f->decay_x[i] * f->decay_y[j];
            /* stage = a W + b k, next += c k (s = 1: next = e^2 W + c k) */
            const double a = s == 3 ? e * e : e, b = s == 1 ? 0.5 * h * e : s == 2 ? 0.5 * h : h * e;
            const double c = s == 1 ? h / 6 * e * e : s == 4 ? h / 6 : h / 3 * e;
            const fx_complex sum = s == 1 ? (fx_complex){e * e * w[at].re, e * e * w[at].im} : next[at];
            next[at] = (fx_complex){sum.re + c * k[at].re, sum.im + c * k[at].im};
            stage[at] = (fx_complex){a * w[at].re + b * k[at].re, a * w[at].im + b * k[at].im};
        }
    if (s == 4) {
        f->next = f->w;
        f->w = next;
    }
    return FX_OK;
}

static fx_status measure(fx_flow *f, fx_flow_sums *sums)
{
    const fx_modes *m = &f->modes;
    enum { E, Z, P, SQUARE, FOURTH, SUMS };
    double sum[SUMS] = {0}, peak = 0;
    for (int64_t i = 0; i < m->mine; i++) {
        const double kx = (double)(m->first + i), both = kx > 0 ? 2 : 1; /* kx and -kx */
        for (int64_t j = 0; j < m->heights; j++) {
            const double ky = (double)fx_modes_ky(m, j), k2 = kx * kx + ky * ky;
            const fx_complex z = f->w[i * m->heights + j];
            const double half = 0.5 * both * (z.re * z.re + z.im * z.im);
            sum[E] += k2 > 0 ? half / k2 : 0;
            sum[Z] += half;
            sum[P] += half * k2;
        }
    }
    FX_TRY(fx_fourier_to_rows(f->solve, f->w, f->values));
    for (int64_t i = 0; i < cells(f); i++) {
        const double w = f->values[i], square = w * w;
        peak = fmax(peak, fabs(w));
        sum[SQUARE] += square;
        sum[FOURTH] += square * square;
    }
    FX_TRY(fx_comm_sum_f64(f->comm, sum, SUMS));
    FX_TRY(fx_comm_max_f64(f->comm, &peak));
    *sums = (fx_flow_sums){sum[E], sum[Z], sum[P], sum[SQUARE], sum[FOURTH], peak};
    return FX_OK;
}

static fx_status sample(fx_flow *f, fx_dns_field field, double *rows)
{
    if (field == FX_DNS_W) return fx_fourier_to_rows(f->output, f->w, rows);
    velocity_modes(f, f->w, f->pair[0], f->pair[1]);
    return fx_fourier_to_rows(f->output, f->pair[field == FX_DNS_V], rows);
}

const fx_flow_ops fx_cpu_flow = {
    .shared = true,
    .open = open_flow,
    .close = close_flow,
    .load = load,
    .load_rows = load_rows,
    .evaluate = evaluate,
    .combine = combine,
    .measure = measure,
    .sample = sample,
};
