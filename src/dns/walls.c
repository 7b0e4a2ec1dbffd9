/* walls.c: the arrays of the flow solver in a box of no-slip walls, [0, 2 pi]^2; time and steps are
 * solver.c's. Vorticity and stream function on the nodes of N x N cells, psi = 0 on the walls, which
 * may move: the one at y = 2 pi with velocity (U, 0).
 *
 *   w_t = J(psi, w) + nu lap w,   lap psi = -w,   u = psi_y,   v = -psi_x,   h = 2 pi / N
 *
 * Space: five-point Laplacians (poisson.c) and the Jacobian of Arakawa (J. Comput. Phys. 1, 1966), the
 * mean of three forms of it that keeps energy and enstrophy. On a wall w follows from the psi beside it
 * (Thom, Proc. R. Soc. A 141, 1933), 1 being the node next to the wall: w = -2 psi_1 / h^2, and
 * -2 U / h more where the wall moves. With walls at rest
 *
 *   dE/dt = -2 nu Z,   E = 1/2 <psi w>,   Z = 1/2 <w^2>
 *
 * holds exactly in space, where <> gives a wall's node half the weight, so that energy falls at any
 * resolution. Time: classical Runge-Kutta of order four, explicit: h nu and |u| limit the step
 * (solver.c). */
#include "flexhpc/flow.h"

#include <math.h>
#include <string.h>

#include "poisson.h"
#include "spectral.h"

struct fx_flow {
    fx_comm *comm;
    fx_flow_options options;
    int64_t n, pitch; /* cells a side; values from row to row of nodes */
    double h;
    fx_poisson *poisson;
    double *w, *stage, *next, *rate, *psi; /* nodes; what is on walls is set by `refresh` alone */
    double *speed;                         /* (N + 1): max(|u| + |v|) of each row */
};

static const double pi = 3.14159265358979323846;

static fx_status allocate(fx_flow *f)
{
    double **const arrays[] = {&f->w, &f->stage, &f->next, &f->rate, &f->psi};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = fx_nodes_alloc(f->n);
        if (!*arrays[i]) return FX_ENOMEM;
    }
    FX_TRY(FX_ALLOC(f->speed, f->n + 1));
    return fx_poisson_create(&f->poisson, f->n, f->h);
}

static void close_flow(fx_flow **out)
{
    fx_flow *f = *out;
    if (!f) return;
    fx_nodes_free(&f->w);
    fx_nodes_free(&f->stage);
    fx_nodes_free(&f->next);
    fx_nodes_free(&f->rate);
    fx_nodes_free(&f->psi);
    fx_free(f->speed);
    fx_poisson_free(&f->poisson);
    fx_free(f);
    *out = NULL;
}

static fx_status open_flow(fx_flow **out, fx_exec *exec, fx_comm *comm, const fx_flow_options *options)
{
    (void)exec;
    *out = NULL;
    const int64_t n = options->grid, coarse = options->output_grid;
    FX_REQUIRE(coarse == n + 1 || (coarse > 0 && n % coarse == 0), FX_EARG,
               "between walls, a grid of %lld cells and an output grid of %lld: a divisor, or the %lld "
               "nodes",
               (long long)n, (long long)coarse, (long long)(n + 1));
    fx_flow *f = NULL;
    FX_TRY(FX_ALLOC(f, 1));
    *f = (fx_flow){
        .comm = comm, .options = *options, .n = n, .pitch = fx_nodes_pitch(n), .h = 2 * pi / (double)n};
    const fx_status status = allocate(f);
    if (status != FX_OK) close_flow(&f);
    *out = f;
    return status;
}

/* psi of w, and w on the walls. At the corners w is 0, which it is where both walls rest. */
static void refresh(fx_flow *f, double *w)
{
    const int64_t n = f->n, pitch = f->pitch;
    const double *psi = f->psi, c = -2 / (f->h * f->h), lid = -2 * f->options.lid / f->h;
    fx_poisson_solve(f->poisson, w, f->psi);
    for (int64_t i = 1; i < n; i++) {
        w[i] = c * psi[pitch + i];
        w[n * pitch + i] = c * psi[(n - 1) * pitch + i] + lid;
        w[i * pitch] = c * psi[i * pitch + 1];
        w[i * pitch + n] = c * psi[i * pitch + n - 1];
    }
}

/* 12 h^2 J at a node, from psi, w and their neighbours in rows of `pitch`: the eight w by what each is
 * multiplied with in the sum of the three forms. */
