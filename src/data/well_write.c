/* well_write.c: any source as a file of The Well, with every group and attribute that its format
 * (well.c) asks for. Our fields are (y, x) and theirs (x, y), so snapshots are turned one by one;
 * memory is two of them. Coordinates are those of a square of side 2 pi for NSKT, of 1 for others,
 * whose files don't say; between walls the centres of cells, where our solver and PDEBench's have their
 * values. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "source.h"

static const char *const AXES[] = {"x", "y"};
static const double PI = 3.14159265358979323846;

typedef struct writer {
    fx_source *source;
    const fx_source_info *info;
    fx_h5 *file;
    char field[FX_NAME_MAX + 1], key[FX_PATH_MAX];
} writer;

/* sample_varying and time_varying. */
static fx_status set_varying(fx_h5 *f, const char *object, bool sample, bool time)
{
    FX_TRY(fx_h5_set_bools(f, object, "sample_varying", &sample, -1));
    return fx_h5_set_bools(f, object, "time_varying", &time, -1);
}

static fx_status write_numbers(fx_h5 *f, const char *name, int rank, int64_t count, const float *values)
{
    FX_TRY(fx_h5_dataset(f, name, (fx_h5_shape){rank, {count}, FX_H5_F32}, NULL));
    return fx_h5_write(f, name, NULL, NULL, FX_H5_F32, values);
}

static fx_status write_root(const writer *w)
{
    FX_TRY(fx_h5_set_names(w->file, "/", "dataset_name", (const char *const[]){w->info->name}, -1));
    FX_TRY(fx_h5_set_names(w->file, "/", "grid_type", (const char *const[]){"cartesian"}, -1));
    FX_TRY(fx_h5_set_int(w->file, "/", "n_spatial_dims", 2));
    FX_TRY(fx_h5_set_int(w->file, "/", "n_trajectories", w->info->runs));
    FX_TRY(
        fx_h5_set_names(w->file, "/", "simulation_parameters", (const char *const[]){"Reynolds"}, 1));
    return fx_h5_set_real(w->file, "/", "Reynolds", fx_source_run_of(w->source, 0).condition);
}

/* Along y (0) or x (1). */
static bool walled(const writer *w, int axis)
{
    return !w->info->periodic[axis] && w->info->edge[axis] == FX_EDGE_WALL;
}

static fx_status write_dimensions(const writer *w)
{
    const double side = strcmp(w->info->format, "nskt") == 0 ? 2 * PI : 1;
    const fx_source_run run = fx_source_run_of(w->source, 0);
    const double dx = side / (double)w->info->width, dy = side / (double)w->info->height;
    const struct {
        const char *name;
        int64_t count;
        double first, step;
    } axis[] = {{"dimensions/time", w->info->snapshots, run.start, run.interval > 0 ? run.interval : 1},
                {"dimensions/x", w->info->width, walled(w, 1) ? dx / 2 : 0, dx},
                {"dimensions/y", w->info->height, walled(w, 0) ? dy / 2 : 0, dy}};
    FX_TRY(fx_h5_group(w->file, "dimensions"));
    FX_TRY(fx_h5_set_names(w->file, "dimensions", "spatial_dims", AXES, 2));
    for (int i = 0; i < 3; i++) {
        float *at = NULL;
        FX_TRY(FX_ALLOC(at, axis[i].count));
        for (int64_t k = 0; k < axis[i].count; k++)
            at[k] = (float)(axis[i].first + (double)k * axis[i].step);
        const fx_status status = write_numbers(w->file, axis[i].name, 1, axis[i].count, at);
        fx_free(at);
        FX_TRY(status);
        FX_TRY(set_varying(w->file, axis[i].name, false, false));
    }
    return FX_OK;
}

static fx_status write_boundary(const writer *w, int axis)
{
    static const char *const types[] = {"PERIODIC", "WALL", "OPEN"}, *const endings[] = {
                                                                         "periodic", "wall", "open"};
    char group[FX_PATH_MAX], mask[FX_PATH_MAX];
    const int64_t count = axis == 0 ? w->info->width : w->info->height;
    const int kind = w->info->periodic[1 - axis] ? 0 : walled(w, 1 - axis) ? 1 : 2;
    bool *edge = NULL;
    FX_TRY(fx_path(group, "boundary_conditions/%s_%s", AXES[axis], endings[kind]));
    FX_TRY(fx_path(mask, "%s/mask", group));
    FX_TRY(fx_h5_group(w->file, group));
    FX_TRY(fx_h5_set_names(w->file, group, "bc_type", &types[kind], -1));
    FX_TRY(fx_h5_set_names(w->file, group, "associated_dims", &AXES[axis], 1));
    FX_TRY(fx_h5_set_names(w->file, group, "associated_fields", NULL, 0));
    FX_TRY(set_varying(w->file, group, false, false));
    FX_TRY(FX_ALLOC(edge, count));
    edge[0] = edge[count - 1] = true;
    const fx_status status = fx_h5_write_bools(w->file, mask, edge, count);
    fx_free(edge);
    return status;
}

