/* stragglers.h: which rank keeps the others waiting. Sums over ranks make all steps equally long by the
 * wall; what differs is a rank's own time: the step without what it waited for others (fx_beat_own).
 * Private to src/train. */
#ifndef FX_STRAGGLERS_H
#define FX_STRAGGLERS_H

#include "flexhpc/mem.h"
#include "flexhpc/report.h"
#include "flexhpc/train.h"

typedef struct fx_own_times {
    double median, most; /* seconds of the newest step; of an even number the lower median */
    int slowest;         /* the lowest rank that took `most` */
} fx_own_times;

typedef struct fx_stragglers fx_stragglers;

/* For the ranks of `comm`; one is named when its own time is above `threshold` times the median, 0:
 * never. The caller frees it, also after a failure. Collective. */
fx_status fx_stragglers_open(fx_comm *comm, double threshold, fx_stragglers **out);
void fx_stragglers_free(fx_stragglers **stragglers);

/* One step's seconds by rank (fx_step_report.own). The first steps after fx_stragglers_open, in which
 * memory is touched and libraries choose for the first time, are left out of all but the result. Local.
 */
fx_own_times fx_stragglers_add(fx_stragglers *stragglers, const double *own);

/* "rank 3 on n07 takes 1.31 x the median" of the steps since the last call, or "" when no rank is above
 * the threshold. Local. */
void fx_stragglers_name(fx_stragglers *stragglers, char *text, size_t size);

/* The same of all steps, with seconds. Local. */
void fx_stragglers_summary(const fx_stragglers *stragglers, char *text, size_t size);

/* All steps as a JSON file: `steps`, `median_s`, and `ranks`, a row each: `rank`, `host`, `mean_s`,
 * `worst_s`, `slowest`: share of the steps in which it was. Local. */
fx_status fx_stragglers_write(const fx_stragglers *stragglers, const char *path);

/* Such a file into `rank` and its companions of a report, which then points into `pool`. Nothing where
 * there is no file. FX_EVALUE names what is wrong with one. Local. */
fx_status fx_stragglers_read(const char *path, fx_pool *pool, fx_report *out);

#endif
