/* run_rollouts.h: the forecasts in a run folder for its report. Private to src/train. */
#ifndef FX_RUN_ROLLOUTS_H
#define FX_RUN_ROLLOUTS_H

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/report.h"

enum { FX_ROLLOUTS = 4, FX_ROLLOUT_CURVES = 3 };

typedef struct fx_run_rollouts {
    fx_rollout rollout[FX_ROLLOUTS];
    fx_curve error[FX_ROLLOUTS][2], correlation[FX_ROLLOUTS][FX_ROLLOUT_CURVES];
    fx_chart chart[2 * FX_ROLLOUTS]; /* RFNE and correlation by lead */
    int rollouts, charts, hidden;    /* hidden: there was no room for */
} fx_run_rollouts;

/* Adds the forecast in a file (field_file.h) called `name`, if it holds one, and counts it where there
 * is no room: member 0 at up to 5 leads, averaged to at most 192 pixels a side, and its scores at every
 * lead whose truth is known. Texts and fields are the pool's. On failure `out` is as it was. Local. */
fx_status fx_run_rollouts_add(fx_h5 *file, const char *name, fx_pool *pool, fx_run_rollouts *out);

#endif
