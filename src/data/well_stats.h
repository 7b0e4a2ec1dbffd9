/* well_stats.h: what a data set of The Well says of its fields, for well.c alone. Includes error.h. */
#ifndef FLEXHPC_DATA_WELL_STATS_H
#define FLEXHPC_DATA_WELL_STATS_H

#include <stdint.h>

#include "flexhpc/error.h"

/* The root mean square of a field, or of a component of it, from stats.yaml two folders above the
 * file's: `rms`, or what `mean` and `std` make; 0 where the file or the keys are missing. Local. */
fx_status fx_well_scale(const char *path, const char *field, int64_t channel, double *out);

#endif
