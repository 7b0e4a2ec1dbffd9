/* targets_hdf.c: shards, checkpoints and sources: HDF5 in files of memory's file system. Seeds are
 * from our own writers, and from HDF5 in its older form. */
#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include "data/shard.h"
#include "flexhpc/io.h"
#include "flexhpc/train.h"
#include "targets.h"
#include "train/checkpoint_file.h"

static fuzz_seeds shards, checkpoints, sources;

static fx_status put(const fuzz_input *in, char path[FX_PATH_MAX])
{
    static int fd = -1;
    static pid_t owner;
    FX_TRY(fuzz_path(path, ""));
    FX_TRY(fx_path(path, "%s/100_8_8_seed_%d.h5", fuzz_folder, (int)getpid()));
    if (owner != getpid()) {
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        owner = getpid();
    }
    FX_REQUIRE(fd >= 0 && ftruncate(fd, (off_t)in->size) == 0 &&
                   pwrite(fd, in->data, in->size, 0) == (ssize_t)in->size,
               FX_EARG, "%s: can't be written", path);
    return FX_OK;
}

static const char *left_open(void)
{
    return H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) > 0 ? "HDF5 objects are left open" : NULL;
}

static void give_back(void)
{
    char path[FX_PATH_MAX];
    H5garbage_collect();
    if (fx_path(path, "%s/100_8_8_seed_%d.h5", fuzz_folder, (int)getpid()) == FX_OK) unlink(path);
}

/* Of a shard whose source is this. */
static const fx_pack_source SOURCE = {.name = "100_8_8_seed_1.h5",
                                      .field = "w",
                                      .reynolds = 100,
                                      .interval = 0.5,
                                      .seed = 1,
                                      .snapshots = 3,
                                      .height = 8,
                                      .width = 16,
                                      .periodic = {true, true}};
static const fx_shard_layout LAYOUT = {.source = &SOURCE, .side = 8, .tile = 0, .patches = 2};

static fx_status make_shards(void)
{
    char path[FX_PATH_MAX];
    float values[3 * 64];
    fx_shard_writer *w = NULL;
    for (int i = 0; i < 3 * 64; i++)
        values[i] = (float)i;
    FX_TRY(fuzz_path(path, "shard.h5"));
    FX_TRY(fx_shard_create(path, &LAYOUT, &(fx_pack_storage){.window = 3}, &w));
    for (int p = 0; p < 2; p++)
        FX_TRY(fx_shard_write(w, p, 0, 3, values));
    FX_TRY(fx_shard_finish(&w));
    return fuzz_add(&shards, path);
}

static void change_shard(fuzz_rng *r, fuzz_input *out)
{
    fuzz_pick(r, &shards, out);
    fuzz_hdf5(r, out);
}

static fx_status read_shard(const fuzz_input *in, const char **wrong)
{
    char path[FX_PATH_MAX];
    fx_shard *shard = NULL;
    float values[2 * 64];
    FX_TRY(put(in, path));
    fx_status status = fx_shard_open(path, &LAYOUT, &shard);
    if (status == FX_OK) status = fx_shard_read(shard, 1, 1, 2, values);
    if (status == FX_OK && (values[0] != 64 || values[127] != 191))
        *wrong = "wrong numbers with a right checksum";
    fx_shard_close(&shard);
    if (!*wrong) *wrong = left_open();
    return status;
}

const fuzz_target fuzz_shard = {.name = "shard",
                                .cases = 1500,
                                .batch = 500,
                                .slack = 256,
                                .seeds = &shards,
                                .prepare = make_shards,
                                .make = change_shard,
                                .read = read_shard,
                                .end = give_back};

/* A model of three parameters in a checkpoint: smaller than any that a configuration describes. */
enum { SLABS = 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA | 1u << FX_SLAB_MOMENT1 };
static const fx_init START = {.kind = FX_INIT_UNIFORM, .fan_in = 4};
static fx_params *model; /* without memory */

static fx_status describe_model(fx_params **out)
{
    fx_param *p;
    FX_TRY(fx_params_create(out));
    FX_TRY(fx_params_get(*out, "encoder.a.weight", START, 2, (const int64_t[]){4, 3}, &p));
    FX_TRY(fx_params_get(*out, "encoder.a.bias", START, 1, (const int64_t[]){4}, &p));
    return fx_params_get(*out, "decoder.b.weight", START, 4, (const int64_t[]){2, 2, 3, 3}, &p);
}

static fx_status make_checkpoints(void)
{
    char path[FX_PATH_MAX];
    fx_progress progress = {.step = 7, .ranks = 1, .data_scale = 2, .config = fuzz_defaults};
    fx_params *params = NULL;
    fx_exec *exec = NULL;
    FX_TRY(describe_model(&model));
    FX_TRY(describe_model(&params));
    FX_TRY(fx_exec_open(fx_comm_self(), &fuzz_defaults, &exec));
    FX_TRY(fx_params_allocate(params, exec, NULL, SLABS));
    FX_TRY(fx_params_initialize(params, exec, 1));
    FX_TRY(fx_checkpoint_save(fx_comm_self(), params, exec, &progress, fuzz_folder));
    fx_params_free(&params);
    exec->backend->close(&exec);
    FX_TRY(fuzz_path(path, "step-00000007.h5"));
    return fuzz_add(&checkpoints, path);
}

