/* targets_text.c: manifests, safetensors headers and configurations: text that is parsed in memory. */
#include <dirent.h>
#include <string.h>

#include "flexhpc/config.h"
#include "flexhpc/data.h"
#include "flexhpc/mem.h"
#include "flexhpc/safetensors.h"
#include "targets.h"

enum { MIB = 1 << 20 };
static fuzz_seeds manifests, headers, configs;

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
    FX_TRY(fx_manifest_write(fuzz_folder, &m));
    FX_TRY(fuzz_path(path, "manifest.json"));
    FX_TRY(fuzz_add(&manifests, path));
    m.sources = m.shards = m.reynolds_count = 1;
    FX_TRY(fx_manifest_write(fuzz_folder, &m));
    return fuzz_add(&manifests, path);
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
    fuzz_pick(r, &manifests, out);
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

const fuzz_target fuzz_manifest = {.name = "manifest",
                                   .cases = 30000,
                                   .batch = 20000,
                                   .largest = MIB,
                                   .seeds = &manifests,
                                   .prepare = make_manifests,
                                   .make = change_manifest,
                                   .read = read_manifest};

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
    FX_TRY(fuzz_path(path, "seed.safetensors"));
    FX_TRY(
        fx_safetensors_create(path, two, 4, (const char *[]){"format", "pt", "step", "3", NULL}, &w));
    for (int i = 0; i < 4; i++)
        FX_TRY(fx_safetensors_write(w, i, values));
    FX_TRY(fx_safetensors_finish(&w));
    return fuzz_add(&headers, path);
}

static void change_header(fuzz_rng *r, fuzz_input *out)
{
    static const char *const words[] = {
        "\"F64\"", "\"BF16\"", "\"dtype\":", "\"shape\":[",       "[0,0]", "[0,24]", "{}",      "[[[[",
        "}",       "]",        "\\\"",       "\"__metadata__\":", "null",  " ",      "\\ud800", NULL};
    fuzz_pick(r, &headers, out);
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

const fuzz_target fuzz_header = {.name = "safetensors",
                                 .cases = 30000,
                                 .batch = 20000,
                                 .largest = MIB,
                                 .seeds = &headers,
                                 .prepare = make_headers,
                                 .make = change_header,
                                 .read = read_header};

/* ---- Configurations: what is taken, printed and read again is the same. */

static fx_status make_configs(void)
{
    char path[FX_PATH_MAX], *text = NULL;
    DIR *dir = opendir(FX_TESTS_DIR "/../configs");
    FX_REQUIRE(dir, FX_EIO, "configs: can't be opened");
    for (const struct dirent *e; (e = readdir(dir)) && configs.count < FUZZ_MOST_SEEDS - 2;)
        if (strstr(e->d_name, ".yaml")) {
            FX_TRY(fx_path(path, FX_TESTS_DIR "/../configs/%s", e->d_name));
            FX_TRY(fuzz_add(&configs, path));
        }
    closedir(dir);
    FX_TRY(FX_ALLOC(text, FX_CONFIG_TEXT_MAX));
    FX_TRY(fx_config_text(&fuzz_defaults, text, FX_CONFIG_TEXT_MAX));
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
    fuzz_pick(r, &configs, out);
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

const fuzz_target fuzz_config = {.name = "config",
                                 .cases = 3000,
                                 .batch = 5000,
                                 .largest = MIB,
                                 .seeds = &configs,
                                 .prepare = make_configs,
                                 .make = change_config,
                                 .read = read_config};
