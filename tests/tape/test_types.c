/* test_types.c: which tensors of a tape that stores bf16 are bf16: all of a training step by the masks
 * of their ops, gradients by their tensors or fp32 for parameters, with recomputation too; what is
 * refused; values of the host on their way to bf16 and back, parameters' copies among them. Planned
 * only: the CPU, which plans it here, stores fp32.
 *
 * Planted and caught: a gradient and a recomputed copy without their tensor's type; a parameter's
 * gradient of its type; the copies' second row at the first's place; ties rounded away from even; NaN
 * rounded to infinity; a buffer stored in bf16; the EMA written without its copy; a parameter let pass
 * where an op has none, an objective in bf16. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "flexhpc/layers.h"
#include "small_flex.h"

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

static fx_trainee *planned(fx_exec *exec, const char *recompute)
{
    const char *settings[sizeof SMALL_SETTINGS / sizeof *SMALL_SETTINGS + 3];
    fx_step_options options;
    fx_trainee *t = NULL;
    int n = 0;
    for (; SMALL_SETTINGS[n]; n++)
        settings[n] = SMALL_SETTINGS[n];
    settings[n++] = "contrast.weight=0.1";
    settings[n++] = recompute;
    settings[n] = NULL;
    OK(small_options(settings, &options));
    OK(fx_trainee_create(exec, &options, true, &t));
    return t;
}

static void expect(const fx_node *n, const char *what, int i, const fx_tensor *t, fx_dtype want)
{
    if (t && t->dtype != want)
        fail_msg("%s (%s): %s %d is %s", n->name, n->op->name, what, i,
                 t->dtype == FX_BF16 ? "bf16" : "fp32");
}

static void check_node(const fx_node *n)
{
    for (int i = 0; i < FX_MAX_IN; i++) {
        if (!n->in[i]) continue;
        if (n->in[i]->dtype != FX_F32 || !(n->op->converts & FX_IN(i)))
            expect(n, "in", i, n->in[i], n->op->fp32 & FX_IN(i) ? FX_F32 : FX_BF16);
        const bool weight = n->op->parameters & FX_IN(i);
        expect(n, "din", i, n->din[i], weight ? FX_F32 : n->in[i]->dtype);
    }
    for (int i = 0; i < FX_MAX_OUT; i++) {
        expect(n, "out", i, n->out[i], n->op->fp32 & FX_OUT(i) ? FX_F32 : FX_BF16);
        if (n->dout[i]) expect(n, "dout", i, n->dout[i], n->out[i]->dtype);
    }
    for (int i = 0; i < FX_MAX_SAVED; i++)
        expect(n, "saved", i, n->saved[i], n->op->fp32 & FX_SAVED(i) ? FX_F32 : FX_BF16);
}

static void step_is_bf16(void **state)
{
    (void)state;
    static const char *const recompute[] = {"model.recompute=none", "model.recompute=all"};
    fx_exec *exec = NULL;
    OK(small_exec(&exec));
    for (int r = 0; r < 2; r++) {
        const fx_entry *entries = NULL;
        exec->storage = FX_BF16;
        fx_trainee *t = planned(exec, recompute[r]);
        exec->storage = FX_F32;
        fx_trainee *wide = planned(exec, recompute[r]);
        const int count = fx_program_entries(t->step, &entries);
        for (int e = 0; e < count; e++)
            check_node(entries[e].node);
        const fx_plan_summary half = fx_program_summary(t->step), full = fx_program_summary(wide->step);
        assert_int_equal(half.nodes, full.nodes);
        assert_true((double)half.tensor_bytes > 0.5 * (double)full.tensor_bytes);
        assert_true((double)half.tensor_bytes <
                    0.54 * (double)full.tensor_bytes); /* 1 and 2 channels */
        assert_int_equal(fx_params_slab_bytes(t->params, FX_SLAB_COPY),
                         fx_params_slab_bytes(t->params, FX_SLAB_EMA));
        fx_trainee_free(&t);
        fx_trainee_free(&wide);
    }
    exec->backend->close(&exec);
}

static fx_builder *bf16_builder(fx_params **params)
{
    fx_builder *g = NULL;
    OK(fx_params_create(params));
    OK(fx_params_store_as(*params, FX_BF16));
    OK(fx_builder_create(*params, &g));
    return g;
}

static void refused(fx_builder **g, fx_params **params, const char *why)
{
    assert_int_equal(fx_builder_status(*g), FX_EARG);
    if (!strstr(fx_error_message(), why)) fail_msg("%s: not %s", fx_error_message(), why);
    fx_builder_free(g);
    fx_params_free(params);
}

