/* pack_shards.c: the shards of a pack, one rank's share. They are written in groups of one source
 * (pack_copy.c). Until the manifest is there, a note `shard-NNNN.h5.sum` beside each finished shard
 * says its size and checksum, so that a broken-off pack goes on. */
#include "pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { GROUP = 16 /* shards written at once: 16 open files */ };

fx_status fx_pack_shard_path(const fx_packing *job, int shard, char path[FX_PATH_MAX])
{
    return fx_path(path, "%s/%s", job->config->pack_path, job->manifest.shard[shard].name);
}

static bool newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

/* Whether its fields lie as this pack's shall. */
static fx_status check_storage(const fx_packing *job, const fx_shard_layout *layout, fx_shard *file)
{
    fx_pack_storage want, has;
    FX_TRY(fx_shard_wanted(job->config, layout, &want));
    FX_TRY(fx_shard_storage_of(file, &has));
    FX_REQUIRE(has.window == want.window && has.compress == want.compress, FX_EVALUE,
               "chunks of %lld snapshots, compressed by %d", (long long)has.window, has.compress);
    return FX_OK;
}

/* Size, checksum and statistics of a finished shard, for the manifest. */
static fx_status inspect_shard(const fx_packing *job, int shard)
{
    char path[FX_PATH_MAX];
    fx_shard *file = NULL;
    const fx_shard_layout layout = fx_shard_layout_of(&job->manifest, shard);
    fx_shard_result *r = &job->result[shard];
    FX_TRY(fx_pack_shard_path(job, shard, path));
    FX_TRY(fx_shard_open(path, &layout, &file));
    fx_status status = check_storage(job, &layout, file);
    if (status == FX_OK) status = fx_shard_stats(file, &r->stats);
    fx_shard_close(&file);
    FX_TRY(status);
    FX_TRY(fx_file_size(path, &r->bytes));
    return fx_file_xxh64(path, &r->checksum);
}

static fx_status note_path(const char *folder, const char *shard, char path[FX_PATH_MAX])
{
    return fx_path(path, "%s/%s.sum", folder, shard);
}

fx_status fx_pack_write_note(const char *folder, const char *shard, int64_t bytes, uint64_t checksum)
{
    char path[FX_PATH_MAX], text[64];
    FX_TRY(note_path(folder, shard, path));
    const int size = snprintf(text, sizeof text, "%" PRId64 " %016" PRIx64 "\n", bytes, checksum);
    return fx_write_text(path, text, (size_t)size);
}

static fx_status remove_note(const char *folder, const char *shard)
{
    char path[FX_PATH_MAX];
    FX_TRY(note_path(folder, shard, path));
    return fx_remove(path);
}

static bool note_agrees(const fx_packing *job, int shard)
{
    char path[FX_PATH_MAX], want[64], *text = NULL;
    size_t size = 0;
    const fx_shard_result *r = &job->result[shard];
    snprintf(want, sizeof want, "%" PRId64 " %016" PRIx64 "\n", r->bytes, r->checksum);
    const bool agrees =
        note_path(job->config->pack_path, job->manifest.shard[shard].name, path) == FX_OK &&
        fx_read_text(path, sizeof want, &text, &size) == FX_OK && strcmp(text, want) == 0;
    fx_free(text);
    return agrees;
}

/* Whether the first and the last snapshot of a shard's first patch are the source's: two files in two
 * folders may have one name. */
static fx_status compare_values(const fx_packing *job, int shard, bool *same)
{
    char path[FX_PATH_MAX];
    fx_status status = FX_OK;
    fx_shard *file = NULL;
    fx_source *source = NULL;
    float *mine = NULL, *theirs = NULL;
    const fx_shard_layout layout = fx_shard_layout_of(&job->manifest, shard);
    const fx_source_file *from = &job->file[job->manifest.shard[shard].source];
    const int64_t side = layout.side, across = from->source.width / side,
                  last = from->source.snapshots - 1;
    *same = true;
    FX_TRY_DONE(fx_pack_shard_path(job, shard, path));
    FX_TRY_DONE(fx_shard_open(path, &layout, &file));
    FX_TRY_DONE(fx_source_open(from->path, job->config, &source));
    FX_TRY_DONE(FX_ALLOC(mine, side * side));
    FX_TRY_DONE(FX_ALLOC(theirs, side * side));
    for (int i = 0; i < 2; i++) {
        const fx_source_box box = {.run = from->source.run,
                                   .t = i * last,
                                   .times = 1,
                                   .row = layout.tile / across * side,
                                   .rows = side,
                                   .column = layout.tile % across * side,
                                   .columns = side};
        FX_TRY_DONE(fx_shard_read(file, 0, box.t, 1, mine));
        FX_TRY_DONE(fx_source_read(source, &box, theirs));
        *same = *same && memcmp(mine, theirs, (size_t)(side * side) * sizeof *mine) == 0;
    }
done:
    fx_shard_close(&file);
    fx_source_close(&source);
    fx_free(mine);
    fx_free(theirs);
    return status;
}

/* Is the shard there, newer than its source, of this layout, as its note says, and of these values?
 * Whatever is wrong only means: no. */
