/* study.h: a study under way. Private to src/study.
 *   kinds.c        what studies there are, and their arms
 *   pool.c         their runs: which, how far, training
 *   groups.c       several runs at once: the job's ranks in groups, and who takes which run
 *   evaluations.c  their evaluations: which, making and reading
 *   series.c       scores of an arm over its seeds, their intervals and differences
 *   arms.c         tables and sentences that studies of several arms share
 *   output.c       tables, readings and charts as files
 *   the others     a study each: what it evaluates, what it says */
#ifndef FX_STUDY_PRIVATE_H
#define FX_STUDY_PRIVATE_H

#include "flexhpc/compare.h"
#include "flexhpc/config.h"
#include "flexhpc/eval_file.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/report.h"
#include "flexhpc/study.h"

enum {
    STUDY_ARMS = 24,
    STUDY_EVALUATIONS = 24,
    STUDY_TABLES = 8,
    STUDY_COLUMNS = 16,
    STUDY_CHARTS = 8
};
enum { STUDY_READINGS = 128, STUDY_WHY = 512 };

typedef struct study study;

/* Which text of keys an arm begins with; MIXED: flex's, trained on study.mixture. */
typedef enum study_network { STUDY_FLEX, STUDY_UNET, STUDY_UVIT, STUDY_MIXED } study_network;

typedef struct study_arm {
    const char *name; /* of its folders in the pool */
    study_network network;
    const char *set; /* more keys, by blanks */
} study_arm;

/* One evaluation of each run. */
typedef struct study_evaluation {
    const char *key, *pack; /* the configuration key that names the pack, and what it says */
    int64_t steps, members;
    bool foreign;  /* its fields are of other units and conditions */
    char name[32]; /* of the file: eval-PACK-NAME.h5 */
} study_evaluation;

typedef struct study_kind {
    const char *name, *question;
    const study_arm *arm; /* up to one without a name */
    fx_status (*plan)(study *s);
    fx_status (*analyse)(study *s);
} study_kind;

typedef struct study_run {
    const study_arm *arm;
    int64_t seed;
    char name[FX_NAME_MAX], folder[FX_PATH_MAX];
    fx_config config;
    int64_t step;             /* trained so far */
    bool mine;                /* of this job's part, and this group's */
    int group;                /* that has it */
    bool busy;                /* another job has it */
    fx_status status;         /* of training or evaluating it in this call, FX_OK before that */
    char why[STUDY_WHY];      /* its message */
    fx_eval_file *evaluation; /* by evaluation; read by rank 0 */
    bool *have;               /* which are there */
} study_run;

/* ---- Output. */

typedef struct study_cell {
    const char *text;
    fx_interval number; /* NaN: text alone; low NaN: no interval */
} study_cell;

typedef struct study_table {
    const char *name, *title, *note;
    const char *column[STUDY_COLUMNS];
    int columns;
    study_cell *cell; /* row by row */
    size_t capacity;
    int cells;
} study_table;

typedef struct study_output {
    study_table table[STUDY_TABLES];
    int tables;
    fx_finding reading[STUDY_READINGS];
    int readings;
    fx_chart chart[STUDY_CHARTS];
    int charts;
} study_output;

struct study {
    fx_comm *comm;  /* all ranks of the job */
    fx_comm *group; /* those that train and evaluate with this one: a part of them, or the same */
    int groups;
    bool lost; /* this group's devices can't go on */
    const fx_study_call *call;
    const study_kind *kind;
    double deadline; /* of fx_now() */
    double longest;  /* evaluation so far, in seconds */
    fx_config config;
    study_run *run;
    int runs;
    study_evaluation evaluation[STUDY_EVALUATIONS];
    int evaluations;
    fx_pool *pool; /* of everything that the analysis makes */
    study_output out;
};

/* kinds.c. FX_ECONFIG names the nearest. */
fx_status study_kind_find(const char *name, const study_kind **out);

/* ---- pool.c */

/* Makes the list of runs: seeds times arms, seeds outermost, so that a whole comparison is there early.
 * Local. */
fx_status study_runs_make(study *s);

/* How far each run is, whether it is this job's. Collective. */
fx_status study_runs_look(study *s);

/* Trains this group's runs that are not finished. *early: stopped. One that fails is noted. Collective
 * over the group, as what follows here. */
fx_status study_runs_train(study *s, bool *early);

