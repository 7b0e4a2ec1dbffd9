/* checkpoint.h: the state of a training run on disk: one HDF5 file a checkpoint, `step-NNNNNNNN.h5` in
 * a folder, and a one-line text file `latest`. Any rank count can read it. Includes comm.h, params.h,
 * config.h. */
#ifndef FLEXHPC_CHECKPOINT_H
#define FLEXHPC_CHECKPOINT_H

#include <stdio.h>
#include "flexhpc/comm.h"
#include "flexhpc/config.h"
#include "flexhpc/params.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_DATASETS_TEXT = 1024 };

/* Beside the tensors. */
typedef struct fx_progress {
    int64_t step;      /* updates done */
    int64_t ranks;     /* that wrote it */
    double data_scale; /* fields are divided by it, but for those of data sets with a scale of their
                          own: */
    char data_sets[FX_DATASETS_TEXT];       /* "NAME=SCALE,NAME=SCALE,"; "": none */
    double loss;                            /* of the last step */
    double condition_least, condition_mean; /* over the samples trained on; NaN: an older version's */
    int64_t moments; /* of the optimizer, of each trained parameter: 0 of an import; -1: an older
                        version's. fx_checkpoint_save sets it */
    fx_config config;
} fx_progress;

/* The scale that a data set of the training had of its own; false: it has none. Local. */
bool fx_progress_scale(const fx_progress *progress, const char *dataset, double *scale);

/* Writes values, EMA and moments with a checksum a tensor, reads them back, and only then gives the
 * file its name and `latest` its line; keeps the newest progress->config.checkpoint_keep checkpoints
 * and, for good, those whose step is a multiple of checkpoint_keep_every. A kill at any instant leaves
 * the old state or the new one, whole. FX_EIO before anything is written when the file system has no
 * room for it. Collective. */
fx_status fx_checkpoint_save(fx_comm *comm, fx_params *params, fx_exec *exec,
                             const fx_progress *progress, const char *folder);

/* Bytes that a checkpoint takes on disk, to a few per cent for a model of 300 thousand parameters and
 * closer for larger ones. Local. */
int64_t fx_checkpoint_bytes(fx_params *params);

/* Path of the newest whole checkpoint: that of `latest`, else, with a warning, the newest one that
 * verifies. "" when the folder holds none; FX_EIO when it holds some and none verifies: beginning
 * afresh would lose what can perhaps be saved. Collective. */
fx_status fx_checkpoint_find(fx_comm *comm, const char *folder, char path[FX_PATH_MAX]);

/* The checkpoint that a user names: a file, or a run folder, whose newest it is. FX_ECONFIG where the
 * folder holds none. Collective. */
fx_status fx_checkpoint_named(fx_comm *comm, const char *name, char path[FX_PATH_MAX]);

/* Reads progress alone, for making the model before reading its tensors. Collective. */
fx_status fx_checkpoint_peek(fx_comm *comm, const char *path, fx_progress *out);

/* The engines that the run which wrote it computed with, for fx_exec_options of one that goes on with
 * it, on rank 0; *out is NULL on the others, and where the file has none. The caller frees it.
 * Collective. */
fx_status fx_checkpoint_engines(fx_comm *comm, const char *path, char **out);

/* Reads every tensor that `params` has into the slabs that are allocated; FX_EVALUE names the tensor
 * that is missing, of another shape, or whose checksum differs. weights_only: values and EMA.
 * Collective. */
fx_status fx_checkpoint_load(fx_comm *comm, fx_params *params, fx_exec *exec, const char *path,
                             bool weights_only);

/* Holds a file against its own configuration: every tensor of that model must be there, with its
 * shape, type, EMA and state of the optimizer, and no other; every tensor and the attributes have their
 * checksums. FX_EVALUE, FX_EIO name the first that is missing, wrong or unknown. Local. */
fx_status fx_checkpoint_verify(const char *path);

/* Compares two checkpoints: a line to `out` for every tensor and attribute, "equal" or the largest
 * difference; *differing counts the lines that are not equal to the bit. What a resume does not depend
 * on (the number of ranks, free settings) is told and not counted. FX_EIO, FX_EVALUE: a file that is
 * none. Local. */
fx_status fx_checkpoint_compare(const char *a, const char *b, FILE *out, int *differing);

#ifdef __cplusplus
}
#endif
#endif
