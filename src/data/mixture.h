/* mixture.h: data.weights, the shares of the sources of a pack in what is drawn. Private to src/data.
 * Includes data.h. */
#ifndef FLEXHPC_DATA_MIXTURE_H
#define FLEXHPC_DATA_MIXTURE_H

#include "flexhpc/data.h"

enum { FX_MIXTURE_MOST = 64 };

typedef struct fx_mixture {
    int groups;
    double weight[FX_MIXTURE_MOST]; /* of each group, positive */
    char name[FX_MIXTURE_MOST][FX_NAME_MAX + 1];
    int *group; /* (sources) which one it is of; -1: none, it is not drawn from */
} fx_mixture;

/* `text` is "WHICH=WEIGHT, ..."; WHICH is a Reynolds number, or a pattern (fnmatch) of source names or
 * data sets (pack.dataset). A source is of the first that fits; those with weight 0 are left out.
 * FX_ECONFIG: no such list, a WHICH that fits no source of `wanted` (sources), or one of these that no
 * WHICH fits. What a failure leaves is freed as well. Local. */
fx_status fx_mixture_create(const fx_manifest *manifest, const char *text, const bool *wanted,
                            fx_mixture *out);
void fx_mixture_free(fx_mixture *mixture);

#endif
