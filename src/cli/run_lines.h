/* run_lines.h: a run's state as lines for a terminal or a file; of the commands status and watch. */
#ifndef FX_RUN_LINES_H
#define FX_RUN_LINES_H

#include <stddef.h>

#include "flexhpc/watch.h"

enum { FX_RUN_LINE = 512 };

/* The table of `flexhpc status`: its head, and a row, without what the folder is called. */
void fx_run_head(char out[FX_RUN_LINE]);
void fx_run_row(const fx_run_view *view, char out[FX_RUN_LINE]);

/* "4.31 kJ", of joules; "-" where they are not known. */
void fx_run_energy(double joules, char *out, size_t size);

/* "1:02:03"; "-" where it is not known. */
void fx_run_span(double seconds, char *out, size_t size);

#endif
