/* tfevents.h: curves that TensorBoard reads. Includes error.h. All Local. */
#ifndef FLEXHPC_TFEVENTS_H
#define FLEXHPC_TFEVENTS_H

#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_TFEVENTS_SCALARS = 192 }; /* of one step */

typedef struct fx_tfevents fx_tfevents;

/* Begins a new file, `events.out.tfevents.SECONDS.HOST.PID.N`, in a folder that is made where missing.
 * Steps from `step` on that older files of the folder hold are hidden by it. */
fx_status fx_tfevents_open(const char *folder, int64_t step, fx_tfevents **out);

/* One value for each of `count` names (below FX_NAME_MAX bytes, at most FX_TFEVENTS_SCALARS), as float;
 * on disk, whole, when it returns. FX_EIO names the file. */
fx_status fx_tfevents_add(fx_tfevents *events, int64_t step, const char *const *names,
                          const double *values, int count);

/* *events may be NULL and becomes NULL. */
void fx_tfevents_close(fx_tfevents **events);

#ifdef __cplusplus
}
#endif
#endif