/* Makes a run's folder and takes its lock on rank 0, which releases it; run->busy: another job has it,
 * which is told. Collective over the group. */
fx_status study_run_lock(study *s, study_run *run, fx_lock **lock);

/* Notes how a run's training or evaluation ended: FX_OK, and the study goes on with the others, unless
 * the ranks can't reach each other any more (FX_ECOMM, returned), or their devices don't answer
 * (s->lost). Local. */
fx_status study_run_note(study *s, study_run *run, fx_status status);

bool study_run_finished(const study_run *run);

/* The configuration that a run was trained with, with what it found at its start. Local. */
fx_status study_run_config(const study_run *run, fx_config *out);

/* Whether a signal or the time limit asks to stop before something that takes so many seconds; the same
 * on all ranks. */
fx_status study_is_over(study *s, double seconds, bool *over);

/* ---- groups.c */

/* Groups of study.ranks ranks, and which runs are whose. FX_ECONFIG: that does not divide the ranks.
 * Collective. */
fx_status study_groups_open(study *s);

/* All ranks hear which runs failed, and whether any group was stopped, once all are done.
 * Collective. */
fx_status study_groups_close(study *s, bool *early);

/* ---- evaluations.c */

/* Adds an evaluation to the study; FX_ECONFIG when the key names no pack, or one whose file would be
 * another evaluation's. Local. */
fx_status study_evaluate_on(study *s, const char *key, const char *pack, int64_t steps,
                            int64_t members);

/* The same of data of another kind: scaled by its pack's root mean square, told the mean condition of
 * the training or what eval.condition says, one member. Local. */
fx_status study_evaluate_foreign(study *s, const char *key, const char *pack, int64_t steps);

/* Makes those of this group's runs that are missing. One that fails is noted. Collective over the
 * group. */
fx_status study_evaluations_make(study *s, bool *early);

/* Whether a run has evaluation number i. Local. */
bool study_evaluation_is_there(study *s, const study_run *run, int i);

/* Reads those of finished runs; what is missing is told. Local. */
fx_status study_evaluations_read(study *s);
void study_evaluations_free(study *s);

/* ---- series.c */

/* One value a sample, the mean over an arm's seeds, of the samples of a task at a Reynolds number (0:
 * all). Blocks are units of time, the same for all Reynolds numbers: their flows begin from the same
 * phases. */
typedef struct study_series {
    const study_arm *arm;
    int64_t count;
    double *value;
    int64_t *block;
    int seeds;
    double *seed_mean; /* by seed */
    double mean;
} study_series;

typedef double (*study_value)(const fx_sample_score *sample);
double study_rfne(const fx_sample_score *sample);
double study_floor(const fx_sample_score *sample);
double study_second_floor(const fx_sample_score *sample);
double study_spread(const fx_sample_score *sample);    /* of an ensemble, over the truth's norm */
double study_mean_rfne(const fx_sample_score *sample); /* of an ensemble's mean */

/* seeds 0: the arm has no such evaluation, or none with such samples. FX_EVALUE where two seeds were
 * evaluated on different samples. Local. */
fx_status study_series_of(study *s, const study_arm *arm, int evaluation, fx_task task, double reynolds,
                          study_value value, study_series *out);

/* The noise of seeds of all arms of the study in an evaluation; of all arms but one (NULL: all). Local.
 */
fx_status study_noise(study *s, int evaluation, fx_task task, fx_seed_noise *out);
fx_status study_noise_without(study *s, int evaluation, fx_task task, const study_arm *without,
                              fx_seed_noise *out);

/* Means, ratios of means and differences a - b with intervals over samples and seeds. Local. */
fx_status study_mean(study *s, const study_series *a, const fx_seed_noise *noise, fx_interval *out);
fx_status study_ratio(study *s, const study_series *a, const study_series *b,
                      const fx_seed_noise *noise, fx_interval *out);
fx_status study_difference(study *s, const study_series *a, const study_series *b,
                           const fx_seed_noise *noise, fx_interval *out, fx_verdict *verdict);

/* Over all samples of an arm's runs in an evaluation: the spread-skill ratio of ensembles (1 where they
 * are calibrated); their standard deviation over the residual's root mean square; energy of the
 * estimates above the wave numbers that the input resolves over the truth's, in decibel, a mean over
 * runs and Reynolds numbers. NaN: not measured. Local. */
