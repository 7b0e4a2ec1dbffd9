/* pack_shards.c: the shards of a pack, one rank's share. They are written in groups of one source: each
 * snapshot is read once a group, only the rows that the group's tiles cover, as many snapshots at a
 * time as pack.memory holds, and cut into tiles; where one snapshot is larger, a row of tiles or a tile
 * at a time. Until the manifest is there, a note `shard-NNNN.h5.sum` beside each finished shard says
 * its size and checksum, so that a broken-off pack goes on. */
#include "pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { GROUP = 16 /* shards written at once: 16 open files */ };
static fx_shard_layout layout_of(const fx_packing *job, int shard)
{
    const fx_pack_shard *s = &job->manifest.shard[shard];
    return (fx_shard_layout){&job->manifest.source[s->source], s->tile, s->patches,
                             job->manifest.patch};
}

fx_status fx_pack_shard_path(const fx_packing *job, int shard, char path[FX_PATH_MAX])
{
    return fx_path(path, "%s/%s", job->config->pack_path, job->manifest.shard[shard].name);
}

static bool newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

/* Size, checksum and statistics of a finished shard, for the manifest. */
static fx_status inspect_shard(const fx_packing *job, int shard)
{
    char path[FX_PATH_MAX];
    fx_shard *file = NULL;
    const fx_shard_layout layout = layout_of(job, shard);
    fx_shard_result *r = &job->result[shard];
    FX_TRY(fx_pack_shard_path(job, shard, path));
    FX_TRY(fx_shard_open(path, &layout, &file));
    const fx_status status = fx_shard_stats(file, &r->stats);
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

/* Is the shard there, newer than its source, of this layout, and as its note says? Whatever is wrong
 * only means: no. */
static bool finished(const fx_packing *job, int shard)
{
    char path[FX_PATH_MAX];
    struct stat mine, source;
    const bool whole = fx_pack_shard_path(job, shard, path) == FX_OK && stat(path, &mine) == 0 &&
                       stat(job->file[job->manifest.shard[shard].source].path, &source) == 0 &&
                       newer(&mine, &source) && inspect_shard(job, shard) == FX_OK &&
                       note_agrees(job, shard);
    fx_error_clear();
    return whole;
}

/* Its tiles that lie in `box`, from a slab of it. */
static fx_status write_tiles(const fx_pack_shard *shard, fx_shard_writer *out, int64_t side,
                             int64_t tiles_across, const fx_source_box *box, const float *slab,
                             float *tile)
{
    for (int64_t p = 0; p < shard->patches; p++) {
        const int64_t k = shard->tile + p, row = k / tiles_across * side - box->row,
                      column = k % tiles_across * side - box->column;
        if (row < 0 || row >= box->rows || column < 0 || column >= box->columns) continue;
        const float *corner = slab + row * box->columns + column;
        for (int64_t line = 0; line < box->times * side; line++) /* (snapshot, row) */
            memcpy(tile + line * side, corner + (line / side * box->rows + line % side) * box->columns,
                   (size_t)side * sizeof *tile);
        FX_TRY(fx_shard_write(out, p, box->t, box->times, tile));
    }
    return FX_OK;
}

/* Reads the source once, window after window, snapshots outermost, and fills the shards. */
static fx_status copy_tiles(const fx_packing *job, const fx_source_file *from,
                            const fx_pack_shard *shard, int count, fx_shard_writer *const *out)
{
    fx_status status = FX_OK;
    fx_source *source = NULL;
    float *slab = NULL, *tile = NULL;
    const int64_t side = job->manifest.patch, across = from->source.width / side,
                  snapshots = from->source.snapshots;
    const int64_t top = shard->tile / across,
                  down = (shard[count - 1].tile + shard[count - 1].patches - 1) / across + 1 - top;
    /* tiles of one snapshot that a slab holds */
    const double fit = job->config->pack_memory * 0x1p20 / (double)(side * side) / sizeof(float);
    const int64_t hold = fit < 1 ? 1 : (int64_t)fit;
    const int64_t wide = across < hold ? across : hold,
                  high = wide < across          ? 1
                         : down < hold / across ? down
                                                : hold / across,
                  times = high < down || wide < across ? 1 : hold / (high * wide),
                  block = times < snapshots ? times : snapshots;
    FX_TRY_DONE(fx_source_open(from->path, job->config, &source));
    FX_TRY_DONE(FX_ALLOC(slab, block * high * wide * side * side));
    FX_TRY_DONE(FX_ALLOC(tile, block * side * side));
    for (int64_t t = 0; t < snapshots; t += block)
        for (int64_t r = 0; r < down; r += high)
            for (int64_t c = 0; c < across; c += wide) {
                const fx_source_box box = {
                    .run = from->source.run,
                    .t = t,
                    .times = snapshots - t < block ? snapshots - t : block,
                    .row = (top + r) * side,
                    .rows = (down - r < high ? down - r : high) * side,
                    .column = c * side,
                    .columns = (across - c < wide ? across - c : wide) * side,
                };
                FX_TRY_DONE(fx_source_read_finite(source, &box, slab));
                for (int i = 0; i < count; i++)
                    if (out[i])
                        FX_TRY_DONE(write_tiles(&shard[i], out[i], side, across, &box, slab, tile));
            }
done:
    fx_source_close(&source);
    fx_free(slab);
    fx_free(tile);
    return status;
}

/* Shards [first, first + count) of one source, count <= GROUP, those marked `skip` left out. */
static fx_status write_group(const fx_packing *job, int first, int count, const bool skip[GROUP])
{
    fx_status status = FX_OK;
    const fx_pack_shard *shard = &job->manifest.shard[first];
    fx_shard_writer *out[GROUP] = {NULL};
    for (int i = 0; i < count; i++) {
        char path[FX_PATH_MAX], part[FX_PATH_MAX];
        const fx_shard_layout layout = layout_of(job, first + i);
        if (skip[i]) continue;
        FX_TRY_DONE(remove_note(job->config->pack_path, shard[i].name));
        FX_TRY_DONE(fx_pack_shard_path(job, first + i, path));
        FX_TRY_DONE(fx_path(part, "%s.part", path));
        FX_TRY_DONE(fx_shard_create(part, &layout, &out[i]));
    }
    FX_TRY_DONE(copy_tiles(job, &job->file[shard->source], shard, count, out));
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
    const char *from = job->file[job->manifest.shard[shard].source].path;
    const fx_shard_layout layout = layout_of(job, shard);
    const fx_pack_shard *old = &job->old.shard[job->kept[shard] - 1];
    job->result[shard] = (fx_shard_result){.bytes = old->bytes, .checksum = old->checksum};
    FX_TRY(fx_pack_shard_path(job, shard, path));
    FX_TRY(fx_shard_open(path, &layout, &file));
    const bool changed =
        from[0] && stat(path, &mine) == 0 && stat(from, &source) == 0 && !newer(&mine, &source);
    fx_status status = fx_shard_stats(file, &job->result[shard].stats);
    if (changed)
        status =
            fx_fail(FX_ECONFIG, "pack.add: %s is in the pack already, and has changed since", from);
    fx_shard_close(&file);
    return status;
}

/* The next shards of this rank from `*at` that share a source, written or kept. */
static fx_status next_group(const fx_packing *job, int *at)
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

fx_status fx_pack_write_shards(const fx_packing *job)
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
