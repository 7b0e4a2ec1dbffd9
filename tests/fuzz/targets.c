/* targets.c: seeds from our own writers, and from HDF5 in its older form; and the readers. */
#include "targets.h"

#include <dirent.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/shard.h"
#include "flexhpc/checkpoint.h"
#include "flexhpc/config.h"
#include "flexhpc/data.h"
#include "flexhpc/interchange.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/safetensors.h"

enum { MOST_SEEDS = 32 };

typedef struct seeds {
    char *text[MOST_SEEDS];
    size_t size[MOST_SEEDS];
    int count;
} seeds;

static seeds manifests, headers, configs, shards, checkpoints, sources;
static char folder[64];
static fx_config config;

static fx_status path_of(char out[FX_PATH_MAX], const char *name)
{
    return fx_path(out, "%s/%s", folder, name);
}

static fx_status add(seeds *s, const char *path)
{
    FX_REQUIRE(s->count < MOST_SEEDS, FX_EARG, "too many seeds");
    FX_TRY(fx_read_text(path, 1 << 19, &s->text[s->count], &s->size[s->count]));
    s->count++;
    return FX_OK;
}

static void pick(fuzz_rng *r, const seeds *s, fuzz_input *out)
{
    const size_t i = fuzz_below(r, (size_t)s->count);
    memcpy(out->data, s->text[i], s->size[i]);
    out->size = s->size[i];
}

/* ---- Manifests. */

static fx_status make_manifests(void)
{
    char path[FX_PATH_MAX];
    fx_pack_source source[2] = {{.name = "100_64_64_seed_1.h5",
                                 .field = "w",
                                 .reynolds = 100,
                                 .interval = 0.1,
                                 .seed = 1,
                                 .snapshots = 6,
                                 .height = 64,
                                 .width = 64,
                                 .periodic = {true, true}},
                                {.name = "flow.hdf5",
                                 .field = "velocity[0]",
                                 .reynolds = 200,
                                 .run = 3,
                                 .snapshots = 4,
                                 .height = 48,
                                 .width = 32,
                                 .periodic = {true, false}}};
    fx_pack_shard shard[3] = {{.name = "shard-0000.h5", .patches = 8, .bytes = 9000, .checksum = 5},
                              {.name = "shard-0001.h5", .tile = 8, .patches = 8, .bytes = 9000},
                              {.name = "shard-0002.h5", .source = 1, .patches = 6, .bytes = 70}};
    fx_pack_reynolds reynolds[2] = {
        {.reynolds = 100, .stats = {.count = 9, .square = 4, .largest = 2}},
        {.reynolds = 200, .stats = {.count = 9, .square = 4, .largest = 2}}};
    fx_manifest m = {.patch = 16,
                     .strata = 4,
                     .scale = 1.5,
                     .source = source,
                     .sources = 2,
                     .shard = shard,
                     .shards = 3,
                     .reynolds = reynolds,
                     .reynolds_count = 2};
    FX_TRY(fx_manifest_write(folder, &m));
    FX_TRY(path_of(path, "manifest.json"));
    FX_TRY(add(&manifests, path));
    m.sources = m.shards = m.reynolds_count = 1;
    FX_TRY(fx_manifest_write(folder, &m));
    return add(&manifests, path);
}

static void change_manifest(fuzz_rng *r, fuzz_input *out)
{
    static const char *const words[] = {"\"name\": \"../x\"",
                                        "\"periodic\": [true, false],",
                                        "\"run\": 7,",
                                        "null",
                                        "[]",
                                        "{}",
                                        "true",
                                        "\"shards\":",
                                        "\"sources\": [",
                                        "\"tile\": ",
                                        "\\u0000",
                                        "0x12",
                                        "}",
                                        "]",
                                        ",",
                                        "\"patches\": 1,",
                                        NULL};
    pick(r, &manifests, out);
    fuzz_text(r, out, words);
}

