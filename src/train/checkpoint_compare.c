/* checkpoint_compare.c: two checkpoints, tensor by tensor and attribute by attribute. */
#include "flexhpc/checkpoint.h"

#include <math.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "settings.h"

typedef struct comparison {
    fx_h5 *other; /* the file that is not walked */
    FILE *out;
    const char *missing; /* where a dataset of the walked file is not */
    float *x, *y;
    size_t room; /* of x, y */
    int differing;
} comparison;

static void tell(comparison *c, const char *name, bool equal, const char *difference)
{
    fprintf(c->out, "%-72s %s\n", name, equal ? "equal" : difference);
    if (!equal) c->differing++;
}

static fx_status make_room(comparison *c, size_t count)
{
    if (count <= c->room) return FX_OK;
    fx_free(c->x);
    fx_free(c->y);
    c->y = NULL;
    c->room = 0;
    FX_TRY(FX_ALLOC(c->x, count));
    FX_TRY(FX_ALLOC(c->y, count));
    c->room = count;
    return FX_OK;
}

/* A NaN on one side is the largest difference there is. */
static double largest_difference(const float *x, const float *y, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs((double)x[i] - (double)y[i]);
        if (!(d <= largest)) largest = d;
        if (isnan(largest)) break;
    }
    return largest;
}

static fx_status compare_dataset(void *self, fx_h5 *f, const char *name)
{
    comparison *c = self;
    fx_h5_shape a, b;
    size_t count = 1;
    char difference[64];
    if (!fx_h5_exists(c->other, name)) {
        tell(c, name, false, c->missing);
        return FX_OK;
    }
    FX_TRY(fx_h5_describe(f, name, &a));
    FX_TRY(fx_h5_describe(c->other, name, &b));
    bool same = a.rank == b.rank && a.type == b.type;
    for (int i = 0; same && i < a.rank; i++) {
        same = a.dim[i] == b.dim[i];
        count *= (size_t)a.dim[i];
    }
    if (!same) {
        tell(c, name, false, "of another shape");
        return FX_OK;
    }
    FX_TRY(make_room(c, count));
    FX_TRY(fx_h5_read(f, name, NULL, NULL, FX_H5_F32, c->x));
    FX_TRY(fx_h5_read(c->other, name, NULL, NULL, FX_H5_F32, c->y));
    snprintf(difference, sizeof difference, "%.3e", largest_difference(c->x, c->y, count));
    tell(c, name, memcmp(c->x, c->y, count * sizeof *c->x) == 0, difference);
    return FX_OK;
}

static fx_status count_missing(void *self, fx_h5 *f, const char *name)
{
    (void)f;
    comparison *c = self;
    if (!fx_h5_exists(c->other, name)) tell(c, name, false, c->missing);
    return FX_OK;
}

static void compare_reals(comparison *c, const char *name, double a, double b)
{
    char difference[80];
    snprintf(difference, sizeof difference, "%.17g and %.17g", a, b);
    tell(c, name, memcmp(&a, &b, sizeof a) == 0, difference);
}

static fx_status compare_progress(comparison *c, const char *a, const char *b)
{
    fx_progress x, y;
    char text[8192], *rest = NULL;
    FX_TRY(fx_checkpoint_peek(fx_comm_self(), a, &x));
    FX_TRY(fx_checkpoint_peek(fx_comm_self(), b, &y));
    compare_reals(c, "step", (double)x.step, (double)y.step);
    compare_reals(c, "data_scale", x.data_scale, y.data_scale);
    if (!isnan(x.condition_mean) && !isnan(y.condition_mean)) {
        compare_reals(c, "condition_least", x.condition_least, y.condition_least);
        compare_reals(c, "condition_mean", x.condition_mean, y.condition_mean);
    }
    compare_reals(c, "loss", x.loss, y.loss);
    if (x.ranks != y.ranks)
        fprintf(c->out, "written by %lld and %lld ranks\n", (long long)x.ranks, (long long)y.ranks);
    fx_config_diff(&x.config, &y.config, text, sizeof text);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (fx_setting_is_free(line))
            fprintf(c->out, "config: %s\n", line);
        else
            tell(c, "config", false, line);
    return FX_OK;
}

static fx_status compare_engines(comparison *c, const char *a, const char *b)
{
    char *x = NULL, *y = NULL;
    fx_status status = fx_checkpoint_engines(fx_comm_self(), a, &x);
    if (status == FX_OK) status = fx_checkpoint_engines(fx_comm_self(), b, &y);
    if (status == FX_OK && (x || y)) tell(c, "engines", x && y && strcmp(x, y) == 0, "others");
    fx_free(x);
    fx_free(y);
    return status;
}

fx_status fx_checkpoint_compare(const char *a, const char *b, FILE *out, int *differing)
{
    comparison c = {.out = out};
    fx_h5 *f = NULL, *g = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(compare_progress(&c, a, b));
    FX_TRY_DONE(compare_engines(&c, a, b));
    FX_TRY_DONE(fx_h5_open(a, FX_H5_OURS, &f));
    FX_TRY_DONE(fx_h5_open(b, FX_H5_OURS, &g));
    c.other = g;
    c.missing = "in the first only";
    FX_TRY_DONE(fx_h5_walk(f, compare_dataset, &c));
    c.other = f;
    c.missing = "in the second only";
    FX_TRY_DONE(fx_h5_walk(g, count_missing, &c));
    *differing = c.differing;
done:
    fx_h5_abandon(&f);
    fx_h5_abandon(&g);
    fx_free(c.x);
    fx_free(c.y);
    return status;
}
