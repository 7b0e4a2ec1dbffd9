/* solver.c: pseudo-spectral solver of the two-dimensional vorticity equation. The advection term is in
 * the form of Basdevant (J. Comput. Phys. 50, 1983), which takes four transforms instead of five:
 *   u . grad w = (d_xx - d_yy) (u v) + d_xy (v^2 - u^2)
 *   N(W) = (kx^2 - ky^2) A + kx ky B,   A, B: transforms of u v and v^2 - u^2
 * free of aliasing by the 2/3 rule. Time: the viscous term exactly, by its integrating factor, and the
 * classical fourth-order Runge-Kutta method for the rest, with e = exp(-nu k^2 h / 2):
 *   k1 = N(W)   k2 = N(e (W + h/2 k1))   k3 = N(e W + h/2 k2)   k4 = N(e^2 W + h e k3)
 *   W' = e^2 W + h/6 (e^2 k1 + 2 e (k2 + k3) + k4)
 * Rows of u and v go from one 1-D transform to the next without ever being a whole field in memory. */
#include "flexhpc/dns.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "spectral.h"
#include "flexhpc/mem.h"

static const double two_pi = 6.28318530717958647693;

enum { LOOK_EVERY = 25 }; /* steps between looks at the flow in fx_dns_advance */

struct fx_dns {
    fx_comm *comm;
    fx_dns_options options;
    fx_modes modes;
    fx_fourier *solve, *output; /* output may be the same */
    double time;
    int64_t steps;

    fx_complex *w, *stage, *next, *rate; /* (columns, 2 K + 1) */
    fx_complex *pair[2];                 /* transforms of u, v; then A, B */
    double *decay_x, *decay_y;           /* exp(-nu k^2 h / 2) = decay_x[kx] decay_y[ky] */
    double *speed;                       /* (rows): max(|u| + |v|) of each */
    double *values;                      /* (rows, N): a field on the grid */
    double *scratch;                     /* (threads, 2, N): a row of u, of v */

    bool looked;          /* the two below are set */
    double first_peak;    /* max |w| at the start */
    double energy_before; /* at the last look */
};

static int64_t cells(const fx_dns *dns)
{
    return fx_fourier_rows(dns->solve) * dns->options.grid;
}

static fx_status create(fx_dns *dns)
{
    const size_t count = fx_modes_count(&dns->modes);
    fx_complex **const arrays[] = {&dns->w,    &dns->stage,   &dns->next,
                                   &dns->rate, &dns->pair[0], &dns->pair[1]};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        FX_TRY(FX_ALLOC(*arrays[i], count));
    FX_TRY(FX_ALLOC(dns->decay_x, dns->modes.columns));
    FX_TRY(FX_ALLOC(dns->decay_y, dns->modes.heights));
    FX_TRY(FX_ALLOC(dns->speed, fx_fourier_rows(dns->solve)));
    FX_TRY(FX_ALLOC(dns->values, cells(dns)));
    return FX_ALLOC(dns->scratch, fx_fourier_threads(dns->solve) * 2 * dns->options.grid);
}

fx_status fx_dns_create(fx_dns **out, fx_comm *comm, const fx_dns_options *options)
{
    *out = NULL;
    const int64_t n = options->grid, coarse = options->output_grid;
    FX_REQUIRE(n >= 16 && coarse >= 0 && coarse <= n, FX_EARG,
               "a solver's grid of %lld points and an output grid of %lld: at least 16, and not finer "
               "than the solver's",
               (long long)n, (long long)coarse);
    FX_REQUIRE(options->viscosity >= 0 && options->courant > 0, FX_EARG,
               "viscosity %g and Courant number %g: not negative, and positive", options->viscosity,
               options->courant);
    fx_dns *dns = NULL;
    FX_TRY(fx_agree(comm, FX_ALLOC(dns, 1)));
    *dns = (fx_dns){.comm = comm, .options = *options, .modes = fx_modes_of(comm, n)};
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_fourier_create(&dns->solve, comm, &dns->modes, n, 2));
    dns->output = dns->solve;
    if (coarse != 0 && coarse != n)
        FX_TRY_DONE(fx_fourier_create(&dns->output, comm, &dns->modes, coarse, 1));
    FX_TRY_DONE(fx_agree(comm, create(dns)));
    *out = dns;
    dns = NULL;
