/* run_history.c: how a training went, for studies: from the run's record. */
#include <string.h>

#include "flexhpc/train.h"
#include "run_record.h"

static fx_status copy(fx_pool *pool, const double *from, int64_t count, double **out)
{
    *out = fx_pool_calloc(pool, (size_t)count + 1, sizeof **out);
    if (!*out) return FX_ENOMEM;
    if (count > 0) memcpy(*out, from, (size_t)count * sizeof **out);
    return FX_OK;
}

static fx_status take(const fx_run_record *r, fx_pool *pool, fx_run_history *h)
{
    h->steps = r->steps;
    h->validations = r->validations;
    FX_TRY(copy(pool, r->step, r->steps, &h->step));
    FX_TRY(copy(pool, r->column[FX_RECORD_NORM], r->steps, &h->norm));
    FX_TRY(copy(pool, r->validated, r->validations, &h->validated));
    for (int task = 0; task < 2; task++) {
        double *const *squares = r->validation + FX_RECORD_SQUARES + 2 * task;
        FX_TRY(copy(pool, squares[0], r->validations, &h->target[task]));
        FX_TRY(copy(pool, squares[1], r->validations, &h->output[task]));
    }
    return FX_OK;
}

fx_status fx_run_history_read(const char *folder, fx_pool *pool, fx_run_history *out)
{
    fx_run_record *record = NULL;
    *out = (fx_run_history){0};
    fx_status status = fx_run_record_read(folder, &record);
    if (status == FX_OK) status = take(record, pool, out);
    fx_run_record_free(&record);
    return status;
}
