/* well.c: reader of The Well's files (PolymathicAI/the_well, docs/data_format.md). A field is
 * t0_fields/X, a scalar, (B, T, W, H), or a component of t1_fields/X, (B, T, W, H, D): x before y where
 * spatial_dims says so; without B or T where the field's attributes say that it doesn't vary with them.
 * The condition is a member of `scalars`; an axis is periodic where a boundary condition of it says so
 * and no other contradicts; stats.yaml two folders up gives the scale. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "flexhpc/mem.h"
#include "source.h"
#include "well_stats.h"

static bool knows(const char *path, fx_h5 *file)
{
    (void)path;
    return file && fx_h5_has_attribute(file, "/", "grid_type") && fx_h5_exists(file, "dimensions") &&
           fx_h5_exists(file, "t0_fields");
}

static fx_status get_bool(fx_source *s, const char *object, const char *name, bool *out)
{
    int count;
    return fx_h5_get_bools(s->file, object, name, out, 1, &count);
}

static int find(const fx_h5_name *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i].text, name) == 0) return i;
    return -1;
}

/* ---- The field. */

/* source.key in t0_fields or t1_fields, with or without the group before it; without a key the first
 * there is. *vector: it is of t1_fields. */
static fx_status find_field(fx_source *s, const char *wanted, char key[FX_PATH_MAX], bool *vector)
{
    static const char *const groups[] = {"t0_fields", "t1_fields"};
    fx_h5_name name[FX_H5_NAMES];
    int count = 0;
    for (int i = 0; i < 2; i++) {
        const size_t n = strlen(groups[i]);
        const char *plain =
            strncmp(wanted, groups[i], n) == 0 && wanted[n] == '/' ? wanted + n + 1 : wanted;
        FX_TRY(fx_h5_get_names(s->file, groups[i], "field_names", name, &count));
        const int at = wanted[0] ? find(name, count, plain) : 0;
        if (at < 0 || count == 0) continue;
        *vector = i == 1;
        return fx_path(key, "%s/%s", groups[i], name[at].text);
    }
    return fx_fail(FX_ECONFIG, "source.key: %s: no field %s among t0_fields and t1_fields", s->path,
                   wanted);
}

static fx_status use_field(fx_source *s, const fx_config *config, fx_h5_name axis[FX_H5_NAMES])
{
    static const char *const layouts[2][2][2] = {{{"tyx", "txy"}, {"tyxc", "txyc"}},
                                                 {{"btyx", "btxy"}, {"btyxc", "btxyc"}}};
    char key[FX_PATH_MAX];
    bool vector = false, every_run = false, every_time = false, varies[FX_H5_NAMES] = {false};
    int axes = 0, dims = 0;
    FX_TRY(fx_h5_get_names(s->file, "dimensions", "spatial_dims", axis, &axes));
    FX_REQUIRE(axes == 2, FX_EVALUE, "%s: %d spatial dimensions, only 2 are read", s->path, axes);
    FX_TRY(find_field(s, config->source_key, key, &vector));
    FX_TRY(get_bool(s, key, "sample_varying", &every_run));
    FX_TRY(get_bool(s, key, "time_varying", &every_time));
    FX_TRY(fx_h5_get_bools(s->file, key, "dim_varying", varies, FX_H5_NAMES, &dims));
    FX_REQUIRE(every_time && dims == 2 && varies[0] && varies[1], FX_EVALUE,
               "%s: %s doesn't vary in time, x and y", s->path, key);
    const bool x_first = strcmp(axis[0].text, "y") != 0;
    FX_TRY(fx_source_use(s, key, (const char *const[]){layouts[every_run][vector][x_first], NULL}));
    return fx_source_take_channel(s, config, 0);
}

static fx_status check_runs(const fx_source *s)
{
    int64_t runs = 0;
    FX_TRY(fx_h5_get_int(s->file, "/", "n_trajectories", &runs));
    FX_REQUIRE(s->info.runs == 1 || s->info.runs == runs, FX_EVALUE,
               "%s: n_trajectories is %lld, %s holds %lld", s->path, (long long)runs, s->key,
               (long long)s->info.runs);
    return FX_OK;
}

/* ---- Boundaries. */

enum { PERIODIC = 1, WALL = 2, OPEN = 4, OTHER = 8 };

static unsigned kind_of(const char *type)
{
    return strcasecmp(type, "PERIODIC") == 0 ? PERIODIC
           : strcasecmp(type, "WALL") == 0   ? WALL
           : strcasecmp(type, "OPEN") == 0   ? OPEN
                                             : OTHER;
}

