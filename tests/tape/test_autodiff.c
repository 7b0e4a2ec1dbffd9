/* test_autodiff.c: gradients as the tape adds them up: a fan-out through passed-on gradients against
 * its closed form, objectives that can't be, and two micro-batches (with recomputation) against one
 * batch.
 *
 * Planted errors, each caught: a second reader that overwrites the gradient instead of adding; a
 * gradient passed on where one stands already; an objective twice that counts once.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/layers.h"
#include "small_flex.h"

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

/* y = w x, z = v x, y2 = y + 3 z, s = y + 2 y2, r = u s + y, out = r + 5 y, objective 4 out. With x =
 * 1: d / dw = 4 (3 u + 1 + 5), d / dv = 4 u 6, d / du = 4 s. */
static void fan_out_adds_up(void **state)
{
    (void)state;
    fx_exec *exec = NULL;
    fx_params *params = NULL;
    fx_builder *g = NULL;
    fx_program *p = NULL;
    fx_param **order = NULL;
    OK(small_exec(&exec));
    OK(fx_params_create(&params));
    OK(fx_builder_create(params, &g));
    const fx_linear_options plain = {.no_bias = true};
    fx_tensor *x = fx_input(g, "x", 2, FX_DIMS(1, 1));
    fx_tensor *y = fx_linear(g, "w", x, 1, plain), *z = fx_linear(g, "v", x, 1, plain);
    fx_tensor *y2 = fx_add(g, "y2", y, z, NULL, 3.0f);
    fx_tensor *s = fx_add(g, "s", y, y2, NULL, 2.0f);
    fx_tensor *r = fx_linear(g, "u", s, 1, (fx_linear_options){.no_bias = true, .residual = y});
    fx_tensor *out = fx_keep(g, fx_add(g, "out", r, y, NULL, 5.0f));
    fx_objective(g, out, 4.0f);
    fx_autodiff(g, FX_RECOMPUTE_NONE);
    assert_int_equal(fx_readiness(g, &order), 3);
    OK(fx_params_allocate(params, exec, order, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_GRADIENT));
    OK(fx_program_create(exec, &g, false, &p));
    static const struct {
        const char *name;
        float value, gradient;
    } rows[] = {{"w.weight", 2, 4 * (0.5f * 3 + 1 + 5)},
                {"v.weight", 3, 4 * 0.5f * 6},
                {"u.weight", 0.5f, 4 * (2 + 2 * 11)}};
    const float one = 1;
    OK(fx_program_write(p, x, &one));
    for (size_t i = 0; i < 3; i++)
        OK(fx_params_write(params, exec, fx_params_find(params, rows[i].name), FX_SLAB_VALUE,
                           &rows[i].value));
    OK(fx_program_run(p, &(fx_step){.seed = 1}, NULL));
    for (size_t i = 0; i < 3; i++) {
        float d = 0;
        OK(fx_params_read(params, exec, fx_params_find(params, rows[i].name), FX_SLAB_GRADIENT, &d));
        if (d != rows[i].gradient)
            fail_msg("%s: %g, not %g", rows[i].name, (double)d, (double)rows[i].gradient);
    }
    fx_program_free(&p);
    fx_params_free(&params);
    exec->backend->close(&exec);
}

static void objectives_are_refused(void **state)
{
    (void)state;
    fx_params *params = NULL;
    OK(fx_params_create(&params));
    for (int twice = 0; twice < 2; twice++) {
        fx_builder *g = NULL;
        OK(fx_builder_create(params, &g));
        fx_tensor *x = fx_input(g, "x", 2, FX_DIMS(1, 1));
        fx_tensor *y = fx_linear(g, "w", x, 1, (fx_linear_options){.no_bias = true});
        fx_objective(g, twice ? y : x, 1.0f);
        if (twice) fx_objective(g, y, 1.0f);
        fx_autodiff(g, FX_RECOMPUTE_NONE);
        assert_int_equal(fx_builder_status(g), FX_EARG);
        assert_non_null(strstr(fx_error_message(), twice ? "twice" : "does not depend"));
        fx_builder_free(&g);
    }
    fx_params_free(&params);
}

/* ---- Small networks. */

static fx_trainee *trainee(fx_exec *exec, const char *const *network, const char *setting,
                           fx_recompute recompute)
{
    const char *settings[16] = {NULL};
    fx_step_options options;
    fx_trainee *t = NULL;
    int n = 0;
    while (network[n]) {
        settings[n] = network[n];
        n++;
    }
    settings[n] = setting;
    OK(small_options(settings, &options));
    options.recompute = recompute;
    OK(fx_trainee_create(exec, &options, false, &t));
    OK(small_weights(t));
    return t;
}

/* With what is dropped being a sample's, and forward nodes run again. */
static void check_micro_batches(const char *const *network, fx_recompute recompute)
{
    fx_exec *exec = NULL;
    fx_step_report one, two;
    OK(small_exec(&exec));
    fx_trainee *whole = trainee(exec, network, "train.accumulate=1", FX_RECOMPUTE_NONE);
    fx_trainee *halves = trainee(exec, network, "train.accumulate=2", recompute);
    OK(small_step(whole, true, &one));
    OK(small_step(halves, true, &two));
    assert_true(one.loss > 0.01 && fabs(one.loss - two.loss) < 1e-6 * one.loss);
    for (int i = 0; i < fx_params_count(whole->params); i++) {
        const fx_param *p = fx_params_at(whole->params, i);
        if (!p->trained) continue;
        const fx_param *q = fx_params_find(halves->params, p->name);
        const float *a = p->gradient[0].data, *b = q->gradient[0].data;
        double norm = 0, difference = 0;
        for (int64_t k = 0; k < fx_count(&p->value); k++) {
            norm += (double)a[k] * (double)a[k];
            difference += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]);
        }
        if (!(sqrt(difference) <= 2e-5 * sqrt(norm) + 1e-6 * one.norm))
            fail_msg("%s: %g of %g", p->name, sqrt(difference), sqrt(norm));
    }
    fx_trainee_free(&whole);
    fx_trainee_free(&halves);
    exec->backend->close(&exec);
}

static void micro_batches_add_up_to_the_batch(void **state)
{
    (void)state;
    check_micro_batches(SMALL_SETTINGS, FX_RECOMPUTE_CHEAP);
    check_micro_batches(SMALL_UNET, FX_RECOMPUTE_RESBLOCK);
    check_micro_batches(SMALL_UVIT, FX_RECOMPUTE_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fan_out_adds_up),
        cmocka_unit_test(objectives_are_refused),
        cmocka_unit_test(micro_batches_add_up_to_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
