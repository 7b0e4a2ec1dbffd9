/* reader.c: an open pack. Shards are opened when first read and the least recently used one is closed
 * beyond OPEN, so a pack of any size is read with few descriptors. Before a shard is opened its size is
 * compared with the manifest. */
#include "shard.h"

#include <stdlib.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { OPEN = 64, AHEAD = 16 /* spans that the system hears of before they are read */ };
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
    float *room; /* of the present read of spans */
    int64_t room_snapshots;
};

fx_status fx_pack_open(const char *folder, fx_pack_reader **out)
{
    fx_status status = FX_OK;
    fx_pack_reader *pack = NULL;
    FX_TRY_DONE(FX_ALLOC(pack, 1));
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

const fx_manifest *fx_pack_manifest(const fx_pack_reader *pack)
{
    return &pack->manifest;
}

/* The path of a shard, once its file has the manifest's size. */
static fx_status locate(const char *folder, const fx_pack_shard *shard, char path[FX_PATH_MAX])
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
        if (fx_file_exists(path)) return locate(pack->copy, shard, path);
    }
    return locate(pack->folder, shard, path);
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
    const fx_shard_layout layout = {&pack->manifest.source[entry->source], entry->tile, entry->patches,
                                    pack->manifest.patch};
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

static fx_status make_room(fx_pack_reader *pack, int64_t snapshots)
{
    const int64_t pixels = pack->manifest.patch * pack->manifest.patch,
                  most = RUN_BYTES / (pixels * (int64_t)sizeof(float));
    if (snapshots <= pack->room_snapshots) return FX_OK;
    if (snapshots < most) snapshots = most;
    fx_free(pack->room);
    pack->room_snapshots = 0;
    FX_TRY(FX_ALLOC(pack->room, snapshots * pixels));
    pack->room_snapshots = snapshots;
    return FX_OK;
}

fx_status fx_pack_read_spans(fx_pack_reader *pack, fx_span *spans, int64_t count, fx_span_taker take,
                             void *self)
{
    const int64_t pixels = pack->manifest.patch * pack->manifest.patch;
    int64_t expected = 0, snapshots = 0;
    qsort(spans, (size_t)count, sizeof *spans, by_place);
    for (int64_t first = 0, end; first < count; first = end) {
        end = first + first_run(pack, spans + first, count - first, &snapshots);
        if (expected < end) expected = end; /* the present read needs no notice */
        for (; expected < count && expected < end + AHEAD; expected++)
            expect(pack, &spans[expected]);
        FX_TRY(make_room(pack, snapshots));
        FX_TRY(fx_pack_read(pack, spans[first].patch, spans[first].t, snapshots, pack->room));
        for (const fx_span *s = spans + first; s < spans + end; s++)
            FX_TRY(take(self, s, pack->room + (s->t - spans[first].t) * pixels));
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
    fx_free((*pack)->room);
    fx_free(*pack);
    *pack = NULL;
}

static fx_status verify_shard(const char *folder, const fx_pack_shard *shard)
{
    char path[FX_PATH_MAX];
    uint64_t checksum;
    FX_TRY(locate(folder, shard, path));
    FX_TRY(fx_file_xxh64(path, &checksum));
    FX_REQUIRE(checksum == shard->checksum, FX_EVALUE, "%s: XXH64 %016llx, the manifest says %016llx",
               path, (unsigned long long)checksum, (unsigned long long)shard->checksum);
    return FX_OK;
}

fx_status fx_pack_verify(const char *folder)
{
    fx_manifest manifest;
    char lowres[FX_PATH_MAX];
    bool exists = false;
    fx_status status = FX_OK;
    FX_TRY(fx_lowres_path(folder, lowres));
    FX_TRY(fx_lowres_exists(folder, &exists));
    if (exists) FX_TRY(fx_pack_verify(lowres));
    FX_TRY(fx_manifest_read(folder, &manifest));
    for (int i = 0; status == FX_OK && i < manifest.shards; i++)
        status = verify_shard(folder, &manifest.shard[i]);
    fx_manifest_free(&manifest);
    return status;
}
