/* starts.h: an end to starts that lead nowhere. Private to src/train. */
#ifndef FX_STARTS_H
#define FX_STARTS_H

#include <stdbool.h>

#include "flexhpc/error.h"

/* Is this a start by Slurm's requeue? Local. */
bool fx_starts_requeued(void);

/* For a start by Slurm's requeue: FX_ECONFIG when the three before it, by requeue as well, have brought
 * the run no new checkpoint. Any other start begins to count anew. One rank only, before anything that
 * can fail. Local. */
fx_status fx_starts_count(const char *run);

#endif
