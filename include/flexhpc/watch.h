/* watch.h: what a run is doing, from the files of its folder alone: nothing of it is asked, moved or
 * held up. Includes str.h. All Local. */
#ifndef FLEXHPC_WATCH_H
#define FLEXHPC_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include "flexhpc/str.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fx_run_state {
    FX_RUN_RUNNING,  /* its lock is held */
    FX_RUN_STOPPED,  /* ended early with its newest step saved: the same command goes on */
    FX_RUN_FINISHED, /* has saved its last step */
    FX_RUN_FAILED    /* ended with an error, or without saving what it had done */
} fx_run_state;

enum { FX_VIEW_ALARMS = 8, FX_VIEW_TEXT = 320, FX_VIEW_LOSSES = 64 };

/* A number that the files don't have is NaN, a step -1. */
typedef struct fx_run_view {
    fx_run_state state;
    char holder[FX_VIEW_TEXT]; /* of a running one: "pid 7 on n01 since 2026-01-31T23:59:59Z" */
    int64_t step, steps;       /* updates on record; of the configuration */
    double loss, loss_task[2]; /* of the newest step; SR, FC */
    double norm, rate;
    double seconds;           /* a step's, mean over the newest 50 */
    double samples;           /* a second, likewise */
    double wait;              /* share of these steps spent waiting for data */
    double joules;            /* used since the run began, of kinds that the newest step counts */
    double sample_joules;     /* a sample's of these kinds, over these steps; NaN: one began since */
    double left;              /* seconds that the steps to come take, without saves and validations */
    double quiet;             /* seconds since the run wrote to its record or its log */
    int64_t saved;            /* step of the newest checkpoint */
    int64_t validated;        /* step of the newest validation, and what it found, by task */
    double rfne[2], floor[2]; /* NaN: not a task of this run */
    double recent[FX_VIEW_LOSSES]; /* losses of the newest steps, oldest first */
    int recents;
    char alarm[FX_VIEW_ALARMS][FX_VIEW_TEXT]; /* what is wrong, printable */
    int alarms;
} fx_run_view;

/* Whether a folder is a run's: it has a configuration, a record, checkpoints or a log. */
bool fx_is_run(const char *folder);

/* FX_EIO: no such folder, or it is no run's. What is missing, torn or malformed in it is an alarm, not
 * an error. */
fx_status fx_run_look(const char *folder, fx_run_view *out);

/* "running", "stopped", "finished", "failed". */
const char *fx_run_state_name(fx_run_state state);

#ifdef __cplusplus
}
#endif
#endif
