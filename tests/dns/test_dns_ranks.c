/* test_dns_ranks.c: the ranks of a job share one flow: the same field as one rank alone, to rounding.
 *
 * Run: ranks 1 2 4
 *
 * Planted in the code, caught here, removed:
 *   no exchange, each rank keeps what it has                fields differ
 *   the largest speed of the own rows only                  fields differ
 *   the mean flow put on every rank's first column          fields differ */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/dns.h"
#include "flexhpc/launch.h"
#include "flexhpc/mem.h"

enum { N = 96, OUT = 48, STEPS = 50 };

static fx_comm *world;

static void ok(fx_status status)
{
    if (status != FX_OK) fail_msg("%s", fx_error_message());
}

/* The flow after STEPS steps: u, v, w on the output grid, this communicator's rows. */
static double *solve(fx_comm *comm, fx_dns_state *measures)
{
    const fx_dns_options options = {
        .grid = N, .output_grid = OUT, .viscosity = 1e-3, .courant = 0.6, .mean_flow = {0.25, -0.5}};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, comm, &options));
    ok(fx_dns_start_random(dns, 5));
    for (int i = 0; i < STEPS; i++)
        ok(fx_dns_step(dns, 10));
    ok(fx_dns_measure(dns, measures));
    const int64_t count = OUT * OUT / comm->size;
    double *rows = fx_calloc((size_t)(3 * count), sizeof *rows);
    assert_non_null(rows);
    for (int field = 0; field < 3; field++)
        ok(fx_dns_sample(dns, (fx_dns_field)field, rows + field * count));
    fx_dns_free(&dns);
    return rows;
}

static void ranks_agree_with_one(void **state)
{
    (void)state;
    fx_dns_state alone, shared;
    double *one = solve(fx_comm_self(), &alone), *mine = solve(world, &shared);
    const int64_t count = OUT * OUT / world->size;
    for (int field = 0; field < 3; field++) {
        double difference = 0, largest = 0;
        for (int64_t i = 0; i < count; i++) {
            const double expected = one[field * OUT * OUT + world->rank * count + i];
            difference = fmax(difference, fabs(mine[field * count + i] - expected));
            largest = fmax(largest, fabs(expected));
        }
        if (!(difference <= 1e-12 * largest))
            fail_msg("rank %d, field %d: %g of %g", world->rank, field, difference, largest);
    }
    assert_true(fabs(shared.energy / alone.energy - 1) < 1e-12);
    assert_true(fabs(shared.enstrophy / alone.enstrophy - 1) < 1e-12);
    assert_true(fabs(shared.palinstrophy / alone.palinstrophy - 1) < 1e-12);
    assert_true(fabs(shared.kurtosis / alone.kurtosis - 1) < 1e-12);
    assert_true(fabs(shared.peak / alone.peak - 1) < 1e-12);
    assert_true(fabs(shared.time / alone.time - 1) < 1e-12);
    fx_free(one);
    fx_free(mine);
}

static void a_start_from_rows_is_that_field(void **state)
{
    (void)state;
    const double two_pi = 6.28318530717958647693;
    const fx_dns_options options = {.grid = N, .viscosity = 1, .courant = 0.6};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, world, &options));
    const int64_t rows = N / world->size;
    double *w = NULL, *back = NULL;
    ok(FX_ALLOC(w, rows * N));
    ok(FX_ALLOC(back, rows * N));
    for (int64_t i = 0; i < rows * N; i++) {
        const double y = two_pi * (double)(world->rank * rows + i / N) / N,
                     x = two_pi * (double)(i % N) / N;
        w[i] = cos(2 * x + 3 * y) - 0.5 * sin(31 * x - 7 * y);
    }
    ok(fx_dns_start(dns, w));
    ok(fx_dns_sample(dns, FX_DNS_W, back));
    double difference = 0;
    for (int64_t i = 0; i < rows * N; i++)
        difference = fmax(difference, fabs(back[i] - w[i]));
    if (!(difference < 1e-13)) fail_msg("rank %d: %g", world->rank, difference);
    fx_free(w);
    fx_free(back);
    fx_dns_free(&dns);
}

static void ranks_must_divide_the_grid(void **state)
{
    (void)state;
    if (world->size == 1) skip();
    const fx_dns_options options = {.grid = N + 2, .viscosity = 1, .courant = 0.6};
    fx_dns *dns = NULL;
    if ((N + 2) % world->size == 0) skip();
    assert_int_equal(fx_dns_create(&dns, world, &options), FX_EARG);
    assert_non_null(strstr(fx_error_message(), "does not divide"));
    assert_null(dns);
}

int main(int argc, char **argv)
{
    fx_status status = fx_comm_start(&argc, &argv, &world);
    if (status != FX_OK) return fx_comm_finish(&world, status);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_agree_with_one),
        cmocka_unit_test(a_start_from_rows_is_that_field),
        cmocka_unit_test(ranks_must_divide_the_grid),
    };
    const int failed = cmocka_run_group_tests_name("dns ranks", tests, NULL, NULL);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&world, status);
}