done:
    fx_dns_free(&dns);
    return status;
}

void fx_dns_free(fx_dns **out)
{
    fx_dns *dns = *out;
    if (!dns) return;
    if (dns->output != dns->solve) fx_fourier_free(&dns->output);
    fx_fourier_free(&dns->solve);
    fx_free(dns->w);
    fx_free(dns->stage);
    fx_free(dns->next);
    fx_free(dns->rate);
    fx_free(dns->pair[0]);
    fx_free(dns->pair[1]);
    fx_free(dns->decay_x);
    fx_free(dns->decay_y);
    fx_free(dns->speed);
    fx_free(dns->values);
    fx_free(dns->scratch);
    fx_free(dns);
    *out = NULL;
}

double fx_dns_time(const fx_dns *dns)
{
    return dns->time;
}

int64_t fx_dns_steps(const fx_dns *dns)
{
    return dns->steps;
}

static void restart(fx_dns *dns)
{
    dns->time = 0;
    dns->steps = 0;
    dns->looked = false;
}

void fx_dns_start_random(fx_dns *dns, uint64_t seed)
{
    fx_random_vorticity(&dns->modes, seed, dns->w);
    restart(dns);
}

fx_status fx_dns_start(fx_dns *dns, const double *w)
{
    memcpy(dns->values, w, (size_t)cells(dns) * sizeof *w);
    FX_TRY(fx_fourier_to_modes(dns->solve, dns->values, dns->w));
    if (dns->modes.first == 0) dns->w[0] = (fx_complex){0, 0};
    restart(dns);
    return FX_OK;
}

/* Transforms of u (field 0) and v (field 1), mean flow included: U = i ky W / k^2, V = -i kx W / k^2.
 */
