/* checkpoint_file.h: what is in a checkpoint's file, for the files of src/train that read and write it.
 * Layout: `value/NAME`, `ema/NAME`, `moment1/NAME`, `moment2/NAME` (published names and shapes,
 * float32), each with the attribute `xxh64` of its bytes; root attributes for the rest, with a checksum
 * of their own, and, where the backend chose engines, `engines`. */
#ifndef FX_CHECKPOINT_FILE_H
#define FX_CHECKPOINT_FILE_H

#include "flexhpc/checkpoint.h"
#include "flexhpc/io.h"

/* ---- Tensors (checkpoint.c). */

enum { FX_CHECKPOINT_KINDS = 4, FX_CHECKPOINT_NAME = FX_NAME_MAX + 16 };

/* Each kind is a group of the file. */
typedef struct fx_checkpoint_kind {
    fx_slab slab;
    const char *name;
    bool weights; /* no state of the optimizer */
} fx_checkpoint_kind;
extern const fx_checkpoint_kind fx_checkpoint_kinds[FX_CHECKPOINT_KINDS];

/* Whether a file of these slabs (bits 1 << fx_slab) holds the parameter's tensor of a kind: buffers are
 * not trained, they have a value and nothing else. Local. */
bool fx_checkpoint_has(unsigned slabs, const fx_param *p, int kind);
fx_status fx_checkpoint_name(char out[FX_CHECKPOINT_NAME], int kind, const fx_param *p);

/* Memory for the largest of the tensors, freed with fx_free. Local. */
fx_status fx_checkpoint_room(fx_params *params, float **buffer);

/* FX_EVALUE where the tensor is missing, or of another type or shape. `path` is for messages. Local. */
fx_status fx_checkpoint_describe(fx_h5 *f, const char *path, int kind, const fx_param *p);

/* A parameter's values in `slab` (VALUE, EMA, MOMENT1, MOMENT2), described and its checksum compared.
 * Local. */
fx_status fx_checkpoint_tensor(fx_h5 *f, const char *path, fx_slab slab, const fx_param *p, float *out);

/* ---- What is beside them (checkpoint_progress.c). */

fx_status fx_progress_write(fx_h5 *f, const fx_progress *progress); /* Collective */
fx_status fx_progress_read(fx_h5 *f, const char *path, fx_progress *out);
fx_status fx_engines_write(fx_comm *comm, fx_h5 *f, const fx_exec *exec); /* of rank 0. Collective */

/* fx_checkpoint_verify against these parameters instead of those of its configuration's model: before
 * a file gets its name, against those that were written. Local. */
fx_status fx_checkpoint_verify_as(const char *path, fx_params *params, unsigned slabs);

#endif
