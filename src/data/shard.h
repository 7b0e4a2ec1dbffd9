/* shard.h: one file of a pack, for the files of src/data that make, read and verify packs. Includes
 * data.h.
 *
 * Datasets: w (P, T, S, S) float32; checksum (P, T) uint64, of each snapshot (shard_checksum.h); patch,
 * row, column (P) int64, tile number and first pixel in the source; time (T) float64; y, x (S) int64.
 * Dimension scales: patch, time, y, x. Attributes: hash, source, Re, seed, start, interval, tile; run
 * and field where they aren't 0 and w; count, mean, square, least, largest.
 *
 * Chunks are (1, W, S, S): W snapshots of one patch, contiguous on disk. Without a filter W is T, or
 * what makes a chunk 64 MiB: a read of cond + 1 snapshots moves exactly these bytes out of one chunk
 * (of two at a seam), and the checksums guard what is read instead of a whole chunk. Such values are
 * read at their place in the file, past HDF5, which would look the dataset and the chunk up each time;
 * whatever does not lie there as it is in memory is left to HDF5. Shuffled and deflated chunks are read
 * and expanded whole, so there W is 1. */
#ifndef FLEXHPC_DATA_SHARD_H
#define FLEXHPC_DATA_SHARD_H

#include "flexhpc/data.h"

/* What a shard must hold; the source is not owned. */
typedef struct fx_shard_layout {
    const fx_pack_source *source;
    int64_t tile, patches, side; /* tiles [tile, tile + patches) of the source */
} fx_shard_layout;

/* What the manifest says of its shard. Local. */
fx_shard_layout fx_shard_layout_of(const fx_manifest *manifest, int shard);

/* The path of a shard in `folder`, once its file has the manifest's size. FX_EIO. Local. */
fx_status fx_shard_locate(const char *folder, const fx_pack_shard *shard, char path[FX_PATH_MAX]);

typedef struct fx_shard_writer fx_shard_writer;

/* How its fields shall lie, by pack.window and pack.compress. FX_ECONFIG where a chunk were too large
 * to be read again. Local. */
fx_status fx_shard_wanted(const fx_config *config, const fx_shard_layout *layout, fx_pack_storage *out);

/* Creates `path` with all its datasets. Local. */
fx_status fx_shard_create(const char *path, const fx_shard_layout *layout,
                          const fx_pack_storage *storage, fx_shard_writer **out);

/* Snapshots [t, t + count) of patch `place`, (count, S, S); a patch's come in order, from 0 on. Where
 * chunks are compressed a call is for one whole chunk, and chunks come by time, then by patch, so that
 * the bytes do not depend on how the source was read. Local. */
fx_status fx_shard_write(fx_shard_writer *shard, int64_t place, int64_t t, int64_t count,
                         const float *values);

/* Checksums, statistics, close. The writer is gone whatever the status. Local. */
fx_status fx_shard_finish(fx_shard_writer **shard);
void fx_shard_abandon(fx_shard_writer **shard); /* closes what a failure left */

typedef struct fx_shard fx_shard;

/* Opens for reading and compares names, shapes and identity with the layout. Local. */
fx_status fx_shard_open(const char *path, const fx_shard_layout *layout, fx_shard **out);

/* Looks up where snapshots [t, t + count) of patch `place` lie, once: after it, reads of them change
 * nothing in the shard, and several threads may make them at once. Local. */
fx_status fx_shard_find(fx_shard *shard, int64_t place, int64_t t, int64_t count);
/* Snapshots [t, t + count) of patch `place` into out (count, S, S); FX_EVALUE, naming file, dataset and
 * index, when a checksum differs. Local. */
fx_status fx_shard_read(fx_shard *shard, int64_t place, int64_t t, int64_t count, float *out);
/* Tells the system that such a read will come soon. Local. */
void fx_shard_expect(fx_shard *shard, int64_t place, int64_t t, int64_t count);
fx_status fx_shard_stats(fx_shard *shard,
                         fx_stats *out); /* of all values, as fx_shard_finish wrote them */
fx_status fx_shard_storage_of(fx_shard *shard, fx_pack_storage *out); /* Local */
void fx_shard_close(fx_shard **shard);

#endif
