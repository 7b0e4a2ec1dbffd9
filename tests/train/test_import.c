/* test_import.c: a checkpoint through export and import is the same to the bit, for FLEX, U-Net and
 * UViT, raw and EMA; what import refuses, by name. With three arguments, GOLDEN CHECKPOINT OUT, it
 * writes the velocity of the checkpoint's EMA weights for a golden file's inputs: tests/oracle's.
 *
 * Planted errors, each caught: values exported for averages (one_kind_serves_for_both); averages not
 * written (all_models_come_back_to_the_bit); shapes not compared, unexpected names passed over, two
 * names of one meaning taken (what_does_not_fit_is_refused_by_name); `module.` behind a network's name
 * kept (frameworks_prefixes_are_passed_over).
 * Run: label quick
 * Run: timeout 300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/checkpoint.h"
#include "flexhpc/interchange.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/safetensors.h"
#include "train/golden.h"

static char folder[] = "/tmp/fx_import_XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[4][FX_PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    assert_int_equal(fx_path(path, "%s/%s", folder, name), FX_OK);
    return path;
}

#define CHECK(call)                                                                                    \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

#define SMALL "model.preset=custom", "data.patch=32", "data.scale=2.5", "model.heads=2", "backend=cpu"
static const char *const FLEX[] = {SMALL,           "model.channels=32,64", "model.blocks=1,1",
                                   "model.depth=3", "model.mlp_ratio=2",    NULL};
static const char *const UNET[] = {SMALL, "model.arch=unet", "model.channels=32,64", "model.blocks=1,1",
                                   NULL};
static const char *const UVIT[] = {SMALL,
                                   "model.arch=uvit",
                                   "model.embed_dim=32",
                                   "model.depth=3",
                                   "model.mlp_ratio=2",
                                   "model.patch=8",
                                   NULL};

/* A checkpoint of step 7 in RUN/ckpt whose EMA are the values of another seed. */
static void make_run(const char *const *keys, const char *run)
{
    fx_progress progress = {.step = 7, .ranks = 1, .data_scale = 2.5};
    fx_step_options options;
    fx_params *params = NULL;
    fx_exec *exec = NULL;
    float *x = NULL;
    char path[FX_PATH_MAX];
    CHECK(fx_config_load(&progress.config, NULL, keys));
    CHECK(fx_step_options_alone(&progress.config, &options));
    CHECK(fx_model_parameters(&options, FX_F32, &params));
    CHECK(fx_exec_open(fx_comm_self(), &progress.config, &exec));
    CHECK(fx_params_allocate(params, exec, NULL, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA));
    CHECK(fx_params_initialize(params, exec, 3));
    for (int i = 0; i < fx_params_count(params); i++) {
        const fx_param *p = fx_params_at(params, i);
        const int64_t count = fx_count(&p->value);
        CHECK(FX_ALLOC(x, count));
        for (int64_t k = 0; k < count; k++)
            x[k] = (float)(k + i) * 0.37f - (float)i;
        if (p->trained) CHECK(fx_params_write(params, exec, p, FX_SLAB_EMA, x));
        fx_free(x);
    }
    CHECK(fx_path(path, "%s/ckpt", run));
    CHECK(fx_checkpoint_save(fx_comm_self(), params, exec, &progress, path));
    fx_params_free(&params);
    exec->backend->close(&exec);
}

/* Lines of `checkpoint compare` that say so. */
static int differing(const char *run, const char *other)
{
    char a[FX_PATH_MAX], b[FX_PATH_MAX];
    int count = -1;
    FILE *out = fopen("/dev/null", "w");
    assert_non_null(out);
    CHECK(fx_checkpoint_named(fx_comm_self(), run, a));
    CHECK(fx_checkpoint_named(fx_comm_self(), other, b));
    CHECK(fx_checkpoint_compare(a, b, out, &count));
    fclose(out);
    return count;
}

static void round_trip(const char *const *keys, const char *name)
{
    char run[64], file[64], again[64];
    snprintf(run, sizeof run, "%s", name);
    snprintf(file, sizeof file, "%s.safetensors", name);
    snprintf(again, sizeof again, "%s-again", name);
    make_run(keys, in_folder(run));
    CHECK(fx_export(in_folder(run), FX_WEIGHTS_BOTH, in_folder(file)));
    CHECK(fx_import(in_folder(file), in_folder(again), &(fx_import_options){0}));
    assert_int_equal(differing(in_folder(run), in_folder(again)), 0);
}

