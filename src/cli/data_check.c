/* flexhpc data check PATH: how a file of fields, or a pack, is laid out for training: chunks, filters,
 * what is read for one sample and how fast. Local. */
#include <math.h>
#include <string.h>

#include "data.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

enum { SAMPLES = 50 };

/* A random whole number from 0 to below n, of sample i. */
static int64_t draw(const fx_config *config, int64_t i, uint32_t what, int64_t n)
{
    const uint32_t counter[] = {(uint32_t)i, what, fx_crc32("data check"), 0};
    const fx_philox r = fx_philox4x32((uint64_t)config->seed, counter);
    return (int64_t)((uint64_t)r.word[0] * (uint64_t)n >> 32);
}

/* ---- A file of fields. */

/* Bytes of the chunks that a box touches, as they are in memory. */
static double touched(const fx_source_layout *l, const fx_source_box *b)
{
    const int64_t from[] = {b->run, b->t, l->channel, b->row, b->column},
                  count[] = {1, b->times, 1, b->rows, b->columns};
    double bytes = (double)l->value_bytes;
    for (int a = 0; a < 5; a++) {
        const int64_t c = l->chunk[a];
        bytes *= (double)(((from[a] + count[a] - 1) / c - from[a] / c + 1) * c);
    }
    return bytes;
}

static void print_layout(const fx_source_info *i, const fx_source_layout *l)
{
    static const char *const names[] = {"run", "time", "channel", "y", "x"};
    printf("%-12s ", i->field);
    if (l->chunked) {
        const char *comma = "";
        printf("chunks of ");
        for (int a = 0; a < 5; a++)
            if (l->chunk[a] > 1) {
                printf("%s%lld %s", comma, (long long)l->chunk[a], names[a]);
                comma = " x ";
            }
        printf("%s, ", *comma ? "" : "1 value");
    } else {
        printf("contiguous, ");
    }
    printf("filters: %s; %.1f MiB in the file, %.1f MiB of values\n",
           l->filters[0] ? l->filters : "none", (double)l->stored_bytes / 0x1p20,
           l->all_bytes / 0x1p20);
}

static fx_source_box random_box(const fx_config *config, const fx_source_info *i, int64_t sample,
                                int64_t side, int64_t times)
{
    return (fx_source_box){.run = draw(config, sample, 0, i->runs),
                           .t = draw(config, sample, 1, i->snapshots - times + 1),
                           .times = times,
                           .row = draw(config, sample, 2, i->height - side + 1),
                           .rows = side,
                           .column = draw(config, sample, 3, i->width - side + 1),
                           .columns = side};
}

static fx_status check_source(fx_source *s, const fx_config *config)
{
    const fx_source_info *i = fx_source_describe(s);
    const int64_t side = config->pack_patch, want = config->model_cond + config->data_forecast_step,
                  times = want < i->snapshots ? want : i->snapshots;
    fx_source_layout layout;
    float *x = NULL;
    double read = 0;
    fx_status status = FX_OK;
    FX_REQUIRE(side <= i->height && side <= i->width, FX_ECONFIG,
               "pack.patch: %lld pixels do not fit into the %lld x %lld of %s", (long long)side,
               (long long)i->height, (long long)i->width, i->name);
    FX_TRY(fx_source_layout_of(s, &layout));
    print_layout(i, &layout);
    FX_TRY(FX_ALLOC(x, times * side * side));
    const double begin = fx_now();
    for (int64_t k = 0; k < SAMPLES && status == FX_OK; k++) {
        const fx_source_box box = random_box(config, i, k, side, times);
        read += touched(&layout, &box) / SAMPLES;
        status = fx_source_read(s, &box, x);
    }
    const double seconds = (fx_now() - begin) / SAMPLES, needed = (double)(times * side * side) * 4;
    fx_free(x);
    FX_TRY(status);
    printf("one sample   %lld snapshots of %lld x %lld pixels, %.3g MiB: %.3g MiB are read%s for it\n",
           (long long)times, (long long)side, (long long)side, needed / 0x1p20, read / 0x1p20,
           layout.filters[0] ? " and expanded" : "");
    printf(
        "%-12s %.4g ms, %.4g MiB/s of samples (%d at random places, files that the system may hold in "
        "memory)\n",
        "", 1e3 * seconds, needed / 0x1p20 / seconds, SAMPLES);
    printf("packing      a pack reads %.3g MiB for it, %.3g times less\n", needed / 0x1p20,
           read / needed);
    return FX_OK;
}

/* ---- A pack. */

/* Bytes of fields that come into memory for snapshots [t, t + times) of a patch, one_bytes a snapshot:
 * whole chunks where they are compressed. */
