/* flexhpc data info PATH: what a file of fields, a pack, or another HDF5 file holds. Local.
 * flexhpc data stage PACK DIR: a pack's shards onto the disks of nodes. Collective. */
#include <math.h>
#include <string.h>

#include "cli.h"
#include "flexhpc/data.h"
#include "flexhpc/io.h"

/* Of one dataset: statistics of its finite values, and how many are not. */
typedef struct values {
    fx_stats stats;
    int64_t not_finite, first; /* the first's place in the flattened dataset */
} values;

/* Closes the gaps that values which are not finite leave; how many stay. */
static int64_t keep_finite(values *v, float *x, int64_t at, int64_t count)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(x[i])) {
            x[kept++] = x[i];
            continue;
        }
        if (v->not_finite++ == 0) v->first = at + i;
    }
    return kept;
}

/* Reads slice by slice along the first dimension, a vector at once. */
static fx_status scan(fx_h5 *f, const char *name, const fx_h5_shape *shape, values *out)
{
    int64_t offset[8] = {0}, count[8] = {1}, slice = 1;
    float *x = NULL;
    fx_status status = FX_OK;
    for (int i = shape->rank > 1; i < shape->rank; i++)
        slice *= count[i] = shape->dim[i];
    *out = (values){0};
    FX_TRY(FX_ALLOC(x, slice));
    for (int64_t t = 0; t < shape->dim[0] && status == FX_OK; t += count[0]) {
        offset[0] = t;
        status = fx_h5_read(f, name, offset, count, FX_H5_F32, x);
        if (status == FX_OK) fx_stats_add(&out->stats, x, keep_finite(out, x, t * slice, slice));
    }
    fx_free(x);
    return status;
}

static void print_stats(const fx_stats *s)
{
    printf("%lld values from %.6g to %.6g, mean %.6g, std %.6g\n", (long long)s->count, s->least,
           s->largest, s->mean, fx_stats_std(s));
}

/* (12, 64, 64) or one of its places. */
static void print_tuple(const int64_t *dim, int rank)
{
    for (int i = 0; i < rank; i++)
        printf("%s%lld", i ? ", " : "(", (long long)dim[i]);
    printf(rank ? ")" : "()");
}

static fx_status print_dataset(void *self, fx_h5 *f, const char *name)
{
    static const char *const types[] = {"float32", "float64", "int64", "uint64"};
    fx_h5_shape shape;
    values v;
    (void)self;
    if (fx_h5_describe(f, name, &shape) != FX_OK) {
        fx_error_clear();
        printf("%-12s no numbers\n", name);
        return FX_OK;
    }
    printf("%-12s %s ", name, types[shape.type]);
    print_tuple(shape.dim, shape.rank);
    if (shape.rank == 0) {
        putchar('\n');
        return FX_OK;
    }
    printf(": ");
    FX_TRY(scan(f, name, &shape, &v));
    print_stats(&v.stats);
    printf("%-12s %lld not finite", "", (long long)v.not_finite);
    if (v.not_finite > 0) {
        int64_t place[8], rest = v.first;
        for (int i = shape.rank - 1; i >= 0; i--) {
            place[i] = rest % shape.dim[i];
            rest /= shape.dim[i];
        }
        printf(", the first at ");
        print_tuple(place, shape.rank);
    }
    putchar('\n');
    return FX_OK;
}

/* First and last value of a series that our solver writes. */
static fx_status print_series(fx_h5 *f, const char *name)
{
    fx_h5_shape shape;
    double first = 0, last = 0;
    const int64_t zero = 0, one = 1;
    if (!fx_h5_exists(f, name)) return FX_OK;
    FX_TRY(fx_h5_describe(f, name, &shape));
    if (shape.rank != 1 || shape.dim[0] < 1) return FX_OK;
    const int64_t end = shape.dim[0] - 1;
    FX_TRY(fx_h5_read(f, name, &zero, &one, FX_H5_F64, &first));
    FX_TRY(fx_h5_read(f, name, &end, &one, FX_H5_F64, &last));
    printf("%-12s %.6g in the first snapshot, %.6g in the last\n", name, first, last);
    return FX_OK;
}

