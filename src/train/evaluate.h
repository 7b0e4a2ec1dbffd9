/* evaluate.h: an evaluation under way, shared by the files that sample and score it, write it and run
 * it. Private to src/train. */
#ifndef FX_EVALUATE_H
#define FX_EVALUATE_H

#include "flexhpc/data.h"
#include "flexhpc/eval_file.h"
#include "flexhpc/measure.h"
#include "flexhpc/trained.h"

/* One task at one Reynolds number. */
typedef struct fx_evaluation_row {
    float *input, *estimate, *target; /* fields of its first sample; on the rank that had it */
    bool seen;                        /* the model was trained on this Reynolds number */
} fx_evaluation_row;

typedef struct fx_evaluation {
    fx_comm *comm;
    const fx_config *config; /* of the call: what to evaluate */
    fx_trained *trained;
    fx_pack_reader *pack;
    fx_coarsener *coarsener; /* NULL: the model makes its low-resolution input itself */
    fx_scores scores;
    fx_evaluation_row rows[FX_EVALUATION_ROWS]; /* [task * reynolds + r] */
    double *scale;                              /* (sources) that their fields are divided by */
    double condition; /* that the model is told instead of the pack's; NaN: the pack's */
    int reynolds;
    int horizon;          /* leads of a forecast; 1 in training */
    bool whole;           /* patches are whole periodic domains */
    int members;          /* of the ensemble; 1 in training */
    float *future;        /* (B, S, S): what the forecast is compared with */
    float *ensemble;      /* (members, B, S, S) */
    fx_measure *measure;  /* of everything beyond RFNE, correlation and loss; NULL: in training */
    double *natural;      /* (B): FX_METRIC_NATURAL of the batch */
    fx_probe probe[2];    /* by task: losses; of fx_evaluation_of alone */
    float *losses;        /* (B), of the present task; NULL: not asked for, as the next */
    float *wanted, *said; /* (B, S, S) there: what the network is to say, and what it says */
    /* Gets every sample beside its score: physical fields divided by the scale, (S, S). NULL: nobody.
     */
    fx_status (*keep)(void *keeper, const fx_sample_score *score, const float *input,
                      const float *estimate, const float *target);
    void *keeper;
    double unit; /* the scale of the sample that is scored and kept */
} fx_evaluation;

/* Opens the run's newest checkpoint and the pack of the configuration, which must outlive it; *out is
 * closed whatever the status. Collective. */
fx_status fx_evaluation_open(fx_comm *comm, const fx_config *config, const char *folder,
                             fx_evaluation **out);

/* An evaluation of a model in training instead, with losses, without spectra and example fields.
 * Collective. */
fx_status fx_evaluation_of(fx_comm *comm, const fx_config *config, const fx_trainee *trainee,
                           const fx_progress *progress, fx_evaluation **out);

/* Makes the programs of all tasks, with those of the losses where they are asked for. Local. */
fx_status fx_evaluation_programs(fx_evaluation *evaluation, bool losses);
void fx_evaluation_close(fx_evaluation **evaluation);

/* eval.scale and eval.condition, once model and pack are open. Local. */
fx_status fx_evaluation_units(fx_evaluation *evaluation);

/* eval.condition alone: what the model is told instead of the data's own condition; NaN: nothing.
 * Local. */
fx_status fx_evaluation_condition(const fx_config *config, const fx_trained *trained, double *out);

/* Whether the r-th Reynolds number of the pack is one of eval.reynolds. Local. */
bool fx_evaluates(const fx_evaluation *evaluation, int r);

/* Samples and scores this rank's share of the batches. Collective. */
fx_status fx_evaluation_run(fx_evaluation *evaluation);

/* Samples and scores one batch of the r-th Reynolds number, samples `first` and on. A short last batch
 * repeats its last sample, and scores it once. Local. */
fx_status fx_evaluation_batch(fx_evaluation *evaluation, int r, int64_t first);

/* The failure signatures of a score. How many. Local. */
int fx_evaluation_signs(fx_evaluation *evaluation, const fx_score *score, fx_sign out[FX_SIGNATURES]);

/* Forecasts on from the first lead, which is in e->ensemble and whose inputs are in the model's
 * snapshots, and scores every lead; rows of scores from `row` on are those of the batch, sample `first`
 * and on. Local. */
fx_status fx_evaluation_rollout(fx_evaluation *evaluation, int r, int64_t first, int64_t row);

/* Where sample i of a Reynolds number is: patch, newest snapshot of the input, and that one's time. */
typedef struct fx_evaluation_place {
    int64_t patch, snapshot;
    double time;
} fx_evaluation_place;
fx_evaluation_place fx_evaluation_place_of(const fx_evaluation *evaluation, const fx_pack_reynolds *r,
                                           int64_t i);

/* What divides the fields of a patch. Local. */
double fx_evaluation_scale(const fx_evaluation *evaluation, int64_t patch);

/* The statistics of a Reynolds number's file in that unit. Local. */
fx_values fx_evaluation_values(const fx_pack_reynolds *r, double unit);

/* Logs the tables of scores, and the failure signatures. */
void fx_evaluation_print(fx_evaluation *evaluation, const fx_score *scores, int count);

/* Logs signatures that fired, each with its number, its limit and what to try. */
void fx_evaluation_print_signs(const fx_sign *signs, int count);

/* Writes the evaluation as a file (eval_file.h): samples, and `count` rows of scores with their spectra
 * and example fields. Local, on one rank. */
fx_status fx_evaluation_write(fx_evaluation *evaluation, const char *path, const fx_score *scores,
                              int count);

#endif
