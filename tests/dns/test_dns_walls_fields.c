/* test_dns_walls_fields.c: the flow solver between no-slip walls: the field of a seed, what is sampled
 * of w, u and v, and what is refused.
 *
 * Planted in the code, caught here, removed: centres of cells taken for corners; one node for the mean
 * of four; v of the other sign; a start read one node off. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "walls.h"

static const double pi = 3.14159265358979323846;

/* One seed is one field whose psi and velocity vanish on the walls, the finer the grid the more so. */
static void a_seed_is_one_field(void **state)
{
    (void)state;
    enum { POINTS = 32 };
    double *w[3], slip[3];
    for (int g = 0; g < 3; g++) {
        const int64_t n = 128 << g;
        fx_dns *dns = make(n, POINTS, 0.001), *fine = make(n, n + 1, 0.001);
        fx_dns_state s;
        w[g] = field(POINTS * POINTS);
        ok(fx_dns_start_random(dns, 3));
        ok(fx_dns_start_random(fine, 3));
        ok(fx_dns_sample(dns, FX_DNS_W, w[g]));
        ok(fx_dns_measure(dns, &s));
        double *u = nodes_of(fine, n, FX_DNS_U);
        slip[g] = 0;
        for (int64_t i = 0; i <= n; i++)
            slip[g] = fmax(slip[g], fabs(u[n + 1 + i]));
        printf("N %lld: E %.4f, Z %.3f, max |w| %.1f, max |u| beside a wall %.4f\n", (long long)n,
               s.energy, s.enstrophy, s.peak, slip[g]);
        if (g == 2) assert_true(s.energy > 0.36 && s.energy < 0.48 && s.peak < 80);
        fx_free(u);
        fx_dns_free(&dns);
        fx_dns_free(&fine);
    }
    const double coarse = rfne(w[0], w[2], POINTS * POINTS), fine = rfne(w[1], w[2], POINTS * POINTS);
    printf("seed 3 on N 128 and 256 against 512: %.4f and %.4f\n", coarse, fine);
    assert_true(fine < 0.02 && coarse / fine > 4);
    assert_true(slip[1] < 0.6 * slip[0] && slip[2] < 0.6 * slip[1]);
    for (int g = 0; g < 3; g++)
        fx_free(w[g]);
}

/* Away from the walls it is the periodic field of that seed. */
static void a_seed_is_the_periodic_field_inside(void **state)
{
    (void)state;
    enum { N = 256, FIRST = N / 4, POINTS = N / 2 };
    const fx_dns_options options = {.grid = N, .viscosity = 0.01, .courant = 0.6};
    fx_dns *walls = make(N, N + 1, 0.01), *periodic = NULL;
    double *all = field(N * N), *inside = field(POINTS * POINTS), *wanted = field(POINTS * POINTS);
    ok(fx_dns_create(&periodic, fx_comm_self(), &options));
    ok(fx_dns_start_random(walls, 9));
    ok(fx_dns_start_random(periodic, 9));
    double *nodes = nodes_of(walls, N, FX_DNS_W);
    ok(fx_dns_sample(periodic, FX_DNS_W, all));
    for (int64_t j = 0; j < POINTS; j++)
        for (int64_t i = 0; i < POINTS; i++) {
            inside[j * POINTS + i] = nodes[(FIRST + j) * (N + 1) + FIRST + i];
            wanted[j * POINTS + i] = all[(FIRST + j) * N + FIRST + i];
        }
    const double error = rfne(inside, wanted, POINTS * POINTS);
    if (!(error < 0.03)) fail_msg("off by %.4f", error);
    fx_free(all);
    fx_free(inside);
    fx_free(wanted);
    fx_free(nodes);
    fx_dns_free(&walls);
    fx_dns_free(&periodic);
}

/* The first step to t = 10 of a flow of strength w0 under a moving wall. */
static double first_step(double w0, double lid, double nu, double courant, double *fastest)
{
    enum { N = 64 };
    const fx_dns_options options = {.grid = N,
                                    .output_grid = N + 1,
                                    .viscosity = nu,
                                    .courant = courant,
                                    .walls = true,
                                    .lid = lid};
    fx_dns *dns = NULL;
    double *w = vortices(N, 0.8, w0);
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    ok(fx_dns_start(dns, w));
    double *u = nodes_of(dns, N, FX_DNS_U), *v = nodes_of(dns, N, FX_DNS_V);
    *fastest = 0;
    for (int64_t i = 0; i < (N + 1) * (N + 1); i++)
        *fastest = fmax(*fastest, fabs(u[i]) + fabs(v[i]));
    ok(fx_dns_step(dns, 10));
    const double step = fx_dns_time(dns);
    fx_free(w);
    fx_free(u);
    fx_free(v);
    fx_dns_free(&dns);
    return step;
}

