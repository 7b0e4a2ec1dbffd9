/* source.h: what a format's reader is: one file a format, one row of the table in source.c. A reader
 * says where in a file the field lies and what the file knows of it; source.c opens, reads and checks.
 * For this folder alone. Includes data.h, io.h. */
#ifndef FLEXHPC_DATA_SOURCE_H
#define FLEXHPC_DATA_SOURCE_H

#include "flexhpc/data.h"
#include "flexhpc/io.h"

/* More than this of either is taken for damage. */
enum { FX_MOST_RUNS = 65536, FX_MOST_CHANNELS = 65536 };

struct fx_source {
    const struct fx_source_format *format;
    char path[FX_PATH_MAX], key[FX_PATH_MAX]; /* key: the dataset */
    fx_source_info info;
    fx_source_run *run; /* (info.runs) */
    fx_h5 *file;
    const char
        *axes; /* a letter a dimension of the dataset: b run, t time, c channel, y row, x column */
    int64_t channels, channel;
    float *turned; /* room for part of a box where x comes before y */
    int64_t room;
};

typedef struct fx_source_format {
    const char *name;
    /* Whether a file is one; `file` is NULL before it is opened, when the name alone may decide. */
    bool (*knows)(const char *path, fx_h5 *file);
    /* Calls fx_source_use, fx_source_take_channel and fx_source_take_runs, and fills `info` and `run`
     * with what the file says; config is for what its format leaves open. */
    fx_status (*describe)(fx_source *source, const fx_config *config);
    /* Where the data set's own low-resolution field lies, file and dataset; path "": it has none. NULL:
     * no data set of this format has any. */
    fx_status (*lowres)(const fx_source *source, char path[FX_PATH_MAX], char key[FX_PATH_MAX]);
} fx_source_format;

extern const fx_source_format fx_format_nskt, fx_format_well, fx_format_pdebench, fx_format_minflex,
    fx_format_superbench;

/* The dataset and its axes: `layouts` (NULL-terminated) holds one text a possible rank, "tcyx". Sets
 * snapshots, height, width, channels and runs; FX_EVALUE when none fits, or it holds no floats. */
fx_status fx_source_use(fx_source *source, const char *key, const char *const *layouts);

/* The configured channel, or the format's own; also names the field. */
fx_status fx_source_take_channel(fx_source *source, const fx_config *config, int64_t own);

/* Room for the runs, each with this condition, start and interval. */
fx_status fx_source_take_runs(fx_source *source, fx_source_run all);

/* Start and interval of the runs from a dataset of times, one a snapshot: of all runs, or of each where
 * it has a dimension more. Times that aren't evenly spaced leave interval 0. */
fx_status fx_source_take_times(fx_source *source, const char *key);

/* The condition that a scalar of the file gives: `value` of all runs, or one each. */
void fx_source_set_condition(fx_source *source, const double *value, int64_t values);

/* For formats without scalars: FX_ECONFIG when source.condition names one. */
fx_status fx_source_no_scalars(const fx_source *source, const fx_config *config);

/* The file's name without its folder. */
const char *fx_base_name(const char *path);

#endif
