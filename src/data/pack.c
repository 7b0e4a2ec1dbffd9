/* pack.c: flexhpc pack. Rank 0 lists the sources and sends the list round; every rank then knows all
 * shards and owns a contiguous share of them, which pack_shards.c writes. A shard depends on its source
 * and the layout alone, hence not on the number of ranks. The manifest comes last: a folder without one
 * is not a pack. Killed at any instant, the same call goes on with what is finished (pack_folder.c). */
#include "pack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

static const int64_t SHARD_BYTES = 256ll << 20;

/* Rank 0's list, with the sources of the pack that is added to. */
static fx_status list_sources(fx_packing *job, const char *const *files, int count)
{
    int *sources = &job->manifest.sources;
    FX_TRY(fx_sources_list(job->config, files, count, job->others, &job->file, sources));
    if (!job->config->pack_add) return FX_OK;
    const int given = *sources;
    FX_TRY(fx_sources_add(&job->old, &job->file, sources));
    const int there = given + job->old.sources - *sources;
    if (there > 0) fx_log(FX_INFO, "pack.add: %d of %d sources are in the pack already", there, given);
    return FX_OK;
}

static fx_status read_old(fx_packing *job)
{
    if (!job->config->pack_add) return FX_OK;
    FX_TRY_CTX(fx_manifest_read(job->config->pack_path, &job->old), "pack.add");
    FX_REQUIRE(job->old.patch == job->config->pack_patch, FX_ECONFIG,
               "pack.patch: %lld, but the patches of %s are %lld pixels",
               (long long)job->config->pack_patch, job->config->pack_path, (long long)job->old.patch);
    return FX_OK;
}

