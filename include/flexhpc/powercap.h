/* powercap.h: the energy that the processors and the memory of this node have used, by the counters
 * that Linux shows below /sys/class/powercap. Includes error.h. All Local. */
#ifndef FLEXHPC_POWERCAP_H
#define FLEXHPC_POWERCAP_H

#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FX_POWERCAP "/sys/class/powercap" /* where the kernel has them */

typedef struct fx_powercap fx_powercap;

/* Opens every counter of a package or of memory in `folder`. All of them or none: a sum of some would
 * be a part of the node's. FX_EIO, FX_EVALUE say why there is nothing to read; *out is then NULL. */
fx_status fx_powercap_open(const char *folder, fx_powercap **out);
void fx_powercap_close(fx_powercap **powercap);

/* Joules of all counters since the call before, or since they were opened. A counter that has begun
 * again at 0 once in between is added up rightly; one that has twice can't be told from it (a package
 * at 200 W takes some 20 minutes for a round of 262 kJ). FX_EIO, FX_EVALUE name the file. */
fx_status fx_powercap_read(fx_powercap *powercap, double *joules);

#ifdef __cplusplus
}
#endif
#endif
