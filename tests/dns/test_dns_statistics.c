/* test_dns_statistics.c: the decay of turbulence at Re 2000 on a grid of 512, three seeds, against
 * another solver (SSP Runge-Kutta of order three, advection as u w_x + v w_y, five transforms) started
 * from the same fields. From seed to seed E scatters by 3 % and Z by 12 % at t = 10, so a table made
 * with other phases can't be held to less.
 *
 * Run: label long
 * Run: timeout 7200
 *
 * Planted in the code, caught here, removed: viscosity 3 % too small. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "flexhpc/dns.h"

enum { SEEDS = 3, TIMES = 6 };

static const double times[TIMES] = {1, 2, 4, 6, 10, 12};

/* E, Z of the other solver at these times. */
static const double other[SEEDS][TIMES][2] = {
    {{.388597, 56.23610},
     {.347994, 29.37398},
     {.308693, 13.38782},
     {.288130, 7.96314},
     {.265051, 4.29304},
     {.257282, 3.50635}},
    {{.388396, 56.63713},
     {.347930, 29.30782},
     {.308602, 13.64878},
     {.287037, 8.61741},
     {.261616, 4.80138},
     {.253041, 3.82316}},
    {{.388657, 56.15276},
     {.347689, 30.36853},
     {.307289, 13.55111},
     {.286605, 8.10323},
     {.262777, 4.50503},
     {.254676, 3.63769}},
};

static void decay_at_re_2000(void **state)
{
    (void)state;
    for (int seed = 1; seed <= SEEDS; seed++) {
        const fx_dns_options options = {.grid = 512, .viscosity = 1.0 / 2000, .courant = 0.6};
        fx_dns *dns = NULL;
        assert_int_equal(fx_dns_create(&dns, fx_comm_self(), &options), FX_OK);
        assert_int_equal(fx_dns_start_random(dns, (uint64_t)seed), FX_OK);
        for (int i = 0; i < TIMES; i++) {
            fx_dns_state s;
            if (fx_dns_advance(dns, times[i], &s) != FX_OK) fail_msg("%s", fx_error_message());
            const double e = s.energy / other[seed - 1][i][0] - 1;
            const double z = s.enstrophy / other[seed - 1][i][1] - 1;
            printf("seed %d t %g: E %.6f (%+.4f %%) Z %.5f (%+.4f %%) kurtosis %.1f k_max/k_d %.2f\n",
                   seed, s.time, s.energy, 100 * e, s.enstrophy, 100 * z, s.kurtosis, s.resolution);
            fflush(stdout);
            assert_true(fabs(e) < 0.002 && fabs(z) < 0.01);
        }
        fx_dns_free(&dns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decay_at_re_2000)};
    return cmocka_run_group_tests_name("dns statistics", tests, NULL, NULL);
}