/* Of one boundary condition: adds its kind to the axes that it is about. */
static fx_status read_boundary(fx_source *s, const char *object, const fx_h5_name axis[2],
                               unsigned kinds[2])
{
    fx_h5_name name[FX_H5_NAMES];
    char type[32];
    int count = 0;
    const char *field = strrchr(s->key, '/') + 1;
    FX_TRY(fx_h5_get_names(s->file, object, "associated_fields", name, &count));
    if (count > 0 && find(name, count, field) < 0) return FX_OK;
    FX_TRY(fx_h5_get_names(s->file, object, "associated_dims", name, &count));
    FX_TRY(fx_h5_get_text(s->file, object, "bc_type", type, sizeof type));
    for (int i = 0; i < 2; i++)
        if (find(name, count, axis[i].text) >= 0) kinds[i] |= kind_of(type);
    return FX_OK;
}

static fx_status read_boundaries(fx_source *s, const fx_h5_name axis[2])
{
    fx_h5_name member[FX_H5_NAMES];
    unsigned kinds[2] = {0};
    int count = 0;
    if (fx_h5_exists(s->file, "boundary_conditions"))
        FX_TRY(fx_h5_members(s->file, "boundary_conditions", member, &count));
    for (int k = 0; k < count; k++) {
        char object[FX_PATH_MAX];
        FX_TRY(fx_path(object, "boundary_conditions/%s", member[k].text));
        FX_TRY(read_boundary(s, object, axis, kinds));
    }
    for (int i = 0; i < 2; i++) { /* info is of y and x */
        const int at = (strcmp(axis[0].text, "y") == 0) == (i == 0) ? 0 : 1;
        s->info.periodic[at] = kinds[i] == PERIODIC;
        s->info.edge[at] = kinds[i] == WALL   ? FX_EDGE_WALL
                           : kinds[i] == OPEN ? FX_EDGE_OPEN
                                              : FX_EDGE_UNKNOWN;
    }
    return FX_OK;
}

/* ---- The condition. */

static fx_status read_scalar(fx_source *s, const char *name)
{
    char key[FX_PATH_MAX];
    double *value = NULL;
    bool every_time = false;
    fx_h5_shape shape;
    FX_TRY(fx_path(key, "scalars/%s", name));
    FX_TRY(get_bool(s, key, "time_varying", &every_time));
    FX_REQUIRE(!every_time, FX_EVALUE, "%s: source.condition: %s varies in time", s->path, key);
    FX_TRY(fx_h5_describe(s->file, key, &shape));
    const int64_t values = shape.rank == 1 ? shape.dim[0] : 1;
    FX_REQUIRE(shape.rank == 0 || (shape.rank == 1 && values == s->info.runs), FX_EVALUE,
               "%s: %s is no number of each of %lld runs", s->path, key, (long long)s->info.runs);
    FX_TRY(FX_ALLOC(value, values));
    const fx_status status = fx_h5_read(s->file, key, NULL, NULL, FX_H5_F64, value);
    if (status == FX_OK) fx_source_set_condition(s, value, values);
    fx_free(value);
    return status;
}

static fx_status read_condition(fx_source *s, const char *wanted)
{
    static const char *const own[] = {"Reynolds", "reynolds", "Re", "reynolds_number"};
    fx_h5_name name[FX_H5_NAMES];
    double number;
    int count = 0;
    if (fx_is_number(wanted, &number)) return FX_OK;
    if (fx_h5_exists(s->file, "scalars"))
        FX_TRY(fx_h5_get_names(s->file, "scalars", "field_names", name, &count));
    for (size_t i = 0; !wanted[0] && i < sizeof own / sizeof *own; i++)
        if (find(name, count, own[i]) >= 0) return read_scalar(s, own[i]);
    FX_REQUIRE(!wanted[0] || find(name, count, wanted) >= 0, FX_ECONFIG,
               "source.condition: %s: no scalar %s", s->path, wanted);
    return wanted[0] ? read_scalar(s, wanted) : FX_OK;
}

static fx_status describe(fx_source *s, const fx_config *config)
{
    fx_h5_name axis[FX_H5_NAMES];
    FX_TRY(use_field(s, config, axis));
    FX_TRY(check_runs(s));
    FX_TRY(fx_source_take_runs(s, (fx_source_run){0}));
    FX_TRY(fx_source_take_times(s, "dimensions/time"));
    FX_TRY(read_boundaries(s, axis));
    FX_TRY(read_condition(s, config->source_condition));
    return fx_well_scale(s->path, strrchr(s->key, '/') + 1, s->channel, &s->info.scale);
}

const fx_source_format fx_format_well = {.name = "well", .knows = knows, .describe = describe};
