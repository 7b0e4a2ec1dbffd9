/* data.h: what the files of `flexhpc data` share. */
#ifndef FX_CLI_DATA_H
#define FX_CLI_DATA_H

#include "cli.h"
#include "flexhpc/data.h"

/* Header, statistics, spectrum and, where `preview` names a file, a picture of a file of fields. Local.
 */
fx_status fx_print_source(const char *path, const fx_config *config, const char *preview);

/* Statistics of the finite values, and how many are not. */
typedef struct fx_values {
    fx_stats stats;
    int64_t not_finite, first; /* first: place of the first of them */
} fx_values;

/* Adds `count` values from place `at` on; closes the gaps in x that those leave which are not finite.
 */
void fx_values_add(fx_values *values, float *x, int64_t at, int64_t count);

void fx_print_stats(const fx_stats *stats); /* on one line */

/* Options that say where in a file a field is. */
#define FX_SOURCE_OPTIONS                                                                              \
    FX_OPTION_KEY("--format", "NAME", "source.format"),                                                \
        FX_OPTION_KEY("--key", "DATASET", "source.key"),                                               \
        FX_OPTION_KEY("--channel", "NUMBER", "source.channel")

#endif
