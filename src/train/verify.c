/* verify.c: the program against a golden file: what the published implementation computes from the same
 * weights and inputs. Every dataset of the file is compared. */
#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "verify.h"

static const double INTERPOLATED = 1e-6;

/* Attribute format of the files that hold interpolated patches, by kind; no other file has one of
 * these. */
static const char *const formats[] = {
    [FX_BICUBIC] = "flex-golden-bicubic-1", [FX_BILINEAR] = "flex-golden-bilinear-1"};
enum { KINDS = sizeof formats / sizeof *formats };

static fx_status count_one(void *self, fx_h5 *f, const char *name)
{
    (void)f, (void)name;
    ++*(int *)self;
    return FX_OK;
}

/* A dataset that nothing looked at would be a silent hole. */
static fx_status all_compared(const fx_check *c)
{
    int stored = 0;
    FX_TRY(fx_h5_walk(c->golden.file, count_one, &stored));
    FX_REQUIRE(stored == c->compared, FX_EVALUE, "%s: %d datasets, %d of them known", c->golden.path,
               stored, c->compared);
    return FX_OK;
}

static fx_status verify_factor(fx_check *c, fx_interpolation kind, int64_t factor, int64_t side)
{
    fx_params *params = NULL;
    fx_builder *g = NULL;
    fx_program *program = NULL;
    fx_status status = FX_OK;
    float *x = NULL;
    char name[16];
    const fx_step step = {.gradient_scale = 1};
    snprintf(name, sizeof name, "up/%lld", (long long)factor);
    FX_TRY_DONE(FX_ALLOC(x, side * side));
    FX_TRY_DONE(fx_params_create(&params));
    FX_TRY_DONE(fx_params_store_as(params, c->exec->storage));
    FX_TRY_DONE(fx_builder_create(params, &g));
    fx_tensor *patch = fx_input(g, "patch", 4, FX_DIMS(1, side, side, 1));
    const fx_attrs attrs = {.interpolate = {kind, factor, factor}};
    const fx_node *node = fx_record(g, FX_OP_interpolate, name, attrs, &patch, 1);
    const fx_tensor *up = node ? fx_keep(g, node->out[0]) : NULL;
    FX_TRY_DONE(fx_program_create(c->exec, &g, false, &program));
    fx_golden_numbers(c->golden.tag, "patch", 1.5, x, side * side);
    FX_TRY_DONE(fx_program_write(program, patch, x));
    FX_TRY_DONE(fx_program_run(program, &step, NULL));
    FX_TRY_DONE(fx_check_whole(c, name, program, up, INTERPOLATED));
done:
    fx_free(x);
    fx_program_free(&program);
    fx_builder_free(&g);
    fx_params_free(&params);
    return status;
}

static fx_status verify_interpolation(fx_check *c, fx_interpolation kind, const char *file)
{
    int64_t tag = 0, side = 0;
    FX_TRY(fx_h5_get_int(c->golden.file, "/", "tag", &tag));
    FX_TRY(fx_h5_get_int(c->golden.file, "/", "side", &side));
    FX_REQUIRE(side >= 8 && side <= 4096, FX_EVALUE, "%s: attribute side: %lld", file, (long long)side);
    c->golden.tag = (uint64_t)tag;
    for (int64_t factor = 2; factor <= 8; factor *= 2)
        FX_TRY(verify_factor(c, kind, factor, side));
    return FX_OK;
}

/* Of interpolated patches; KINDS: the file is another one. */
static fx_status kind_of(const char *file, int *out)
{
    fx_h5 *f = NULL;
    char format[64];
    FX_TRY(fx_h5_open(file, FX_H5_FOREIGN, &f));
    const fx_status status = fx_h5_get_text(f, "/", "format", format, sizeof format);
    *out = 0;
    while (*out < KINDS && (status != FX_OK || strcmp(format, formats[*out]) != 0))
        ++*out;
    fx_h5_abandon(&f);
    return status;
}

fx_status fx_verify(fx_exec *exec, const char *file, FILE *out)
{
    fx_check c = {.exec = exec, .limit = fx_limits_of[exec->options.precision], .out = out};
    int kind;
    fx_status status = FX_OK;
    FX_TRY(kind_of(file, &kind));
    fprintf(out, "%s\n", file);
    if (kind < KINDS) {
        c.golden.path = file;
        FX_TRY(fx_h5_open(file, FX_H5_FOREIGN, &c.golden.file));
        status = verify_interpolation(&c, (fx_interpolation)kind, file);
    } else {
        FX_TRY(fx_golden_open(file, &c.golden));
        status = fx_check_model(&c);
    }
    if (status == FX_OK) status = all_compared(&c);
    fx_h5_abandon(&c.golden.file);
    return c.failure[0] ? fx_fail(FX_EVALUE, "%s", c.failure) : status;
}
