/* stage.h: node-local copies of shards, for loader.c. Private to src/data; includes data.h. */
#ifndef FLEXHPC_DATA_STAGE_H
#define FLEXHPC_DATA_STAGE_H

#include "flexhpc/data.h"

/* Copies shards of `pack`, whose manifest is `m`, to a disk of each node: `where` is a folder, or
 * "auto" for what SLURM_TMPDIR or TMPDIR names, if that is another file system than the pack's. wanted
 * (shards): what this rank reads; it is written. `folder` is then where this node's copies are; "" with
 * "auto" where there is no such disk, or not enough room, which is told. FX_EIO without "auto" in the
 * latter case; FX_EVALUE when a copy's checksum is not the manifest's. One rank a node copies; rank 0
 * tells shards, bytes and speed. Collective. */
fx_status fx_pack_stage(fx_comm *comm, const fx_manifest *m, const char *pack, const char *where,
                        bool *wanted, char folder[FX_PATH_MAX]);

#endif
