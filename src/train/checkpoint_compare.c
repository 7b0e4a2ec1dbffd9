/* checkpoint_compare.c: two checkpoints, tensor by tensor and bit by bit. */
#include <math.h>
#include <string.h>

#include "flexhpc/checkpoint.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"

typedef struct comparison {
    fx_h5 *other; /* the file that the walked one is compared with */
    const char *path, *other_path;
    FILE *out;
    float *a, *b;
    int64_t room;
    int64_t tensors, different;
} comparison;

static fx_status room_for(comparison *c, int64_t count)
{
    if (count <= c->room) return FX_OK;
    fx_free(c->a);
    fx_free(c->b);
    c->a = c->b = NULL;
    c->room = 0;
    FX_TRY(FX_ALLOC(c->a, count));
    FX_TRY(FX_ALLOC(c->b, count));
    c->room = count;
    return FX_OK;
}

static void differs(comparison *c, const char *name, const char *how)
{
    c->different++;
    fprintf(c->out, "%-72s %s\n", name, how);
}

/* The largest distance of two values; infinite where one is not finite and the other another. */
static double largest_difference(const float *a, const float *b, int64_t count)
{
    double largest = 0;
    for (int64_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) == 0) continue;
        const double distance = fabs((double)a[i] - (double)b[i]);
        largest = isfinite(distance) ? fmax(largest, distance) : INFINITY;
    }
    return largest;
}

static fx_status compare_tensor(void *self, fx_h5 *f, const char *name)
{
    comparison *c = self;
    fx_h5_shape shape, other;
    char how[64];
    int64_t count = 1;
    c->tensors++;
    if (!fx_h5_exists(c->other, name)) {
        differs(c, name, "is in the first file alone");
        return FX_OK;
    }
    FX_TRY(fx_h5_describe(f, name, &shape));
    FX_TRY(fx_h5_describe(c->other, name, &other));
    if (shape.rank != other.rank ||
        memcmp(shape.dim, other.dim, sizeof *shape.dim * (size_t)shape.rank) != 0) {
        differs(c, name, "is of another shape");
        return FX_OK;
    }
    for (int i = 0; i < shape.rank; i++)
        count *= shape.dim[i];
    FX_TRY(room_for(c, count));
    FX_TRY(fx_h5_read(f, name, NULL, NULL, FX_H5_F32, c->a));
    FX_TRY(fx_h5_read(c->other, name, NULL, NULL, FX_H5_F32, c->b));
    if (memcmp(c->a, c->b, sizeof *c->a * (size_t)count) == 0) return FX_OK;
    FX_TRY(fx_print(how, sizeof how, "largest difference %.6g", largest_difference(c->a, c->b, count)));
    differs(c, name, how);
    return FX_OK;
}

static fx_status find_missing(void *self, fx_h5 *f, const char *name)
{
    comparison *c = self;
    (void)f;
    if (!fx_h5_exists(c->other, name)) differs(c, name, "is in the second file alone");
    return FX_OK;
}

/* What a resumed run would do otherwise: step, scale, and settings but those of the run's outward form.
 */
static fx_status compare_progress(comparison *c)
{
    static const char *const outward[] = {"run.", "checkpoint.", "data.path", "data.prefetch",
                                          "backend"};
    fx_progress a, b;
    char text[4096], *rest = NULL;
    FX_TRY(fx_checkpoint_peek(fx_comm_self(), c->path, &a));
    FX_TRY(fx_checkpoint_peek(fx_comm_self(), c->other_path, &b));
    if (a.step != b.step) differs(c, "step", "differs");
    if (memcmp(&a.data_scale, &b.data_scale, sizeof a.data_scale) != 0)
        differs(c, "data_scale", "differs");
    if (fx_config_diff(&a.config, &b.config, text, sizeof text) == 0) return FX_OK;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        bool counts = true;
        for (size_t i = 0; i < sizeof outward / sizeof *outward; i++)
            counts = counts && strncmp(line, outward[i], strlen(outward[i])) != 0;
        if (counts) differs(c, line, "(a setting)");
    }
    return FX_OK;
}

fx_status fx_checkpoint_compare(const char *a, const char *b, FILE *out, int64_t *different)
{
    comparison c = {.path = a, .other_path = b, .out = out};
    fx_h5 *first = NULL, *second = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(compare_progress(&c));
    FX_TRY_DONE(fx_h5_open(a, FX_H5_OURS, &first));
    FX_TRY_DONE(fx_h5_open(b, FX_H5_OURS, &second));
    c.other = second;
    FX_TRY_DONE(fx_h5_walk(first, compare_tensor, &c));
    c.other = first;
    FX_TRY_DONE(fx_h5_walk(second, find_missing, &c));
    fprintf(out, "%lld tensors, %lld differences\n", (long long)c.tensors, (long long)c.different);
    *different = c.different;
done:
    fx_h5_abandon(&first);
    fx_h5_abandon(&second);
    fx_free(c.a);
    fx_free(c.b);
    return status;
}
