/* run_times.c: how long a run's steps took, by its record. */
#include <math.h>

#include "flexhpc/train.h"
#include "run_record.h"

/* Of the last steps, as many as fx_bench_order takes. */
fx_status fx_run_step_seconds(const char *folder, double *seconds)
{
    fx_run_record *record = NULL;
    double least = NAN;
    *seconds = NAN;
    const fx_status status = fx_run_record_read(folder, &record);
    if (status == FX_OK && record->steps > 0) {
        const int64_t count = record->steps < FX_BENCH_MAX ? record->steps : FX_BENCH_MAX;
        fx_bench_order(record->column[FX_RECORD_SECONDS] + record->steps - count, (int)count, &least,
                       seconds);
    }
    fx_run_record_free(&record);
    return status;
}
