/* test_dns_solver.c: the solver against exact solutions, invariants, budgets, its own convergence and
 * its symmetries. Planted in the code, caught here, removed:
 *   kx ky B left out of N(W)               moving vortices, invariants, rotation
 *   h/6 for h/3 in combine                 order in time, budgets
 *   no e on the third slope's stage        order on turbulence
 *   a cut at N / 2 instead of N / 3        invariants
 *   mean flow of u given to v              moving vortices
 *   any of the four checks left out        stops */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/dns.h"
#include "flexhpc/mem.h"

static const double pi = 3.14159265358979323846;

static void ok(fx_status status)
{
    if (status != FX_OK) fail_msg("%s", fx_error_message());
}

static fx_dns *make(int64_t grid, double re, double courant)
{
    const fx_dns_options options = {.grid = grid, .viscosity = 1 / re, .courant = courant};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    return dns;
}

static double *field(int64_t grid)
{
    double *w = fx_calloc((size_t)(grid * grid), sizeof *w);
    assert_non_null(w);
    return w;
}

/* sqrt(<(a - b)^2> / <b^2>) */
static double rfne(const double *a, const double *b, int64_t grid)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < grid * grid; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference / norm);
}

/* Taylor-Green vortices carried by a mean flow: exact for all times. */
static void vortices(double *w, int64_t n, double nu, const double flow[2], double t)
{
    const double k = 4;
    for (int64_t iy = 0; iy < n; iy++)
        for (int64_t ix = 0; ix < n; ix++) {
            const double x = 2 * pi * (double)ix / (double)n - flow[0] * t;
            const double y = 2 * pi * (double)iy / (double)n - flow[1] * t;
            w[iy * n + ix] = 2 * k * cos(k * x) * cos(k * y) * exp(-2 * k * k * nu * t);
        }
}

/* The error at t = 1 of `steps` equal steps (0: as the Courant number says). */
static double error_of_vortices(double nu, const double flow[2], int steps)
{
    enum { N = 32 };
    const fx_dns_options options = {
        .grid = N, .viscosity = nu, .courant = steps ? INFINITY : 0.6, .mean_flow = {flow[0], flow[1]}};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    double *w = field(N), *exact = field(N);
    vortices(w, N, nu, flow, 0);
    ok(fx_dns_start(dns, w));
    for (int i = 1; i <= steps; i++)
        ok(fx_dns_step(dns, (double)i / steps));
    if (!steps) ok(fx_dns_advance(dns, 1, NULL));
    ok(fx_dns_sample(dns, FX_DNS_W, w));
    vortices(exact, N, nu, flow, 1);
    const double error = rfne(w, exact, N);
    fx_free(w);
    fx_free(exact);
    fx_dns_free(&dns);
    return error;
}

static void taylor_green_is_exact(void **state)
{
    (void)state;
    assert_true(error_of_vortices(0.01, (const double[]){0, 0}, 0) < 1e-12);
}

static void moving_vortices_converge_with_order_four(void **state)
{
    (void)state;
    const double flow[2] = {1, 0.5};
    const double coarse = error_of_vortices(0.01, flow, 80), fine = error_of_vortices(0.01, flow, 160);
    const double slope = log2(coarse / fine);
    if (fabs(slope - 4) > 0.1) fail_msg("order %.3f", slope);
    const double finest = error_of_vortices(0.01, flow, 2000);
    if (!(finest < 1e-10)) fail_msg("error %.2e in space", finest);
}

/* The larger relative drift of E and Z over t = 1 without viscosity. */
static double drift(double courant)
{
    fx_dns *dns = make(64, INFINITY, courant);
    ok(fx_dns_start_random(dns, 1));
    fx_dns_state first, last;
    ok(fx_dns_measure(dns, &first));
    while (fx_dns_time(dns) < 1)
        ok(fx_dns_step(dns, 1));
    ok(fx_dns_measure(dns, &last));
    fx_dns_free(&dns);
    return fmax(fabs(last.energy / first.energy - 1), fabs(last.enstrophy / first.enstrophy - 1));
}

static void energy_and_enstrophy_are_invariants(void **state)
{
    (void)state;
    const double fine = drift(0.1), coarse = drift(0.4);
    if (!(fine < 1e-8)) fail_msg("drift %.2e", fine);
    const double slope = log2(coarse / fine) / 2;
    if (!(slope > 3.5)) fail_msg("drift of order %.2f", slope);
}