static void steps_are_as_long_as_speed_and_viscosity_allow(void **state)
{
    (void)state;
    const double h = 2 * pi / 64;
    double fastest, step = first_step(3, 0, 1e-4, 0.7, &fastest);
    assert_true(fastest > 0.5 && fabs(step - 10 / ceil(10 * fastest / (0.7 * h))) < 1e-12);
    step = first_step(3, 5, 1e-4, 0.7, &fastest);
    assert_true(fastest == 5 && fabs(step - 10 / ceil(50 / (0.7 * h))) < 1e-12);
    step = first_step(1e-3, 0, 0.5, 0.7, &fastest);
    assert_true(fabs(step - 10 / ceil(10 * 3.6 * 0.5 / (h * h))) < 1e-12);
}

/* What is sampled: the nodes, or at cell centres a node or the mean of four. */
static void centres_of_cells_are_sampled(void **state)
{
    (void)state;
    enum { N = 48 };
    const int64_t grids[] = {48, 24, 16, 12};
    fx_dns *all = make(N, N + 1, 0.01);
    ok(fx_dns_start_random(all, 5));
    ok(fx_dns_step(all, 0.01));
    for (int f = 0; f < 3; f++) {
        double *nodes = nodes_of(all, N, (fx_dns_field)f);
        for (int g = 0; g < 4; g++) {
            const int64_t m = grids[g], cell = N / m;
            fx_dns *dns = make(N, m, 0.01);
            double *got = field(m * m);
            ok(fx_dns_start_random(dns, 5));
            ok(fx_dns_step(dns, 0.01));
            ok(fx_dns_sample(dns, (fx_dns_field)f, got));
            for (int64_t k = 0; k < m * m; k++) {
                double sum =
                    0; /* of the four nodes nearest to the centre, twice the same if cell is even */
                for (int64_t c = 0; c < 4; c++) {
                    const int64_t x = (2 * (k % m) * cell + cell + c % 2) / 2,
                                  y = (2 * (k / m) * cell + cell + c / 2) / 2;
                    sum += nodes[y * (N + 1) + x];
                }
                assert_true(fabs(got[k] - sum / 4) < 1e-13);
            }
            fx_free(got);
            fx_dns_free(&dns);
        }
        fx_free(nodes);
    }
    fx_dns_free(&all);
}

/* u and v on nodes are those of w: v_x - u_y over a cell is near the mean of its corners. */
static void velocity_is_that_of_w(void **state)
{
    (void)state;
    enum { N = 256 };
    fx_dns *dns = make(N, N + 1, 0.01);
    double *start = vortices(N, 0.8, 3);
    ok(fx_dns_start(dns, start));
    double *u = nodes_of(dns, N, FX_DNS_U), *v = nodes_of(dns, N, FX_DNS_V);
    const double h = 2 * pi / N;
    for (int64_t j = 1; j < N - 1; j++)
        for (int64_t i = 1; i < N - 1; i++) {
            const int64_t at = j * (N + 1) + i;
            const double x = (v[at + 1] - v[at - 1]) / (2 * h),
                         y = (u[at + N + 1] - u[at - N - 1]) / (2 * h);
            if (!(fabs(x - y - start[j * N + i]) < 0.03))
                fail_msg("node %lld, %lld: %g, not %g", (long long)i, (long long)j, x - y,
                         start[j * N + i]);
        }
    fx_free(start);
    fx_free(u);
    fx_free(v);
    fx_dns_free(&dns);
}

static void refuse(const fx_dns_options *options, const char *word)
{
    fx_dns *dns = NULL;
    assert_int_equal(fx_dns_create(&dns, fx_comm_self(), options), FX_EARG);
    assert_null(dns);
    if (!strstr(fx_error_message(), word)) fail_msg("no '%s' in: %s", word, fx_error_message());
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    const fx_dns_options good = {.grid = 32, .viscosity = 1, .courant = 1, .walls = true};
    fx_dns_options o = good;
    o.output_grid = 20;
    refuse(&o, "an output grid of 20");
    o.output_grid = 34;
    refuse(&o, "output grid of 34");
    o = good;
    o.viscosity = 0;
    refuse(&o, "viscosity 0");
    o = good;
    o.mean_flow[1] = 1;
    refuse(&o, "mean flow");
    o = good;
    o.walls = false;
    o.lid = 1;
    refuse(&o, "without walls");
    o.lid = 0;
    o.output_grid = 33;
    refuse(&o, "output grid of 33");
}

static void what_is_not_finite_is_seen(void **state)
{
    (void)state;
    enum { N = 32 };
    fx_dns *dns = make(N, N, 0.01);
    double *w = field(N * N);
    w[5 * N + 29] = NAN;
    ok(fx_dns_start(dns, w));
    assert_int_equal(fx_dns_step(dns, 1), FX_EVALUE);
    assert_int_equal(fx_dns_advance(dns, 1, NULL), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "not finite"));
    fx_free(w);
    fx_dns_free(&dns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_is_one_field),
        cmocka_unit_test(a_seed_is_the_periodic_field_inside),
        cmocka_unit_test(steps_are_as_long_as_speed_and_viscosity_allow),
        cmocka_unit_test(centres_of_cells_are_sampled),
        cmocka_unit_test(velocity_is_that_of_w),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(what_is_not_finite_is_seen),
    };
    return cmocka_run_group_tests_name("dns walls, fields", tests, NULL, NULL);
}
