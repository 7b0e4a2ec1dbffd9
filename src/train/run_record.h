/* run_record.h: what a run folder holds, in memory: config.yaml, metrics.jsonl, eval-*.h5, ranks.json,
 * env.txt, cmd.txt. For its report and for comparisons. Private to src/train. */
#ifndef FX_RUN_RECORD_H
#define FX_RUN_RECORD_H

#include "flexhpc/config.h"
#include "flexhpc/eval_file.h"
#include "flexhpc/mem.h"

enum { FX_RECORD_ROWS = 256, FX_RECORD_NOTES = 32 };

/* Of every step. */
typedef enum fx_record_column {
    FX_RECORD_SR,
    FX_RECORD_FC,
    FX_RECORD_CONTRAST,
    FX_RECORD_NORM,
    FX_RECORD_RATE,
    FX_RECORD_SECONDS,
    FX_RECORD_SPEED,
    FX_RECORD_WAIT,
    FX_RECORD_CPU_JOULES, /* since the run's first step */
    FX_RECORD_GPU_JOULES,
    FX_RECORD_COLUMNS
} fx_record_column;

/* Of every validation: its loss, then by task the model's RFNE and its floor's, then by task the mean
 * squares of what the network is to say and of what it says. */
enum { FX_RECORD_VALIDATED = 9, FX_RECORD_SQUARES = 5 };

typedef struct fx_run_record {
    fx_pool *pool; /* texts and arrays that the rest points to */
    const char *folder;
    fx_config config;
    char *config_text, *environment, *commands; /* NULL: no such file; config_text is always there */
    double *step, *column[FX_RECORD_COLUMNS];   /* NaN: not in the line */
    int64_t steps;
    double *validated, *validation[FX_RECORD_VALIDATED]; /* steps that were, and what they found */
    int64_t validations;
    fx_eval_file *evaluation; /* (evaluations) */
    int evaluations;
    const fx_eval_row *row[FX_RECORD_ROWS]; /* of the evaluations without a name; by task, then Re */
    int rows;
    const char *note[FX_RECORD_NOTES]; /* what pages must tell of the folder's files, a line each */
    int notes;
} fx_run_record;

/* Lines of metrics.jsonl that are still being written, or torn, are left out; so are evaluations that
 * can't be read, with a warning and a note. FX_EIO without a config.yaml; FX_EVALUE names what is
 * malformed. fx_run_record_free in any case. Local. */
fx_status fx_run_record_read(const char *folder, fx_run_record **out);

/* Adds a note, which is the pool's (NULL: no memory); those for which there is no room end as one line
 * that says so. Local. */
fx_status fx_run_record_note(fx_run_record *record, const char *text);

/* Warns, and notes, that the file `path` is left out for the recorded error, which is forgotten. Local.
 */
fx_status fx_run_record_leave_out(fx_run_record *record, const char *path);
void fx_run_record_free(fx_run_record **record);

/* The parameters that env.txt tells of; 0: it does not. Local. */
int64_t fx_run_record_parameters(const fx_run_record *record);

#endif