static void forget_model(void)
{
    fx_params_free(&model);
}

static void change_checkpoint(fuzz_rng *r, fuzz_input *out)
{
    fuzz_pick(r, &checkpoints, out);
    fuzz_hdf5(r, out);
}

static fx_status read_checkpoint(const fuzz_input *in, const char **wrong)
{
    char path[FX_PATH_MAX];
    FX_TRY(put(in, path));
    const fx_status status = fx_checkpoint_verify_as(path, model, SLABS);
    *wrong = left_open();
    return status;
}

const fuzz_target fuzz_checkpoint = {.name = "checkpoint",
                                     .cases = 1500,
                                     .batch = 500,
                                     .slack = 256,
                                     .seeds = &checkpoints,
                                     .prepare = make_checkpoints,
                                     .clean = forget_model,
                                     .make = change_checkpoint,
                                     .read = read_checkpoint,
                                     .end = give_back};

/* Files of other programs, as libver "earliest" makes them: without checksums. */
static fx_status make_source(const char *name, const char *key, int rank, const hsize_t *dims,
                             bool chunked)
{
    char path[FX_PATH_MAX];
    float values[2 * 3 * 3 * 64];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = (float)(i % 97);
    FX_TRY(fuzz_path(path, name));
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                space = H5Screate_simple(rank, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
    if (chunked) {
        hsize_t chunk[5];
        for (int i = 0; i < rank; i++)
            chunk[i] = i < rank - 2 ? 1 : dims[i];
        H5Pset_chunk(list, rank, chunk);
        H5Pset_shuffle(list);
        H5Pset_deflate(list, 4);
        H5Pset_fletcher32(list);
    }
    const hid_t d = H5Dcreate2(file, key, H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    const hid_t scalar = H5Screate(H5S_SCALAR),
                a = H5Acreate2(file, "Re", H5T_IEEE_F64LE, scalar, H5P_DEFAULT, H5P_DEFAULT);
    const double reynolds = 100;
    const bool good = d >= 0 && a >= 0 &&
                      H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 &&
                      H5Awrite(a, H5T_NATIVE_DOUBLE, &reynolds) >= 0;
    H5Aclose(a);
    H5Sclose(scalar);
    H5Dclose(d);
    H5Pclose(list);
    H5Sclose(space);
    H5Fclose(file);
    FX_REQUIRE(good, FX_EIO, "%s: can't be made", path);
    return fuzz_add(&sources, path);
}

static fx_status make_sources(void)
{
    char from[FX_PATH_MAX], well[FX_PATH_MAX];
    fx_source *source = NULL;
    FX_TRY(make_source("100_8_8_seed_1.h5", "w", 3, (const hsize_t[]){3, 8, 8}, false));
    FX_TRY(make_source("100_8_8_seed_2.h5", "w", 4, (const hsize_t[]){3, 3, 8, 8}, true));
    FX_TRY(make_source("fields.h5", "fields", 4, (const hsize_t[]){3, 3, 8, 8}, true));
    FX_TRY(make_source("velocity.h5", "velocity", 5, (const hsize_t[]){2, 3, 8, 8, 2}, true));
    FX_TRY(fuzz_path(from, "100_8_8_seed_1.h5"));
    FX_TRY(fuzz_path(well, "well.hdf5"));
    FX_TRY(fx_source_open(from, &fuzz_defaults, &source));
    const fx_status status = fx_well_write(source, well);
    fx_source_close(&source);
    return status == FX_OK ? fuzz_add(&sources, well) : status;
}

static void change_source(fuzz_rng *r, fuzz_input *out)
{
    fuzz_pick(r, &sources, out);
    fuzz_hdf5(r, out);
}

static fx_status read_source(const fuzz_input *in, const char **wrong)
{
    char path[FX_PATH_MAX];
    float values[64];
    fx_source *source = NULL;
    FX_TRY(put(in, path));
    fx_status status = fx_source_open(path, &fuzz_defaults, &source);
    if (status == FX_OK) {
        const fx_source_info *info = fx_source_describe(source);
        const fx_source_box box = {.run = info->runs - 1,
                                   .t = info->snapshots - 1,
                                   .times = 1,
                                   .rows = 1,
                                   .columns = info->width < 64 ? info->width : 64};
        status = fx_source_read(source, &box, values);
    }
    fx_source_close(&source);
    *wrong = left_open();
    return status;
}

const fuzz_target fuzz_source = {.name = "source",
                                 .cases = 2000,
                                 .batch = 500,
                                 .slack = 256,
                                 .seeds = &sources,
                                 .prepare = make_sources,
                                 .make = change_source,
                                 .read = read_source,
                                 .end = give_back};
