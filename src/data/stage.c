/* stage.c: a pack's shards on the disks of the nodes that read them. One rank a node copies what the
 * ranks of its node need into DIR/pack-X, X the XXH64 of manifest.json, so that packs don't mix and
 * jobs share what is there: a file of the right size and checksum is kept. Files are NAME.PID until
 * they are whole. The folder gets manifest.json, and is a pack itself, when all shards are there. */
#include "stage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "pack.h"

/* What a node's copying rank has done; of the others `host` alone. */
typedef struct outcome {
    char host[64], folder[FX_PATH_MAX]; /* folder "": the node reads from where the pack is */
    int32_t copies, reused;             /* shards; copies is 0 on ranks that don't copy */
    double bytes, seconds;              /* copied */
} outcome;

/* ---- One node. */

static fx_status check_copy(const fx_pack_shard *shard, const char *path, bool *whole)
{
    int64_t bytes = 0;
    uint64_t checksum = 0;
    *whole = false;
    if (!fx_file_exists(path)) return FX_OK;
    FX_TRY(fx_file_size(path, &bytes));
    if (bytes != shard->bytes) return FX_OK;
    FX_TRY(fx_file_xxh64(path, &checksum));
    *whole = checksum == shard->checksum;
    return FX_OK;
}

static fx_status copy_shard(const fx_pack_shard *shard, const char *from, const char *to)
{
    char part[FX_PATH_MAX];
    uint64_t checksum = 0;
    FX_TRY(fx_path(part, "%s.%d", to, (int)getpid()));
    fx_status status = fx_copy_file(from, part, &checksum);
    if (status == FX_OK && checksum != shard->checksum)
        status = fx_fail(FX_EVALUE, "%s: XXH64 %016" PRIx64 ", the manifest says %016" PRIx64, from,
                         checksum, shard->checksum);
    if (status == FX_OK) status = fx_commit(part, to);
    if (status != FX_OK) unlink(part);
    return status;
}

/* wanted[i]: shard i is needed and not there yet; those that are there are counted. */
static fx_status keep_what_is_there(const fx_manifest *m, const char *folder, bool *wanted,
                                    outcome *out, int64_t *missing)
{
    char path[FX_PATH_MAX];
    *missing = 0;
    for (int i = 0; i < m->shards; i++) {
        bool whole = false;
        if (!wanted[i]) continue;
        FX_TRY(fx_path(path, "%s/%s", folder, m->shard[i].name));
        FX_TRY(check_copy(&m->shard[i], path, &whole));
        wanted[i] = !whole;
        if (whole)
            out->reused++;
        else
            *missing += m->shard[i].bytes;
    }
    return FX_OK;
}

static fx_status copy_all(const fx_manifest *m, const char *pack, const char *folder, bool *wanted,
                          outcome *out)
{
    char from[FX_PATH_MAX], to[FX_PATH_MAX];
    int64_t missing = 0, available = 0;
    FX_TRY(fx_make_dirs(folder));
    FX_TRY(keep_what_is_there(m, folder, wanted, out, &missing));
    FX_TRY(fx_free_space(folder, &available));
    FX_REQUIRE(missing <= available, FX_EIO, "%s: %.1f MiB of shards to copy, %.1f MiB are free",
               folder, (double)missing / 0x1p20, (double)available / 0x1p20);
    const double begun = fx_now();
    for (int i = 0; i < m->shards; i++) {
        if (!wanted[i]) continue;
        FX_TRY(fx_path(from, "%s/%s", pack, m->shard[i].name));
        FX_TRY(fx_path(to, "%s/%s", folder, m->shard[i].name));
        FX_TRY(copy_shard(&m->shard[i], from, to));
        out->copies++;
        out->bytes += (double)m->shard[i].bytes;
    }
    out->seconds = fx_now() - begun;
    if (out->copies + out->reused < m->shards) return FX_OK;
    FX_TRY(fx_path(to, "%s/manifest.json", folder));
    return fx_manifest_write(folder, m);
}

/* ---- Where to. */

/* `auto`: the node's own disk that Slurm or the site names; "" where there is none beside the pack's.
 */
static void find_disk(const char *pack, char out[FX_PATH_MAX])
{
    static const char *const variables[] = {"SLURM_TMPDIR", "TMPDIR"};
    struct stat here, there;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *folder = getenv(variables[i]);
        if (!folder || stat(folder, &there) != 0 || stat(pack, &here) != 0) continue;
        if (there.st_dev != here.st_dev && fx_path(out, "%s", folder) == FX_OK) return;
    }
    fx_error_clear();
    out[0] = '\0';
}

/* The folder for this pack, on the disk `where`; "": the pack is read from where it is. */
static fx_status folder_of(const char *pack, const char *where, char out[FX_PATH_MAX])
{
    char disk[FX_PATH_MAX], manifest[FX_PATH_MAX];
    uint64_t hash = 0;
    FX_TRY(fx_path(disk, "%s", where));
    if (strcmp(where, "auto") == 0) find_disk(pack, disk);
    out[0] = '\0';
    if (!disk[0]) return FX_OK;
    FX_TRY(fx_path(manifest, "%s/manifest.json", pack));
    FX_TRY(fx_file_xxh64(manifest, &hash));
    return fx_path(out, "%s/pack-%016" PRIx64, disk, hash);
}

