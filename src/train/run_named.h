/* run_named.h: evaluations with an eval.name, other samplings of the same model, as tables. Private to
 * src/train. */
#ifndef FX_RUN_NAMED_H
#define FX_RUN_NAMED_H

#include "flexhpc/report.h"
#include "run_record.h"

enum { FX_NAMED_TABLES = 3 };

/* A table a task: at each Reynolds number that an evaluation with a name has, every evaluation's score,
 * those without a name first; and a table of the failure signatures of those with
 * one. None where no evaluation has a name. Texts are the record's pool's.
 * Local. */
fx_status fx_run_named(const fx_run_record *record, fx_report_table tables[FX_NAMED_TABLES],
                       int *count);

#endif