static inline double jacobian(const double *p, const double *w, int64_t pitch)
{
    const int64_t N = pitch, S = -pitch, E = 1, W = -1;
    const double x = p[E] - p[W], y = p[N] - p[S];
    return w[N] * (x + p[N + E] - p[N + W]) - w[S] * (x + p[S + E] - p[S + W]) -
           w[E] * (y + p[N + E] - p[S + E]) + w[W] * (y + p[N + W] - p[S + W]) +
           w[N + E] * (p[E] - p[N]) + w[S + E] * (p[S] - p[E]) + w[N + W] * (p[N] - p[W]) +
           w[S + W] * (p[W] - p[S]);
}

static double fastest_of_row(const fx_flow *f, const double *p)
{
    double most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 1; i < f->n; i++) {
        const double speed =
            fabs(p[i + f->pitch] - p[i - f->pitch]) + fabs(p[i + 1] - p[i - 1]); /* 2 h (|u| + |v|) */
        most = speed > most ? speed : most;
    }
    return most / (2 * f->h);
}

static fx_status evaluate(fx_flow *f, int s, double *speed)
{
    const int64_t n = f->n, pitch = f->pitch;
    const double advection = 1 / (12 * f->h * f->h), diffusion = f->options.viscosity / (f->h * f->h);
    double *source = s == 1 ? f->w : f->stage;
    refresh(f, source);
#pragma omp parallel for
    for (int64_t j = 1; j < n; j++) {
        const double *w = source + j * pitch, *psi = f->psi + j * pitch;
        double *restrict rate = f->rate + j * pitch;
        for (int64_t i = 1; i < n; i++)
            rate[i] = advection * jacobian(psi + i, w + i, pitch) +
                      diffusion * (w[i + 1] + w[i - 1] + w[i + pitch] + w[i - pitch] - 4 * w[i]);
        if (speed) f->speed[j] = fastest_of_row(f, psi);
    }
    if (!speed) return FX_OK;
    *speed = fabs(f->options.lid);
    for (int64_t j = 1; j < n; j++)
        *speed = fmax(*speed, f->speed[j]);
    if (!isfinite(f->psi[pitch + 1])) *speed = NAN; /* one that is not finite makes all of psi so */
    return FX_OK;
}

/* Inner nodes of a row: stage = w + b k, next += c k (s = 1: next = w + c k; s = 4: w = next + c k). */
static fx_status combine(fx_flow *f, int s, double h)
{
    const int64_t pitch = f->pitch;
    const double b = s == 3 ? h : 0.5 * h, c = s == 1 || s == 4 ? h / 6 : h / 3;
#pragma omp parallel for
    for (int64_t j = 1; j < f->n; j++) {
        const double *restrict k = f->rate + j * pitch;
        double *restrict w = f->w + j * pitch, *restrict stage = f->stage + j * pitch,
                         *restrict next = f->next + j * pitch;
        if (s == 4)
            for (int64_t i = 1; i < f->n; i++)
                w[i] = next[i] + c * k[i];
        else
            for (int64_t i = 1; i < f->n; i++) {
                next[i] = (s == 1 ? w[i] : next[i]) + c * k[i];
                stage[i] = w[i] + b * k[i];
            }
    }
    return FX_OK;
}

/* Of the periodic field of this seed, the stream function between windows 1 - exp(-(d / D)^2) of the
 * distances d to the walls, so that psi and its slope vanish there; D is half a wavelength of k0 = 10.
 */
static double window(double x)
{
    const double width = pi / 10, far = 2 * pi - x;
    return -expm1(-x * x / (width * width)) * -expm1(-far * far / (width * width));
}

static void stream_function_of(const fx_modes *m, fx_complex *w)
{
    for (int64_t i = 0; i < m->mine; i++)
        for (int64_t j = 0; j < m->heights; j++) {
            const double kx = (double)(m->first + i), ky = (double)fx_modes_ky(m, j);
            const double k2 = kx * kx + ky * ky, inverse = k2 > 0 ? 1 / k2 : 0;
            fx_complex *z = &w[i * m->heights + j];
            *z = (fx_complex){inverse * z->re, inverse * z->im};
        }
}

/* w = -lap psi in differences, of `psi` (N, N) at (i h, j h) between windows. */
static void load_windowed(fx_flow *f, const double *psi)
{
    const int64_t n = f->n, pitch = f->pitch;
    for (int64_t j = 1; j < n; j++)
        for (int64_t i = 1; i < n; i++)
            f->psi[j * pitch + i] =
                psi[j * n + i] * window((double)i * f->h) * window((double)j * f->h);
    for (int64_t j = 1; j < n; j++) {
        const double *p = f->psi + j * pitch;
        for (int64_t i = 1; i < n; i++)
            f->w[j * pitch + i] =
                (4 * p[i] - p[i + 1] - p[i - 1] - p[i + pitch] - p[i - pitch]) / (f->h * f->h);
    }
}