static fx_status print_fields(const char *path, const fx_config *config)
{
    fx_source *file = NULL;
    fx_h5 *f = NULL;
    FX_TRY(fx_source_open(path, config, &file));
    const fx_source_info i = *fx_source_describe(file);
    const fx_source_run run = fx_source_run_of(file, 0);
    fx_source_close(&file);
    printf("format       NSKT: vorticity w (time, y, x) = (%lld, %lld, %lld)\n", (long long)i.snapshots,
           (long long)i.height, (long long)i.width);
    printf("Re           %.10g\nseed         %lld\n", run.condition, (long long)i.seed);
    if (run.interval > 0)
        printf("time         %g to %g every %g\n", run.start,
               run.start + (double)(i.snapshots - 1) * run.interval, run.interval);
    else
        printf("time         the file does not say\n");
    FX_TRY(fx_h5_open(path, FX_H5_FOREIGN, &f));
    fx_status status = print_dataset(NULL, f, "w");
    if (status == FX_OK) status = print_series(f, "energy");
    if (status == FX_OK) status = print_series(f, "enstrophy");
    fx_h5_abandon(&f);
    return status;
}

static fx_status print_hdf5(const char *path)
{
    fx_h5 *f = NULL;
    char format[64] = "HDF5";
    FX_TRY(fx_h5_open(path, FX_H5_FOREIGN, &f));
    if (fx_h5_has_attribute(f, "/", "format") &&
        fx_h5_get_text(f, "/", "format", format, sizeof format) != FX_OK)
        fx_error_clear();
    printf("format       %s\n", format);
    const fx_status status = fx_h5_walk(f, print_dataset, NULL);
    fx_h5_abandon(&f);
    return status;
}

static fx_status print_pack(const char *folder)
{
    fx_manifest m;
    FX_TRY(fx_manifest_read(folder, &m));
    printf("format       pack: %lld patches of %lld x %lld pixels in %d shards, from %d files\n",
           (long long)m.patches, (long long)m.patch, (long long)m.patch, m.shards, m.sources);
    printf("strata       %lld\nscale        %.6g (root mean square)\n", (long long)m.strata, m.scale);
    for (int i = 0; i < m.sources; i++) {
        const fx_pack_source *s = &m.source[i];
        printf("source       %s: Re %.10g, seed %lld, (time, y, x) = (%lld, %lld, %lld)\n", s->name,
               s->reynolds, (long long)s->seed, (long long)s->snapshots, (long long)s->height,
               (long long)s->width);
    }
    for (int i = 0; i < m.reynolds_count; i++) {
        printf("Re %-9.10g %lld patches: ", m.reynolds[i].reynolds, (long long)m.reynolds[i].patches);
        print_stats(&m.reynolds[i].stats);
    }
    fx_manifest_free(&m);
    return FX_OK;
}

static fx_status info(fx_cli *cli)
{
    const char *path = cli->argument[0];
    char manifest[FX_PATH_MAX];
    fx_config config;
    double reynolds;
    int64_t seed;
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_path(manifest, "%s/manifest.json", path));
    if (fx_file_exists(manifest)) return print_pack(path);
    return fx_nskt_parse_name(path, &reynolds, &seed) ? print_fields(path, &config) : print_hdf5(path);
}

const fx_command fx_command_data_info = {
    .name = "data info",
    .arguments = "PATH",
    .help = "what a file of fields, the folder of a pack, or another HDF5 file holds",
    .example = "flexhpc data info fields/500_512_512_seed_2150.h5",
    .least = 1,
    .most = 1,
    .run = info,
};

static fx_status stage(fx_cli *cli)
{
    return fx_pack_stage_all(cli->comm, cli->argument[0], cli->argument[1]);
}

const fx_command fx_command_data_stage = {
    .name = "data stage",
    .arguments = "PACK DIR",
    .help = "copy a pack to a folder of each node's own disk; keeps what is there and whole",
    .example = "srun --mpi=pmix --ntasks-per-node=1 flexhpc data stage packs/train /local/packs",
    .least = 2,
    .most = 2,
    .ranks = true,
    .run = stage,
};
