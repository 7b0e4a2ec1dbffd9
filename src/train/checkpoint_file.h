/* checkpoint_file.h: single tensors of a checkpoint's file. Private to src/train. */
#ifndef FX_CHECKPOINT_FILE_H
#define FX_CHECKPOINT_FILE_H

#include "flexhpc/checkpoint.h"
#include "flexhpc/io.h"

/* A parameter's values in `slab` (VALUE, EMA, MOMENT1, MOMENT2), shape and checksum compared. `path` is
 * for messages. Local. */
fx_status fx_checkpoint_tensor(fx_h5 *f, const char *path, fx_slab slab, const fx_param *p, float *out);

#endif
