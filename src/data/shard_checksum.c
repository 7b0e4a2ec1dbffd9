/* shard_checksum.c: see shard_checksum.h. XXH3 is compiled in from its header, for the processor that
 * this program is compiled for: the shared library's has the vectors of the oldest one. */
#define XXH_INLINE_ALL
#include "shard_checksum.h"

#include <string.h>
#include <xxhash.h>

static const char HASH[] = "hash", XXH3[] = "XXH3";

uint64_t fx_shard_checksum(fx_shard_hash hash, const float *snapshot, int64_t pixels)
{
    const size_t bytes = (size_t)pixels * sizeof *snapshot;
    return hash == FX_SHARD_XXH3 ? XXH3_64bits(snapshot, bytes) : XXH64(snapshot, bytes, 0);
}

fx_status fx_shard_checksum_mark(fx_h5 *file)
{
    return fx_h5_set_text(file, "/", HASH, XXH3);
}

fx_status fx_shard_checksum_kind(fx_h5 *file, const char *path, fx_shard_hash *out)
{
    char name[16];
    *out = FX_SHARD_XXH64;
    if (!fx_h5_has_attribute(file, "/", HASH)) return FX_OK;
    FX_TRY(fx_h5_get_text(file, "/", HASH, name, sizeof name));
    FX_REQUIRE(strcmp(name, XXH3) == 0, FX_EVALUE,
               "%s: its checksums are %s, which is not known here: packed by a newer version?", path,
               name);
    *out = FX_SHARD_XXH3;
    return FX_OK;
}
