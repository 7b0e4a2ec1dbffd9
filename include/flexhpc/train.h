/* train.h: one training step as a program, and the run that repeats it. Includes config.h, diffusion.h,
 * program.h. */
#ifndef FLEXHPC_TRAIN_H
#define FLEXHPC_TRAIN_H

#include "flexhpc/config.h"
#include "flexhpc/diffusion.h"
#include "flexhpc/program.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a step is made from. */
typedef struct fx_step_options {
    fx_model model;
    fx_schedule_attrs schedule;
    fx_target_attrs target;
    fx_criterion criterion;
    float contrast_weight, contrast_temperature;
    int contrast_ranks;          /* consecutive ranks that share a contrastive term; 0: all */
    bool contrast_features;      /* they exchange latents by features, else gather them */
    int64_t micro_batch;         /* samples of one forward pass on one rank */
    int accumulate;              /* micro-batches a step */
    int64_t factor;              /* super-resolution: lowres is made from the last snapshot */
    bool coarse;                 /* or from coarse fields, an input (fx_lowres_is_input) */
    fx_interpolation upsampling; /* and brought back to full size */
    bool given;       /* lowres, t and eps are inputs (golden files) instead of made on the tape */
    bool reduce_bf16; /* gradients go between ranks in bf16 */
    bool fixed; /* gradients of single samples summed in one tree: the same bits on any rank count */
    bool shard; /* over ranks: moments, EMA, masters */
    fx_recompute recompute;
    size_t bucket_bytes; /* 0: fx_buckets chooses */
    fx_clip_attrs clip;
    fx_update_attrs update;
} fx_step_options;

/* From a checked configuration, for the ranks of `comm`; FX_ECONFIG names the key that can't be. Local:
 * with contrast.group: node it may fail on some ranks alone. */
fx_status fx_step_options_from_config(const fx_config *config, const fx_comm *comm,
                                      fx_step_options *out);

/* diffusion.residual_scale of a task; 0: it is still to be found (fx_targets_scale). Local. */
double fx_residual_scale(const fx_config *config, fx_task task);

/* Visits `count` samples of data.path as training draws them, but the same ones for every seed and
 * number of ranks, in each task that the model has: the field that is wanted, and what a residual is
 * taken against (the interpolated input, or the last snapshot). Both are (S, S), divided by data.scale,
 * and there during the visit only. Local. */
typedef fx_status (*fx_target_visit)(void *self, fx_task task, const float *truth, const float *base,
                                     int64_t pixels);
fx_status fx_targets_visit(const fx_config *config, int64_t count, fx_target_visit visit, void *self);

/* Puts the root mean square of what is diffused, over some hundred samples, in the place of every 0 in
 * diffusion.residual_scale. FX_EVALUE where it is 0. Local. */
fx_status fx_targets_scale(fx_config *config);

/* "bicubic": the word of data.upsampling, which makes the floor of super-resolution. Local. */
const char *fx_upsampling_name(const fx_config *config);

/* The same for one process that does not train: without the contrastive term, which may need more
 * ranks. Local. */
fx_status fx_step_options_alone(const fx_config *config, fx_step_options *out);

/* Learning rate of update s (from 0): linear warm-up over w updates, then a half cosine to update n
 * (published schedule; the first update has rate 0 where w > 0). Local. */
double fx_learning_rate(double base, int64_t s, int64_t w, int64_t n);

/* EMA decay of update u (from 1): min(largest, (1 + u) / (10 + u)). Local. */
double fx_ema_decay(double largest, int64_t u);

/* Opens the backend that the key `backend` names, with run.threads. The caller closes it. FX_EDEVICE
 * says why one is not to be had, the same on all ranks. Collective. */
fx_status fx_exec_open(fx_comm *comm, const fx_config *config, fx_exec **out);

/* What counters tell the energy of. */
typedef enum fx_energy_kind { FX_ENERGY_CPU, FX_ENERGY_GPU, FX_ENERGY_KINDS } fx_energy_kind;
typedef struct fx_energy fx_energy; /* energy.h, private to src/train */

