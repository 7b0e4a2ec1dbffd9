/* pack.c: flexhpc pack. Rank 0 lists the sources and sends the list round; every rank then knows all
 * shards and owns a contiguous share of them. It writes its shards in groups of one source: each
 * snapshot is read once a group, only the rows that the group's tiles cover, as many snapshots at a
 * time as 64 MiB hold, and cut into tiles. A shard depends on its source and the layout alone, hence
 * not on the number of ranks. The manifest comes last: a folder without one is not a pack. Until then a
 * note `shard-NNNN.h5.sum` beside each finished shard says its size and checksum, so that a broken-off
 * pack goes on. */
#include "shard.h"
#include "sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { GROUP = 16 /* shards written at once: 16 open files */ };
static const int64_t SHARD_BYTES = 256ll << 20, SLAB_BYTES = 64ll << 20;

/* What the owner of a shard found out and the manifest needs. */
typedef struct shard_result {
    int64_t bytes;
    uint64_t checksum;
    fx_stats stats;
} shard_result;

typedef struct packing {
    fx_comm *comm;
    const fx_config *config;
    fx_source_file *file; /* (sources) */
    fx_manifest manifest;
    shard_result *result; /* (shards) this rank's are filled */
    int first, end;       /* this rank's shards */
} packing;

static fx_status share_sources(packing *job, const char *const *files, int count)
{
    fx_comm *comm = job->comm;
    fx_manifest *m = &job->manifest;
    int64_t sources = 0;
    fx_status status =
        comm->rank == 0 ? fx_sources_list(job->config, files, count, &job->file, &m->sources) : FX_OK;
    FX_TRY(fx_agree(comm, status));
    sources = m->sources;
    FX_TRY(fx_comm_max_i64(comm, &sources));
    if (comm->rank > 0) status = FX_ALLOC(job->file, sources);
    if (status == FX_OK) status = FX_ALLOC(m->source, sources);
    FX_TRY(fx_agree(comm, status));
    FX_TRY(comm->ops->broadcast(comm, job->file, (size_t)sources * sizeof *job->file, 0));
    m->sources = (int)sources;
    for (int i = 0; i < m->sources; i++)
        m->source[i] = job->file[i].source;
    return FX_OK;
}

/* ---- Shards ---- */

static int64_t patches_a_shard(const fx_config *config, const fx_pack_source *source)
{
    const int64_t one =
        source->snapshots * config->pack_patch * config->pack_patch * (int64_t)sizeof(float);
    if (config->pack_shard_patches > 0) return config->pack_shard_patches;
    return one < SHARD_BYTES ? SHARD_BYTES / one : 1;
}

/* Cuts every source's tiles into shards; the same on all ranks. */
static fx_status lay_out(packing *job)
{
    fx_manifest *m = &job->manifest;
    size_t capacity = 0;
    m->patch = job->config->pack_patch;
    m->strata = job->config->pack_strata;
    m->periodic = true;
    for (int s = 0; s < m->sources; s++) {
        const int64_t tiles = (m->source[s].height / m->patch) * (m->source[s].width / m->patch);
        const int64_t most = patches_a_shard(job->config, &m->source[s]);
        for (int64_t tile = 0; tile < tiles; tile += most) {
            void *array = m->shard;
            FX_TRY(fx_grow(&array, &capacity, (size_t)m->shards, sizeof *m->shard));
            m->shard = array;
            fx_pack_shard *shard = &m->shard[m->shards];
            FX_TRY(fx_print(shard->name, sizeof shard->name, "shard-%04d.h5", m->shards));
            shard->source = s;
            shard->tile = tile;
            shard->patches = tiles - tile < most ? tiles - tile : most;
            shard->first = m->patches;
            m->patches += shard->patches;
            m->shards++;
        }
    }
    job->first = (int)((int64_t)m->shards * job->comm->rank / job->comm->size);
    job->end = (int)((int64_t)m->shards * (job->comm->rank + 1) / job->comm->size);
    return FX_ALLOC(job->result, m->shards);
}

