/* flexhpc data info PATH: what a file of fields, a pack, or another HDF5 file holds. Local.
 * flexhpc data verify PACK: a pack held against its checksums. Collective.
 * flexhpc data stage PACK DIR: a pack's shards onto the disks of nodes. Collective. */
#include <math.h>
#include <string.h>

#include "data.h"
#include "flexhpc/io.h"

void fx_values_add(fx_values *v, float *x, int64_t at, int64_t count)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(x[i]))
            x[kept++] = x[i];
        else if (v->not_finite++ == 0)
            v->first = at + i;
    }
    fx_stats_add(&v->stats, x, kept);
}

/* Reads pieces along one dimension, those after it whole and those before it one place at a time, so
 * that memory is bounded and few pieces are read. */
static fx_status scan(fx_h5 *f, const char *name, const fx_h5_shape *shape, fx_values *out)
{
    enum { MOST = 1 << 22 };
    int64_t offset[8] = {0}, count[8], slice = 1, total = 1;
    int along = shape->rank - 1;
    float *x = NULL;
    fx_status status = FX_OK;
    for (int i = 0; i < shape->rank; i++) {
        FX_REQUIRE(total == 0 || shape->dim[i] <= INT64_MAX / total, FX_EVALUE, "%s: too many values",
                   name);
        total *= shape->dim[i];
    }
    *out = (fx_values){0};
    if (total == 0) return FX_OK;
    while (along > 0 && shape->dim[along] <= MOST / slice)
        slice *= shape->dim[along--];
    const int64_t most = MOST / slice, step = shape->dim[along] < most ? shape->dim[along] : most;
    FX_TRY(FX_ALLOC(x, step * slice));
    for (int64_t at = 0; at < total && status == FX_OK;) {
        int64_t rest = at / slice;
        for (int i = along; i >= 0; i--) {
            offset[i] = rest % shape->dim[i];
            rest /= shape->dim[i];
        }
        for (int i = 0; i < shape->rank; i++)
            count[i] = i < along ? 1 : shape->dim[i];
        const int64_t left = shape->dim[along] - offset[along];
        count[along] = step < left ? step : left;
        status = fx_h5_read(f, name, offset, count, FX_H5_F32, x);
        if (status == FX_OK) fx_values_add(out, x, at, count[along] * slice);
        at += count[along] * slice;
    }
    fx_free(x);
    return status;
}

void fx_print_stats(const fx_stats *s)
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

/* The reason alone of "PATH: NAME: reason". */
static void print_refused(const char *name)
{
    const char *message = fx_error_message(), *at = strstr(message, name);
    while (at && strncmp(at + strlen(name), ": ", 2) != 0)
        at = strstr(at + 1, name);
    printf("%-12s %s\n", name, at ? at + strlen(name) + 2 : message);
    fx_error_clear();
}

static fx_status print_dataset(void *self, fx_h5 *f, const char *name)
{
    static const char *const types[] = {"float32", "float64", "int64", "uint64"};
    fx_h5_shape shape;
    fx_values v;
    (void)self;
    if (fx_h5_describe(f, name, &shape) != FX_OK) {
        print_refused(name);
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
    fx_print_stats(&v.stats);
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

/* What our solver writes beside the fields. */
static fx_status print_all_series(const char *path)
{
    fx_h5 *f = NULL;
    FX_TRY(fx_h5_open(path, FX_H5_FOREIGN, &f));
    fx_status status = print_series(f, "energy");
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
    printf("format       pack: %lld patches of %lld x %lld pixels in %d shards, from %d sources\n",
           (long long)m.patches, (long long)m.patch, (long long)m.patch, m.shards, m.sources);
    printf("strata       %lld\nscale        %.6g (root mean square)\n", (long long)m.strata, m.scale);
    for (int i = 0; i < m.sources; i++) {
        const fx_pack_source *s = &m.source[i];
        printf("source       %s: Re %.10g, seed %lld, (time, y, x) = (%lld, %lld, %lld)", s->name,
               s->reynolds, (long long)s->seed, (long long)s->snapshots, (long long)s->height,
               (long long)s->width);
        printf(", periodic %s\n", fx_periodic_words(s->periodic));
    }
    for (int i = 0; i < m.reynolds_count; i++) {
        printf("Re %-9.10g %lld patches: ", m.reynolds[i].reynolds, (long long)m.reynolds[i].patches);
        fx_print_stats(&m.reynolds[i].stats);
    }
    fx_manifest_free(&m);
    return FX_OK;
}

static fx_status info(fx_cli *cli)
{
    const char *path = cli->argument[0];
    char manifest[FX_PATH_MAX];
    fx_config config;
    bool known = false;
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_path(manifest, "%s/manifest.json", path));
    if (fx_file_exists(manifest)) return print_pack(path);
    FX_TRY(fx_source_known(path, &config, &known));
    if (!known) return print_hdf5(path);
    FX_TRY(fx_print_source(path, &config, cli->plot));
    return print_all_series(path);
}

const fx_command fx_command_data_info = {
    .name = "data info",
    .arguments = "[CONFIG] PATH",
    .help = "what a file of fields, the folder of a pack, or another HDF5 file holds",
    .example = "flexhpc data info fields/500_512_512_seed_2150.h5",
    .options = FX_OPTIONS(FX_SOURCE_OPTIONS, FX_OPTION_TEXT("--preview", "FILE", plot,
                                                            "a picture of the last snapshot, PNG")),
    .config = FX_MAY_HAVE_CONFIG,
    .least = 1,
    .most = 1,
    .run = info,
};

static fx_status verify(fx_cli *cli)
{
    const fx_comm *comm = cli->comm;
    fx_pack_verified v;
    const fx_status status = fx_pack_verify(cli->comm, cli->argument[0], stdout, &v);
    if (comm->rank == 0 && v.seconds > 0)
        printf("%s: %d shards, %.1f MiB in %.2f s, %.0f MiB/s, %d rank%s: %s\n", cli->argument[0],
               v.shards, v.bytes / 0x1p20, v.seconds, v.bytes / 0x1p20 / v.seconds, comm->size,
               comm->size == 1 ? "" : "s", status == FX_OK ? "whole" : "damaged");
    return status;
}

const fx_command fx_command_data_verify = {
    .name = "data verify",
    .arguments = "PACK",
    .help = "read every shard of a pack and compare checksums: names files, patches and snapshots that "
            "are damaged",
    .example = "mpiexec -n 4 flexhpc data verify packs/train",
    .codes = "0 whole, 1 damaged or error, 2 usage or configuration",
    .least = 1,
    .most = 1,
    .ranks = true,
    .run = verify,
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
