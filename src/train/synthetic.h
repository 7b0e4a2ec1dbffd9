/* synthetic.h: a training step on normal numbers instead of a data set, for `bench` and `profile`.
 * Private to src/train. */
#ifndef FX_SYNTHETIC_H
#define FX_SYNTHETIC_H

#include "flexhpc/train.h"

typedef struct fx_synthetic {
    fx_comm *comm;
    const fx_config *config;
    fx_exec *exec;
    fx_trainee *trainee; /* initialised from seed */
    int64_t steps;       /* run so far */
} fx_synthetic;

/* The configuration's model and step with inputs that are written once: standard normal fields, and
 * 0.05 as every condition. *out is closed with fx_synthetic_close, also after a failure. Collective. */
fx_status fx_synthetic_open(fx_comm *comm, const fx_config *config, fx_synthetic *out);
void fx_synthetic_close(fx_synthetic *s);

/* One update. *seconds: of the slowest rank, from a barrier to the report. FX_EVALUE when the loss is
 * not finite: such steps are not worth timing. Collective. */
fx_status fx_synthetic_step(fx_synthetic *s, double *seconds);

/* Standard normal numbers into an input of any program; NULL is nothing to write. Local. */
fx_status fx_synthetic_normal(const fx_synthetic *s, fx_program *program, fx_tensor *t);
fx_status fx_synthetic_condition(fx_program *program, fx_tensor *t);

/* What a fx_recorder saw of one entry. Seconds of the backend's clock, of the newest step. */
typedef struct fx_span {
    double start, end;
} fx_span;

/* An observer that notes when the work of each entry of a program began and ended. */
typedef struct fx_recorder {
    fx_observer observer; /* of the trainee while it records */
    const fx_entry *entries;
    int count;
    fx_span *span; /* count, newest step */
    double *total; /* count, seconds over all steps */
} fx_recorder;

/* Watches the steps of a trainee from now on, until it is freed. Local. */
fx_status fx_recorder_create(fx_trainee *trainee, fx_recorder *out);
void fx_recorder_free(fx_recorder *r, fx_trainee *trainee);

/* Share of `seconds`, all recorded steps together, that is not spent in convolutions. Local. */
double fx_recorder_outside_conv(const fx_recorder *r, double seconds);

/* Mean seconds of every entry over `steps` recorded steps, whose mean is `seconds`, as the JSON file
 * that `flexhpc predict` and `bench replay` read (profile_times.c). Local. */
fx_status fx_recorder_write(const fx_recorder *r, const fx_synthetic *s, int steps, double seconds,
                            const char *file);

#endif