static void all_models_come_back_to_the_bit(void **state)
{
    (void)state;
    round_trip(FLEX, "flex");
    round_trip(UNET, "unet");
    round_trip(UVIT, "uvit");
}

/* One kind of weights alone is imported as both. */
static void one_kind_serves_for_both(void **state)
{
    (void)state;
    fx_safetensors *f = NULL, *whole = NULL;
    CHECK(fx_export(in_folder("flex"), FX_WEIGHTS_EMA, in_folder("ema.safetensors")));
    CHECK(fx_import(in_folder("ema.safetensors"), in_folder("ema"), &(fx_import_options){0}));
    CHECK(fx_export(in_folder("ema"), FX_WEIGHTS_BOTH, in_folder("two.safetensors")));
    CHECK(fx_safetensors_open(in_folder("two.safetensors"), &f));
    CHECK(fx_safetensors_open(in_folder("flex.safetensors"), &whole)); /* both kinds */
    for (int i = 0; i < fx_safetensors_count(f); i++) {
        const fx_safetensor *t = fx_safetensors_at(f, i), *other;
        if (strncmp(t->name, "ema.", 4) != 0) continue;
        float *x = NULL, *y = NULL;
        other = fx_safetensors_find(f, t->name + 4);
        assert_non_null(other);
        CHECK(FX_ALLOC(x, t->count));
        CHECK(FX_ALLOC(y, t->count));
        CHECK(fx_safetensors_read(f, t, x));
        CHECK(fx_safetensors_read(f, other, y));
        assert_memory_equal(x, y, (size_t)t->count * sizeof *x);
        CHECK(fx_safetensors_read(whole, fx_safetensors_find(whole, t->name), y));
        assert_memory_equal(x, y, (size_t)t->count * sizeof *x);
        fx_free(x);
        fx_free(y);
    }
    fx_safetensors_close(&whole);
    assert_string_equal(fx_safetensors_metadata(f, "step"), "7");
    assert_string_equal(fx_safetensors_metadata(f, "weights"), "both");
    assert_string_equal(fx_safetensors_metadata(f, "format"), "pt");
    assert_string_equal(fx_safetensors_metadata(f, "arch"), "flex");
    fx_safetensors_close(&f);
}

/* A file with these names, each of the shape (3), and the metadata. */
static const char *file_of(const char *name, const char *const *names, const char *const *metadata)
{
    static const float values[3] = {1, 2, 3};
    fx_safetensor tensors[8];
    fx_safetensors_writer *w = NULL;
    int count = 0;
    for (; names[count]; count++)
        tensors[count] = (fx_safetensor){.name = names[count], .rank = 1, .dim = {3}};
    CHECK(fx_safetensors_create(in_folder(name), tensors, count, metadata, &w));
    for (int i = 0; i < count; i++)
        CHECK(fx_safetensors_write(w, i, values));
    CHECK(fx_safetensors_finish(&w));
    return in_folder(name);
}

