/* test_dns_walls.c: the flow solver between no-slip walls: its Poisson equation, the energy that walls
 * and viscosity take, the driven cavity at Re 100, the spectral solver where walls are far, order in
 * time and space, symmetries, and the same bits for any number of threads. Its fields:
 * test_dns_walls_fields.c; long runs: test_dns_walls_long.c.
 *
 * Run: cost 3
 * Planted in the code, caught here, removed:
 *   Thom's formula without its 2; a neighbour of the Laplacian taken twice; walls' nodes of full weight
 *   in Z, no differences along y in E; h / 3 for k4           energy
 *   the lid's sign, the lid at the other wall, E under a lid not let rise, no limit of the step by
 *   viscosity                                                 cavity
 *   J of the other sign, its 12 a 10                          cavity, spectral solver
 *   a corner of J of the other sign                           those, energy, symmetry
 *   half a step before k4                                     energy, order in time
 *   a start read one node off                                 cavity, spectral solver, symmetry
 *   m of the wave number before, a row left out of the elimination, an even continuation  Poisson
 *   the threads' lines the same                               threads */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cavity.h"
#include "dipole.h"
#include "dns/poisson.h"
#include "flexhpc/rng.h"

static const double pi = 3.14159265358979323846;

/* Even in [-1, 1), by place. */
static double noise(int64_t i)
{
    return 0x1p-31 * fx_philox4x32(7, (const uint32_t[4]){(uint32_t)i, 0, 0, 0}).word[0] - 1;
}

static void poisson_is_solved(void **state)
{
    (void)state;
    const int64_t sizes[] = {16, 30, 128};
    for (int s = 0; s < 3; s++) {
        const int64_t n = sizes[s], pitch = fx_nodes_pitch(n);
        const double h = 0.3;
        fx_poisson *poisson = NULL;
        double *w = fx_nodes_alloc(n), *psi = fx_nodes_alloc(n);
        assert_true(w && psi);
        ok(fx_poisson_create(&poisson, n, h));
        for (int64_t j = 0; j <= n; j++)
            for (int64_t i = 0; i <= n; i++)
                w[j * pitch + i] = noise(j * (n + 1) + i);
        fx_poisson_solve(poisson, w, psi);
        for (int64_t j = 0; j <= n; j++)
            for (int64_t i = 0; i <= n; i++) {
                const double *p = psi + j * pitch + i;
                if (i % n == 0 || j % n == 0) {
                    assert_true(*p == 0);
                    continue;
                }
                const double laplacian = (p[1] + p[-1] + p[pitch] + p[-pitch] - 4 * p[0]) / (h * h);
                if (!(fabs(laplacian + w[j * pitch + i]) < 1e-11))
                    fail_msg("N %lld, node %lld, %lld: %g, not %g", (long long)n, (long long)i,
                             (long long)j, laplacian, -w[j * pitch + i]);
            }
        fx_poisson_free(&poisson);
        fx_nodes_free(&w);
        fx_nodes_free(&psi);
    }
}

static void threads_share_poisson_s_equation(void **state)
{
    (void)state;
    enum { N = 512, TIMES = 10 };
    const int64_t pitch = fx_nodes_pitch(N);
    double *w = fx_nodes_alloc(N), *one = fx_nodes_alloc(N), *three = fx_nodes_alloc(N);
    assert_true(w && one && three);
    for (int64_t i = 0; i < N * pitch; i++)
        w[i] = noise(i);
    for (int time = 0; time <= TIMES; time++) {
        fx_poisson *poisson = NULL;
        omp_set_num_threads(time == 0 ? 1 : 3);
        ok(fx_poisson_create(&poisson, N, 0.1));
        fx_poisson_solve(poisson, w, time == 0 ? one : three);
        fx_poisson_free(&poisson);
        if (time > 0) assert_memory_equal(one, three, sizeof *one * N * (size_t)pitch);
    }
    omp_set_num_threads(1);
    fx_nodes_free(&w);
    fx_nodes_free(&one);
    fx_nodes_free(&three);
}

