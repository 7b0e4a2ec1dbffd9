/* test_vecmath.c: the exponential and the sigmoid of vecmath.h against double, over their whole range,
 * and the sums with a fixed order.
 * Planted and caught (vecmath.h): the second part of ln 2 left out; a coefficient off by 2^-12 of
 * itself; no lower bound; the tail of fx_dot left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/vecmath.h"

static double ulps(float got, double want)
{
    const float near = (float)want;
    return fabs((double)got - want) / ((double)nextafterf(near, INFINITY) - (double)near);
}

static void exponential_and_sigmoid(void **state)
{
    (void)state;
    double worst_exp = 0, worst_sigmoid = 0;
    for (double x = -86.9; x < 87.9; x += 0.00113) {
        worst_exp = fmax(worst_exp, ulps(fx_exp((float)x), exp((double)(float)x)));
        worst_sigmoid =
            fmax(worst_sigmoid, ulps(fx_sigmoid((float)x), 1 / (1 + exp(-(double)(float)x))));
    }
    assert_true(worst_exp < 1.1 && worst_sigmoid < 3);
}

static void ends(void **state)
{
    (void)state;
    assert_true(fx_exp(0.0f) == 1.0f && fx_sigmoid(0.0f) == 0.5f);
    assert_true(fx_exp(-1e30f) == fx_exp(-87.0f) && fx_exp(1e30f) == fx_exp(88.0f));
    assert_true(fx_exp(-INFINITY) < 2e-38f && fx_exp(INFINITY) > 1e38f);
    assert_true(isnan(fx_exp(NAN)) && isnan(fx_silu(NAN)) && isnan(fx_dsilu(NAN)));
    assert_true(fx_silu(200.0f) == 200.0f && fabsf(fx_silu(-200.0f)) < 1e-35f);
    assert_true(fx_dsilu(200.0f) == 1.0f && fabsf(fx_dsilu(-200.0f)) < 1e-35f);
}

static void sums(void **state)
{
    (void)state;
    float x[70], y[70];
    for (int i = 0; i < 70; i++) {
        x[i] = 1.0f + (float)i;
        y[i] = i % 2 ? 1.0f : -2.0f;
    }
    for (int count = 0; count <= 70; count++) {
        double sum = 0, dot = 0;
        for (int i = 0; i < count; i++) {
            sum += (double)x[i];
            dot += (double)x[i] * (double)y[i];
        }
        assert_true(fx_sum(x, count) == sum && fx_dot(x, y, count) == dot); /* small integers: exact */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exponential_and_sigmoid),
                                       cmocka_unit_test(ends), cmocka_unit_test(sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