/* A model in training: parameters, their slabs, and the step's program on one backend. */
typedef struct fx_trainee {
    fx_step_options options;
    fx_exec *exec;  /* not owned */
    fx_comm *group; /* the ranks that share a contrastive term; NULL: all */
    fx_params *params;
    fx_program *step;
    int buckets;
    fx_batch *inputs;            /* one a micro-batch */
    fx_objective_nodes *nodes;   /* one a micro-batch: kept losses */
    fx_tensor *norm;             /* (4): norm before clipping, factor, finite, - */
    double *words, *own;         /* what the ranks told each other of the newest step; of that, own */
    const fx_observer *observer; /* of every step from now on; not owned; NULL: none */
    fx_energy *energy;           /* read once a step; not owned; NULL: not counted */
} fx_trainee;

/* Records, plans and allocates. Parameters are zero: fx_params_initialize or a checkpoint fills them.
 * With `plan_only` nothing is allocated, and no step can run. All ranks must use equal options.
 * Collective where contrast_ranks makes groups, or the backend connects; else local. */
fx_status fx_trainee_create(fx_exec *exec, const fx_step_options *options, bool plan_only,
                            fx_trainee **out);
void fx_trainee_free(fx_trainee **trainee);

/* Bytes of the backend's memory that a step needs on this rank: arena, kept tensors, parameters. Local.
 */
size_t fx_trainee_bytes(const fx_trainee *trainee);

/* What one step reports, over the global batch. */
typedef struct fx_step_report {
    double loss, loss_task[2]; /* means over the global batch; a missing task's is 0 */
    double contrast;
    double norm;       /* of the summed gradient, before clipping */
    bool finite;       /* losses and norm, on every rank */
    int culprit;       /* lowest rank whose own losses are not finite; -1: none */
    const double *own; /* by rank: seconds of its own since the step before (fx_beat_own); the
                          trainee's, until its next step */
    double joules[FX_ENERGY_KINDS]; /* of all ranks since the step before; NaN: not counted */
} fx_step_report;

/* Runs one step on the inputs written before (fx_program_write on inputs[]). Collective. */
fx_status fx_trainee_step(fx_trainee *trainee, const fx_step *step, fx_step_report *report);

/* A program that only computes the losses of one micro-batch, with raw or EMA weights of `params`, and
 * keeps beside them what the network is to say and what it says (nodes.target, .velocity); it is only
 * planned, as the one below, where `params` are only laid out. */
typedef struct fx_probe {
    fx_program *program;
    fx_batch inputs;
    fx_objective_nodes nodes;
} fx_probe;
fx_status fx_probe_create(fx_exec *exec, fx_params *params, const fx_step_options *options, bool ema,
                          fx_probe *out);

/* Sampling of `batch` patches in `steps` DDIM steps with raw or EMA weights, as two programs: `encoder`
 * runs the task encoders on snapshots (unless options->given: lowres), coarse and re, and keeps what
 * they give and lowres; `denoiser` makes the kept residual of x (what fx_record_sampler returns, which
 * options->target makes a field of), reading what the encoder's last run kept. So members of an
 * ensemble cost one run of the encoder, whatever their number and that of the steps, and no memory; a
 * member's bits are those that it would have alone. Neither holds anything of training. Closed with
 * fx_sampler_free, also after a failure. Local. */
typedef struct fx_sampler {
    fx_program *encoder, *denoiser;
    fx_batch inputs;         /* the encoder's */
    fx_tensor *x, *residual; /* the denoiser's */
} fx_sampler;
fx_status fx_sampler_create(fx_exec *exec, fx_params *params, const fx_step_options *options,
                            int64_t batch, int steps, bool ema, fx_sampler *out);
void fx_sampler_free(fx_sampler *sampler);

/* One run of each program, without dropout. Local. */
fx_status fx_sampler_encode(const fx_sampler *sampler);
fx_status fx_sampler_denoise(const fx_sampler *sampler);

/* Checks the program against one golden file; prints each quantity's largest deviation and its limit to
 * `out`. FX_EVALUE names the first quantity that disagrees, FX_EIO the file, dataset or attribute that
 * is missing or malformed. Local. */
fx_status fx_verify(fx_exec *exec, const char *file, FILE *out);

