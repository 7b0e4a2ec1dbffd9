/* reader.c: an open pack. Shards are opened when first read and the least recently used one is closed
 * beyond OPEN, so a pack of any size is read with few descriptors. Before a shard is opened its size is
 * compared with the manifest. Spans are read in groups: their shards are opened and their places found
 * by the calling thread, the reads themselves, with their checksums, are shared among the readers. */
#include "shard.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum {
    OPEN = 64,
    GROUP = 32, /* reads that threads share, of OPEN shards at most with what is told ahead */
    AHEAD = 16  /* spans that the system hears of before their group is read */
};
static const int64_t RUN_BYTES = 4 << 20; /* of one read that several spans share */

struct fx_pack_reader {
    char folder[FX_PATH_MAX], copy[FX_PATH_MAX]; /* copy: of some of its shards; "": none */
    fx_manifest manifest;
    struct {
        fx_shard *file;
        int shard;
        uint64_t used; /* when, in reads */
    } open[OPEN];
    uint64_t reads;
    int readers;
    struct {
        float *values; /* of the present read of spans */
        int64_t snapshots;
    } room[FX_PACK_READERS_MAX]; /* of each reader */
};

/* One read, and the spans that lie in it. */
typedef struct joint_read {
    fx_shard *shard;
    int64_t place, snapshots, count;
    const fx_span *spans; /* (count), the first begins the read */
} joint_read;

fx_status fx_pack_open(const char *folder, fx_pack_reader **out)
{
    fx_status status = FX_OK;
    fx_pack_reader *pack = NULL;
    FX_TRY_DONE(FX_ALLOC(pack, 1));
    pack->readers = 1;
    FX_TRY_DONE(fx_path(pack->folder, "%s", folder));
    FX_TRY_DONE(fx_manifest_read(folder, &pack->manifest));
done:
    if (status != FX_OK) fx_pack_close(&pack);
    *out = pack;
    return status;
}

fx_status fx_pack_use_copy(fx_pack_reader *pack, const char *folder)
{
    return fx_path(pack->copy, "%s", folder);
}

void fx_pack_use_readers(fx_pack_reader *pack, int readers)
{
    pack->readers = readers < 1 ? 1 : readers > FX_PACK_READERS_MAX ? FX_PACK_READERS_MAX : readers;
}

const fx_manifest *fx_pack_manifest(const fx_pack_reader *pack)
{
    return &pack->manifest;
}

fx_shard_layout fx_shard_layout_of(const fx_manifest *m, int shard)
{
    const fx_pack_shard *s = &m->shard[shard];
    return (fx_shard_layout){&m->source[s->source], s->tile, s->patches, m->patch};
}

fx_status fx_shard_locate(const char *folder, const fx_pack_shard *shard, char path[FX_PATH_MAX])
{
    int64_t bytes;
    FX_TRY(fx_path(path, "%s/%s", folder, shard->name));
    FX_TRY(fx_file_size(path, &bytes));
    FX_REQUIRE(bytes == shard->bytes, FX_EIO, "%s: %lld bytes, the manifest says %lld", path,
               (long long)bytes, (long long)shard->bytes);
    return FX_OK;
}

/* Of the copy, where that has it. */
static fx_status locate_nearest(const fx_pack_reader *pack, const fx_pack_shard *shard,
                                char path[FX_PATH_MAX])
{
    if (pack->copy[0]) {
        FX_TRY(fx_path(path, "%s/%s", pack->copy, shard->name));
        if (fx_file_exists(path)) return fx_shard_locate(pack->copy, shard, path);
    }
    return fx_shard_locate(pack->folder, shard, path);
}

static fx_status open_shard(fx_pack_reader *pack, int shard, fx_shard **out)
{
    char path[FX_PATH_MAX];
    int place = 0;
    pack->reads++;
    for (int i = 0; i < OPEN; i++) {
        if (pack->open[i].file && pack->open[i].shard == shard) {
            pack->open[i].used = pack->reads;
            *out = pack->open[i].file;
            return FX_OK;
        }
        if (pack->open[i].used < pack->open[place].used) place = i;
    }
    const fx_pack_shard *entry = &pack->manifest.shard[shard];
    const fx_shard_layout layout = fx_shard_layout_of(&pack->manifest, shard);
    fx_shard_close(&pack->open[place].file);
    pack->open[place].used = 0;
    FX_TRY(locate_nearest(pack, entry, path));
    FX_TRY(fx_shard_open(path, &layout, &pack->open[place].file));
    pack->open[place].shard = shard;
    pack->open[place].used = pack->reads;
    *out = pack->open[place].file;
    return FX_OK;
}

/* The shard of a patch and its place there, once the snapshots are known to be inside. */
static fx_status find(fx_pack_reader *pack, int64_t patch, int64_t t, int64_t count, fx_shard **shard,
                      int64_t *place)
{
    FX_REQUIRE(patch >= 0 && patch < pack->manifest.patches, FX_EARG, "%s: no patch %lld of %lld",
               pack->folder, (long long)patch, (long long)pack->manifest.patches);
    const fx_patch from = fx_manifest_patch(&pack->manifest, patch);
    FX_REQUIRE(t >= 0 && count > 0 && count <= from.snapshots - t, FX_EARG,
               "%s: patch %lld has %lld snapshots, not %lld from %lld on", pack->folder,
               (long long)patch, (long long)from.snapshots, (long long)count, (long long)t);
    *place = from.place;
    return open_shard(pack, from.shard, shard);
}