static fx_status read_manifest(const fuzz_input *in, const char **wrong)
{
    fx_manifest m;
    FX_TRY(fx_manifest_parse("manifest.json", in->data, in->size, &m));
    if (m.patches < 1 || m.sources < 1 || m.shards < 1 || m.reynolds_count < 1)
        *wrong = "an empty one taken";
    for (int i = 0; i < m.shards; i++)
        if (!fx_is_plain_name(m.shard[i].name)) *wrong = "a name that leaves the folder taken";
    for (int64_t k = 0; k < 2 && !*wrong; k++) {
        const fx_patch p = fx_manifest_patch(&m, k ? m.patches - 1 : 0);
        const fx_pack_source *s = &m.source[p.source];
        if (p.place < 0 || p.place >= m.shard[p.shard].patches || p.row < 0 || p.column < 0 ||
            p.row + m.patch > s->height || p.column + m.patch > s->width)
            *wrong = "a patch outside its field";
    }
    fx_manifest_free(&m);
    return FX_OK;
}

/* ---- Safetensors. A case may say any size of the file. */

static fx_status make_headers(void)
{
    char path[FX_PATH_MAX];
    static const float values[6] = {0};
    const fx_safetensor two[] = {{.name = "encoder.a", .rank = 2, .dim = {2, 3}},
                                 {.name = "ema.encoder.a", .rank = 2, .dim = {2, 3}},
                                 {.name = "encoder.scalar", .rank = 0},
                                 {.name = "encoder.none", .rank = 2, .dim = {0, 9}}};
    fx_safetensors_writer *w = NULL;
    FX_TRY(path_of(path, "seed.safetensors"));
    FX_TRY(
        fx_safetensors_create(path, two, 4, (const char *[]){"format", "pt", "step", "3", NULL}, &w));
    for (int i = 0; i < 4; i++)
        FX_TRY(fx_safetensors_write(w, i, values));
    FX_TRY(fx_safetensors_finish(&w));
    return add(&headers, path);
}

static void change_header(fuzz_rng *r, fuzz_input *out)
{
    static const char *const words[] = {
        "\"F64\"", "\"BF16\"", "\"dtype\":", "\"shape\":[",       "[0,0]", "[0,24]", "{}",      "[[[[",
        "}",       "]",        "\\\"",       "\"__metadata__\":", "null",  " ",      "\\ud800", NULL};
    pick(r, &headers, out);
    memmove(out->data, out->data + 8, out->size - 8 - 52); /* the header: 13 values follow it */
    out->size -= 8 + 52;
    fuzz_text(r, out, words);
}

static fx_status read_header(const fuzz_input *in, const char **wrong)
{
    fx_safetensors *f = NULL;
    const int64_t values = (in->size & 3) == 3 ? (int64_t)in->size : 52;
    FX_TRY(
        fx_safetensors_parse("x.safetensors", in->data, in->size, 8 + (int64_t)in->size + values, &f));
    int64_t total = 0;
    for (int i = 0; i < fx_safetensors_count(f); i++) {
        const fx_safetensor *t = fx_safetensors_at(f, i);
        total += t->bytes;
        if (t->begin < 0 || t->bytes < 0 || t->begin > values - t->bytes)
            *wrong = "a tensor outside the file taken";
        for (int k = 0; k < i; k++) {
            const fx_safetensor *o = fx_safetensors_at(f, k);
            if (t->bytes && o->bytes && t->begin < o->begin + o->bytes &&
                o->begin < t->begin + t->bytes)
                *wrong = "tensors that overlap taken";
        }
    }
    if (total != values) *wrong = "a hole taken";
    fx_safetensors_close(&f);
    return FX_OK;
}

/* ---- Configurations: what is taken, printed and read again is the same. */

