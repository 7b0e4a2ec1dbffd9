/* reader.c: an open pack. Shards are opened when first read and the least recently used one is closed
 * beyond OPEN, so a pack of any size is read with few descriptors. Before a shard is opened its size is
 * compared with the manifest. */
#include "shard.h"

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { OPEN = 64 };

struct fx_pack_reader {
    char folder[FX_PATH_MAX], copy[FX_PATH_MAX]; /* copy: of some of its shards; "": none */
    fx_manifest manifest;
    struct {
        fx_shard *file;
        int shard;
        uint64_t used; /* when, in reads */
    } open[OPEN];
    uint64_t reads;
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

fx_status fx_pack_read(fx_pack_reader *pack, int64_t patch, int64_t t, int64_t count, float *out)
{
    fx_shard *shard = NULL;
    FX_REQUIRE(patch >= 0 && patch < pack->manifest.patches, FX_EARG, "%s: no patch %lld of %lld",
               pack->folder, (long long)patch, (long long)pack->manifest.patches);
    const fx_patch from = fx_manifest_patch(&pack->manifest, patch);
    FX_REQUIRE(t >= 0 && count > 0 && count <= from.snapshots - t, FX_EARG,
               "%s: patch %lld has %lld snapshots, not %lld from %lld on", pack->folder,
               (long long)patch, (long long)from.snapshots, (long long)count, (long long)t);
    FX_TRY(open_shard(pack, from.shard, &shard));
    return fx_shard_read(shard, from.place, t, count, out);
}

void fx_pack_close(fx_pack_reader **pack)
{
    if (!*pack) return;
    for (int i = 0; i < OPEN; i++)
        fx_shard_close(&(*pack)->open[i].file);
    fx_manifest_free(&(*pack)->manifest);
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
    fx_status status = FX_OK;
    FX_TRY(fx_manifest_read(folder, &manifest));
    for (int i = 0; status == FX_OK && i < manifest.shards; i++)
        status = verify_shard(folder, &manifest.shard[i]);
    fx_manifest_free(&manifest);
    return status;
}