static void velocity_modes(const fx_dns *dns, const fx_complex *w, fx_complex *u, fx_complex *v)
{
    const fx_modes *m = &dns->modes;
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
        u[0].re = dns->options.mean_flow[0];
        v[0].re = dns->options.mean_flow[1];
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

/* rate = N(w); dns->speed is set. Collective. */
static fx_status evaluate(fx_dns *dns, const fx_complex *w, fx_complex *rate)
{
    const int64_t n = dns->options.grid;
    const fx_modes *m = &dns->modes;
    velocity_modes(dns, w, dns->pair[0], dns->pair[1]);
    FX_TRY(fx_fourier_open(dns->solve, 2, dns->pair));
#pragma omp parallel for num_threads(fx_fourier_threads(dns->solve))
    for (int64_t row = 0; row < fx_fourier_rows(dns->solve); row++) {
        double *u = dns->scratch + omp_get_thread_num() * 2 * n, *v = u + n;
        fx_fourier_read_row(dns->solve, 0, row, u);
        fx_fourier_read_row(dns->solve, 1, row, v);
        dns->speed[row] = multiply(n, u, v);
        fx_fourier_write_row(dns->solve, 0, row, u);
        fx_fourier_write_row(dns->solve, 1, row, v);
    }
    FX_TRY(fx_fourier_close(dns->solve, 2, dns->pair));
#pragma omp parallel for
    for (int64_t i = 0; i < m->mine; i++) {
        const double kx = (double)(m->first + i);
        for (int64_t j = 0; j < m->heights; j++) {
            const double ky = (double)fx_modes_ky(m, j), p = (kx - ky) * (kx + ky), q = kx * ky;
            const int64_t at = i * m->heights + j;
            const fx_complex a = dns->pair[0][at], b = dns->pair[1][at];
            rate[at] = (fx_complex){p * a.re + q * b.re, p * a.im + q * b.im};
        }
    }
    return FX_OK;
}

/* max(|u| + |v|) over all ranks at the last evaluation. Collective. */
static fx_status fastest(fx_dns *dns, double *speed)
{
    *speed = 0;
    for (int64_t row = 0; row < fx_fourier_rows(dns->solve); row++)
        if (!isnan(*speed) && !(dns->speed[row] <= *speed)) *speed = dns->speed[row];
    FX_TRY(fx_comm_max_f64(dns->comm, speed));
    FX_REQUIRE(isfinite(*speed), FX_EVALUE, "Re %g: the velocity is not finite at t = %.6g, step %lld",
               1 / dns->options.viscosity, dns->time, (long long)dns->steps);
    return FX_OK;
}

static void set_decay(fx_dns *dns, double h)
{
    const fx_modes *m = &dns->modes;
    const double nu = dns->options.viscosity;
    for (int64_t i = 0; i < m->mine; i++) {
        const double kx = (double)(m->first + i);
        dns->decay_x[i] = exp(-0.5 * nu * h * kx * kx);
    }
    for (int64_t j = 0; j < m->heights; j++) {
        const double ky = (double)fx_modes_ky(m, j);
        dns->decay_y[j] = exp(-0.5 * nu * h * ky * ky);
    }
}

/* After the slope k_s, s = 1 .. 4: adds its share to `next` and makes the argument of the next slope;
 * after the fourth `next` is the new W. */
static void combine(fx_dns *dns, int s, double h)
{
    const fx_modes *m = &dns->modes;
    const fx_complex *w = dns->w, *k = dns->rate;
    fx_complex *next = dns->next, *stage = dns->stage;
#pragma omp parallel for
    for (int64_t i = 0; i < m->mine; i++)
        for (int64_t j = 0; j < m->heights; j++) {
            const int64_t at = i * m->heights + j;
            const double e = dns->decay_x[i] * dns->decay_y[j];
            /* stage = a W + b k, next += c k (s = 1: next = e^2 W + c k) */
            const double a = s == 3 ? e * e : e, b = s == 1 ? 0.5 * h * e : s == 2 ? 0.5 * h : h * e;
            const double c = s == 1 ? h / 6 * e * e : s == 4 ? h / 6 : h / 3 * e;
            const fx_complex sum = s == 1 ? (fx_complex){e * e * w[at].re, e * e * w[at].im} : next[at];
            next[at] = (fx_complex){sum.re + c * k[at].re, sum.im + c * k[at].im};
            stage[at] = (fx_complex){a * w[at].re + b * k[at].re, a * w[at].im + b * k[at].im};
        }
}

fx_status fx_dns_step(fx_dns *dns, double until)
{
    FX_REQUIRE(until > dns->time, FX_EARG, "a step to t = %.9g from t = %.9g: time goes forward", until,
               dns->time);
    double speed = 0;
    FX_TRY(evaluate(dns, dns->w, dns->rate));
    FX_TRY(fastest(dns, &speed));
    const double left = until - dns->time, spacing = two_pi / (double)dns->options.grid;
    const double parts = fmax(1.0, ceil(left * speed / (dns->options.courant * spacing)));
    const double h = left / parts;
    set_decay(dns, h);
    combine(dns, 1, h);
    for (int s = 2; s <= 4; s++) {
        FX_TRY(evaluate(dns, dns->stage, dns->rate));
        combine(dns, s, h);
    }
    fx_complex *const old = dns->w;
    dns->w = dns->next;
    dns->next = old;
    dns->time = parts > 1 ? dns->time + h : until;
    dns->steps++;
    return FX_OK;
}

fx_status fx_dns_measure(fx_dns *dns, fx_dns_state *state)
{
    const fx_modes *m = &dns->modes;
    enum { E, Z, P, SQUARE, FOURTH, SUMS };
    double sum[SUMS] = {0}, peak = 0;
    for (int64_t i = 0; i < m->mine; i++) {
        const double kx = (double)(m->first + i), both = kx > 0 ? 2 : 1; /* kx and -kx */
        for (int64_t j = 0; j < m->heights; j++) {
            const double ky = (double)fx_modes_ky(m, j), k2 = kx * kx + ky * ky;
            const fx_complex z = dns->w[i * m->heights + j];
            const double half = 0.5 * both * (z.re * z.re + z.im * z.im);
            sum[E] += k2 > 0 ? half / k2 : 0;
            sum[Z] += half;
            sum[P] += half * k2;
        }
    }
    FX_TRY(fx_fourier_to_rows(dns->solve, dns->w, dns->values));
    for (int64_t i = 0; i < cells(dns); i++) {
        const double w = dns->values[i], square = w * w;
        peak = fmax(peak, fabs(w));
        sum[SQUARE] += square;
        sum[FOURTH] += square * square;
    }
    FX_TRY(fx_comm_sum_f64(dns->comm, sum, SUMS));
    FX_TRY(fx_comm_max_f64(dns->comm, &peak));

    const double nu = dns->options.viscosity,
                 area = (double)dns->options.grid * (double)dns->options.grid;
    const double square = sum[SQUARE] / area, fourth = sum[FOURTH] / area;
    const double dissipation = pow(2 * sum[P] / (nu * nu), 1.0 / 6.0); /* (2 nu P / nu^3)^(1/6) */
    *state = (fx_dns_state){.time = dns->time,
                            .energy = sum[E],
                            .enstrophy = sum[Z],
                            .palinstrophy = sum[P],
                            .peak = peak,
                            .rms = sqrt(square),
                            .kurtosis = square > 0 ? fourth / (square * square) : 0,
                            .resolution = (double)m->cut / dissipation};
    return FX_OK;
}

/* Measures the flow and refuses one that has blown up. Collective. */
static fx_status look(fx_dns *dns, fx_dns_state *state)
{
    FX_TRY(fx_dns_measure(dns, state));
    const double re = 1 / dns->options.viscosity, e = state->energy;
    FX_REQUIRE(isfinite(e) && isfinite(state->enstrophy), FX_EVALUE,
               "Re %g: the flow is not finite at t = %.6g, step %lld", re, dns->time,
               (long long)dns->steps);
    if (!dns->looked) {
        dns->first_peak = state->peak;
        dns->energy_before = e;
        dns->looked = true;
    }
    FX_REQUIRE(
        e <= dns->energy_before * (1 + 1e-6), FX_EVALUE,
        "Re %g: energy rises from %.9g to %.9g before t = %.6g: a smaller Courant number is needed", re,
        dns->energy_before, e, dns->time);
    FX_REQUIRE(
        state->peak <= 1.1 * dns->first_peak, FX_EVALUE,
        "Re %g: max |w| is %.4g at t = %.6g, above 1.1 times its first value %.4g: a finer grid or "
        "a smaller Courant number is needed",
        re, state->peak, dns->time, dns->first_peak);
    dns->energy_before = e;
    return FX_OK;
}

fx_status fx_dns_advance(fx_dns *dns, double until, fx_dns_state *state)
{
    fx_dns_state now;
    FX_TRY(look(dns, &now));
    while (dns->time < until) {
        FX_TRY(fx_dns_step(dns, until));
        if (dns->time >= until || dns->steps % LOOK_EVERY == 0) FX_TRY(look(dns, &now));
    }
    if (state) *state = now;
    return FX_OK;
}

fx_status fx_dns_sample(fx_dns *dns, fx_dns_field field, double *rows)
{
    if (field == FX_DNS_W) return fx_fourier_to_rows(dns->output, dns->w, rows);
    velocity_modes(dns, dns->w, dns->pair[0], dns->pair[1]);
    return fx_fourier_to_rows(dns->output, dns->pair[field == FX_DNS_V], rows);
}