/* With `auto` a node that can't copy says so and reads from where the pack is. */
static fx_status stage_node(const fx_manifest *m, const char *pack, const char *where, bool *wanted,
                            outcome *out)
{
    fx_status status = folder_of(pack, where, out->folder);
    if (status == FX_OK && out->folder[0]) status = copy_all(m, pack, out->folder, wanted, out);
    if (status == FX_OK || strcmp(where, "auto") != 0) return status;
    fx_log(FX_WARN, "data.stage: %s; read from %s", fx_error_message(), pack);
    fx_error_clear();
    out->folder[0] = '\0';
    return FX_OK;
}

/* ---- All nodes. */

static void tell(const fx_comm *comm, const fx_manifest *m, const outcome *all)
{
    int nodes = 0, without = 0, copies = 0, reused = 0;
    double bytes = 0;
    const outcome *slowest = all;
    for (int r = 0; r < comm->size; r++) {
        if (all[r].copies < 0) continue;
        nodes++;
        without += all[r].folder[0] == '\0';
        copies += all[r].copies;
        reused += all[r].reused;
        bytes += all[r].bytes;
        if (all[r].seconds > slowest->seconds) slowest = &all[r];
    }
    if (without < nodes)
        fx_log(FX_INFO,
               "staged on %d of %d nodes: of %d shards each, %d copied in all and %d there already, "
               "%.1f MiB in %.2f s, %.0f MB/s on the slowest, %s",
               nodes - without, nodes, m->shards, copies, reused, bytes / 0x1p20, slowest->seconds,
               slowest->seconds > 0 ? 1e-6 * slowest->bytes / slowest->seconds : 0, slowest->host);
    else
        fx_log(FX_INFO, "not staged: no node has a disk of its own with room (SLURM_TMPDIR, TMPDIR)");
}

/* The wishes of all ranks of this node, in `wanted`. */
static fx_status unite(fx_comm *comm, const fx_manifest *m, const outcome *all, bool *wanted)
{
    bool *wishes = NULL;
    FX_TRY(fx_agree(comm, FX_ALLOC(wishes, (int64_t)comm->size * m->shards)));
    const fx_status status = comm->ops->all_gather(comm, wanted, (size_t)m->shards, wishes);
    for (int r = 0; status == FX_OK && r < comm->size; r++)
        for (int i = 0; strcmp(all[r].host, all[comm->rank].host) == 0 && i < m->shards; i++)
            if (wishes[(int64_t)r * m->shards + i]) wanted[i] = true;
    fx_free(wishes);
    return status;
}

fx_status fx_pack_stage(fx_comm *comm, const fx_manifest *m, const char *pack, const char *where,
                        bool *wanted, char folder[FX_PATH_MAX])
{
    outcome mine = {.copies = comm->local_rank == 0 ? 0 : -1}, *all = NULL;
    snprintf(mine.host, sizeof mine.host, "%s", fx_host());
    folder[0] = '\0';
    fx_status status = fx_agree(comm, FX_ALLOC(all, comm->size));
    if (status == FX_OK) status = comm->ops->all_gather(comm, &mine, sizeof mine, all);
    if (status == FX_OK) status = unite(comm, m, all, wanted);
    fx_status own = status;
    if (own == FX_OK && comm->local_rank == 0) own = stage_node(m, pack, where, wanted, &mine);
    if (status == FX_OK) status = fx_agree(comm, own);
    if (status == FX_OK) status = comm->ops->all_gather(comm, &mine, sizeof mine, all);
    for (int r = 0; status == FX_OK && r < comm->size; r++)
        if (all[r].copies >= 0 && strcmp(all[r].host, mine.host) == 0)
            memcpy(folder, all[r].folder, sizeof all[r].folder);
    if (status == FX_OK) tell(comm, m, all);
    fx_free(all);
    return status;
}

static fx_status stage_whole(fx_comm *comm, const char *pack, const char *folder,
                             char staged[FX_PATH_MAX])
{
    fx_manifest manifest = {0};
    bool *wanted = NULL;
    fx_status status = fx_manifest_read(pack, &manifest);
    if (status == FX_OK) status = FX_ALLOC(wanted, manifest.shards);
    for (int i = 0; status == FX_OK && i < manifest.shards; i++)
        wanted[i] = true;
    status = fx_agree(comm, status);
    if (status == FX_OK) status = fx_pack_stage(comm, &manifest, pack, folder, wanted, staged);
    fx_free(wanted);
    fx_manifest_free(&manifest);
    return status;
}

/* A link in the one copy to the other beside it, as the packs lie one in the other: from where the link
 * lies, so that it holds for a folder that was named from anywhere. */
static fx_status link_copies(const char *staged, const char *lowres)
{
    char name[FX_PATH_MAX], target[FX_PATH_MAX];
    if (!staged[0] || !lowres[0]) return FX_OK; /* auto, without room for it */
    FX_TRY(fx_lowres_path(staged, name));
    FX_TRY(fx_path(target, "..%s", strrchr(lowres, '/')));
    if (readlink(name, (char[1]){0}, 1) > 0) unlink(name);
    FX_REQUIRE(symlink(target, name) == 0, FX_EIO, "%s: %s", name, strerror(errno));
    return FX_OK;
}

fx_status fx_pack_stage_all(fx_comm *comm, const char *pack, const char *folder)
{
    char staged[FX_PATH_MAX], lowres[FX_PATH_MAX], copy[FX_PATH_MAX];
    FX_TRY(stage_whole(comm, pack, folder, staged));
    FX_TRY(fx_lowres_inside(comm, pack, lowres));
    if (lowres[0]) {
        FX_TRY(stage_whole(comm, lowres, folder, copy));
        FX_TRY(fx_agree(comm, comm->local_rank == 0 ? link_copies(staged, copy) : FX_OK));
    }
    if (comm->rank == 0) printf("%s\n", staged);
    return FX_OK;
}
