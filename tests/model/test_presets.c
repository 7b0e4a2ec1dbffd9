/* test_presets.c: parameter counts of every preset against the published ones, network by network; the
 * options that change the model record; an untrained FLEX or U-Net returns exactly 0, a UViT does not.
 *
 * Planted and caught: qkv with a bias; the decoder's skip_linear left out; one decoder block less a
 * level; the final convolution started like the others; attention in the U-Net's task encoders. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "../tape/small_flex.h"
#include "flexhpc/diffusion.h"
#include "flexhpc/program.h"

static fx_model preset(const char *arch, const char *size, const char *more, const char *again)
{
    char name[64], first[64];
    fx_config config;
    fx_model model;
    assert_int_equal(fx_print(name, sizeof name, "model.arch=%s", arch), FX_OK);
    assert_int_equal(fx_print(first, sizeof first, "model.preset=%s", size), FX_OK);
    if (fx_config_load(&config, NULL, (const char *[]){name, first, more, more ? again : NULL, NULL}) !=
            FX_OK ||
        fx_model_from_config(&config, &model) != FX_OK)
        fail_msg("%s", fx_error_message());
    return model;
}

/* Records sampling of one patch in one step: every parameter of the model. */
static fx_tensor *record(fx_builder *g, const fx_model *m)
{
    const int64_t side = m->image, rows = m->tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    const fx_batch in = {.lowres = fx_input(g, "lowres", 4, FX_DIMS(1, side, side, 1)),
                         .snapshots = fx_input(g, "snapshots", 4, FX_DIMS(1, side, side, m->cond)),
                         .re = fx_input(g, "re", 2, FX_DIMS(1, 1))};
    fx_tensor *x = fx_input(g, "x", 4, FX_DIMS(rows, side, side, 1));
    fx_conditions conditions;
    fx_model_conditions(g, m, in.lowres, in.snapshots, in.re, &conditions);
    return fx_record_sampler(g, m, (fx_schedule_attrs){.shift = 1}, 1, &conditions, in.re, x);
}

/* Trained parameters whose name begins with `network`. */
static int64_t count(fx_params *params, const char *network)
{
    int64_t total = 0;
    for (int i = 0; i < fx_params_count(params); i++) {
        const fx_param *p = fx_params_at(params, i);
        if (p->trained && strncmp(p->name, network, strlen(network)) == 0) total += fx_count(&p->value);
    }
    return total;
}

static fx_params *parameters_of(const fx_model *model)
{
    fx_params *params = NULL;
    fx_builder *g = NULL;
    assert_int_equal(fx_params_create(&params), FX_OK);
    assert_int_equal(fx_builder_create(params, &g), FX_OK);
    record(g, model);
    if (fx_builder_status(g) != FX_OK) fail_msg("%s", fx_error_message());
    fx_builder_free(&g);
    return params;
}

static void published_counts(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *size;
        int64_t encoder, superres, forecast, decoder, both, sr;
    } rows[] = {{"flex", "small", 12609920, 8596864, 8597440, 28511745, 58315969, 49718529},
                {"flex", "medium", 50555520, 34665088, 34665664, 113949953, 233836225, 199170561},
                {"flex", "big", 262501632, 140007168, 140008320, 547295105, 1089812225, 949803905},
                {"unet", "small", 13264000, 11154528, 11154816, 20730081, 56303425, 45148609},
                {"unet", "medium", 52984064, 44572864, 44573440, 82821569, 224951937, 180378497},
                {"unet", "big", 211792384, 178200960, 178202112, 331088769, 899284225, 721082113},
                {"uvit", "small", 13719552, 13128576, 13153152, 13324874, 53326154, 40173002},
                {"uvit", "medium", 53981184, 51619584, 51668736, 53191754, 210461258, 158792522},
                {"uvit", "big", 248279040, 242967168, 243040896, 268337738, 1002624842, 759583946}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fx_model model = preset(rows[i].arch, rows[i].size, NULL, NULL);
        fx_params *params = parameters_of(&model);
        assert_int_equal(count(params, "encoder."), rows[i].encoder);
        assert_int_equal(count(params, "superres_encoder."), rows[i].superres);
        assert_int_equal(count(params, "forecast_encoder."), rows[i].forecast);
        assert_int_equal(count(params, "decoder."), rows[i].decoder);
        assert_int_equal(fx_params_elements(params, true), rows[i].both);
        fx_params_free(&params);
        model = preset(rows[i].arch, rows[i].size, "model.tasks=sr", NULL);
        params = parameters_of(&model);
        assert_int_equal(fx_params_elements(params, true), rows[i].sr);
        fx_params_free(&params);
    }
}

