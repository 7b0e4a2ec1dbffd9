/* metrics.h: the run's record, `metrics.jsonl`: one JSON object a step; and the same numbers in `tb/`
 * for TensorBoard. Private to src/train; rank 0 only. */
#ifndef FX_METRICS_H
#define FX_METRICS_H

#include <stdio.h>

#include "flexhpc/tfevents.h"
#include "flexhpc/train.h"
#include "stragglers.h"
#include "validate.h"

typedef struct fx_metrics {
    FILE *file;
    char path[FX_PATH_MAX];
    fx_tfevents *events;
    double joules[FX_ENERGY_KINDS]; /* so far, of the steps on record */
} fx_metrics;

/* Opens the folder's record after cutting it back to steps up to `step`, and a new file in `tb/` that
 * hides what older ones say of later steps: a resumed run has no step twice. */
fx_status fx_metrics_open(const char *folder, int64_t step, fx_metrics *out);

/* One step: the report, learning rate, seconds of the step, the part of them spent waiting for data,
 * and the samples of the global batch; of several ranks (`own` is not NULL) own_median, own_most and
 * slowest_rank, their own seconds; energy_cpu_j and energy_gpu_j, what was used from the first step on
 * record to this one, validations and saves between them included, where counters tell; and, unless
 * NULL, its validation: val_loss, val_rfne, and for each task `sr`, `fc` the means val_rfne_TASK and
 * val_floor_TASK, both at each Reynolds number (val_rfne_sr_re500), and the mean squares of what the
 * network is to say and of what it says, val_target_TASK and val_output_TASK. */
fx_status fx_metrics_add(fx_metrics *metrics, int64_t step, const fx_step_report *report,
                         double learning_rate, double seconds, double wait, int64_t samples,
                         const fx_own_times *own, const fx_validation_report *validation);
void fx_metrics_close(fx_metrics *metrics);

#endif