double study_spread_skill(const study *s, const study_arm *arm, int evaluation, fx_task task);
double study_diversity(const study *s, const study_arm *arm, int evaluation, fx_task task);
double study_band(const study *s, const study_arm *arm, int evaluation, fx_task task);

const char *study_task_name(fx_task task);
/* "a tie", "lower", "higher", "not known from one seed". */
const char *study_verdict_text(fx_verdict verdict);

/* ---- output.c: all Local, on rank 0. */

/* Begins a table; `columns` is NULL-terminated. NULL: no room. Cells fill it row by row. */
study_table *study_table_begin(study *s, const char *name, const char *title,
                               const char *const *columns);
fx_status study_put_text(study *s, study_table *t, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
fx_status study_put(study *s, study_table *t, double value, const char *format);
fx_status study_put_interval(study *s, study_table *t, const fx_interval *value, int digits);

/* "0.120 [0.100, 0.140]", of the study's pool; "0.120 [no interval]" where there is none. sign: with a
 * plus before what is positive. */
const char *study_interval_text(study *s, const fx_interval *value, int digits, bool sign);

/* A sentence about what the tables show. */
fx_status study_say(study *s, fx_mark mark, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A chart of curves with points x and their intervals; texts and arrays are of the study's pool. */
typedef struct study_curve {
    const char *name;
    const double *x;
    const fx_interval *y;
    int count;
} study_curve;
fx_status study_chart(study *s, const char *title, const char *x_label, const char *y_label, bool log_x,
                      const study_curve *curve, int curves);

/* Writes the files. */
fx_status study_write(study *s);

/* ---- arms.c: what studies of several arms share; all of one evaluation of each run, Local. */

/* Distinct Reynolds numbers, ascending; the number of them, at most `most`. */
int study_reynolds(const study *s, int evaluation, fx_task task, double *out, int most);

/* "bicubic" or "persistence": what makes the floor; "interpolation" where the runs differ. */
const char *study_floor_name(const study *s, fx_task task);

/* A chart of ratios to that floor. */
fx_status study_ratio_chart(study *s, fx_task task, const char *x_label, bool log_x,
                            const study_curve *curve, int curves);

/* Scores of every arm, over all Reynolds numbers and of each. */
fx_status study_arm_table(study *s, int evaluation);

/* A table of differences, which study_pair adds rows to, a sentence each; arms that have no runs add
 * none. */
study_table *study_pairs_begin(study *s);
fx_status study_pair(study *s, study_table *t, const study_arm *a, const study_arm *b, int evaluation,
                     fx_task task);

/* Differences of all pairs of arms, or where they are many of all against `reference`; a sentence each.
 */
fx_status study_difference_table(study *s, int evaluation, const char *reference);

/* Sentences on the noise of seeds, and on every arm against its floor. */
fx_status study_say_noise(study *s, int evaluation);
fx_status study_say_floors(study *s, int evaluation);

/* Ratios to the floors by Reynolds number, a curve an arm. */
fx_status study_reynolds_charts(study *s, int evaluation);

/* ---- covariance.c: what the training's samples are like, raw and as residuals, by task. */
typedef struct study_clouds study_clouds;

/* Looks at study.samples of them; a table, sentences and a chart. *out is of the study's pool. Local.
 */
fx_status study_covariance(study *s, const study_clouds **out);

/* Their mean square a pixel; NaN: the model does not have the task. Local. */
double study_square(const study_clouds *clouds, fx_task task, bool raw);

/* ---- baselines.c */

/* What a run costs, by the plan of a step on one rank of the CPU; nothing is allocated or run. Local.
 */
typedef struct study_cost {
    double flop; /* of one sample, forward and backward */
    int64_t parameters;
    double memory; /* bytes of a step on one rank, parameters included */
} study_cost;
fx_status study_cost_of(const fx_config *config, study_cost *out);

/* Parameters, operations, memory and time of the arms; how the operations are called
 * equal or not where `equal`. Local. */
fx_status study_cost_table(study *s, bool equal);

/* ---- The studies, a file each: what each run is evaluated on, and what is made of it. */
#define STUDY_DECLARE(id, name, question)                                                              \
    fx_status study_plan_##id(study *s);                                                               \
    fx_status study_analyse_##id(study *s);
FX_STUDIES(STUDY_DECLARE)
#undef STUDY_DECLARE

#endif
