/* test_dns_initial.c: the random initial field: its spectrum, integral measures, and that a seed is one
 * field at every resolution. Planted in the code, caught here, removed:
 *   phases drawn by the place in the array           one field at every resolution
 *   the sign of eta not turned for ky < 0             phases belong to quadrants
 *   k^3 for k^4                                       moduli */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dns/spectral.h"
#include "flexhpc/dns.h"
#include "flexhpc/mem.h"

static void ok(fx_status status)
{
    if (status != FX_OK) fail_msg("%s", fx_error_message());
}

static double modulus(double k)
{
    const double pi = acos(-1), e = 4 / (3 * sqrt(pi) * 1e5) * pow(k, 4) * exp(-k * k / 100);
    return sqrt(k * e / pi);
}

static void moduli_are_those_of_the_spectrum(void **state)
{
    (void)state;
    const fx_modes m = fx_modes_of(fx_comm_self(), 96);
    fx_complex *w = NULL;
    ok(FX_ALLOC(w, fx_modes_count(&m)));
    fx_random_vorticity(&m, 7, w);
    for (int64_t kx = 0; kx <= m.cut; kx++)
        for (int64_t j = 0; j < m.heights; j++) {
            const int64_t ky = fx_modes_ky(&m, j);
            const fx_complex z = w[kx * m.heights + j];
            const double expected = kx && ky ? modulus(hypot((double)kx, (double)ky)) : 0;
            if (!(fabs(hypot(z.re, z.im) - expected) <= 1e-14))
                fail_msg("mode (%d, %d): %g, not %g", (int)kx, (int)ky, hypot(z.re, z.im), expected);
        }
    fx_free(w);
}

/* arg W(kx, ky) + arg W(kx, -ky) = 2 xi, their difference 2 eta: both must be spread over the circle.
 */
static void phases_are_spread(void **state)
{
    (void)state;
    const fx_modes m = fx_modes_of(fx_comm_self(), 128);
    fx_complex *w = NULL;
    ok(FX_ALLOC(w, fx_modes_count(&m)));
    fx_random_vorticity(&m, 7, w);
    double mean[4] = {0};
    int count = 0;
    for (int64_t kx = 1; kx <= 20; kx++)
        for (int64_t ky = 1; ky <= 20; ky++, count++) {
            const fx_complex a = w[kx * m.heights + ky], b = w[(kx + 1) * m.heights - ky];
            const double up = atan2(a.im, a.re), down = atan2(b.im, b.re);
            mean[0] += cos(up + down), mean[1] += sin(up + down);
            mean[2] += cos(up - down), mean[3] += sin(up - down);
        }
    for (int i = 0; i < 4; i++) /* standard deviation sqrt(1 / 800) = 0.035 */
        if (!(fabs(mean[i] / count) < 0.14)) fail_msg("mean of phase %d: %g", i, mean[i] / count);
    fx_free(w);
}

static void measures_are_the_published_ones(void **state)
{
    (void)state;
    double energy = 0, enstrophy = 0; /* sums over the whole plane */
    for (int kx = 1; kx <= 80; kx++)
        for (int ky = 1; ky <= 80; ky++) {
            const double k2 = kx * kx + ky * ky, half = 4 * 0.5 * pow(modulus(sqrt(k2)), 2);
            energy += half / k2;
            enstrophy += half;
        }
    for (uint64_t seed = 1; seed <= 3; seed++) {
        fx_dns *dns = NULL;
        const fx_dns_options options = {.grid = 256, .viscosity = 1e-3, .courant = 0.6};
        ok(fx_dns_create(&dns, fx_comm_self(), &options));
        ok(fx_dns_start_random(dns, seed));
        fx_dns_state s;
        ok(fx_dns_measure(dns, &s));
        assert_true(fabs(s.energy / energy - 1) < 1e-10);
        assert_true(fabs(s.enstrophy / enstrophy - 1) < 1e-10);
        assert_true(fabs(s.energy / 0.4761 - 1) < 0.005);
        assert_true(fabs(s.enstrophy / 120.2 - 1) < 0.005);
        assert_true(fabs(s.rms - sqrt(2 * s.enstrophy)) < 1e-10);
        if (!(s.kurtosis > 2.6 && s.kurtosis < 3.4)) fail_msg("kurtosis %g", s.kurtosis);
        if (!(s.peak > 50 && s.peak < 90)) fail_msg("max |w| %g", s.peak);
        fx_dns_free(&dns);
    }
}

static void a_seed_is_one_field_at_every_resolution(void **state)
{
    (void)state;
    enum { OUT = 64 };
    double *w[3] = {NULL};
    for (int i = 0; i < 3; i++) { /* the third is another seed */
        const fx_dns_options options = {
            .grid = i ? 192 : 128, .output_grid = OUT, .viscosity = 1e-3, .courant = 0.6};
        fx_dns *dns = NULL;
        ok(fx_dns_create(&dns, fx_comm_self(), &options));
        ok(FX_ALLOC(w[i], OUT * OUT));
        ok(fx_dns_start_random(dns, i == 2 ? 12 : 11));
        ok(fx_dns_sample(dns, FX_DNS_W, w[i]));
        fx_dns_free(&dns);
    }
    double same = 0, other = 0;
    for (int i = 0; i < OUT * OUT; i++) {
        same = fmax(same, fabs(w[0][i] - w[1][i]));
        other = fmax(other, fabs(w[0][i] - w[2][i]));
    }
    if (!(same < 1e-11)) fail_msg("one seed, two fields: %g", same);
    assert_true(other > 10);
    for (int i = 0; i < 3; i++)
        fx_free(w[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moduli_are_those_of_the_spectrum),
        cmocka_unit_test(phases_are_spread),
        cmocka_unit_test(measures_are_the_published_ones),
        cmocka_unit_test(a_seed_is_one_field_at_every_resolution),
    };
    return cmocka_run_group_tests_name("dns initial", tests, NULL, NULL);
}