static fx_status load(fx_flow *f, uint64_t seed)
{
    const fx_modes modes = fx_modes_of(f->comm, f->n);
    fx_fourier *fourier = NULL;
    fx_complex *w = NULL;
    double *psi = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_fourier_create(&fourier, f->comm, &modes, f->n, 1));
    FX_TRY_DONE(FX_ALLOC(w, fx_modes_count(&modes)));
    FX_TRY_DONE(FX_ALLOC(psi, f->n * f->n));
    fx_random_vorticity(&modes, seed, w);
    stream_function_of(&modes, w);
    FX_TRY_DONE(fx_fourier_to_rows(fourier, w, psi));
    load_windowed(f, psi);
done:
    fx_fourier_free(&fourier);
    fx_free(w);
    fx_free(psi);
    return status;
}

static fx_status load_rows(fx_flow *f, const double *w)
{
    for (int64_t j = 1; j < f->n; j++)
        memcpy(f->w + j * f->pitch + 1, w + j * f->n + 1, (size_t)(f->n - 1) * sizeof *w);
    return FX_OK;
}

/* Energy and palinstrophy from differences along the edges of cells, an edge on a wall having half the
 * weight; with psi = 0 on the walls the first is 1/2 <psi w>. */
static fx_status measure(fx_flow *f, fx_flow_sums *sums)
{
    const int64_t n = f->n, pitch = f->pitch;
    *sums = (fx_flow_sums){0};
    refresh(f, f->w);
    for (int64_t j = 0; j <= n; j++) {
        const double *w = f->w + j * pitch, *psi = f->psi + j * pitch;
        const double row = j == 0 || j == n ? 0.5 : 1;
        for (int64_t i = 0; i <= n; i++) {
            const double column = i == 0 || i == n ? 0.5 : 1, square = w[i] * w[i];
            sums->square += row * column * square;
            sums->fourth += row * column * square * square;
            sums->peak = fmax(sums->peak, fabs(w[i]));
            const double px = i < n ? psi[i + 1] - psi[i] : 0, py = j < n ? psi[i + pitch] - psi[i] : 0;
            const double wx = i < n ? w[i + 1] - w[i] : 0, wy = j < n ? w[i + pitch] - w[i] : 0;
            sums->energy += row * px * px + column * py * py;
            sums->palinstrophy += row * wx * wx + column * wy * wy;
        }
    }
    const double length = 2 * pi; /* the mean of (difference / h)^2 / 2 over N^2 cells, N h = length */
    sums->enstrophy = 0.5 * sums->square / ((double)n * (double)n);
    sums->energy *= 0.5 / (length * length);
    sums->palinstrophy *= 0.5 / (length * length);
    if (!isfinite(sums->square)) sums->energy = NAN;
    return FX_OK;
}

/* u or v on all nodes: central differences of psi, and what the walls have. */
static void velocity(const fx_flow *f, fx_dns_field field, double *out)
{
    const int64_t n = f->n, pitch = f->pitch, step = field == FX_DNS_U ? pitch : 1;
    const double scale = (field == FX_DNS_U ? 1 : -1) / (2 * f->h);
    for (int64_t j = 0; j <= n; j++)
        for (int64_t i = 0; i <= n; i++) {
            const double *p = f->psi + j * pitch + i;
            const bool inside = i > 0 && i < n && j > 0 && j < n;
            out[j * pitch + i] = inside                        ? scale * (p[step] - p[-step])
                                 : j == n && field == FX_DNS_U ? f->options.lid
                                                               : 0;
        }
}

static fx_status sample(fx_flow *f, fx_dns_field field, double *rows)
{
    const int64_t pitch = f->pitch, m = f->options.output_grid;
    refresh(f, f->w);
    double *nodes = f->w;
    if (field != FX_DNS_W) velocity(f, field, nodes = f->rate);
    const int64_t cell = m == f->n + 1 ? 0 : f->n / m; /* nodes from centre to centre; 0: the nodes */
    for (int64_t j = 0; j < m; j++)
        for (int64_t i = 0; i < m; i++) {
            const int64_t x = cell ? i * cell + cell / 2 : i, y = cell ? j * cell + cell / 2 : j;
            const double *p = nodes + y * pitch + x;
            rows[j * m + i] = cell % 2 ? 0.25 * (p[0] + p[1] + p[pitch] + p[pitch + 1]) : p[0];
        }
    return FX_OK;
}

const fx_flow_ops fx_walls_flow = {
    .shared = false,
    .open = open_flow,
    .close = close_flow,
    .load = load,
    .load_rows = load_rows,
    .evaluate = evaluate,
    .combine = combine,
    .measure = measure,
    .sample = sample,
};
