/* test_model_options.c: tasks, weak levels and latent patches in all combinations build the networks
 * they need and no others, with the tokens they need; initial values lie in their ranges (flex-model
 * 5).
 *
 * Planted errors, each caught: Xavier over fan_in alone; a last convolution that starts uniform;
 * conditioning that looks for super-resolution features where only the forecast's exist.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/mem.h"
#include "flexhpc/train.h"

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

/* Records the network once; the parameters are described then. */
static fx_tensor *record(fx_builder *g, const fx_model *m)
{
    const int64_t s = m->image, tasks = m->tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    fx_conditions conditions;
    fx_tensor *lowres = fx_input(g, "lowres", 4, FX_DIMS(1, s, s, 1));
    fx_tensor *snapshots = fx_input(g, "snapshots", 4, FX_DIMS(1, s, s, m->cond));
    fx_tensor *re = fx_input(g, "re", 2, FX_DIMS(1, 1)), *t = fx_input(g, "t", 1, FX_DIMS(1));
    fx_tensor *z = fx_input(g, "z", 4, FX_DIMS(tasks, s, s, 1));
    fx_model_conditions(g, m, lowres, snapshots, re, &conditions);
    return fx_model_velocity(g, m, &conditions, z, t, re, NULL);
}

static fx_params *described(const char *const *settings, fx_model *m)
{
    fx_config config;
    fx_params *params = NULL;
    fx_builder *g = NULL;
    OK(fx_config_parse(&config, "settings", "", 0, settings));
    OK(fx_model_from_config(&config, m));
    OK(fx_params_create(&params));
    OK(fx_builder_create(params, &g));
    const fx_tensor *velocity = record(g, m);
    OK(fx_builder_status(g));
    assert_int_equal(velocity->dim[1], m->image);
    assert_int_equal(velocity->dim[3], 1);
    fx_builder_free(&g);
    return params;
}

static int64_t elements_of(fx_params *params, const char *network)
{
    int64_t total = 0;
    for (int i = 0; i < fx_params_count(params); i++) {
        const fx_param *p = fx_params_at(params, i);
        if (p->trained && strncmp(p->name, network, strlen(network)) == 0) total += fx_count(&p->value);
    }
    return total;
}

#define SMALL                                                                                          \
    "model.preset=custom", "data.patch=32", "model.channels=32,64", "model.blocks=1,1",                \
        "model.depth=3", "model.heads=2", "model.mlp_ratio=2"

static void options_build(void **state)
{
    (void)state;
    static const char *const tasks[] = {"model.tasks=mt", "model.tasks=sr", "model.tasks=fc"};
    static const char *const patches[] = {"model.latent_patch=1", "model.latent_patch=2",
                                          "model.latent_patch=4"};
    static const char *const weak[] = {"model.weak_levels=0", "model.weak_levels=1",
                                       "model.weak_levels=4"};
    for (int i = 0; i < 27; i++) {
        fx_model m;
        const int patch = i / 3 % 3;
        fx_params *p =
            described((const char *[]){SMALL, tasks[i % 3], patches[patch], weak[i / 9], NULL}, &m);
        const fx_param *positions = fx_params_find(p, "encoder.pos_embed");
        const int64_t side = (32 >> 2) >> patch;
        assert_int_equal(positions->value.dim[1], 1 + side * side);
        assert_true((elements_of(p, "superres_encoder.") > 0) == (i % 3 != 2));
        assert_true((elements_of(p, "forecast_encoder.") > 0) == (i % 3 != 1));
        assert_true((fx_params_find(p, "encoder.patch_embed.weight") != NULL) == (patch > 0));
        fx_params_free(&p);
    }
}

static void check_range(fx_exec *exec, fx_params *params, const fx_param *p)
{
    const int64_t count = fx_count(&p->value);
    float *x = fx_calloc((size_t)count, sizeof *x);
    double low = INFINITY, high = -INFINITY, square = 0;
    OK(fx_params_read(params, exec, p, FX_SLAB_VALUE, x));
    for (int64_t i = 0; i < count; i++) {
        low = fmin(low, (double)x[i]);
        high = fmax(high, (double)x[i]);
        square += (double)x[i] * (double)x[i] / (double)count;
    }
    fx_free(x);
    double limit = 0;
    const int64_t *d = p->value.dim;
    if (p->init.kind == FX_INIT_UNIFORM && p->value.rank == 4)
        limit = 1 / sqrt((double)(d[1] * 9)); /* a convolution's weights */
    if (p->init.kind == FX_INIT_XAVIER) limit = sqrt(6.0 / (double)(d[0] + d[1]));
    if (limit > 0) {
        assert_true(low >= -limit && high <= limit);
        if (count > 1000) assert_true(fabs(square / (limit * limit / 3) - 1) < 0.1);
    }
    if (strstr(p->name, "pos_embed")) assert_true(fabs(sqrt(square) / 0.02 - 1) < 0.1);
    if (strstr(p->name, "out_layers.3") || strstr(p->name, "final_layer.2"))
        assert_true(low == 0.0 && high == 0.0);
    if (strstr(p->name, "layers.0.weight") || strstr(p->name, "norm1.weight"))
        assert_true(low == 1.0 && high == 1.0);
    if (strstr(p->name, "phases")) assert_true(low >= 0 && high < 6.2831855);
}

static void initial_values_lie_in_their_ranges(void **state)
{
    (void)state;
    const fx_backend *backend = NULL;
    fx_exec *exec = NULL;
    fx_model m;
    OK(fx_backend_find("cpu", &backend));
    OK(backend->open(&(fx_exec_options){.threads = 1}, &exec));
    fx_params *params = described((const char *[]){SMALL, NULL}, &m);
    OK(fx_params_allocate(params, exec, NULL, 1u << FX_SLAB_VALUE));
    OK(fx_params_initialize(params, exec, 4));
    for (int i = 0; i < fx_params_count(params); i++)
        check_range(exec, params, fx_params_at(params, i));
    fx_params_free(&params);
    backend->close(&exec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_build),
        cmocka_unit_test(initial_values_lie_in_their_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
