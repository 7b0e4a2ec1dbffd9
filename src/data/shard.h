/* shard.h: one file of a pack, for pack.c and reader.c alone. HDF5, datasets
 *   w        (P, T, S, S) float32, chunks (1, W, S, S): W snapshots of one patch, contiguous on disk
 *   checksum (P, T) uint64, XXH64 of each snapshot's little-endian bytes
 *   patch, row, column (P); time (T): coordinates, so that xarray names the dimensions
 * and the attributes Re, seed, source, start, interval, count, mean, square, least, largest. No filter: a read of
 * `cond + 1` snapshots moves exactly these bytes out of one chunk (two at a seam, one start in W), and the checksums
 * guard what is read instead of a whole chunk. W is T, or what makes a chunk 64 MiB. Includes data.h. */
#ifndef FLEXHPC_DATA_SHARD_H
#define FLEXHPC_DATA_SHARD_H

#include "flexhpc/data.h"

/* What a shard must hold; the source is not owned. */
typedef struct fx_shard_layout {
    const fx_pack_source *source;
    int64_t tile, patches, side; /* tiles [tile, tile + patches) of the source */
} fx_shard_layout;

typedef struct fx_shard_writer fx_shard_writer;

/* Creates `path`, at its full size; a full disk shows here. Local. */
fx_status fx_shard_create(const char *path, const fx_shard_layout *layout, fx_shard_writer **out);

/* Snapshot t, in order from 0, of patch `place`: (S, S). Local. */
fx_status fx_shard_write(fx_shard_writer *shard, int64_t place, int64_t t, const float *values);

/* Checksums, statistics, close. The writer is gone whatever the status. Local. */
fx_status fx_shard_finish(fx_shard_writer **shard);
void fx_shard_abandon(fx_shard_writer **shard); /* closes what a failure left */

typedef struct fx_shard fx_shard;

/* Opens for reading and compares names, shapes and identity with the layout. Local. */
fx_status fx_shard_open(const char *path, const fx_shard_layout *layout, fx_shard **out);

/* Snapshots [t, t + count) of patch `place` into out (count, S, S); FX_EVALUE, naming file, dataset and index, when a
 * checksum differs. Local. */
fx_status fx_shard_read(fx_shard *shard, int64_t place, int64_t t, int64_t count, float *out);
fx_status fx_shard_stats(fx_shard *shard, fx_stats *out); /* as written by fx_shard_finish */
void fx_shard_close(fx_shard **shard);

/* Size and XXH64 of a whole file. Local. */
fx_status fx_file_checksum(const char *path, int64_t *bytes, uint64_t *checksum);

#endif
