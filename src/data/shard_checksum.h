/* shard_checksum.h: the checksum of a snapshot in a shard, by the file's attribute "hash": XXH3 (its 64
 * bits, seed 0), or XXH64 in shards of before December 2026, which have no such attribute. Of the
 * snapshot's little-endian bytes. */
#ifndef FLEXHPC_DATA_SHARD_CHECKSUM_H
#define FLEXHPC_DATA_SHARD_CHECKSUM_H

#include "flexhpc/io.h"

typedef enum fx_shard_hash { FX_SHARD_XXH64, FX_SHARD_XXH3 } fx_shard_hash;

/* Of `pixels` floats. Local. */
uint64_t fx_shard_checksum(fx_shard_hash hash, const float *snapshot, int64_t pixels);

/* Says in a new file that its checksums are XXH3. Local. */
fx_status fx_shard_checksum_mark(fx_h5 *file);

/* Which a file has; FX_EVALUE, naming `path`, for one that is not known here. Local. */
fx_status fx_shard_checksum_kind(fx_h5 *file, const char *path, fx_shard_hash *out);

#endif