static fx_status share_sources(fx_packing *job, const char *const *files, int count)
{
    fx_comm *comm = job->comm;
    fx_manifest *m = &job->manifest;
    FX_TRY(fx_agree(comm, read_old(job)));
    fx_status status = comm->rank == 0 ? list_sources(job, files, count) : FX_OK;
    FX_TRY(fx_agree(comm, status));
    int64_t sources = m->sources;
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

/* The next free number of a shard's name. */
static int free_number(const fx_manifest *old)
{
    int next = 0;
    for (int i = 0; i < old->shards; i++) {
        int number;
        if (sscanf(old->shard[i].name, "shard-%9d.h5", &number) == 1 && number >= next)
            next = number + 1;
    }
    return next;
}

/* Of a rank; its share ends where the next one's begins. */
static int first_shard(const fx_packing *job, int rank)
{
    return (int)((int64_t)job->manifest.shards * rank / job->comm->size);
}

/* Of any rank. */
static int most_shards(const fx_packing *job)
{
    return job->manifest.shards / job->comm->size + 1;
}

/* One more shard, of source s, at the end of the manifest. */
static fx_status add_shard(fx_packing *job, size_t capacity[2], int s, fx_pack_shard shard, int kept)
{
    fx_manifest *m = &job->manifest;
    void *shards = m->shard, *marks = job->kept;
    FX_REQUIRE(m->shards < FX_MOST_SHARDS, FX_ECONFIG,
               "pack: more than %d shards: a larger pack.patch or pack.shard_patches makes fewer",
               FX_MOST_SHARDS);
    FX_TRY(fx_grow(&shards, &capacity[0], (size_t)m->shards, sizeof *m->shard));
    m->shard = shards;
    FX_TRY(fx_grow(&marks, &capacity[1], (size_t)m->shards, sizeof *job->kept));
    job->kept = marks;
    shard.source = s;
    shard.first = m->patches;
    job->kept[m->shards] = kept;
    m->shard[m->shards++] = shard;
    m->patches += shard.patches;
    return FX_OK;
}

/* Cuts every new source's tiles into shards, and takes those of the old pack; the same on all ranks. */
static fx_status lay_out(fx_packing *job)
{
    fx_manifest *m = &job->manifest;
    size_t capacity[2] = {0};
    int number = free_number(&job->old);
    m->patch = job->config->pack_patch;
    m->strata = job->config->pack_add ? job->old.strata : job->config->pack_strata;
    for (int s = 0; s < m->sources; s++) {
        const int packed = job->file[s].packed;
        for (int i = 0; packed && i < job->old.shards; i++)
            if (job->old.shard[i].source == packed - 1)
                FX_TRY(add_shard(job, capacity, s, job->old.shard[i], 1 + i));
        if (packed) continue;
        const int64_t tiles = (m->source[s].height / m->patch) * (m->source[s].width / m->patch);
        const int64_t most = patches_a_shard(job->config, &m->source[s]);
        for (int64_t tile = 0; tile < tiles; tile += most) {
            fx_pack_shard shard = {.tile = tile, .patches = tiles - tile < most ? tiles - tile : most};
            FX_TRY(fx_print(shard.name, sizeof shard.name, "shard-%04d.h5", number++));
            FX_TRY(add_shard(job, capacity, s, shard, 0));
        }
    }
    job->first = first_shard(job, job->comm->rank);
    job->end = first_shard(job, job->comm->rank + 1);
    return FX_ALLOC(job->result, m->shards + most_shards(job));
}

/* ---- Manifest ---- */

static fx_status gather_results(fx_packing *job)
{
    fx_comm *comm = job->comm;
    fx_manifest *m = &job->manifest;
    const size_t most = (size_t)most_shards(job);
    fx_shard_result *all = NULL;
    int finished = 0;
    fx_status status = FX_ALLOC(all, (size_t)comm->size * most);
    if (status == FX_OK) status = FX_ALLOC(m->reynolds, m->sources);
    status = fx_agree(comm, status);
    if (status == FX_OK)
        status = comm->ops->all_gather(comm, job->result + job->first, most * sizeof *all, all);
    for (int s = 0, owner = 0; status == FX_OK && s < m->shards; s++) {
        while (s >= first_shard(job, owner + 1))
            owner++;
        const fx_shard_result *r = &all[(size_t)owner * most + (size_t)(s - first_shard(job, owner))];
        const fx_pack_source *source = &m->source[m->shard[s].source];
        const double reynolds = source->reynolds;
        m->shard[s].bytes = r->bytes;
        m->shard[s].checksum = r->checksum;
        finished += r->finished;
        if (m->reynolds_count == 0 || m->reynolds[m->reynolds_count - 1].reynolds != reynolds)
            m->reynolds[m->reynolds_count++].reynolds = reynolds;
        fx_stats_merge(&m->reynolds[m->reynolds_count - 1].stats, &r->stats);
        if (strcmp(source->dataset, job->config->pack_dataset) == 0)
            fx_stats_merge(&job->dataset, &r->stats);
    }
    fx_free(all);
    if (finished > 0)
        fx_log(FX_INFO, "pack: %d of %d shards were finished and are kept", finished, m->shards);
    return status;
}

/* The scale that all new files of a data set state alike; 0: they don't. */
static double said_by_all(const fx_packing *job, const char *dataset)
{
    double said = -1;
    for (int i = 0; i < job->manifest.sources; i++) {
        const fx_source_file *file = &job->file[i];
        if (file->packed || strcmp(file->source.dataset, dataset) != 0) continue;
        if (said >= 0 && file->scale != said) return 0;
        said = file->scale;
    }
    return fmax(said, 0);
}

/* The scale of pack.dataset: what it was before files were added to it, what its files say alike, or
 * their root mean square. */
static fx_status set_dataset_scale(fx_packing *job)
{
    fx_manifest *m = &job->manifest;
    const char *name = job->config->pack_dataset;
    double scale = fx_stats_rms(&job->dataset);
    if (!name[0]) return FX_OK;
    if (said_by_all(job, name) > 0) scale = said_by_all(job, name);
    for (int i = 0; i < job->old.sources; i++)
        if (strcmp(job->old.source[i].dataset, name) == 0) scale = job->old.source[i].scale;
    FX_REQUIRE(scale > 0, FX_EVALUE, "pack.dataset: %s: all values are 0", name);
    for (int i = 0; i < m->sources; i++)
        if (strcmp(m->source[i].dataset, name) == 0) m->source[i].scale = scale;
    fx_log(FX_INFO, "pack: data set %s: scale %.6g", name, scale);
    return FX_OK;
}

static fx_status write_manifest(fx_packing *job)
{
    fx_manifest *m = &job->manifest;
    fx_stats all = {0};
    for (int r = 0; r < m->reynolds_count; r++)
        fx_stats_merge(&all, &m->reynolds[r].stats);
    m->scale = fx_stats_rms(&all);
    FX_REQUIRE(m->scale > 0, FX_EVALUE, "pack.source: all values are 0");
    const double said = said_by_all(job, job->config->pack_dataset);
    if (said > 0) m->scale = said;
    if (job->config->pack_add) m->scale = job->old.scale;
    FX_TRY(set_dataset_scale(job));
    FX_TRY(fx_manifest_write(job->config->pack_path, m));
    FX_TRY(fx_pack_sweep(job));
    fx_log(FX_INFO,
           "pack: %s: %lld patches of %lld pixels from %d sources in %d shards, root mean square %.6g",
           job->config->pack_path, (long long)m->patches, (long long)m->patch, m->sources, m->shards,
           m->scale);
    return FX_OK;
}

/* What this start did, for rank 0 to tell. Collective. */
static fx_status tell_speed(fx_packing *job, double seconds)
{
    double resident = fx_resident_mib();
    FX_TRY(fx_comm_sum_f64(job->comm, job->packed, 2));
    FX_TRY(fx_comm_max_f64(job->comm, &resident));
    if (job->packed[0] > 0)
        fx_log(
            FX_INFO,
            "pack: %.1f MiB of fields in %.1f MiB of shards, %.1f s, %.1f MiB/s; largest resident set "
            "of a rank %.0f MiB",
            job->packed[0] / 0x1p20, job->packed[1] / 0x1p20, seconds,
            job->packed[0] / 0x1p20 / seconds, resident);
    return FX_OK;
}

/* Frees what the job holds. Collective. */
static fx_status pack_all(fx_packing *job, const char *const *files, int count)
{
    fx_status status = FX_OK;
    const double begin = fx_now();
    fx_comm *comm = job->comm;
    if (job->config->pack_add) /* before its manifest is read */
        FX_TRY_DONE(fx_agree(comm, comm->rank == 0 ? fx_pack_lock(job) : FX_OK));
    FX_TRY_DONE(share_sources(job, files, count));
    FX_TRY_DONE(fx_agree(comm, lay_out(job)));
    FX_TRY_DONE(fx_agree(comm, comm->rank == 0 ? fx_pack_open_folder(job) : FX_OK));
    FX_TRY_DONE(fx_pack_write_shards(job));
    FX_TRY_DONE(gather_results(job));
    FX_TRY_DONE(fx_agree(comm, comm->rank == 0 ? write_manifest(job) : FX_OK));
    FX_TRY_DONE(tell_speed(job, fx_now() - begin));
done:
    fx_lock_release(&job->lock);
    fx_manifest_free(&job->manifest);
    fx_manifest_free(&job->old);
    fx_free(job->kept);
    fx_free(job->file);
    fx_free(job->result);
    return status;
}

/* Nobody else may write the low-resolution fields of a pack that is being made. Rank 0. */
static fx_status lock_both(fx_packing *job)
{
    if (!job->config->pack_add) FX_TRY(fx_make_dirs(job->config->pack_path));
    return fx_pack_lock(job);
}

/* The low-resolution fields first: the manifest of the others comes last and makes the whole. */
static fx_status pack_both(fx_comm *comm, const fx_config *config, const char *const *files, int count,
                           bool others)
{
    fx_lowres_list low = {0};
    fx_packing job = {.comm = comm, .config = config, .others = others};
    const char **paths = NULL;
    int64_t found = 0;
    fx_status status = comm->rank == 0 ? fx_lowres_find(config, files, count, others, &low) : FX_OK;
    if (status == FX_OK) status = FX_ALLOC(paths, low.count + 1);
    FX_TRY_DONE(fx_agree(comm, status));
    for (int i = 0; i < low.count; i++)
        paths[i] = low.path[i];
    found = low.count;
    FX_TRY_DONE(fx_comm_max_i64(comm, &found));
    if (found > 0) {
        fx_packing own = {.comm = comm, .config = &low.config};
        FX_TRY_DONE(fx_agree(comm, comm->rank == 0 ? lock_both(&job) : FX_OK));
        FX_TRY_DONE(comm->ops->broadcast(comm, &low.config, sizeof low.config, 0));
        FX_TRY_DONE(pack_all(&own, paths, low.count));
    }
    job.drop_lowres = found == 0 && !config->pack_add;
    FX_TRY_DONE(pack_all(&job, files, count));
done:
    fx_lock_release(&job.lock);
    fx_free(paths);
    fx_free(low.path);
    return status;
}

fx_status fx_pack_files(fx_comm *comm, const fx_config *config, const char *const *files, int count)
{
    FX_REQUIRE(config->pack_path[0], FX_ECONFIG, "pack.path: names no folder");
    return pack_both(comm, config, files, count, false);
}

fx_status fx_pack(fx_comm *comm, const fx_config *config)
{
    char **paths = NULL;
    int count = 0;
    FX_REQUIRE(config->pack_path[0], FX_ECONFIG, "pack.path: names no folder");
    FX_REQUIRE(config->pack_source[0], FX_ECONFIG, "pack.source: names no file or folder");
    fx_status status = comm->rank == 0 ? fx_sources_find(config->pack_source, &paths, &count) : FX_OK;
    status = fx_agree(comm, status);
    if (status == FX_OK)
        status = pack_both(comm, config, (const char *const *)paths, count, count != 1);
    fx_free(paths);
    return status;
}
