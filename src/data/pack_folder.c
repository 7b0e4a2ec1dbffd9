/* pack_folder.c: what lies in a pack's folder beside its shards and manifest, before and after packing:
 * an older pack, notes and parts of a broken-off one. A kill between any two steps leaves a folder from
 * which the same call goes on. */
#include "pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/log.h"
#include "flexhpc/mem.h"

fx_status fx_pack_lock(fx_packing *job)
{
    if (job->lock) return FX_OK;
    FX_TRY_CTX(fx_lock_take(job->config->pack_path, &job->lock), "%s",
               job->config->pack_add ? "pack.add" : "pack.path");
    return FX_OK;
}

/* A full disk should show before hours of work, not after. */
static fx_status check_space(const fx_packing *job)
{
    const fx_manifest *m = &job->manifest;
    double needed = 0; /* in double: sizes that a file claims may overflow their product */
    int64_t free_bytes = 0;
    for (int i = 0; i < m->shards; i++) {
        char path[FX_PATH_MAX];
        FX_TRY(fx_pack_shard_path(job, i, path));
        if (fx_file_exists(path)) continue;
        needed += (double)m->shard[i].patches * (double)m->source[m->shard[i].source].snapshots *
                  (double)(m->patch * m->patch) * sizeof(float);
    }
    FX_TRY(fx_free_space(job->config->pack_path, &free_bytes));
    if (job->config->pack_compress > 0 && needed > (double)free_bytes)
        fx_log(FX_WARN, "%s: %.1f MiB needed without compression, %.1f MiB free",
               job->config->pack_path, needed / 0x1p20, (double)free_bytes / 0x1p20);
    else
        FX_REQUIRE(needed <= (double)free_bytes, FX_EIO, "%s: %.1f MiB needed, %.1f MiB free",
                   job->config->pack_path, needed / 0x1p20, (double)free_bytes / 0x1p20);
    return FX_OK;
}

/* ---- Strangers. */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The length of "shard-NNNN.h5" at the beginning of a name that is a shard's, its part's or its note's;
 * 0: none of ours. */
static size_t shard_length(const char *name)
{
    static const char *const ends[] = {"", ".part", ".sum", ".sum.part"};
    int end = 0;
    if (sscanf(name, "shard-%*9[0-9].h5%n", &end) != 0 || end == 0) return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(name + end, ends[i]) == 0) return (size_t)end;
    return 0;
}

/* Removes what belongs to no shard of the manifest, and with `all` what isn't a shard itself. */
static fx_status remove_strangers(const fx_packing *job, bool all)
{
    const fx_manifest *m = &job->manifest;
    const char *folder = job->config->pack_path, **known = NULL;
    char **names = NULL;
    int count = 0;
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_list_dir(folder, "", &names, &count));
    FX_TRY_DONE(FX_ALLOC(known, m->shards + 1));
    for (int i = 0; i < m->shards; i++)
        known[i] = m->shard[i].name;
    qsort(known, (size_t)m->shards, sizeof *known, by_name);
    for (int i = 0; i < count; i++) {
        char path[FX_PATH_MAX], shard[32];
        const char *key = shard;
        const size_t length = shard_length(names[i]);
        if (length == 0 || length >= sizeof shard) continue;
        FX_TRY_DONE(fx_print(shard, sizeof shard, "%.*s", (int)length, names[i]));
        const bool mine = bsearch(&key, known, (size_t)m->shards, sizeof *known, by_name) != NULL;
        if (mine && (names[i][length] == '\0' || !all)) continue;
        FX_TRY_DONE(fx_path(path, "%s/%s", folder, names[i]));
        FX_TRY_DONE(fx_remove(path));
    }
done:
    fx_free(known);
    fx_free(names);
    return status;
}

fx_status fx_pack_sweep(const fx_packing *job)
{
    return remove_strangers(job, true);
}

static fx_status drop_lowres(const fx_config *config)
{
    char folder[FX_PATH_MAX], manifest[FX_PATH_MAX];
    fx_config own = *config;
    const fx_packing job = {.config = &own};
    FX_TRY(fx_lowres_path(config->pack_path, folder));
    if (!fx_file_exists(folder)) return FX_OK;
    FX_TRY(fx_print(own.pack_path, sizeof own.pack_path, "%s", folder));
    FX_TRY(fx_path(manifest, "%s/manifest.json", folder));
    FX_TRY(fx_remove(manifest));
    return remove_strangers(&job, true);
}

/* A pack that is added to stays whole until its new manifest replaces the old one, for its shards stay
 * and the new ones have names of their own. Otherwise an older pack's manifest goes before its shards
 * do, so that the two never disagree; what it knows of them is kept as notes first. */
fx_status fx_pack_open_folder(fx_packing *job)
{
    char path[FX_PATH_MAX];
    fx_manifest old = {0};
    fx_status status = FX_OK;
    const char *folder = job->config->pack_path;
    if (job->config->pack_add) return check_space(job);
    FX_TRY(fx_make_dirs(folder));
    FX_TRY(fx_pack_lock(job));
    FX_TRY(check_space(job));
    if (fx_manifest_read(folder, &old) != FX_OK) fx_error_clear(); /* none, or of no use */
    for (int i = 0; status == FX_OK && i < old.shards; i++)
        status =
            fx_pack_write_note(folder, old.shard[i].name, old.shard[i].bytes, old.shard[i].checksum);
    fx_manifest_free(&old);
    FX_TRY(status);
    FX_TRY(fx_path(path, "%s/manifest.json", folder));
    FX_TRY(fx_remove(path));
    if (job->drop_lowres) FX_TRY(drop_lowres(job->config));
    return remove_strangers(job, false);
}