/* dE/dt = -2 nu Z, in integrated form, while the dipole meets the wall: E falls by a half. */
static void energy_goes_to_walls_and_viscosity_alone(void **state)
{
    (void)state;
    enum { PARTS = 400 };
    const double re = 625, end = 0.5;
    fx_dns *dns = dipole(64, re);
    fx_dns_state s;
    ok(fx_dns_measure(dns, &s));
    const double first = dipole_energy(&s);
    double taken = 0, before = dipole_enstrophy(&s);
    for (int i = 1; i <= PARTS; i++) {
        ok(fx_dns_advance(dns, pi * end * i / PARTS, &s));
        taken += end / PARTS * (before + dipole_enstrophy(&s)) / re;
        before = dipole_enstrophy(&s);
    }
    const double lost = first - dipole_energy(&s);
    assert_true(lost > 0.9);
    if (!(fabs(lost / taken - 1) < 1e-5)) fail_msg("energy lost %.8f, taken %.8f", lost, taken);
    fx_dns_free(&dns);
}

static void cavity_is_that_of_the_tables(void **state)
{
    (void)state;
    enum { N = 128, GRIDS = 3 };
    fx_dns *dns = cavity(&cavity_100, N, GRIDS, (const double[GRIDS]){12, 5, 2});
    const cavity_errors e = compare_cavity(dns, &cavity_100, N);
    fx_dns_state before, after;
    ok(fx_dns_measure(dns, &before));
    ok(fx_dns_advance(dns, fx_dns_time(dns) + 0.2 * pi, &after));
    printf(
        "Re 100, N 128: off Ghia by %.5f in u, %.5f in v; least u %.5f, v %.5f to %.5f; E changes by "
        "%.1e in 0.1\n",
        e.u, e.v, e.least_u, e.least_v, e.most_v, after.energy / before.energy - 1);
    assert_true(fabs(after.energy / before.energy - 1) < 1e-4);
    assert_true(e.u < 0.01 && e.v < 0.01);
    assert_true(fabs(e.least_u - cavity_100.least_u) < 2e-3);
    assert_true(fabs(e.most_v - cavity_100.most_v) < 2e-3);
    assert_true(fabs(e.least_v - cavity_100.least_v) < 2e-3);
    fx_dns_free(&dns);
}

/* w at t = 0.2 on points 2 pi i / 64 of the inner half of the box. */
static double *vortices_later(int64_t n, bool walls)
{
    enum { POINTS = 32 };
    const int64_t output = walls ? n + 1 : n;
    const fx_dns_options options = {
        .grid = n, .output_grid = output, .viscosity = 0.01, .courant = 0.6, .walls = walls};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    double *start = vortices(n, 0.4, 15), *all = field(output * output), *w = field(POINTS * POINTS);
    ok(fx_dns_start(dns, start));
    ok(fx_dns_advance(dns, 0.2, NULL));
    ok(fx_dns_sample(dns, FX_DNS_W, all));
    for (int64_t j = 0; j < POINTS; j++)
        for (int64_t i = 0; i < POINTS; i++)
            w[j * POINTS + i] = all[((j + 16) * output + i + 16) * (n / 64)];
    fx_dns_free(&dns);
    fx_free(start);
    fx_free(all);
    return w;
}

static void far_from_walls_it_is_the_spectral_solver(void **state)
{
    (void)state;
    double *spectral = vortices_later(128, false), error[3];
    for (int i = 0; i < 3; i++) {
        double *w = vortices_later(64 << i, true);
        error[i] = rfne(w, spectral, 32 * 32);
        fx_free(w);
    }
    const double order = log2(error[1] / error[2]);
    printf("against the spectral solver: %.4f, %.4f, %.5f: order %.2f\n", error[0], error[1], error[2],
           order);
    assert_true(error[2] < 0.02);
    assert_true(fabs(order - 2) < 0.2);
    fx_free(spectral);
}

static double *after_steps(int steps)
{
    enum { N = 32 };
    const fx_dns_options options = {.grid = N,
                                    .output_grid = N + 1,
                                    .viscosity = 0.02,
                                    .courant = INFINITY,
                                    .walls = true,
                                    .lid = 0.5};
    fx_dns *dns = NULL;
    double *w = vortices(N, 1, 5);
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    ok(fx_dns_start(dns, w));
    for (int i = 1; i <= steps; i++)
        ok(fx_dns_step(dns, (double)i / steps));
    assert_int_equal(fx_dns_steps(dns), steps);
    fx_free(w);
    w = nodes_of(dns, N, FX_DNS_W);
    fx_dns_free(&dns);
    return w;
}

