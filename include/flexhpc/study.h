/* study.h: experiments that compare trained models, one command each: arms (the configuration and some
 * keys) times training seeds are trained into a pool of run folders that all studies share, evaluated,
 * and compared in a table with intervals. Includes comm.h. */
#ifndef FLEXHPC_STUDY_H
#define FLEXHPC_STUDY_H

#include "flexhpc/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Every study, once: X(C name, name, what it asks). */
#define FX_STUDIES(X)                                                                                  \
    X(seeds, "seeds", "how far do runs differ that differ in nothing but the seed?")                   \
    X(baselines, "baselines", "FLEX against U-Net and UViT at equal floating-point operations")        \
    X(steps, "steps", "do two DDIM steps suffice?")                                                    \
    X(unseen, "unseen", "does a model carry over to Reynolds numbers that it has not seen?")           \
    X(weak_levels, "weak-levels", "what does weak conditioning do to the error and to ensembles?")     \
    X(latent_patch, "latent-patch", "what do larger latent patches cost and save?")                    \
    X(tasks, "tasks", "both tasks at once against each alone, with and without contrast")              \
    X(contrast, "contrast", "does contrast help on a mixture of data sets?")                           \
    X(zero_shot, "zero-shot", "what does a model do on other observables and boundaries?")             \
    X(parameterisation, "parameterisation", "v, x or eps, of residuals or of raw fields?")             \
    X(residual_space, "residual-space", "is the residual simpler than the field, and easier to learn?")

typedef struct fx_study_call {
    const char *name;             /* of the study */
    const char *config;           /* file */
    const char *const *overrides; /* "key=value", NULL-terminated */
    const char *folder;           /* pool and results */
    const char *command;          /* for cmd.txt of the runs; NULL: unknown */
    double time_limit;            /* seconds from now by which it has stopped; infinite: none */
} fx_study_call;

/* Trains what is missing in FOLDER/runs/ARM-sSEED (finished runs of the same settings are taken as they
 * are), evaluates (eval-PACK-nN-mM.h5 in the run's folder), and writes FOLDER/NAME/table.md,
 * table.json, report.html and chart-K.svg. A job that takes a part of the runs, or finds some in the
 * hands of another job, does its own and leaves the table to whoever finds all done. With study.ranks
 * groups of ranks take a run each, and its bits are those of so many ranks alone. A run that fails is
 * named in the end, with its status, when all others are done; but a rank that dies or hangs ends all
 * groups. *early: stopped by a signal or the time limit, whatever failed before; called again it goes
 * on. FX_ECONFIG names what is wrong with name, keys, or a run of other settings. Collective. */
fx_status fx_study(fx_comm *comm, const fx_study_call *call, bool *early);

#ifdef __cplusplus
}
#endif
#endif