fx_status fx_pack_read(fx_pack_reader *pack, int64_t patch, int64_t t, int64_t count, float *out)
{
    fx_shard *shard = NULL;
    int64_t place = 0;
    FX_TRY(find(pack, patch, t, count, &shard, &place));
    return fx_shard_read(shard, place, t, count, out);
}

static int by_place(const void *a, const void *b) /* patches are numbered as they lie */
{
    const fx_span *x = a, *y = b;
    if (x->patch != y->patch) return x->patch < y->patch ? -1 : 1;
    return (x->t > y->t) - (x->t < y->t);
}

static void expect(fx_pack_reader *pack, const fx_span *span)
{
    fx_shard *shard = NULL;
    int64_t place = 0;
    if (find(pack, span->patch, span->t, span->count, &shard, &place) == FX_OK)
        fx_shard_expect(shard, place, span->t, span->count);
    else
        fx_error_clear(); /* the read will say so */
}

/* The first spans, as many as one read gives: how many they are, and how many snapshots. */
static int64_t first_run(const fx_pack_reader *pack, const fx_span *spans, int64_t count,
                         int64_t *snapshots)
{
    const int64_t pixels = pack->manifest.patch * pack->manifest.patch,
                  most = RUN_BYTES / (pixels * (int64_t)sizeof(float));
    int64_t run = 1;
    *snapshots = spans->count;
    for (; run < count && spans[run].patch == spans->patch; run++) {
        const int64_t begin = spans[run].t - spans->t, end = begin + spans[run].count;
        if (begin > *snapshots || (end > *snapshots && end > most)) break;
        if (end > *snapshots) *snapshots = end;
    }
    return run;
}

static fx_status make_room(fx_pack_reader *pack, int reader, int64_t snapshots)
{
    const int64_t pixels = pack->manifest.patch * pack->manifest.patch,
                  most = RUN_BYTES / (pixels * (int64_t)sizeof(float));
    if (snapshots <= pack->room[reader].snapshots) return FX_OK;
    if (snapshots < most) snapshots = most;
    fx_free(pack->room[reader].values);
    pack->room[reader].snapshots = 0;
    FX_TRY(FX_ALLOC(pack->room[reader].values, snapshots * pixels));
    pack->room[reader].snapshots = snapshots;
    return FX_OK;
}

static fx_status read_run(fx_pack_reader *pack, const joint_read *r, int reader, fx_span_taker take,
                          void *self)
{
    const int64_t pixels = pack->manifest.patch * pack->manifest.patch, t = r->spans->t;
    FX_TRY(make_room(pack, reader, r->snapshots));
    const float *values = pack->room[reader].values;
    FX_TRY(fx_shard_read(r->shard, r->place, t, r->snapshots, pack->room[reader].values));
    for (const fx_span *s = r->spans; s < r->spans + r->count; s++)
        FX_TRY(take(self, s, values + (s->t - t) * pixels));
    return FX_OK;
}

/* The error of a group is that of its first run that failed, brought to the calling thread. */
static fx_status read_runs(fx_pack_reader *pack, const joint_read *runs, int count, fx_span_taker take,
                           void *self)
{
    char message[1024] = "";
    fx_status failed = FX_OK;
    int first = count;
#pragma omp parallel for schedule(dynamic, 1) num_threads(pack->readers) if (pack->readers > 1)
    for (int i = 0; i < count; i++) {
        const fx_status status = read_run(pack, &runs[i], omp_get_thread_num(), take, self);
        if (status == FX_OK) continue;
#pragma omp critical(fx_pack_failure)
        if (i < first) {
            first = i;
            failed = status;
            snprintf(message, sizeof message, "%s", fx_error_message());
        }
    }
    return failed == FX_OK ? FX_OK : fx_fail(failed, "%s", message);
}

fx_status fx_pack_read_spans(fx_pack_reader *pack, fx_span *spans, int64_t count, fx_span_taker take,
                             void *self)
{
    int64_t expected = 0;
    qsort(spans, (size_t)count, sizeof *spans, by_place);
    for (int64_t first = 0, end = 0; first < count; first = end) {
        joint_read runs[GROUP];
        int n = 0;
        for (; end < count && n < GROUP; end += runs[n++].count) {
            const fx_span *s = spans + end;
            joint_read *r = &runs[n];
            r->spans = s;
            r->count = first_run(pack, s, count - end, &r->snapshots);
            FX_TRY(find(pack, s->patch, s->t, r->snapshots, &r->shard, &r->place));
            FX_TRY(fx_shard_find(r->shard, r->place, s->t, r->snapshots));
        }
        for (; expected < count && expected < end + AHEAD; expected++)
            expect(pack, &spans[expected]);
        FX_TRY(read_runs(pack, runs, n, take, self));
    }
    return FX_OK;
}

fx_status fx_pack_storage_of(fx_pack_reader *pack, int shard, fx_pack_storage *out)
{
    fx_shard *file = NULL;
    FX_TRY(open_shard(pack, shard, &file));
    return fx_shard_storage_of(file, out);
}

void fx_pack_close(fx_pack_reader **pack)
{
    if (!*pack) return;
    for (int i = 0; i < OPEN; i++)
        fx_shard_close(&(*pack)->open[i].file);
    fx_manifest_free(&(*pack)->manifest);
    for (int i = 0; i < FX_PACK_READERS_MAX; i++)
        fx_free((*pack)->room[i].values);
    fx_free(*pack);
    *pack = NULL;
}