static void order_in_time_is_four(void **state)
{
    (void)state;
    enum { VALUES = 33 * 33 };
    double *exact = after_steps(640), error[2];
    for (int i = 0; i < 2; i++) {
        double *w = after_steps(20 << i);
        error[i] = rfne(w, exact, VALUES);
        fx_free(w);
    }
    const double order = log2(error[0] / error[1]);
    if (!(fabs(order - 4) < 0.2)) fail_msg("%.2e, %.2e: order %.3f", error[0], error[1], order);
    fx_free(exact);
}

/* Where node (i, j) goes; `sign`: of w there. Mirrors turn vortices round. */
typedef struct symmetry {
    const char *name;
    int xx, xy, yx, yy, sign;
} symmetry;

static int64_t moved(const symmetry *s, int64_t n, int64_t i, int64_t j)
{
    const int64_t x = s->xx * i + s->xy * j, y = s->yx * i + s->yy * j;
    return (y + (s->yx + s->yy < 0 ? n : 0)) * (n + 1) + x + (s->xx + s->xy < 0 ? n : 0);
}

static double *after_start(const symmetry *s)
{
    enum { N = 48 };
    fx_dns *dns = make(N, N + 1, 0.005);
    double *w = field(N * N);
    for (int64_t j = 1; j < N; j++)
        for (int64_t i = 1; i < N; i++) {
            const int64_t to = moved(s, N, i, j);
            w[to / (N + 1) * N + to % (N + 1)] = 20 * s->sign * noise(j * N + i);
        }
    ok(fx_dns_start(dns, w));
    ok(fx_dns_advance(dns, 0.5, NULL));
    fx_free(w);
    w = nodes_of(dns, N, FX_DNS_W);
    fx_dns_free(&dns);
    return w;
}

static void the_box_is_as_symmetric_as_a_square(void **state)
{
    (void)state;
    enum { N = 48 };
    static const symmetry all[] = {{"none", 1, 0, 0, 1, 1},
                                   {"quarter turn", 0, -1, 1, 0, 1},
                                   {"mirror in x", -1, 0, 0, 1, -1},
                                   {"diagonal", 0, 1, 1, 0, -1}};
    double *plain = after_start(&all[0]);
    for (int s = 1; s < 4; s++) {
        double *w = after_start(&all[s]);
        for (int64_t j = 0; j <= N; j++)
            for (int64_t i = 0; i <= N; i++) {
                const double a = all[s].sign * w[moved(&all[s], N, i, j)], b = plain[j * (N + 1) + i];
                if (!(fabs(a - b) < 1e-9))
                    fail_msg("%s, node %lld, %lld: %g, not %g", all[s].name, (long long)i, (long long)j,
                             a, b);
            }
        fx_free(w);
    }
    fx_free(plain);
}

static void bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    enum { N = 48 };
    const symmetry none = {"none", 1, 0, 0, 1, 1};
    omp_set_num_threads(1);
    double *one = after_start(&none);
    omp_set_num_threads(3);
    double *three = after_start(&none);
    omp_set_num_threads(1);
    assert_memory_equal(one, three, sizeof *one * (N + 1) * (N + 1));
    fx_free(one);
    fx_free(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisson_is_solved),
        cmocka_unit_test(threads_share_poisson_s_equation),
        cmocka_unit_test(energy_goes_to_walls_and_viscosity_alone),
        cmocka_unit_test(cavity_is_that_of_the_tables),
        cmocka_unit_test(far_from_walls_it_is_the_spectral_solver),
        cmocka_unit_test(order_in_time_is_four),
        cmocka_unit_test(the_box_is_as_symmetric_as_a_square),
        cmocka_unit_test(bits_do_not_depend_on_threads),
    };
    return cmocka_run_group_tests_name("dns walls", tests, NULL, NULL);
}