static fx_shard_layout layout_of(const packing *job, int shard)
{
    const fx_pack_shard *s = &job->manifest.shard[shard];
    return (fx_shard_layout){&job->manifest.source[s->source], s->tile, s->patches,
                             job->manifest.patch};
}

static fx_status shard_path(const packing *job, int shard, char path[FX_PATH_MAX])
{
    return fx_path(path, "%s/%s", job->config->pack_path, job->manifest.shard[shard].name);
}

static bool newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

/* Size, checksum and statistics of a finished shard, for the manifest. */
static fx_status inspect_shard(const packing *job, int shard)
{
    char path[FX_PATH_MAX];
    fx_shard *file = NULL;
    const fx_shard_layout layout = layout_of(job, shard);
    shard_result *r = &job->result[shard];
    FX_TRY(shard_path(job, shard, path));
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

static fx_status write_note(const char *folder, const char *shard, int64_t bytes, uint64_t checksum)
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

static bool note_agrees(const packing *job, int shard)
{
    char path[FX_PATH_MAX], want[64], *text = NULL;
    size_t size = 0;
    const shard_result *r = &job->result[shard];
    snprintf(want, sizeof want, "%" PRId64 " %016" PRIx64 "\n", r->bytes, r->checksum);
    const bool agrees =
        note_path(job->config->pack_path, job->manifest.shard[shard].name, path) == FX_OK &&
        fx_read_text(path, sizeof want, &text, &size) == FX_OK && strcmp(text, want) == 0;
    fx_free(text);
    return agrees;
}

/* Is the shard there, newer than its source, of this layout, and as its note says? Whatever is wrong
 * only means: no. */
static bool finished(const packing *job, int shard)
{
    char path[FX_PATH_MAX];
    struct stat mine, source;
    const bool whole = shard_path(job, shard, path) == FX_OK && stat(path, &mine) == 0 &&
                       stat(job->file[job->manifest.shard[shard].source].path, &source) == 0 &&
                       newer(&mine, &source) && inspect_shard(job, shard) == FX_OK &&
                       note_agrees(job, shard);
    fx_error_clear();
    return whole;
}

/* Shards [first, first + count) of one source, count <= GROUP, those marked `skip` left out. */
static fx_status write_group(const packing *job, int first, int count, const bool skip[GROUP])
{
    fx_status status = FX_OK;
    const fx_manifest *m = &job->manifest;
    const fx_pack_shard *shard = &m->shard[first];
    const fx_source_file *from = &job->file[shard->source];
    const int64_t side = m->patch, width = from->source.width, across = width / side;
    const int64_t top = shard->tile / across,
                  last = shard[count - 1].tile + shard[count - 1].patches - 1;
    const int64_t rows = (last / across + 1 - top) * side;
    const int64_t snapshots = from->source.snapshots,
                  fit = SLAB_BYTES / (rows * width * (int64_t)sizeof(float));
    const int64_t block = fit < 1 ? 1 : fit < snapshots ? fit : snapshots;
    fx_shard_writer *out[GROUP] = {NULL};
    fx_nskt *source = NULL;
    float *slab = NULL, *tile = NULL;

    FX_TRY_DONE(fx_nskt_open(from->path, &source));
    FX_TRY_DONE(FX_ALLOC(slab, block * rows * width));
    FX_TRY_DONE(FX_ALLOC(tile, block * side * side));
    for (int i = 0; i < count; i++) {
        char path[FX_PATH_MAX], part[FX_PATH_MAX];
        const fx_shard_layout layout = layout_of(job, first + i);
        if (skip[i]) continue;
        FX_TRY_DONE(remove_note(job->config->pack_path, shard[i].name));
        FX_TRY_DONE(shard_path(job, first + i, path));
        FX_TRY_DONE(fx_path(part, "%s.part", path));
        FX_TRY_DONE(fx_shard_create(part, &layout, &out[i]));
    }
    for (int64_t t = 0; t < snapshots; t += block) {
        const int64_t times = snapshots - t < block ? snapshots - t : block;
        FX_TRY_DONE(fx_nskt_read(source, t, times, top * side, rows, slab));
        for (int i = 0; i < count; i++)
            for (int64_t p = 0; out[i] && p < shard[i].patches; p++) {
                const int64_t k = shard[i].tile + p;
                const float *corner = slab + (k / across - top) * side * width + k % across * side;
                for (int64_t line = 0; line < times * side; line++) /* (snapshot, row) */
                    memcpy(tile + line * side, corner + (line / side * rows + line % side) * width,
                           (size_t)side * sizeof *tile);
                FX_TRY_DONE(fx_shard_write(out[i], p, t, times, tile));
            }
    }
    for (int i = 0; i < count; i++) {
        char path[FX_PATH_MAX], part[FX_PATH_MAX];
        if (!out[i]) continue;
        FX_TRY_DONE(fx_shard_finish(&out[i]));
        FX_TRY_DONE(shard_path(job, first + i, path));
        FX_TRY_DONE(fx_path(part, "%s.part", path));
        FX_TRY_DONE(fx_commit(part, path));
        FX_TRY_DONE(inspect_shard(job, first + i));
        FX_TRY_DONE(write_note(job->config->pack_path, shard[i].name, job->result[first + i].bytes,
                               job->result[first + i].checksum));
    }
done:
    for (int i = 0; i < count; i++)
        fx_shard_abandon(&out[i]);
    fx_nskt_close(&source);
    fx_free(slab);
    fx_free(tile);
    return status;
}

/* The next shards of this rank from `*at` that share a source, written or kept. */
static fx_status next_group(const packing *job, int *at)
{
    const fx_pack_shard *shard = &job->manifest.shard[*at];
    const int first = *at;
    bool skip[GROUP];
    int count = 0, kept = 0;
    while (*at < job->end && count < GROUP && shard[count].source == shard[0].source) {
        skip[count] = finished(job, *at);
        kept += skip[count++];
        ++*at;
    }
    return kept < count ? write_group(job, first, count, skip) : FX_OK;
}

/* Every rank goes through the same number of rounds and agrees after each, so that one rank's failure
 * ends all soon. */
static fx_status write_shards(const packing *job)
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

/* ---- Manifest ---- */

static fx_status gather_results(packing *job)
{
    fx_comm *comm = job->comm;
    fx_manifest *m = &job->manifest;
    const size_t shards = (size_t)m->shards;
    shard_result *all = NULL;
    fx_status status = FX_ALLOC(all, (size_t)comm->size * shards);
    if (status == FX_OK) status = FX_ALLOC(m->reynolds, m->sources);
    status = fx_agree(comm, status);
    if (status == FX_OK) status = comm->ops->all_gather(comm, job->result, shards * sizeof *all, all);
    for (int s = 0; status == FX_OK && s < m->shards; s++) {
        int owner = 0;
        while (s >= (int)((int64_t)m->shards * (owner + 1) / comm->size))
            owner++;
        const shard_result *r = &all[(size_t)owner * shards + (size_t)s];
        const double reynolds = m->source[m->shard[s].source].reynolds;
        m->shard[s].bytes = r->bytes;
        m->shard[s].checksum = r->checksum;
        if (m->reynolds_count == 0 || m->reynolds[m->reynolds_count - 1].reynolds != reynolds)
            m->reynolds[m->reynolds_count++].reynolds = reynolds;
        fx_stats_merge(&m->reynolds[m->reynolds_count - 1].stats, &r->stats);
    }
    fx_free(all);
    return status;
}

/* A full disk should show before hours of work, not after. */
static fx_status check_space(const packing *job)
{
    const fx_manifest *m = &job->manifest;
    double needed = 0; /* in double: sizes that a file claims may overflow their product */
    int64_t free_bytes = 0;
    for (int i = 0; i < m->shards; i++) {
        char path[FX_PATH_MAX];
        FX_TRY(shard_path(job, i, path));
        if (fx_file_exists(path)) continue;
        needed += (double)m->shard[i].patches * (double)m->source[m->shard[i].source].snapshots *
                  (double)(m->patch * m->patch) * sizeof(float);
    }
    FX_TRY(fx_free_space(job->config->pack_path, &free_bytes));
    FX_REQUIRE(needed <= (double)free_bytes, FX_EIO, "%s: %.1f MiB needed, %.1f MiB free",
               job->config->pack_path, needed / 0x1p20, (double)free_bytes / 0x1p20);
    return FX_OK;
}

/* Rank 0. An older pack's manifest goes before its shards do, so that the two never disagree; what it
 * knows of them is kept as notes. Shards beyond this pack's number are left over from the older one. */
static fx_status open_folder(const packing *job)
{
    char path[FX_PATH_MAX];
    fx_manifest old = {0};
    fx_status status = FX_OK;
    const char *folder = job->config->pack_path;
    FX_TRY(fx_make_dirs(folder));
    FX_TRY(check_space(job));
    if (fx_manifest_read(folder, &old) != FX_OK) fx_error_clear(); /* none, or of no use */
    for (int i = 0; status == FX_OK && i < old.shards; i++)
        status = write_note(folder, old.shard[i].name, old.shard[i].bytes, old.shard[i].checksum);
    fx_manifest_free(&old);
    FX_TRY(status);
    FX_TRY(fx_path(path, "%s/manifest.json", folder));
    FX_TRY(fx_remove(path));
    for (int shard = job->manifest.shards;; shard++) {
        char name[32];
        FX_TRY(fx_print(name, sizeof name, "shard-%04d.h5", shard));
        FX_TRY(fx_path(path, "%s/%s", folder, name));
        if (!fx_file_exists(path)) return FX_OK;
        FX_TRY(fx_remove(path));
        FX_TRY(remove_note(folder, name));
    }
}

static fx_status write_manifest(packing *job)
{
    fx_manifest *m = &job->manifest;
    fx_stats all = {0};
    for (int r = 0; r < m->reynolds_count; r++)
        fx_stats_merge(&all, &m->reynolds[r].stats);
    m->scale = fx_stats_rms(&all);
    FX_REQUIRE(m->scale > 0, FX_EVALUE, "pack.source: all values are 0");
    FX_TRY(fx_manifest_write(job->config->pack_path, m));
    for (int i = 0; i < m->shards; i++)
        FX_TRY(remove_note(job->config->pack_path, m->shard[i].name));
    fx_log(FX_INFO,
           "pack: %s: %lld patches of %lld pixels from %d files in %d shards, root mean square %.6g",
           job->config->pack_path, (long long)m->patches, (long long)m->patch, m->sources, m->shards,
           m->scale);
    return FX_OK;
}

fx_status fx_pack_files(fx_comm *comm, const fx_config *config, const char *const *files, int count)
{
    fx_status status = FX_OK;
    packing job = {.comm = comm, .config = config};
    FX_REQUIRE(config->pack_path[0], FX_ECONFIG, "pack.path: names no folder");
    FX_TRY_DONE(share_sources(&job, files, count));
    FX_TRY_DONE(fx_agree(comm, lay_out(&job)));
    FX_TRY_DONE(fx_agree(comm, comm->rank == 0 ? open_folder(&job) : FX_OK));
    FX_TRY_DONE(write_shards(&job));
    FX_TRY_DONE(gather_results(&job));
    FX_TRY_DONE(fx_agree(comm, comm->rank == 0 ? write_manifest(&job) : FX_OK));
done:
    fx_manifest_free(&job.manifest);
    fx_free(job.file);
    fx_free(job.result);
    return status;
}

fx_status fx_pack(fx_comm *comm, const fx_config *config)
{
    char **paths = NULL;
    int count = 0;
    FX_REQUIRE(config->pack_source[0], FX_ECONFIG, "pack.source: names no file or folder");
    fx_status status = comm->rank == 0 ? fx_sources_find(config->pack_source, &paths, &count) : FX_OK;
    status = fx_agree(comm, status);
    if (status == FX_OK) status = fx_pack_files(comm, config, (const char *const *)paths, count);
    fx_free(paths);
    return status;
}
