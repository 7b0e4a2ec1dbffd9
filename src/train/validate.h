/* validate.h: how good the model in training is: its EMA weights on the same patches, noise and times
 * each time, as an evaluation would find it. Private to src/train. */
#ifndef FX_VALIDATE_H
#define FX_VALIDATE_H

#include "flexhpc/checkpoint.h"
#include "flexhpc/eval_file.h"
#include "flexhpc/tfevents.h"
#include "flexhpc/train.h"

typedef struct fx_validation fx_validation;

typedef struct fx_validation_report {
    double loss, rfne; /* means over the scores */
    fx_score score[FX_EVALUATION_ROWS];
    int scores;             /* one a task and Reynolds number */
    const char *upsampling; /* "bicubic": what makes the floor of super-resolution */
} fx_validation_report;

/* The patches of validate.path at eval.reynolds; the trainee must outlive it. *out is closed whatever
 * the status. Collective. */
fx_status fx_validation_open(fx_comm *comm, const fx_config *config, const fx_trainee *trainee,
                             const fx_progress *progress, fx_validation **out);

/* Validates the weights as they are, and leaves the training's state alone. The same report on all
 * ranks, with the same bits on any number of ranks that have the same weights. Collective. */
fx_status fx_validation_run(fx_validation *validation, fx_validation_report *out);
void fx_validation_close(fx_validation **validation);

/* What the newest validation made of sample 0 of the largest Reynolds number, a picture a task,
 * `validation/sr_re2000`: input, model, truth and error. A model that gives no numbers has none, which
 * is logged. On rank 0. Local. */
fx_status fx_validation_show(const fx_validation *validation, int64_t step, fx_tfevents *events);

/* Logs the report of a step, in one line. */
void fx_validation_print(const fx_validation_report *report, int64_t step, double seconds);

#endif