/* dE/dt = -2 nu Z, dZ/dt = -2 nu P, integrated by Simpson's rule over intervals of 0.02. */
static void budgets_close(void **state)
{
    (void)state;
    const double nu = 0.01, h = 0.01;
    fx_dns *dns = make(128, 1 / nu, 0.6);
    ok(fx_dns_start_random(dns, 1));
    fx_dns_state s[3];
    ok(fx_dns_measure(dns, &s[0]));
    for (int i = 0; i < 15; i++) {
        for (int k = 1; k <= 2; k++)
            ok(fx_dns_advance(dns, (2 * i + k) * h, &s[k]));
        const double z = h / 3 * (s[0].enstrophy + 4 * s[1].enstrophy + s[2].enstrophy);
        const double p = h / 3 * (s[0].palinstrophy + 4 * s[1].palinstrophy + s[2].palinstrophy);
        const double e_budget = (s[2].energy - s[0].energy) / (-2 * nu * z) - 1;
        const double z_budget = (s[2].enstrophy - s[0].enstrophy) / (-2 * nu * p) - 1;
        if (!(fabs(e_budget) < 1e-4 && fabs(z_budget) < 1e-4))
            fail_msg("budgets of E and Z off by %.2e, %.2e at t = %g", e_budget, z_budget, s[2].time);
        s[0] = s[2];
    }
    fx_dns_free(&dns);
}

static void finer_grids_agree(void **state)
{
    (void)state;
    enum { N = 256, FINER = 384 };
    double *w[2] = {field(N), field(N)};
    for (int i = 0; i < 2; i++) {
        const fx_dns_options options = {
            .grid = i ? FINER : N, .output_grid = N, .viscosity = 1.0 / 40, .courant = 0.6};
        fx_dns *dns = NULL;
        ok(fx_dns_create(&dns, fx_comm_self(), &options));
        ok(fx_dns_start_random(dns, 1));
        ok(fx_dns_advance(dns, 0.3, NULL));
        ok(fx_dns_sample(dns, FX_DNS_W, w[i]));
        fx_dns_free(&dns);
    }
    const double difference = rfne(w[0], w[1], N);
    if (!(difference < 1e-6)) fail_msg("the grids differ by %.2e", difference);
    fx_free(w[0]);
    fx_free(w[1]);
}

static void turbulence_converges_with_order_four(void **state)
{
    (void)state;
    enum { N = 64, LEVELS = 3 };
    double *w[LEVELS];
    for (int level = 0; level < LEVELS; level++) {
        const int steps = 100 << level;
        fx_dns *dns = make(N, 100, INFINITY);
        ok(fx_dns_start_random(dns, 1));
        for (int i = 1; i <= steps; i++)
            ok(fx_dns_step(dns, 0.5 * i / steps));
        w[level] = field(N);
        ok(fx_dns_sample(dns, FX_DNS_W, w[level]));
        fx_dns_free(&dns);
    }
    const double slope = log2(rfne(w[0], w[1], N) / rfne(w[1], w[2], N));
    if (fabs(slope - 4) > 0.2) fail_msg("order %.3f", slope);
    for (int level = 0; level < LEVELS; level++)
        fx_free(w[level]);
}

static void largest_vorticity_never_grows(void **state)
{
    (void)state;
    fx_dns *dns = make(128, 100, 0.6);
    ok(fx_dns_start_random(dns, 1));
    fx_dns_state s;
    ok(fx_dns_measure(dns, &s));
    for (int i = 1; i <= 20; i++) {
        const double before = s.peak;
        ok(fx_dns_advance(dns, 0.05 * i, &s));
        if (!(s.peak <= before * 1.001)) fail_msg("%g after %g at t = %g", s.peak, before, s.time);
    }
    fx_dns_free(&dns);
}

/* Maps of the plane on itself, on (ix, iy) of an N grid; `sign` is what vorticity takes. */
typedef struct motion {
    const char *name;
    int64_t xx, xy, yx, yy, x0, y0;
    double sign;
} motion;

static void symmetries_hold(void **state)
{
    (void)state;
    enum { N = 64, STEPS = 20 };
    static const motion motions[] = {
        {"the same", 1, 0, 0, 1, 0, 0, 1},
        {"turned by 90 degrees", 0, -1, 1, 0, 0, 0, 1},
        {"moved by (5, 11) points", 1, 0, 0, 1, 5, 11, 1},
        {"mirrored", -1, 0, 0, 1, 0, 0, -1},
    };
    fx_dns *dns = make(N, 500, 0.6);
    double *w = field(N), *moved = field(N), *plain = field(N), *expected = field(N);
    ok(fx_dns_start_random(dns, 3));
    ok(fx_dns_sample(dns, FX_DNS_W, w));
    for (size_t m = 0; m < sizeof motions / sizeof *motions; m++) {
        const motion *g = &motions[m];
        for (int round = 0; round < 2; round++) { /* the start moved, then the end moved */
            const double *from = round ? plain : w;
            double *to = round ? expected : moved;
            for (int64_t iy = 0; iy < N; iy++)
                for (int64_t ix = 0; ix < N; ix++) {
                    const int64_t x = (g->xx * ix + g->xy * iy + g->x0 + N) % N;
                    const int64_t y = (g->yx * ix + g->yy * iy + g->y0 + N) % N;
                    to[y * N + x] = g->sign * from[iy * N + ix];
                }
            if (round) break;
            ok(fx_dns_start(dns, moved));
            for (int i = 0; i < STEPS; i++)
                ok(fx_dns_step(dns, 1));
            ok(fx_dns_sample(dns, FX_DNS_W, moved));
            if (m == 0) memcpy(plain, moved, N * N * sizeof *plain);
        }
        const double error = rfne(moved, expected, N);
        if (!(error < 1e-12)) fail_msg("%s: %.2e", g->name, error);
    }
    fx_free(w);
    fx_free(moved);
    fx_free(plain);
    fx_free(expected);
    fx_dns_free(&dns);
}

