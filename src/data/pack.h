/* pack.h: a pack that is being made, between the files pack*.c, and the pack inside a pack. Includes
 * shard.h, sources.h. */
#ifndef FLEXHPC_DATA_PACK_H
#define FLEXHPC_DATA_PACK_H

#include "flexhpc/io.h"
#include "shard.h"
#include "sources.h"

/* What the owner of a shard found out and the manifest needs. */
typedef struct fx_shard_result {
    int64_t bytes;
    uint64_t checksum;
    fx_stats stats;
    bool finished; /* by an earlier start: kept */
} fx_shard_result;

typedef struct fx_packing {
    fx_comm *comm;
    const fx_config *config;
    fx_source_file *file; /* (sources) */
    fx_manifest manifest;
    fx_manifest old;         /* with pack.add the pack that is added to */
    int *kept;               /* (shards) 1 + its number in the old pack; 0: to be written */
    fx_shard_result *result; /* (shards, and room for one rank's) this rank's are filled */
    fx_stats dataset;        /* of pack.dataset's shards */
    int first, end;          /* this rank's shards */
    bool others;             /* files of unknown formats are left out */
    bool drop_lowres;        /* those of an older pack are not of these sources */
    fx_lock *lock;           /* of the folder, on rank 0 */
    double packed[2];        /* bytes of fields that this rank wrote, and of their files */
} fx_packing;

fx_status fx_pack_shard_path(const fx_packing *job, int shard, char path[FX_PATH_MAX]);

/* This rank's shards, all that are not finished yet, into job->result. Every rank goes through the same
 * number of rounds and agrees after each, so that one rank's failure ends all soon. Collective. */
fx_status fx_pack_write_shards(fx_packing *job);

/* Reads the source of shards [first, first + count), which they share, and fills those that have a
 * writer in `out` (count); each is then to be finished. Local. */
fx_status fx_pack_copy(const fx_packing *job, int first, int count, fx_shard_writer *const *out);

/* The note beside a finished shard, which the manifest replaces. Local. */
fx_status fx_pack_write_note(const char *folder, const char *shard, int64_t bytes, uint64_t checksum);

/* ---- A data set's own low-resolution fields (pack_lowres.c). */

typedef struct fx_lowres_list {
    int count;                 /* files that have them: all or none */
    char (*path)[FX_PATH_MAX]; /* (count) where they lie; freed with fx_free */
    fx_config config;          /* that packs them */
} fx_lowres_list;

/* Looks for them in the files that a pack is made of (fx_sources_list). Local. */
fx_status fx_lowres_find(const fx_config *config, const char *const *files, int count, bool others,
                         fx_lowres_list *list);

/* The pack of them inside `pack`, by rank 0's look at it; "": there is none. Collective. */
fx_status fx_lowres_inside(fx_comm *comm, const char *pack, char out[FX_PATH_MAX]);

/* ---- The folder of a pack (pack_folder.c), on rank 0. */

/* The lock, unless the job has it; it ends with the process: two packs into one folder would spoil each
 * other's shards. FX_EIO names the holder. Local. */
fx_status fx_pack_lock(fx_packing *job);

/* Makes the folder ready for the shards of job->manifest: room, and nothing left of an older pack that
 * could be taken for this one's. Local. */
fx_status fx_pack_open_folder(fx_packing *job);

/* Removes the notes and parts of shards, and the shards that job->manifest doesn't name. Local. */
fx_status fx_pack_sweep(const fx_packing *job);

#endif
