/* trainee_load.h: batches of the loader into the inputs of a step. Private to src/train. */
#ifndef FX_TRAINEE_LOAD_H
#define FX_TRAINEE_LOAD_H

#include "flexhpc/data.h"
#include "flexhpc/train.h"

/* All micro-batches of a step, this rank's samples. Waits for the loader; its errors come out here.
 * Local. */
fx_status fx_trainee_load(fx_trainee *trainee, fx_loader *loader, int64_t step);

#endif
