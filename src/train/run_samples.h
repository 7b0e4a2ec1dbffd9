/* run_samples.h: the sampled fields in a run folder for its report: files sample-*.h5 (field_file.h).
 * Private to src/train. */
#ifndef FX_RUN_SAMPLES_H
#define FX_RUN_SAMPLES_H

#include "run_record.h"
#include "run_rollouts.h"

enum { FX_SAMPLE_FINDINGS = 32 };

typedef struct fx_run_samples {
    fx_run_rollouts rollouts;
    fx_finding finding[FX_SAMPLE_FINDINGS + 1]; /* and one of forecasts that are not shown */
    int findings;
} fx_run_samples;

/* Reads them by name: their forecasts, and a finding for each signature that fires, which says file and
 * step and is a note where that is not the step of the run's newest checkpoint. What they say of an
 * early end is a note of the record's, and so is a file that can't be read and is left out. Texts are
 * of the record's pool. Local. */
fx_status fx_run_samples_read(fx_run_record *record, fx_run_samples *out);

#endif
