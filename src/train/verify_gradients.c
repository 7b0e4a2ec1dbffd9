/* verify_gradients.c: the gradient table of a golden file: for each trained parameter its name, shape,
 * norm and projection on a direction that is a function of the name. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "verify.h"

static const double UNSEEN = 1e-5; /* of the largest: below it rounding is all there is */

/* Row of the gradient table: our norm and projection against the file's. */
static fx_status gradient_of(fx_check *c, fx_params *params, const char *name, double *l2, double *dot,
                             char *shape, size_t size)
{
    char probe_name[FX_NAME_MAX + 8];
    fx_status status = FX_OK;
    float *x = NULL, *probe = NULL;
    const fx_param *p = fx_params_find(params, name);
    FX_REQUIRE(p && p->trained, FX_EVALUE, "%s: grad/name: the model has no parameter %s",
               c->golden.path, name);
    const int64_t count = fx_count(&p->value);
    FX_TRY(fx_print(probe_name, sizeof probe_name, "probe:%s", name));
    FX_TRY_DONE(FX_ALLOC(x, count));
    FX_TRY_DONE(FX_ALLOC(probe, count));
    FX_TRY_DONE(fx_params_read(params, c->exec, p, FX_SLAB_GRADIENT, x));
    fx_golden_numbers(c->golden.tag, probe_name, 1.0, probe, count);
    *l2 = *dot = 0;
    for (int64_t i = 0; i < count; i++) {
        *l2 += (double)x[i] * (double)x[i];
        *dot += (double)x[i] * (double)probe[i];
    }
    *l2 = sqrt(*l2);
    shape[0] = '\0';
    for (int i = 0; i < p->value.rank; i++) {
        const size_t used = strlen(shape);
        snprintf(shape + used, size - used, i ? ",%lld" : "%lld", (long long)p->value.dim[i]);
    }
done:
    fx_free(x);
    fx_free(probe);
    return status;
}

typedef struct gradient_row {
    double l2, dot;
    char name[FX_NAME_MAX];
} gradient_row;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const gradient_row *)a)->name, ((const gradient_row *)b)->name);
}

static fx_status each_once(const fx_check *c, gradient_row *rows, int64_t count)
{
    qsort(rows, (size_t)count, sizeof *rows, by_name);
    for (int64_t i = 1; i < count; i++)
        FX_REQUIRE(strcmp(rows[i].name, rows[i - 1].name) != 0, FX_EVALUE,
                   "%s: grad/name: %s is there twice", c->golden.path, rows[i].name);
    return FX_OK;
}

static fx_status read_rows(fx_check *c, fx_params *params, int64_t count, gradient_row *ours)
{
    for (int64_t i = 0; i < count; i++) {
        char shape[64], stored[64];
        FX_TRY(fx_h5_read_string(c->golden.file, "grad/name", i, ours[i].name, sizeof ours[i].name));
        FX_TRY(fx_h5_read_string(c->golden.file, "grad/shape", i, stored, sizeof stored));
        FX_TRY(gradient_of(c, params, ours[i].name, &ours[i].l2, &ours[i].dot, shape, sizeof shape));
        FX_REQUIRE(strcmp(shape, stored) == 0, FX_EVALUE, "%s: grad/shape: %s of %s, the model's is %s",
                   c->golden.path, stored, ours[i].name, shape);
    }
    return FX_OK;
}

fx_status fx_check_gradients(fx_check *c, fx_params *params)
{
    fx_h5_shape shape;
    fx_status status = FX_OK;
    gradient_row *ours = NULL;
    double *l2 = NULL, *dot = NULL, largest = 0, error[2] = {0, 0};
    int trained = 0;
    for (int i = 0; i < fx_params_count(params); i++)
        trained += fx_params_at(params, i)->trained;
    FX_TRY(fx_h5_describe(c->golden.file, "grad/l2", &shape));
    const int64_t count = shape.dim[0];
    FX_REQUIRE(shape.rank == 1 && count == trained, FX_EVALUE,
               "%s: grad/l2: %lld gradients, the model has %d", c->golden.path, (long long)count,
               trained);
    FX_TRY_DONE(FX_ALLOC(ours, count));
    FX_TRY_DONE(FX_ALLOC(l2, count));
    FX_TRY_DONE(FX_ALLOC(dot, count));
    FX_TRY_DONE(fx_h5_read(c->golden.file, "grad/l2", NULL, NULL, FX_H5_F64, l2));
    FX_TRY_DONE(fx_h5_read(c->golden.file, "grad/dot", NULL, NULL, FX_H5_F64, dot));
    FX_TRY_DONE(read_rows(c, params, count, ours));
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(l2[i]));
    for (int64_t i = 0; i < count; i++) {
        if (fabs(l2[i]) <= UNSEEN * largest && ours[i].l2 <= c->limit->unseen * largest) continue;
        const double of_l2 = fabs(ours[i].l2 - l2[i]) / fabs(l2[i]),
                     of_dot = fabs(ours[i].dot - dot[i]) / fabs(l2[i]);
        error[0] = of_l2 <= error[0] ? error[0] : of_l2; /* NaN is kept */
        error[1] = of_dot <= error[1] ? error[1] : of_dot;
        if (!(of_l2 <= c->limit->gradient))
            fprintf(c->out, "  grad/l2 of %s: %.9g, file %.9g\n", ours[i].name, ours[i].l2, l2[i]);
    }
    fx_check_judge(c, "grad/l2", error[0], c->limit->gradient);
    fx_check_judge(c, "grad/dot", error[1], c->limit->gradient);
    FX_TRY_DONE(each_once(c, ours, count));
    c->compared += 2; /* names and shapes */
done:
    fx_free(ours);
    fx_free(l2);
    fx_free(dot);
    return status;
}