static fx_status write_scalars(const writer *w)
{
    const int64_t runs = w->info->runs;
    float *condition = NULL;
    FX_TRY(fx_h5_group(w->file, "scalars"));
    FX_TRY(fx_h5_set_names(w->file, "scalars", "field_names", (const char *const[]){"Reynolds"}, 1));
    FX_TRY(FX_ALLOC(condition, runs));
    for (int64_t r = 0; r < runs; r++)
        condition[r] = (float)fx_source_run_of(w->source, r).condition;
    const fx_status status = write_numbers(w->file, "scalars/Reynolds", runs > 1, runs, condition);
    fx_free(condition);
    FX_TRY(status);
    return set_varying(w->file, "scalars/Reynolds", runs > 1, false);
}

static fx_status write_groups(writer *w)
{
    static const bool both[] = {true, true};
    static const char *const groups[] = {"t0_fields", "t1_fields", "t2_fields"};
    const char *const field = w->field;
    const fx_source_info *i = w->info;
    for (int k = 0; k < 3; k++) {
        FX_TRY(fx_h5_group(w->file, groups[k]));
        FX_TRY(fx_h5_set_names(w->file, groups[k], "field_names", &field, k == 0));
    }
    const fx_h5_shape shape = {4, {i->runs, i->snapshots, i->width, i->height}, FX_H5_F32};
    FX_TRY(fx_path(w->key, "t0_fields/%s", w->field));
    FX_TRY(fx_h5_dataset(w->file, w->key, shape, (const int64_t[]){1, 1, i->width, i->height}));
    FX_TRY(fx_h5_set_bools(w->file, w->key, "dim_varying", both, 2));
    return set_varying(w->file, w->key, true, true);
}

static fx_status write_snapshots(const writer *w)
{
    const int64_t H = w->info->height, W = w->info->width, T = w->info->snapshots;
    float *in = NULL, *out = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(FX_ALLOC(in, H * W));
    FX_TRY_DONE(FX_ALLOC(out, H * W));
    for (int64_t k = 0; k < w->info->runs * T; k++) {
        const fx_source_box box = {.run = k / T, .t = k % T, .times = 1, .rows = H, .columns = W};
        FX_TRY_DONE(fx_source_read_finite(w->source, &box, in));
        for (int64_t x = 0; x < W; x++)
            for (int64_t y = 0; y < H; y++)
                out[x * H + y] = in[y * W + x];
        FX_TRY_DONE(fx_h5_write(w->file, w->key, (const int64_t[]){k / T, k % T, 0, 0},
                                (const int64_t[]){1, 1, W, H}, FX_H5_F32, out));
    }
done:
    fx_free(in);
    fx_free(out);
    return status;
}

static fx_status write_all(writer *w)
{
    FX_TRY(write_root(w));
    FX_TRY(write_dimensions(w));
    for (int axis = 0; axis < 2; axis++)
        FX_TRY(write_boundary(w, axis));
    FX_TRY(write_scalars(w));
    FX_TRY(write_groups(w));
    return write_snapshots(w);
}

/* The times of the first run are written for all. */
static fx_status one_time_axis(const fx_source *source)
{
    const fx_source_run first = fx_source_run_of(source, 0);
    for (int64_t r = 1; r < source->info.runs; r++) {
        const fx_source_run run = fx_source_run_of(source, r);
        FX_REQUIRE(run.start == first.start && run.interval == first.interval, FX_EARG,
                   "%s: its runs have different times, which are not exported", source->path);
    }
    if (first.interval <= 0)
        fx_log(FX_WARN, "%s: does not say its times: they are numbered, 1 apart", source->path);
    return FX_OK;
}

fx_status fx_well_write(fx_source *source, const char *path)
{
    writer w = {.source = source, .info = &source->info};
    char part[FX_PATH_MAX];
    const char *name = strrchr(source->info.field, '/');
    name = name ? name + 1 : source->info.field;
    for (int i = 0; i < 2; i++)
        FX_REQUIRE(
            source->info.periodic[i] || source->info.edge[i] != FX_EDGE_UNKNOWN, FX_EARG,
            "%s: is not periodic along %s, and what bounds it is not known: source.edges=wall or "
            "open says it",
            source->path, AXES[1 - i]);
    if (strcmp(source->info.field, "w") == 0) name = "vorticity";
    const size_t length = strcspn(name, "[");
    const char *channel = name[length] ? name + length + 1 : ""; /* "velocity[1]" */
    FX_TRY(fx_print(w.field, sizeof w.field, "%.*s%s%.*s", (int)length, name, channel[0] ? "_" : "",
                    (int)strcspn(channel, "]"), channel));
    FX_TRY(one_time_axis(source));
    FX_TRY(fx_path(part, "%s.part", path));
    FX_TRY(fx_h5_create(NULL, part, &w.file));
    fx_status status = write_all(&w);
    if (status == FX_OK)
        status = fx_h5_close(&w.file);
    else
        fx_h5_abandon(&w.file);
    if (status == FX_OK) return fx_commit(part, path);
    unlink(part); /* whatever comes of it, the failure above is the one to tell */
    return fx_context(status, "%s", path);
}
