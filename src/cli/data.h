/* data.h: what the files of `flexhpc data` share. */
#ifndef FX_CLI_DATA_H
#define FX_CLI_DATA_H

#include "cli.h"
#include "flexhpc/data.h"

/* Header, statistics, spectrum and, where `preview` names a file, a picture of a file of fields. Local.
 */
fx_status fx_print_source(const char *path, const fx_config *config, const char *preview);

void fx_print_stats(const fx_stats *stats); /* on one line */

/* Options that say where in a file a field is. */
#define FX_SOURCE_OPTIONS                                                                              \
    FX_OPTION_KEY("--format", "NAME", "source.format"),                                                \
        FX_OPTION_KEY("--key", "DATASET", "source.key"),                                               \
        FX_OPTION_KEY("--channel", "NUMBER", "source.channel")

#endif