static void mixtures_are_refused(void **state)
{
    (void)state;
    const int64_t *d = FX_DIMS(2, 3);
    const fx_init init = {.kind = FX_INIT_ONE};
    fx_params *params = NULL;
    fx_builder *g = bf16_builder(&params);
    fx_apply(g, FX_OP_silu, "s", fx_input(g, "x", 2, d));
    refused(&g, &params, "s: input 0 is fp32, not bf16");
    g = bf16_builder(&params);
    fx_tensor *in[] = {fx_input_stored(g, "t", 1, d), fx_input(g, "f", 1, d), fx_input(g, "p", 1, d)};
    fx_record(g, FX_OP_fourier, "f", (fx_attrs){0}, in, 3);
    refused(&g, &params, "f: input 0 is bf16, not fp32");
    g = bf16_builder(&params);
    fx_add(g, "a", fx_input_stored(g, "x", 2, d), fx_weight(g, "w", init, 2, d), NULL, 1);
    refused(&g, &params, "a: input 1 is a parameter");
    g = bf16_builder(&params);
    fx_tensor *w = fx_weight(g, "w", init, 2, FX_DIMS(1, 3));
    const fx_node *y = fx_record(g, FX_OP_linear, "y", (fx_attrs){0},
                                 (fx_tensor *[]){fx_input_stored(g, "x", 2, d), w}, 2);
    fx_objective(g, y ? y->out[0] : NULL, 1);
    fx_autodiff(g, FX_RECOMPUTE_NONE);
    refused(&g, &params, "the objective y is not fp32");

    fx_exec *exec = NULL;
    fx_program *program = NULL;
    OK(small_exec(&exec));
    g = bf16_builder(&params);
    assert_int_equal(fx_program_create(exec, &g, true, &program), FX_EARG);
    assert_int_equal(fx_params_store_as(params, FX_I32), FX_EARG);
    fx_params_free(&params);
    exec->backend->close(&exec);
}

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void values_are_rounded(void **state)
{
    (void)state;
    /* 1 + 2^-8 lies between 1 and 1 + 2^-7, 1 + 3 2^-8 between that and 1 + 2^-6: ties go to even. */
    static const float in[] = {1.00390625f, 1.01171875f, 1.0039064f, -2.5f, 3.4e38f, NAN, 0};
    static const uint16_t want[] = {0x3f80, 0x3f82, 0x3f81, 0xc020, 0x7f80, 0x7fc0, 0};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        assert_int_equal(fx_bf16_of(in[i]), want[i]);
        assert_int_equal(bits_of(fx_float_of(want[i])), (uint32_t)want[i] << 16);
    }
    assert_true(isnan(fx_float_of(fx_bf16_of(NAN))));
    const uint32_t odd = 0x7f800001u; /* its upper half alone is infinity */
    float nan;
    memcpy(&nan, &odd, sizeof nan);
    assert_true(isnan(fx_float_of(fx_bf16_of(nan))));
}

/* Values and EMA are read back as they were written, and kernels read them rounded; a buffer is fp32.
 */
static void parameters_have_copies(void **state)
{
    (void)state;
    static const fx_slab slabs[] = {FX_SLAB_VALUE, FX_SLAB_EMA};
    const float written[2][3] = {{1.00390625f, 2.0001f, -3}, {7.77f, 8.88f, 9.99f}};
    fx_exec *exec = NULL;
    fx_params *params = NULL;
    fx_param *w = NULL, *f = NULL;
    OK(small_exec(&exec));
    OK(fx_params_create(&params));
    OK(fx_params_store_as(params, FX_BF16));
    OK(fx_params_get(params, "w", (fx_init){.kind = FX_INIT_ONE}, 1, FX_DIMS(3), &w));
    OK(fx_params_get(params, "f", (fx_init){.kind = FX_INIT_PHASES}, 1, FX_DIMS(3), &f));
    OK(fx_params_allocate(params, exec, NULL, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA));
    assert_int_equal(f->value.dtype, FX_F32);
    assert_true(fx_has_shape(fx_params_slab(params, FX_SLAB_COPY, 0), 2, FX_DIMS(2, 16)));
    for (int k = 0; k < 2; k++)
        OK(fx_params_write(params, exec, w, slabs[k], written[k]));
    OK(fx_params_write(params, exec, f, FX_SLAB_VALUE, written[0]));
    for (int k = 0; k < 2; k++) {
        float back[3], read[3];
        OK(fx_params_read(params, exec, w, slabs[k], back));
        assert_memory_equal(back, written[k], sizeof back);
        OK(fx_tensor_read(exec, k == 0 ? &w->value : &w->ema, read));
        for (int i = 0; i < 3; i++)
            assert_true(read[i] == fx_float_of(fx_bf16_of(written[k][i])));
    }
    assert_memory_equal(f->value.data, written[0], sizeof written[0]);
    float none[3];
    assert_int_equal(fx_params_read(params, exec, w, FX_SLAB_COPY, none), FX_EARG);
    fx_params_free(&params);
    exec->backend->close(&exec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_is_bf16),
        cmocka_unit_test(mixtures_are_refused),
        cmocka_unit_test(values_are_rounded),
        cmocka_unit_test(parameters_have_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