static void options_record(void **state)
{
    (void)state;
    static const char *const options[][2] = {{"model.weak_levels=0", "model.tasks=fc"},
                                             {"model.weak_levels=2", "model.latent_patch=2"},
                                             {"model.latent_patch=4", "model.strong_scale=0.5"},
                                             {"model.decoder_channels=64,64,128,256", "model.cond=4"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const fx_model model = preset("flex", "small", options[i][0], options[i][1]);
        fx_params *params = parameters_of(&model);
        assert_true(fx_params_elements(params, true) > 10000000);
        fx_params_free(&params);
    }
}

/* The side that maps have decides where the U-Net attends: levels 3 and 4 at 256, 1 and 2 at 64. */
static void attention_follows_the_side(void **state)
{
    (void)state;
    assert_int_equal(preset("unet", "small", NULL, NULL).attention, 1 << 3 | 1 << 4);
    assert_int_equal(preset("unet", "small", "data.patch=64", NULL).attention, 1 << 1 | 1 << 2);
    assert_int_equal(preset("unet", "small", "data.patch=64", "model.attention_sides=8").attention,
                     1 << 3);
    assert_int_equal(preset("unet", "small", "model.attention_sides=[]", NULL).attention, 0);
}

/* What an untrained network makes of noise is exactly 0, or, of a UViT, nowhere near it. */
static void check_untrained(const char *const *settings, bool zero)
{
    fx_step_options options;
    if (small_options(settings, &options) != FX_OK) fail_msg("%s", fx_error_message());
    const fx_model model = options.model;
    fx_params *params = parameters_of(&model);
    fx_builder *g = NULL;
    fx_program *program = NULL;
    fx_exec *exec = NULL;
    assert_int_equal(small_exec(&exec), FX_OK);
    assert_int_equal(fx_params_allocate(params, exec, NULL, 1u << FX_SLAB_VALUE), FX_OK);
    assert_int_equal(fx_params_initialize(params, exec, 1), FX_OK);
    assert_int_equal(fx_builder_create(params, &g), FX_OK);
    const fx_batch in = {.lowres = fx_input(g, "lowres", 4, FX_DIMS(1, 32, 32, 1)),
                         .snapshots = fx_input(g, "snapshots", 4, FX_DIMS(1, 32, 32, 2)),
                         .re = fx_input(g, "re", 2, FX_DIMS(1, 1))};
    fx_tensor *z = fx_input(g, "z", 4, FX_DIMS(2, 32, 32, 1)), *t = fx_input(g, "t", 1, FX_DIMS(1));
    fx_conditions conditions;
    fx_model_conditions(g, &model, in.lowres, in.snapshots, in.re, &conditions);
    const fx_tensor *velocity =
        fx_keep(g, fx_model_velocity(g, &model, &conditions, z, t, in.re, NULL));
    assert_int_equal(fx_program_create(exec, &g, false, &program), FX_OK);
    float *x = fx_calloc(2 * 32 * 32, sizeof *x);
    for (int i = 0; i < 2 * 32 * 32; i++)
        x[i] = (float)(i % 7) - 3.0f;
    assert_int_equal(fx_program_write(program, z, x), FX_OK);
    const fx_step step = {.gradient_scale = 1};
    assert_int_equal(fx_program_run(program, &step, NULL), FX_OK);
    assert_int_equal(fx_program_read(program, velocity, x), FX_OK);
    double sum = 0;
    for (int i = 0; i < 2 * 32 * 32; i++)
        sum += (double)(x[i] * x[i]);
    assert_true(zero ? sum == 0 : sum > 1);
    fx_free(x);
    fx_program_free(&program);
    fx_params_free(&params);
    exec->backend->close(&exec);
}

static void untrained_networks(void **state)
{
    (void)state;
    check_untrained(SMALL_SETTINGS, true);
    check_untrained(SMALL_UNET, true);
    check_untrained(SMALL_UVIT, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_counts),
        cmocka_unit_test(options_record),
        cmocka_unit_test(attention_follows_the_side),
        cmocka_unit_test(untrained_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