static void velocity_belongs_to_the_vorticity(void **state)
{
    (void)state; /* of w = 2 cos x cos y + 4 sin 2y: psi = cos x cos y + sin 2y, U = 3, V = -2 */
    enum { N = 32, OUT = 16 };
    const fx_dns_options options = {
        .grid = N, .output_grid = OUT, .viscosity = 1, .courant = 1, .mean_flow = {3, -2}};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    double *w = field(N), *u = field(OUT), *v = field(OUT);
    for (int i = 0; i < N * N; i++) {
        const double x = 2 * pi * (i % N) / N, y = 2 * pi * (i / N) / N;
        w[i] = 2 * cos(x) * cos(y) + 4 * sin(2 * y);
    }
    ok(fx_dns_start(dns, w));
    ok(fx_dns_sample(dns, FX_DNS_U, u));
    ok(fx_dns_sample(dns, FX_DNS_V, v));
    for (int i = 0; i < OUT * OUT; i++) {
        const double x = 2 * pi * (i % OUT) / OUT, y = 2 * pi * (i / OUT) / OUT;
        assert_float_equal((float)u[i], (float)(3 - cos(x) * sin(y) + 2 * cos(2 * y)), 1e-6);
        assert_float_equal((float)v[i], (float)(-2 + sin(x) * cos(y)), 1e-6);
    }
    fx_free(w);
    fx_free(u);
    fx_free(v);
    fx_dns_free(&dns);
}

static void refuse(const fx_dns_options *options, const char *word)
{
    fx_dns *dns = NULL;
    assert_int_equal(fx_dns_create(&dns, fx_comm_self(), options), FX_EARG);
    assert_null(dns);
    assert_non_null(strstr(fx_error_message(), word));
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    refuse(&(fx_dns_options){.grid = 33, .viscosity = 1, .courant = 1}, "33");
    refuse(&(fx_dns_options){.grid = 8, .viscosity = 1, .courant = 1}, "8");
    refuse(&(fx_dns_options){.grid = 32, .output_grid = 64, .viscosity = 1, .courant = 1}, "64");
    refuse(&(fx_dns_options){.grid = 32, .viscosity = -1, .courant = 1}, "-1");
    refuse(&(fx_dns_options){.grid = 32, .viscosity = 1, .courant = NAN}, "nan");

    fx_dns *dns = make(64, 2000, 0.6);
    double *w = field(64);
    w[100] = INFINITY;
    for (int i = 0; i < 2; i++) { /* seen by the step, and by the look before it */
        ok(fx_dns_start(dns, w));
        assert_int_equal(i ? fx_dns_advance(dns, 1, NULL) : fx_dns_step(dns, 1), FX_EVALUE);
        assert_non_null(
            strstr(fx_error_message(), i ? "flow is not finite" : "velocity is not finite"));
    }
    fx_free(w);
    ok(fx_dns_start_random(dns, 1));
    assert_int_equal(fx_dns_step(dns, 0), FX_EARG);
    fx_dns_free(&dns);
}

/* Advances in parts of `part` to t = 2 and wants to be stopped with `word`. */
static void stopped(double re, double courant, double part, const char *word)
{
    fx_dns *dns = make(64, re, courant);
    ok(fx_dns_start_random(dns, 1));
    fx_status status = FX_OK;
    for (double t = part; status == FX_OK && t < 2; t += part)
        status = fx_dns_advance(dns, t, NULL);
    assert_int_equal(status, FX_EVALUE);
    char name[32];
    snprintf(name, sizeof name, "Re %g:", re);
    const bool all = strstr(fx_error_message(), name) && strstr(fx_error_message(), word) &&
                     strstr(fx_error_message(), "t = ");
    if (!all) fail_msg("%s", fx_error_message());
    fx_dns_free(&dns);
}

static void what_blows_up_is_stopped(void **state)
{
    (void)state;
    stopped(1e6, 0.6, 1.99, "max |w|");           /* no grid of 64 holds this flow */
    stopped(2000, INFINITY, 0.3, "energy rises"); /* far above the limit of the time stepping */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taylor_green_is_exact),
        cmocka_unit_test(moving_vortices_converge_with_order_four),
        cmocka_unit_test(energy_and_enstrophy_are_invariants),
        cmocka_unit_test(budgets_close),
        cmocka_unit_test(finer_grids_agree),
        cmocka_unit_test(turbulence_converges_with_order_four),
        cmocka_unit_test(largest_vorticity_never_grows),
        cmocka_unit_test(symmetries_hold),
        cmocka_unit_test(velocity_belongs_to_the_vorticity),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(what_blows_up_is_stopped),
    };
    return cmocka_run_group_tests_name("dns solver", tests, NULL, NULL);
}
