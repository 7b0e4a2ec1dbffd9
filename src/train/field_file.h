/* field_file.h: the HDF5 file of sampled whole fields, as h5py and xarray read it. float32, in the
 * units of the source; TASK is sr or fc:
 *   sr_model (member, time, y, x)   sr_truth (time, y, x)   sr_input (time, y_input, x_input)
 *   fc_model (member, lead, y, x)   fc_truth (lead, y, x)   fc_input (past, y, x), the newest last
 * sr_truth is there where the source is fine; fc_truth is NaN beyond the source's end. Dimension
 * scales: member, y, x, y_input, x_input (points of their grid) count from 0; `time`, `past` and `lead`
 * are times (lead: after the newest input), or snapshots where the source says no interval. Attributes
 * say where it all comes from: flexhpc (release and commit), date, command, config, checkpoint with its
 * XXH64 and step, source, how it was sampled, and where its tiles have borders: seam_jump
 * (mean |difference of neighbours| across borders over that elsewhere), seam_truth (the same of the
 * truth; NaN: none is known), seam_error (of their difference), seam_limit (of it), comb (energy at the
 * tiles' wave numbers over that of their neighbours; NaN: not equally spaced), comb_limit; none of
 * these where there is no border, measuring failed, or sampling ended early. Where it did, at a result
 * or an input that is not finite, `ended` says which one, and `complete`, by member, how many of its
 * leads or times are results: beyond them TASK_model, and of sr input and truth as well, is NaN.
 * Neither is there where all was sampled. One rank writes, rows at a time, to OUT.part. */
#ifndef FX_FIELD_FILE_H
#define FX_FIELD_FILE_H

#include "flexhpc/data.h"
#include "flexhpc/field.h"
#include "flexhpc/io.h"

/* As sample.input and sample.feedback number their words. */
enum { FX_INPUT_FINE, FX_INPUT_COARSE };
enum { FX_FEEDBACK_MEMBER, FX_FEEDBACK_MEAN };

typedef struct fx_field_file_options {
    const fx_config *config;
    const fx_trained *model;
    const fx_source *source;
    const fx_tiles *tiles;
    const char *command; /* NULL: unknown */
    fx_task task;
    bool truth;
    int64_t first, frames; /* snapshot of the first time, or newest input; times or leads */
} fx_field_file_options;

typedef struct fx_field_file {
    fx_field_file_options options;
    char path[FX_PATH_MAX], part[FX_PATH_MAX];
    fx_h5 *h5;
} fx_field_file;

/* Lays the file out: a full disk shows here. Abandoned after any failure. Local. */
fx_status fx_field_file_create(const char *path, const fx_field_file_options *options,
                               fx_field_file *out);

/* "sr_model": of `what` in this file. Local. */
fx_status fx_field_file_name(const fx_field_file *file, const char *what, char name[32]);

/* Rows [row, row + rows) of a frame: of TASK_`what` ("truth", "input"), or of a member. Local. */
fx_status fx_field_file_write(fx_field_file *file, const char *what, int64_t frame, int64_t row,
                              int64_t rows, const float *values);
fx_status fx_field_file_member(fx_field_file *file, uint32_t member, int64_t frame, int64_t row,
                               int64_t rows, const float *values);

/* Makes it the file `path` for good; nothing is left of it where that fails. Local. */
fx_status fx_field_file_close(fx_field_file *file);
/* The same of a file that `why` ended: complete[m] frames of member m are whole; the others become NaN.
 * Local. */
fx_status fx_field_file_end(fx_field_file *file, const int64_t *complete, const char *why);
void fx_field_file_abandon(fx_field_file *file); /* removes what there is */

#endif