static fx_status make_configs(void)
{
    char path[FX_PATH_MAX], *text = NULL;
    DIR *dir = opendir(FX_TESTS_DIR "/../configs");
    FX_REQUIRE(dir, FX_EIO, "configs: can't be opened");
    for (const struct dirent *e; (e = readdir(dir)) && configs.count < MOST_SEEDS - 2;)
        if (strstr(e->d_name, ".yaml")) {
            FX_TRY(fx_path(path, FX_TESTS_DIR "/../configs/%s", e->d_name));
            FX_TRY(add(&configs, path));
        }
    closedir(dir);
    FX_TRY(FX_ALLOC(text, FX_CONFIG_TEXT_MAX));
    FX_TRY(fx_config_text(&config, text, FX_CONFIG_TEXT_MAX));
    configs.text[configs.count] = text;
    configs.size[configs.count++] = strlen(text);
    return FX_OK;
}

static void change_config(fuzz_rng *r, fuzz_input *out)
{
    static const char *const words[] = {
        "&a ",      "*a",     "!!str ", "- ", "? ",    "|\n  x\n",     "{a: &b [*b]}",
        "model:\n", ": ",     "\t",     "#",  "---\n", "\xef\xbb\xbf", "nan",
        "[1,2,3]",  "<<: *a", "...",    "%",  "~",     "\"\\x00\"",    "channels: [32]\n",
        NULL};
    pick(r, &configs, out);
    fuzz_text(r, out, words);
}

static fx_status read_config(const fuzz_input *in, const char **wrong)
{
    static char text[FX_CONFIG_TEXT_MAX], again[FX_CONFIG_TEXT_MAX];
    fx_config c;
    FX_TRY(fx_config_parse(&c, "x.yaml", in->data, in->size, NULL));
    if (fx_config_text(&c, text, sizeof text) != FX_OK ||
        fx_config_parse(&c, "again", text, strlen(text), NULL) != FX_OK ||
        fx_config_text(&c, again, sizeof again) != FX_OK || strcmp(text, again) != 0)
        *wrong = "a configuration does not read back as it was printed";
    return FX_OK;
}

/* ---- HDF5: a file in memory's file system. */

static fx_status put(const fuzz_input *in, char path[FX_PATH_MAX])
{
    static int fd = -1;
    static pid_t owner;
    FX_TRY(path_of(path, ""));
    FX_TRY(fx_path(path, "%s/100_8_8_seed_%d.h5", folder, (int)getpid()));
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
    if (fx_path(path, "%s/100_8_8_seed_%d.h5", folder, (int)getpid()) == FX_OK) unlink(path);
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
    FX_TRY(path_of(path, "shard.h5"));
    FX_TRY(fx_shard_create(path, &LAYOUT, &(fx_pack_storage){.window = 3}, &w));
    for (int p = 0; p < 2; p++)
        FX_TRY(fx_shard_write(w, p, 0, 3, values));
    FX_TRY(fx_shard_finish(&w));
    return add(&shards, path);
}