static bool finished(const fx_packing *job, int shard)
{
    char path[FX_PATH_MAX];
    struct stat mine, source;
    bool same = false;
    const bool whole = fx_pack_shard_path(job, shard, path) == FX_OK && stat(path, &mine) == 0 &&
                       stat(job->file[job->manifest.shard[shard].source].path, &source) == 0 &&
                       newer(&mine, &source) && inspect_shard(job, shard) == FX_OK &&
                       note_agrees(job, shard) && compare_values(job, shard, &same) == FX_OK && same;
    fx_error_clear();
    return whole;
}

/* Shards [first, first + count) of one source, count <= GROUP, those marked `skip` left out. */
static fx_status write_group(fx_packing *job, int first, int count, const bool skip[GROUP])
{
    fx_status status = FX_OK;
    const fx_pack_shard *shard = &job->manifest.shard[first];
    fx_shard_writer *out[GROUP] = {NULL};
    for (int i = 0; i < count; i++) {
        char path[FX_PATH_MAX], part[FX_PATH_MAX];
        fx_pack_storage storage;
        const fx_shard_layout layout = fx_shard_layout_of(&job->manifest, first + i);
        if (skip[i]) continue;
        FX_TRY_DONE(fx_shard_wanted(job->config, &layout, &storage));
        FX_TRY_DONE(remove_note(job->config->pack_path, shard[i].name));
        FX_TRY_DONE(fx_pack_shard_path(job, first + i, path));
        FX_TRY_DONE(fx_path(part, "%s.part", path));
        FX_TRY_DONE(fx_shard_create(part, &layout, &storage, &out[i]));
    }
    FX_TRY_DONE(fx_pack_copy(job, first, count, out));
    for (int i = 0; i < count; i++) {
        char path[FX_PATH_MAX], part[FX_PATH_MAX];
        if (!out[i]) continue;
        FX_TRY_DONE(fx_shard_finish(&out[i]));
        FX_TRY_DONE(fx_pack_shard_path(job, first + i, path));
        FX_TRY_DONE(fx_path(part, "%s.part", path));
        FX_TRY_DONE(fx_commit(part, path));
        FX_TRY_DONE(inspect_shard(job, first + i));
        FX_TRY_DONE(fx_pack_write_note(job->config->pack_path, shard[i].name,
                                       job->result[first + i].bytes, job->result[first + i].checksum));
        job->packed[0] += (double)job->result[first + i].stats.count * sizeof(float);
        job->packed[1] += (double)job->result[first + i].bytes;
    }
done:
    for (int i = 0; i < count; i++)
        fx_shard_abandon(&out[i]);
    return status;
}

/* A shard of the pack that is added to. Where its source is given again, which is what a start after a
 * kill does, that must not have changed since. */
static fx_status take_kept(const fx_packing *job, int shard)
{
    char path[FX_PATH_MAX];
    fx_shard *file = NULL;
    struct stat mine, source;
    bool same = false;
    const char *from = job->file[job->manifest.shard[shard].source].path;
    const fx_shard_layout layout = fx_shard_layout_of(&job->manifest, shard);
    const fx_pack_shard *old = &job->old.shard[job->kept[shard] - 1];
    job->result[shard] = (fx_shard_result){.bytes = old->bytes, .checksum = old->checksum};
    FX_TRY(fx_pack_shard_path(job, shard, path));
    FX_TRY(fx_shard_open(path, &layout, &file));
    const fx_status status = fx_shard_stats(file, &job->result[shard].stats);
    fx_shard_close(&file);
    FX_TRY(status);
    if (!from[0]) return FX_OK;
    FX_TRY(compare_values(job, shard, &same));
    FX_REQUIRE(same && stat(path, &mine) == 0 && stat(from, &source) == 0 && newer(&mine, &source),
               FX_ECONFIG, "pack.add: %s is in the pack already, older or with other values", from);
    return FX_OK;
}

/* The next shards of this rank from `*at` that share a source, written or kept. */
static fx_status next_group(fx_packing *job, int *at)
{
    const fx_pack_shard *shard = &job->manifest.shard[*at];
    const int first = *at;
    bool skip[GROUP];
    int count = 0, kept = 0;
    while (*at < job->end && count < GROUP && shard[count].source == shard[0].source) {
        if (job->kept[*at]) FX_TRY(take_kept(job, *at));
        if (!job->kept[*at]) job->result[*at].finished = finished(job, *at);
        skip[count] = job->kept[*at] || job->result[*at].finished;
        kept += skip[count++];
        ++*at;
    }
    return kept < count ? write_group(job, first, count, skip) : FX_OK;
}

fx_status fx_pack_write_shards(fx_packing *job)
{
    int64_t rounds = 0;
    for (int at = job->first, count = 0; at < job->end; at++) { /* as next_group cuts */
        const fx_pack_shard *shard = &job->manifest.shard[at];
        if (at == job->first || count == GROUP || shard->source != shard[-1].source) {
            rounds++;
            count = 0;
        }
        count++;
    }
    FX_TRY(fx_comm_max_i64(job->comm, &rounds));
    int at = job->first;
    for (int64_t round = 0; round < rounds; round++) {
        const fx_status status = at < job->end ? next_group(job, &at) : FX_OK;
        FX_TRY(fx_agree(job->comm, status));
        fx_log(FX_INFO, "pack: round %lld of %lld", (long long)(round + 1), (long long)rounds);
    }
    return FX_OK;
}
