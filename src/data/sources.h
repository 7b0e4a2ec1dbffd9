/* sources.h: the sources of a pack, for pack.c alone. Includes data.h. */
#ifndef FLEXHPC_DATA_SOURCES_H
#define FLEXHPC_DATA_SOURCES_H

#include "flexhpc/data.h"

typedef struct fx_source_file {
    char path[FX_PATH_MAX]; /* "": of the pack that is added to, and no file of this call */
    double scale;           /* as in fx_source_info */
    int packed;             /* 1 + its number in the pack that is added to; 0: not packed yet */
    fx_pack_source source;
} fx_source_file;

/* The HDF5 files of a folder, or `source` itself when it is a file. *paths and their texts are one
 * block, freed with fx_free whatever the status. Local. */
fx_status fx_sources_find(const char *source, char ***paths, int *count);

/* Opens the files and lists their runs that pack.reynolds wants. Those of no format known here are left
 * out with a warning where `others` is set, and an error elsewhere. *out is freed with fx_free whatever
 * the status. Local. */
fx_status fx_sources_list(const fx_config *config, const char *const *files, int count, bool others,
                          fx_source_file **out, int *sources);

/* Puts the sources of a pack among those of a list, whose memory may move. One that is in both is the
 * pack's, with the file's path; FX_ECONFIG when the two differ. Local. */
fx_status fx_sources_add(const fx_manifest *pack, fx_source_file **files, int *count);

#endif
