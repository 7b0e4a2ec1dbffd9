/* test_schedule.c: the noise schedule at known times (30-digit arithmetic from the formulas of spec 6)
 * and the loss weights.
 * Planted and caught (schedule.c): the bounds taken as 10 for 20; logsnr without its factor 2; the
 * weight of v with alpha and sigma exchanged; the sign of the bias of eps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include "flexhpc/schedule.h"

static void assert_close(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-13 * fmax(1.0, fabs(want)));
}

static void known_times(void **state)
{
    (void)state;
    static const struct {
        double t, shift, alpha, sigma, logsnr;
    } known[] = {
        {0, 1, 0.99999999896942319, 4.5399929715696737e-5, 20},
        {0.25, 1, 0.92387084537278594, 0.3827044042994199, 1.7626187665611516},
        {0.5, 1, 0.70710678118654752, 0.70710678118654752, 0},
        {0.3, 0.5, 0.96904417007934988, 0.24688741651859055, 2.7347555297192288},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const fx_noise_level level = fx_schedule(known[i].t, known[i].shift);
        assert_close(level.alpha, known[i].alpha);
        assert_close(level.sigma, known[i].sigma);
        assert_close(level.logsnr, known[i].logsnr);
    }
    const fx_noise_level end = fx_schedule(1, 1); /* badly conditioned: tan near pi / 2 */
    assert_true(fabs(end.alpha / 4.5399929715696737e-5 - 1) < 1e-9 && fabs(end.logsnr + 20) < 1e-9);
}

static void weights(void **state)
{
    (void)state;
    const fx_noise_level level = {.alpha = 0.8, .sigma = 0.6, .logsnr = 0.5753641449035618};
    fx_schedule_attrs a = {FX_PREDICT_V, 1.0, true, -1.0};
    assert_close(fx_loss_weight(&a, level), 1 / (0.64 * exp(1) + 0.36));
    a.predict = FX_PREDICT_EPS;
    assert_close(fx_loss_weight(&a, level), 1 / (1 + exp(1 + level.logsnr)));
    a.predict = FX_PREDICT_X;
    assert_close(fx_loss_weight(&a, level), 1);
    a = (fx_schedule_attrs){FX_PREDICT_V, 1.0, false, -1.0};
    assert_close(fx_loss_weight(&a, level), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_times), cmocka_unit_test(weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