static void change_shard(fuzz_rng *r, fuzz_input *out)
{
    pick(r, &shards, out);
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

/* A model of three parameters in a checkpoint. */
static fx_status make_checkpoints(void)
{
    char path[FX_PATH_MAX];
    const fx_init start = {.kind = FX_INIT_UNIFORM, .fan_in = 4};
    fx_progress progress = {.step = 7, .ranks = 1, .data_scale = 2, .config = config};
    fx_params *params = NULL;
    fx_param *p;
    fx_exec *exec = NULL;
    FX_TRY(fx_params_create(&params));
    FX_TRY(fx_params_get(params, "encoder.a.weight", start, 2, (const int64_t[]){4, 3}, &p));
    FX_TRY(fx_params_get(params, "encoder.a.bias", start, 1, (const int64_t[]){4}, &p));
    FX_TRY(fx_params_get(params, "decoder.b.weight", start, 4, (const int64_t[]){2, 2, 3, 3}, &p));
    FX_TRY(fx_exec_open(fx_comm_self(), &config, &exec));
    FX_TRY(fx_params_allocate(params, exec, NULL,
                              1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA | 1u << FX_SLAB_MOMENT1));
    FX_TRY(fx_params_initialize(params, exec, 1));
    FX_TRY(fx_checkpoint_save(fx_comm_self(), params, exec, &progress, folder));
    fx_params_free(&params);
    exec->backend->close(&exec);
    FX_TRY(path_of(path, "step-00000007.h5"));
    return add(&checkpoints, path);
}

static void change_checkpoint(fuzz_rng *r, fuzz_input *out)
{
    pick(r, &checkpoints, out);
    fuzz_hdf5(r, out);
}

static fx_status read_checkpoint(const fuzz_input *in, const char **wrong)
{
    char path[FX_PATH_MAX];
    FX_TRY(put(in, path));
    const fx_status status = fx_checkpoint_verify(path);
    *wrong = left_open();
    return status;
}

/* Files of other programs, as libver "earliest" makes them: without checksums. */
static fx_status make_source(const char *name, const char *key, int rank, const hsize_t *dims,
                             bool chunked)
{
    char path[FX_PATH_MAX];
    float values[2 * 3 * 3 * 64];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = (float)(i % 97);
    FX_TRY(path_of(path, name));
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
    return add(&sources, path);
}

static fx_status make_sources(void)
{
    char from[FX_PATH_MAX], well[FX_PATH_MAX];
    fx_source *source = NULL;
    FX_TRY(make_source("100_8_8_seed_1.h5", "w", 3, (const hsize_t[]){3, 8, 8}, false));
    FX_TRY(make_source("100_8_8_seed_2.h5", "w", 4, (const hsize_t[]){3, 3, 8, 8}, true));
    FX_TRY(make_source("fields.h5", "fields", 4, (const hsize_t[]){3, 3, 8, 8}, true));
    FX_TRY(make_source("velocity.h5", "velocity", 5, (const hsize_t[]){2, 3, 8, 8, 2}, true));
    FX_TRY(path_of(from, "100_8_8_seed_1.h5"));
    FX_TRY(path_of(well, "well.hdf5"));
    FX_TRY(fx_source_open(from, &config, &source));
    const fx_status status = fx_well_write(source, well);
    fx_source_close(&source);
    return status == FX_OK ? add(&sources, well) : status;
}

static void change_source(fuzz_rng *r, fuzz_input *out)
{
    pick(r, &sources, out);
    fuzz_hdf5(r, out);
}

static fx_status read_source(const fuzz_input *in, const char **wrong)
{
    char path[FX_PATH_MAX];
    float values[64];
    fx_source *source = NULL;
    FX_TRY(put(in, path));
    fx_status status = fx_source_open(path, &config, &source);
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

/* ---- */

enum { MIB = 1 << 20 };
const fuzz_target fuzz_targets[] = {
    {"manifest", 30000, 20000, MIB, 0, change_manifest, read_manifest, NULL},
    {"safetensors", 30000, 20000, MIB, 0, change_header, read_header, NULL},
    {"config", 3000, 5000, MIB, 0, change_config, read_config, NULL},
    {"shard", 1500, 500, 0, 256, change_shard, read_shard, give_back},
    {"checkpoint", 1500, 500, 0, 256, change_checkpoint, read_checkpoint, give_back},
    {"source", 2000, 500, 0, 256, change_source, read_source, give_back},
    {0},
};

fx_status fuzz_prepare(void)
{
    snprintf(folder, sizeof folder, "%s/fx_fuzz_XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FX_REQUIRE(mkdtemp(folder), FX_EIO, "%s: can't be made", folder);
    FX_TRY(fx_config_load(&config, NULL,
                          (const char *[]){"backend=cpu", "data.scale=1", "source.channel=0", NULL}));
    FX_TRY(make_manifests());
    FX_TRY(make_headers());
    FX_TRY(make_configs());
    FX_TRY(make_shards());
    FX_TRY(make_checkpoints());
    return make_sources();
}

static void forget(seeds *s)
{
    for (int i = 0; i < s->count; i++)
        fx_free(s->text[i]);
}

void fuzz_clean(void)
{
    char command[96];
    seeds *const all[] = {&manifests, &headers, &configs, &shards, &checkpoints, &sources};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        forget(all[i]);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) fprintf(stderr, "%s: can't be removed\n", folder);
}
