/* trained.h: a trained model opened for sampling: the EMA weights of a checkpoint, and the sampling
 * programs of a task. Evaluation, `flexhpc sample` and the C API sample with it, and so get the same
 * bits from the same inputs. Fields are divided by the checkpoint's data scale. Includes checkpoint.h,
 * train.h. */
#ifndef FLEXHPC_TRAINED_H
#define FLEXHPC_TRAINED_H

#include "flexhpc/checkpoint.h"
#include "flexhpc/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_trained {
    char path[FX_PATH_MAX]; /* of the checkpoint */
    fx_progress progress;   /* of the checkpoint: what was trained, and how */
    fx_step_options options;
    fx_exec *exec;
    fx_params *params;
    bool borrowed;         /* exec and params are a trainee's */
    fx_sampler sampler[2]; /* by task; made by fx_trained_prepare */
    int steps;             /* of DDIM */
    int64_t batch, pixels; /* B rows a run, of S x S pixels */
    /* Inputs, which the caller fills. */
    float *snapshots; /* (B, S, S, cond), the newest last */
    float *coarse; /* (B, S / factor, S / factor): the super-resolution input; NULL: it is read at every
                      factor-th pixel of the last snapshot (options.coarse) */
    float *re;     /* (B): Re / data.condition_scale */
    float *noise;  /* (B, S, S): x at t = 1 */
    /* Outputs. */
    float *base;     /* (B, S, S): the interpolated input, or the last snapshot */
    float *estimate; /* (B, S, S): what was sampled, times its scale, plus base unless raw */
} fx_trained;

/* Opens a checkpoint, or a run folder's newest, on the backend that `config` asks for, for sample.steps
 * steps of DDIM and eval.batch rows; the model is the checkpoint's. *out is closed whatever the status.
 * FX_ECONFIG, FX_EIO, FX_EVALUE name the file. Collective. */
fx_status fx_trained_open(fx_comm *comm, const fx_config *config, const char *path, fx_trained **out);

/* A model in training instead, on its own backend and with the EMA that its parameters have at each
 * run; the trainee must outlive it. FX_ECONFIG where the EMA is sharded. Local. */
fx_status fx_trained_of(const fx_trainee *trainee, const fx_config *config, const fx_progress *progress,
                        fx_trained **out);
void fx_trained_close(fx_trained **trained);

bool fx_trained_has(const fx_trained *trained, fx_task task);

/* Whether it was trained on samples of condition 0, as data sets that say none have it. Local. */
bool fx_trained_with_zero(const fx_trained *trained);

/* Makes the task's program where there is none. Local. */
fx_status fx_trained_prepare(fx_trained *trained, fx_task task);

/* An ensemble of M members of B samples: the rows' snapshots are filled, then
 *
 *     for each row b:      fx_trained_draw(m, task, b, seed, number[b], 0, reynolds[b])   re and noise
 *     fx_trained_encode(m, task)                                          once for all members
 *     for each member k:   for each row b: fx_trained_draw(.., k, ..), if k > 0
 *                          fx_trained_denoise(m, task)                    m->estimate holds member k
 *
 * All functions below: the task is prepared, and Local. */

/* Row b is told another condition than it draws its noise for. */
void fx_trained_tell(fx_trained *trained, int64_t b, double condition);

/* Row b gets the conditioning on a Reynolds number and the noise of a sample's number and a member's: a
 * function of (seed, number, member, task, Reynolds number) alone. */
void fx_trained_draw(fx_trained *trained, fx_task task, int64_t b, uint64_t seed, uint32_t number,
                     uint32_t member, double reynolds);

/* The noise of an ensemble's member, as a stream of rng.h. */
uint32_t fx_trained_stream(uint32_t member);

/* Runs the task's encoder on the rows' snapshots and re: sets base. */
fx_status fx_trained_encode(fx_trained *trained, fx_task task);

/* Samples all rows from their noise under what was encoded last for this task: sets estimate. */
fx_status fx_trained_denoise(fx_trained *trained, fx_task task);

/* Both: one member. */
fx_status fx_trained_run(fx_trained *trained, fx_task task);

#ifdef __cplusplus
}
#endif
#endif
