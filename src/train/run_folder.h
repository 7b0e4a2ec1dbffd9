/* run_folder.h: the folder of a run, and what stands in it beside the results: run.lock, config.yaml,
 * cmd.txt (a line a start), env.txt (where the newest start ran), starts.txt (starts.h),
 * log/rank-NNNN.log (what each rank said, all starts). Private to src/train. */
#ifndef FX_RUN_FOLDER_H
#define FX_RUN_FOLDER_H

#include "flexhpc/io.h"
#include "flexhpc/program.h"
#include "flexhpc/train.h"
#include "energy.h"
#include "start_rates.h"

typedef struct fx_run_folder {
    const char *path; /* not owned */
    char checkpoints[FX_PATH_MAX];
    char stop[FX_PATH_MAX]; /* a file that asks the run to save and stop; gone when it starts again */
    fx_lock *lock;          /* rank 0's */
} fx_run_folder;

/* Makes the folder where missing, takes its lock, unless the caller has it, and opens every rank's log,
 * which stays open to the process's end: the last words come after everything else. Collective. */
fx_status fx_run_folder_open(fx_comm *comm, const char *path, bool locked, fx_run_folder *out);
void fx_run_folder_close(fx_run_folder *folder);

/* Writes config.yaml and env.txt (`step`: of the step's program, NULL: there is none; `rates` and
 * `energy` NULL: not measured), and adds `command` (NULL: none) to cmd.txt. Collective. */
fx_status fx_run_folder_describe(const fx_run_folder *folder, fx_exec *exec, fx_comm *comm,
                                 const fx_config *config, const char *command,
                                 const fx_plan_summary *step, const fx_start_rates *rates,
                                 const fx_energy *energy);

#endif
