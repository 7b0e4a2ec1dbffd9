/* test_model_options.c: tasks, weak levels and latent patches in all combinations build the networks
 * they need and no others, with the tokens they need; initial values of all three
 * networks lie in their ranges (flex-model 5, baselines 1 and 2).
 *
 * Planted errors, each caught: Xavier over fan_in alone; a last convolution that starts uniform; the
 * U-Net's time_embed by Xavier; its proj_out not at 0; UViT's patch embedding at 0; conditioning that
 * looks for super-resolution features where only the forecast's exist.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../tape/small_flex.h"

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

static bool has(const fx_param *p, const char *part)
{
    return strstr(p->name, part) != NULL;
}

/* The largest that a published weight, or a bias of the U-Net, may start with; 0: no such limit. The
 * U-Net starts all but what is zero uniform, the others their linear layers as Xavier says. */
static double limit_of(fx_arch arch, const fx_param *p, double fan_in)
{
    const int64_t *d = p->value.dim;
    if (has(p, "norm") || has(p, "layers.0") || has(p, "out.0") || has(p, "final_layer.0")) return 0;
    if (p->value.rank >= 3 && !has(p, "pos_embed")) return 1 / sqrt(fan_in);
    if (p->value.rank == 2)
        return arch == FX_UNET ? 1 / sqrt(fan_in) : sqrt(6.0 / (double)(d[0] + d[1]));
    return 0;
}

static bool starts_at_zero(fx_arch arch, const fx_param *p)
{
    if (arch == FX_UVIT) return false;
    return has(p, "out_layers.3") || has(p, "final_layer.2") || has(p, "proj_out") ||
           strncmp(p->name, "decoder.out.2", 13) == 0;
}

static void check_range(fx_arch arch, fx_exec *exec, fx_params *params, const fx_param *p)
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
    const bool zero = starts_at_zero(arch, p);
    const double limit = limit_of(arch, p, (double)count / (double)p->value.dim[0]);
    if (limit > 0 && !zero) {
        assert_true(low >= -limit && high <= limit);
        if (count > 1000) assert_true(fabs(square / (limit * limit / 3) - 1) < 0.1);
    }
    if (strstr(p->name, "pos_embed")) assert_true(fabs(sqrt(square) / 0.02 - 1) < 0.1);
    if (zero) assert_true(low == 0.0 && high == 0.0);
    if (has(p, "embed.0.bias") || has(p, "emb_layers.1.bias") || has(p, "fc1.bias"))
        assert_true(arch == FX_UNET ? low < 0.0 && high > 0.0 : low == 0.0 && high == 0.0);
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
    static const char *const flex[] = {SMALL, NULL};
    const char *const *networks[] = {flex, SMALL_UNET, SMALL_UVIT};
    for (int k = 0; k < 3; k++) {
        fx_params *params = described(networks[k], &m);
        assert_int_equal(m.arch, k);
        OK(fx_params_allocate(params, exec, NULL, 1u << FX_SLAB_VALUE));
        OK(fx_params_initialize(params, exec, 4));
        for (int i = 0; i < fx_params_count(params); i++)
            check_range(m.arch, exec, params, fx_params_at(params, i));
        fx_params_free(&params);
    }
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