static double moved(const fx_pack_storage *s, int64_t t, int64_t times, double one_bytes)
{
    const int64_t chunks = (t + times - 1) / s->window - t / s->window + 1;
    return one_bytes * (double)(s->compress > 0 ? chunks * s->window : times);
}

/* One line a layout: shards that were added later may lie otherwise. */
static fx_status print_storage(fx_pack_reader *pack)
{
    const fx_manifest *m = fx_pack_manifest(pack);
    fx_pack_storage run = {0};
    int shards = 0;
    double values = 0;
    for (int i = 0; i <= m->shards; i++) {
        fx_pack_storage s = {0};
        if (i < m->shards) FX_TRY(fx_pack_storage_of(pack, i, &s));
        if (shards > 0 && (s.window != run.window || s.compress != run.compress)) {
            printf("%d shards    chunks of one patch and %lld of its snapshots, ", shards,
                   (long long)run.window);
            if (run.compress > 0)
                printf("shuffle and deflate %d; ", run.compress);
            else
                printf("not compressed; ");
            printf("%.1f MiB in the files, %.1f MiB of values\n", (double)run.bytes / 0x1p20,
                   values / 0x1p20);
            shards = 0;
            values = 0;
            run.bytes = 0;
        }
        if (i == m->shards) return FX_OK;
        const int64_t bytes = run.bytes + s.bytes;
        run = s;
        run.bytes = bytes;
        shards++;
        values += (double)m->shard[i].patches * (double)m->source[m->shard[i].source].snapshots *
                  (double)(m->patch * m->patch) * sizeof(float);
    }
    return FX_OK;
}

static fx_status check_pack(const char *folder, const fx_config *config)
{
    fx_pack_reader *pack = NULL;
    float *x = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_pack_open(folder, &pack));
    FX_TRY_DONE(print_storage(pack));
    const fx_manifest *m = fx_pack_manifest(pack);
    const int64_t times = config->model_cond + config->data_forecast_step, side = m->patch;
    const double one = (double)(side * side) * sizeof(float);
    FX_TRY_DONE(FX_ALLOC(x, times * side * side));
    int64_t samples = 0;
    double seconds = 0, bytes = 0;
    for (int64_t k = 0; k < SAMPLES; k++) {
        fx_pack_storage storage;
        const int64_t at = draw(config, k, 0, m->patches);
        const fx_patch patch = fx_manifest_patch(m, at);
        if (patch.snapshots < times) continue;
        const int64_t t = draw(config, k, 1, patch.snapshots - times + 1);
        FX_TRY_DONE(fx_pack_storage_of(pack, patch.shard, &storage)); /* opens the shard */
        const double begin = fx_now();
        FX_TRY_DONE(fx_pack_read(pack, at, t, times, x));
        seconds += fx_now() - begin;
        bytes += moved(&storage, t, times, one);
        samples++;
    }
    FX_REQUIRE_DONE(samples > 0, FX_ECONFIG, "%s: no patch has the %lld snapshots of a sample", folder,
                    (long long)times);
    const double needed = (double)times * one / 0x1p20, n = (double)samples;
    printf("one sample   %lld snapshots of %lld x %lld pixels, %.3g MiB: %.3g MiB are read for it\n",
           (long long)times, (long long)side, (long long)side, needed, bytes / n / 0x1p20);
    printf(
        "%-12s %.4g ms, %.4g MiB/s of samples (%lld at random places, files that the system may hold "
        "in memory)\n",
        "", 1e3 * seconds / n, needed * n / seconds, (long long)samples);
done:
    fx_free(x);
    fx_pack_close(&pack);
    return status;
}

static fx_status check(fx_cli *cli)
{
    const char *path = cli->argument[0];
    char manifest[FX_PATH_MAX];
    fx_config config;
    fx_source *s = NULL;
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_path(manifest, "%s/manifest.json", path));
    if (fx_file_exists(manifest)) return check_pack(path, &config);
    fx_status status = fx_source_open(path, &config, &s);
    if (status == FX_OK) status = check_source(s, &config);
    fx_source_close(&s);
    return status;
}

const fx_command fx_command_data_check = {
    .name = "data check",
    .arguments = "[CONFIG] PATH",
    .help = "how a file of fields or a pack is laid out: chunks, filters, what is read for a sample, "
            "how fast",
    .example = "flexhpc data check fields/500_512_512_seed_2150.h5 --patch 64",
    .options = FX_OPTIONS(FX_SOURCE_OPTIONS, FX_OPTION_KEY("--patch", "PIXELS", "pack.patch")),
    .config = FX_MAY_HAVE_CONFIG,
    .least = 1,
    .most = 1,
    .run = check,
};