static void refuses(const char *file, const char *run, const fx_import_options *options, fx_status code,
                    const char *words)
{
    assert_int_equal(fx_import(file, run, options), code);
    if (!strstr(fx_error_message(), words)) fail_msg("%s, not %s", fx_error_message(), words);
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    const fx_import_options none = {0}, wider = {.overrides = (const char *[]){"model.cond=3", NULL}},
                            other = {.overrides = (const char *[]){"model.tasks=sr", NULL}},
                            deeper = {.overrides = (const char *[]){"model.depth=5", NULL}};
    const char *ema = in_folder("ema.safetensors"), *run = in_folder("new");
    refuses(ema, run, &wider, FX_EVALUE,
            "0 missing, 0 unexpected, 1 of another shape; the first: another shape "
            "forecast_encoder.input_blocks.0.0.weight");
    refuses(ema, run, &other, FX_EVALUE, "0 missing, 48 unexpected");
    refuses(ema, run, &deeper, FX_EVALUE, "missing encoder.tr_blocks.1.norm1.weight");
    assert_false(fx_file_exists(run));
    refuses(ema, in_folder("flex"), &none, FX_ECONFIG, "has checkpoints already");
    refuses(file_of("bare", (const char *[]){"a", NULL}, (const char *[]){NULL}), run, &none,
            FX_ECONFIG, "no configuration in its metadata");
    refuses(file_of("odd", (const char *[]){"a", NULL},
                    (const char *[]){"config", "train: {stepz: 3}\n", NULL}),
            run, &none, FX_ECONFIG, "odd: metadata: config:1: train.stepz: no such key");
    refuses(
        file_of("scale", (const char *[]){"a", NULL}, (const char *[]){"config", "seed: 3\n", NULL}),
        run, &none, FX_ECONFIG, "data.scale: what were the fields of");
    refuses(file_of("twice", (const char *[]){"encoder.module.pos_embed", "encoder.pos_embed", NULL},
                    (const char *[]){"config", "data: {scale: 1}\n", NULL}),
            run, &none, FX_EVALUE, "mean the same");
    for (int i = 0; i < 4; i++) {
        static const char *const steps[] = {"-4", "4th", "", "4294967296"};
        char words[40];
        snprintf(words, sizeof words, "step: %s is none", steps[i]);
        refuses(file_of("step", (const char *[]){"a", NULL},
                        (const char *[]){"config", "data: {scale: 1}\n", "step", steps[i], NULL}),
                run, &none, FX_EVALUE, words);
    }
    refuses(in_folder("nothing"), run, &none, FX_EIO, "nothing: open: No such file");
    refuses(folder, run, &none, FX_EIO, "is no regular file");
}

static void the_rest_is_taken_where_asked(void **state)
{
    (void)state;
    const fx_import_options wider = {.overrides = (const char *[]){"model.cond=3", NULL},
                                     .partial = true};
    fx_safetensors *f = NULL, *g = NULL;
    float x[32 * 9], y[32 * 9];
    CHECK(fx_import(in_folder("ema.safetensors"), in_folder("wider"), &wider));
    CHECK(fx_export(in_folder("wider"), FX_WEIGHTS_EMA, in_folder("wider.safetensors")));
    CHECK(fx_safetensors_open(in_folder("wider.safetensors"), &f));
    CHECK(fx_safetensors_open(in_folder("ema.safetensors"), &g));
    const fx_safetensor *t = fx_safetensors_find(f, "forecast_encoder.input_blocks.0.0.weight");
    assert_true(t->rank == 4 && t->dim[1] == 3);
    const char *kept = "superres_encoder.input_blocks.0.0.weight";
    CHECK(fx_safetensors_read(f, fx_safetensors_find(f, kept), x));
    CHECK(fx_safetensors_read(g, fx_safetensors_find(g, kept), y));
    assert_memory_equal(x, y, sizeof x);
    fx_safetensors_close(&f);
    fx_safetensors_close(&g);
}

/* Names as they come out of distributed training. */
static void frameworks_prefixes_are_passed_over(void **state)
{
    (void)state;
    fx_safetensors *f = NULL;
    fx_safetensors_writer *w = NULL;
    fx_safetensor *tensors = NULL;
    char(*names)[FX_NAME_MAX + 16] = NULL;
    CHECK(fx_safetensors_open(in_folder("flex.safetensors"), &f));
    const int count = fx_safetensors_count(f);
    CHECK(FX_ALLOC(tensors, count));
    CHECK(FX_ALLOC(names, count));
    for (int i = 0; i < count; i++) {
        tensors[i] = *fx_safetensors_at(f, i);
        const char *name = tensors[i].name, *plain = strncmp(name, "ema.", 4) == 0 ? name + 4 : name,
                   *dot = strchr(plain, '.') + 1;
        if (i % 2)
            snprintf(names[i], sizeof *names, "module.%s", name);
        else
            snprintf(names[i], sizeof *names, "%.*smodule.%s", (int)(dot - name), name, dot);
        tensors[i].name = names[i];
    }
    const char *const metadata[] = {"config", fx_safetensors_metadata(f, "config"), "step", "7", NULL};
    CHECK(fx_safetensors_create(in_folder("prefixed"), tensors, count, metadata, &w));
    for (int i = 0; i < count; i++) {
        float *x = NULL;
        CHECK(FX_ALLOC(x, tensors[i].count));
        CHECK(fx_safetensors_read(f, fx_safetensors_at(f, i), x));
        CHECK(fx_safetensors_write(w, i, x));
        fx_free(x);
    }
    CHECK(fx_safetensors_finish(&w));
    CHECK(fx_import(in_folder("prefixed"), in_folder("from-prefixed"), &(fx_import_options){0}));
    assert_int_equal(differing(in_folder("flex"), in_folder("from-prefixed")), 0);
    fx_safetensors_close(&f);
    fx_free(tensors);
    fx_free(names);
}