/* Bytes of the backend's memory that validate.every takes beside the step's, on this rank. The trainee
 * may be planned only. Local. */
fx_status fx_validation_bytes(const fx_trainee *trainee, const fx_config *config, size_t *bytes);

/* How a run begins: from its newest checkpoint where it has one, afresh, or from a checkpoint or not at
 * all. */
typedef enum fx_resume { FX_RESUME_AUTO, FX_RESUME_NEVER, FX_RESUME_MUST } fx_resume;

typedef struct fx_run_options {
    const char *folder; /* made where missing; used by one job at a time */
    bool locked;        /* the caller holds the folder's lock (fx_lock_take) */
    fx_resume resume;
    const char *checkpoint; /* the run goes on from this file, or this run folder's newest; NULL:
                               `resume` says. It must not be older than what the run has */
    const char *command;    /* the command line, for cmd.txt; NULL: unknown */
    double time_limit;      /* seconds from now before which the run has saved and ended, maybe none any
                               more; infinite: no limit */
} fx_run_options;

/* From now on USR1, USR2, TERM and INT ask fx_train to stop after the present step; one that comes
 * before the first step, or before fx_train itself, after the first. A second INT, or a TERM and then
 * another TERM or INT two seconds later, ends the process at once with 130. For main(), before
 * fx_comm_start. Local. */
void fx_signals_catch(void);

/* Signal number that asked for a stop; 0: none. Local. */
int fx_signals_seen(void);

/* Trains to config->train_steps: run folder, data, steps, metrics.jsonl, checkpoints, report. *early:
 * stopped by a signal (fx_signals_catch) or the time limit, with a checkpoint. FX_ECONFIG: the run
 * in the folder was begun with other settings; FX_EVALUE: a loss or gradient is not finite. Collective.
 */
fx_status fx_train(fx_comm *comm, const fx_config *config, const fx_run_options *run, bool *early);

/* The median seconds of a step of the run in a folder, by its metrics.jsonl; NaN: it has none. Local.
 */
fx_status fx_run_step_seconds(const char *folder, double *seconds);

/* What a run's metrics.jsonl says of its gradients and of what the network is trained for. NaN: not in
 * the record. */
typedef struct fx_run_history {
    int64_t steps, validations;
    double *step, *norm;           /* of each step; the gradient's norm before clipping */
    double *validated;             /* the step of each validation */
    double *target[2], *output[2]; /* there, by task: mean squares of what the network is to say, and of
                                      what it says */
} fx_run_history;

/* Reads it for the run in a folder, into arrays of the pool (mem.h). Local. */
struct fx_pool;
fx_status fx_run_history_read(const char *folder, struct fx_pool *pool, fx_run_history *out);

/* How many steps the run in a folder has done with the configuration's settings, by its newest
 * checkpoint; 0: none, or no run. What the configuration leaves to the pack (data.scale, data.reynolds)
 * may be anything. FX_ECONFIG names the first other setting that differs and decides about results.
 * Collective. */
fx_status fx_run_step(fx_comm *comm, const char *folder, const fx_config *config, int64_t *step);

/* Samples the run's newest EMA weights on patches of config's pack (data.path, eval.*, sample.*),
 * scores them against truth and floors, prints a table, and writes `eval-PACK[-NAME].h5` into the run
 * folder (eval_file.h; eval.name). The model, its scale and its conditioning are the checkpoint's.
 * Collective. */
fx_status fx_evaluate(fx_comm *comm, const fx_config *config, const char *folder);

/* Whether eval.reynolds asks for a Reynolds number of the pack. Local. */
bool fx_evaluation_takes(const fx_config *config, double reynolds);

/* What decides an evaluation's results beside the model and what fx_eval_file has as numbers: the keys
 * eval.reynolds, eval.scale, eval.condition, eval.horizon and sample.feedback as a text, and the XXH64
 * of the pack's manifest, which holds the checksums of its shards; 0: the pack is not there. FX_EIO
 * names a manifest that can't be read. Local. */
fx_status fx_evaluation_asked(const fx_config *config, char *out, size_t size, int64_t *pack);

/* Samples as fx_evaluate does and writes them, with inputs and truth, in the units of the source, to
 * the HDF5 file `out` (src/train/sample.c says what it holds). Local. */
