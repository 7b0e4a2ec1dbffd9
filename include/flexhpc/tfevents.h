/* tfevents.h: curves and pictures that TensorBoard reads. Includes error.h. All Local. */
#ifndef FLEXHPC_TFEVENTS_H
#define FLEXHPC_TFEVENTS_H

#include <stddef.h>
#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_TFEVENTS_SCALARS = 192 }; /* of one step */

typedef struct fx_tfevents fx_tfevents;

enum { FX_TFEVENTS_HIDE_NOTHING = -1 };

/* Begins a new file, `events.out.tfevents.SECONDS.HOST.PID.N`, in a folder that is made where missing.
 * Steps from `step` on that older files of the folder hold are hidden by it, unless it is
 * FX_TFEVENTS_HIDE_NOTHING. */
fx_status fx_tfevents_open(const char *folder, int64_t step, fx_tfevents **out);

/* One value for each of `count` names (below FX_NAME_MAX bytes, at most FX_TFEVENTS_SCALARS), as float;
 * on disk, whole, when it returns. FX_EIO names the file. */
fx_status fx_tfevents_add(fx_tfevents *events, int64_t step, const char *const *names,
                          const double *values, int count);

/* A picture: `bytes` of a PNG of that size. The same. */
fx_status fx_tfevents_image(fx_tfevents *events, int64_t step, const char *name, const uint8_t *png,
                            size_t bytes, int64_t width, int64_t height);

/* *events may be NULL and becomes NULL. */
void fx_tfevents_close(fx_tfevents **events);

#ifdef __cplusplus
}
#endif
#endif