/* ---- For tests/oracle. */

static fx_status averages_are_values(fx_params *params, fx_exec *exec)
{
    for (int i = 0; i < fx_params_count(params); i++) {
        const fx_param *p = fx_params_at(params, i);
        float *x = NULL;
        if (!p->trained) continue;
        FX_TRY(FX_ALLOC(x, fx_count(&p->value)));
        fx_status status = fx_params_read(params, exec, p, FX_SLAB_EMA, x);
        if (status == FX_OK) status = fx_params_write(params, exec, p, FX_SLAB_VALUE, x);
        fx_free(x);
        FX_TRY(status);
    }
    return FX_OK;
}

/* (rows, S, S), rows of SR before those of FC. */
static fx_status write_velocity(fx_trainee *t, const char *out)
{
    const fx_tensor *v = t->nodes[0].velocity;
    const fx_h5_shape shape = {3, {v->dim[0], v->dim[1], v->dim[2]}, FX_H5_F32};
    fx_h5 *f = NULL;
    float *x = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(x, fx_count(v)));
    FX_TRY_DONE(fx_program_read(t->step, v, x));
    FX_TRY_DONE(fx_h5_create(NULL, out, &f));
    FX_TRY_DONE(fx_h5_dataset(f, "velocity", shape, NULL));
    FX_TRY_DONE(fx_h5_write(f, "velocity", NULL, NULL, FX_H5_F32, x));
    status = fx_h5_close(&f);
done:
    fx_h5_abandon(&f);
    fx_free(x);
    return status;
}

static fx_status velocity(const char *golden, const char *checkpoint, const char *out)
{
    const fx_step step = {.ema_decay = 1, .update = 1, .gradient_scale = 1};
    fx_step_report report;
    fx_golden g;
    fx_exec *exec = NULL;
    fx_trainee *t = NULL;
    fx_config config;
    fx_status status = FX_OK;
    FX_TRY(fx_config_load(&config, NULL, (const char *[]){"backend=cpu", NULL}));
    FX_TRY(fx_golden_open(golden, &g));
    FX_TRY_DONE(fx_exec_open(fx_comm_self(), &config, &exec));
    FX_TRY_DONE(fx_trainee_create(exec, &g.options, false, &t));
    FX_TRY_DONE(fx_checkpoint_load(fx_comm_self(), t->params, exec, checkpoint, true));
    FX_TRY_DONE(averages_are_values(t->params, exec));
    FX_TRY_DONE(fx_golden_inputs(&g, "", t->step, &t->inputs[0], NULL));
    FX_TRY_DONE(fx_trainee_step(t, &step, &report));
    status = write_velocity(t, out);
done:
    fx_trainee_free(&t);
    if (exec) exec->backend->close(&exec);
    fx_h5_abandon(&g.file);
    return status;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_models_come_back_to_the_bit),
        cmocka_unit_test(one_kind_serves_for_both),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(the_rest_is_taken_where_asked),
        cmocka_unit_test(frameworks_prefixes_are_passed_over),
    };
    char command[FX_PATH_MAX];
    fx_io_setup();
    if (argc == 4) {
        if (velocity(argv[1], argv[2], argv[3]) == FX_OK) return 0;
        fprintf(stderr, "%s\n", fx_error_message());
        return 1;
    }
    if (!mkdtemp(folder)) return 1;
    const int failures = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? failures : 1;
}
