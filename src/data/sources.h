/* sources.h: the sources of a pack, for pack.c alone. Includes data.h. */
#ifndef FLEXHPC_DATA_SOURCES_H
#define FLEXHPC_DATA_SOURCES_H

#include "flexhpc/data.h"

typedef struct fx_source_file {
    char path[FX_PATH_MAX];
    fx_pack_source source;
} fx_source_file;

/* The paths of a folder's NSKT files, or `source` itself when it is a file. *paths and their texts are
 * one block, freed with fx_free whatever the status. Local. */
fx_status fx_sources_find(const char *source, char ***paths, int *count);

/* Opens the files that pack.reynolds wants. *out is freed with fx_free whatever the status. Local. */
fx_status fx_sources_list(const fx_config *config, const char *const *files, int count,
                          fx_source_file **out, int *sources);

#endif