fx_status fx_sample_file(const fx_config *config, const char *folder, const char *out);

/* Whole fields of the file sample.source by the keys sample.*: super-resolved snapshots, or a forecast
 * from lead to lead, to the HDF5 file `out` (src/train/field_file.h says what it holds); `command`, the
 * command line, is kept in it. The result does not depend on the number of ranks. FX_EVALUE: a result
 * is not finite; what came before it is in the file, which says so. Collective. */
fx_status fx_sample_field(fx_comm *comm, const fx_config *config, const char *folder,
                          const char *command, const char *out);

/* What `flexhpc bench` measures; its words: benchmarks/TERMS.md. */
enum { FX_BENCH_MAX = 1000 }; /* of bench.steps */
typedef struct fx_bench_report {
    int count; /* of step_s and sample_s */
    double step_s[FX_BENCH_MAX], sample_s[FX_BENCH_MAX];
    double flop;                                      /* of one step and rank */
    double outside_conv;                              /* share of one more step, observed */
    int64_t batch, patches, image, parameters;        /* batch: samples of a step on a rank */
    int64_t arena_bytes, saved_bytes, resident_bytes; /* of the largest rank, before sampling */
    int ranks, threads;
    char backend[256];
} fx_bench_report;

/* Times bench.steps training steps, and as many samplings of bench.patches patches, on synthetic
 * inputs. The same report on all ranks, times of the slowest. FX_EVALUE: the steps diverge. Collective.
 */
fx_status fx_bench(fx_comm *comm, const fx_config *config, fx_bench_report *out);

/* Smallest and median of 1 .. FX_BENCH_MAX values. Local. */
void fx_bench_order(const double *seconds, int count, double *least, double *median);

/* The report as a JSON file. Local. */
fx_status fx_bench_write(const fx_bench_report *report, const char *file);

/* What `flexhpc bench gpu` measures; rates in 1/s, of the slowest rank. */
enum { FX_PRECISIONS = FX_PRECISION_BF16 + 1 };
typedef struct fx_gpu_report {
    double product[FX_PRECISIONS]; /* FLOP/s */
    double copy, upload, sum;      /* as in fx_device_limits */
    int64_t side, bytes;           /* of the matrices; of what was copied and summed */
    int ranks;
    char backend[256];
} fx_gpu_report;

/* Measures the GPUs by bench.matrix and bench.copy. FX_EDEVICE says why there is none. The same report
 * on all ranks. Collective. */
fx_status fx_bench_gpu(fx_comm *comm, const fx_config *config, fx_gpu_report *out);

/* The exec's own limits by the same keys; FX_EDEVICE on the CPU. Collective. */
fx_status fx_exec_limits(fx_exec *exec, const fx_config *config, fx_device_limits *out);

/* Bytes/s that a ring's links carry for the report's all-reduce: 2 (n - 1) / n of its data. Local. */
double fx_gpu_bus(const fx_gpu_report *report);

/* The report as a JSON file. Local. */
fx_status fx_gpu_write(const fx_gpu_report *report, const char *file);

/* Runs bench.steps steps on synthetic inputs with every entry timed; on a GPU by its own clock, and
 * measured by its limits. Rank 0's times as a table by op to `out`, unless NULL; every entry of the
 * newest step on every rank to the JSON file `trace`, unless NULL, in Chrome's trace format; rank 0's
 * mean times to the JSON file `times`, unless NULL, for fx_foresee. Collective; `trace` and `times` are
 * NULL on all ranks or on none. */
fx_status fx_profile(fx_comm *comm, const fx_config *config, const char *trace, const char *times,
                     FILE *out);

/* Writes `report.html` into a run folder from what is there: configuration, metrics, evaluations,
 * sampled fields. Files of the last two that can't be read are left out, with a warning and a line in
 * the report. Local. */
fx_status fx_run_report(const char *folder);

/* Writes a comparison of 2 to FX_COMPARED_MAX (report.h) run folders to `path`. FX_ECONFIG when they
 * are more or fewer. Local. */
fx_status fx_run_compare(const char *const *folders, int count, const char *path);

#ifdef __cplusplus
}
#endif
#endif
