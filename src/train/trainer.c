/* trainer.c: a training run: set-up, the loop over steps, and its end. Every rank takes the same path:
 * what one rank finds out is agreed before anybody acts on it. */
#include <math.h>
#include <stdio.h>

#include "flexhpc/checkpoint.h"
#include "flexhpc/data.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/train.h"
#include "flexhpc/watchdog.h"
#include "energy.h"
#include "latest.h"
#include "metrics.h"
#include "run_folder.h"
#include "settings.h"
#include "signals.h"
#include "start_rates.h"
#include "starts.h"
#include "stragglers.h"
#include "ticker.h"
#include "trainee_load.h"
#include "validate.h"

static const double SAVED_A_SECOND = 2e8; /* bytes, before a save has been timed */
static const double LEAVES_WITHIN =
    10; /* s: report, end of MPI and of the launcher, and a job script that has something to do yet */

typedef struct trainer {
    fx_comm *comm;
    fx_config *config; /* with the data set's own values filled in */
    const fx_run_options *run;
    fx_run_folder folder;
    fx_watchdog *watchdog;
    fx_exec *exec;
    fx_trainee *trainee;
    fx_loader *loader;
    fx_validation *validation; /* NULL: off */
    fx_validation_report validated;
    fx_metrics metrics;
    fx_ticker ticker;
    fx_stragglers *stragglers;
    fx_energy *energy;
    fx_progress progress;
    char from[FX_PATH_MAX];            /* the checkpoint that the run goes on with; "": none */
    char *engines;                     /* its (fx_exec) */
    int64_t saved;                     /* step of the newest checkpoint; -1: none */
    double saved_at;                   /* of fx_now(), when that was, or the first step began */
    double deadline;                   /* of fx_now(); infinite: none */
    double step_seconds, save_seconds; /* the slowest so far; a save that has not been yet: a guess */
    double validation_seconds;
    double looked_at; /* of fx_now(), for the file STOP */
} trainer;

/* The scale is this data set's own, or the configured one; that of the checkpoint is only told. */
static fx_status take_weights(trainer *t)
{
    char path[FX_PATH_MAX];
    fx_progress from;
    FX_TRY(fx_checkpoint_named(t->comm, t->config->train_init_from, path));
    FX_TRY(fx_checkpoint_peek(t->comm, path, &from));
    FX_TRY(fx_settings_fit(&from.config, t->config, path));
    FX_TRY(fx_checkpoint_load(t->comm, t->trainee->params, t->exec, path, true));
    fx_log(FX_INFO, "weights and EMA from %s, step %lld", path, (long long)from.step);
    return FX_OK;
}

static fx_status begin_afresh(trainer *t)
{
    FX_TRY(fx_params_initialize(t->trainee->params, t->exec, (uint64_t)t->config->seed));
    if (t->config->train_init_from[0]) FX_TRY_CTX(take_weights(t), "train.init_from");
    return FX_OK;
}

/* Saves would prune, and the record lose, what a run has done after the checkpoint that it goes back
 * to. */
static fx_status nothing_is_lost(const trainer *t, const char *path)
{
    int64_t newest = t->comm->rank == 0 ? fx_latest_step(t->folder.checkpoints) : 0;
    FX_TRY(fx_comm_max_i64(t->comm, &newest));
    FX_REQUIRE(
        newest <= t->progress.step, FX_ECONFIG,
        "%s: has a checkpoint of step %lld, later than %s: choose another --run, or move it away",
        t->folder.checkpoints, (long long)newest, path);
    return FX_OK;
}

/* The checkpoint to go on with, "" where there is none, and its engines for the programs to come. */
static fx_status find_checkpoint(trainer *t)
{
    char *path = t->from;
    FX_TRY(t->run->checkpoint ? fx_checkpoint_named(t->comm, t->run->checkpoint, path)
                              : fx_checkpoint_find(t->comm, t->folder.checkpoints, path));
    FX_REQUIRE(path[0] || t->run->resume != FX_RESUME_MUST, FX_ECONFIG,
               "%s: no checkpoint to resume from", t->folder.checkpoints);
    FX_REQUIRE(!path[0] || t->run->checkpoint || t->run->resume != FX_RESUME_NEVER, FX_ECONFIG,
               "%s: the run has checkpoints already; --resume auto goes on with it",
               t->folder.checkpoints);
    if (!path[0]) return FX_OK;
    FX_TRY(fx_checkpoint_engines(t->comm, path, &t->engines));
    t->exec->options.engines = t->engines;
    return FX_OK;
}

static fx_status begin(trainer *t)
{
    const char *path = t->from;
    t->saved = -1;
    if (!path[0]) return begin_afresh(t);
    FX_TRY(fx_checkpoint_peek(t->comm, path, &t->progress));
    if (t->run->checkpoint) FX_TRY(nothing_is_lost(t, path));
    FX_TRY(fx_settings_check(&t->progress.config, t->config, path));
    FX_TRY(fx_checkpoint_load(t->comm, t->trainee->params, t->exec, path, false));
    t->saved = t->run->checkpoint ? -1 : t->progress.step; /* a named one may be another run's */
    fx_log(FX_INFO, "resumed from %s: weights, EMA, moments, step %lld (written by %lld ranks)", path,
           (long long)t->progress.step, (long long)t->progress.ranks);
    return FX_OK;
}

static fx_status describe(trainer *t)
{
    const fx_plan_summary step = fx_program_summary(t->trainee->step);
    fx_start_rates rates;
    if (t->config->run_probe) {
        FX_TRY(fx_start_rates_measure(t->trainee, t->loader, t->config, t->progress.step, &rates));
        fx_start_rates_log(&rates);
    }
    return fx_run_folder_describe(&t->folder, t->exec, t->comm, t->config, t->run->command, &step,
                                  t->config->run_probe ? &rates : NULL, t->energy);
}

static fx_status set_up(trainer *t)
{
    fx_step_options options;
    fx_status status = FX_OK;
    FX_TRY(fx_agree(t->comm, fx_step_options_from_config(t->config, t->comm, &options)));
    FX_TRY(fx_agree(t->comm, fx_exec_open(t->comm, t->config, &t->exec)));
    FX_TRY(fx_run_folder_open(t->comm, t->run->folder, t->run->locked, &t->folder));
    FX_TRY(fx_watchdog_start(t->comm, t->config->run_timeout, &t->watchdog));
    FX_TRY(fx_loader_create(t->comm, t->config, t->exec, &t->loader));
    FX_TRY(find_checkpoint(t));
    FX_TRY(fx_settings_find_scale(t->comm, t->config, t->from));
    FX_TRY(fx_agree(t->comm, fx_step_options_from_config(t->config, t->comm, &options)));
    FX_TRY(fx_agree(t->comm, fx_trainee_create(t->exec, &options, false, &t->trainee)));
    FX_TRY(begin(t));
    t->progress.config = *t->config;
    t->progress.ranks = t->comm->size;
    t->progress.data_scale = fx_loader_scale(t->loader);
    FX_TRY(
        fx_agree(t->comm, fx_settings_scales(fx_loader_manifest(t->loader), t->config, &t->progress)));
    fx_loader_conditions(t->loader, &t->progress.condition_least, &t->progress.condition_mean);
    if (t->config->validate_every > 0)
        FX_TRY(fx_validation_open(t->comm, t->config, t->trainee, &t->progress, &t->validation));
    FX_TRY(fx_energy_open(t->comm, t->exec, &t->energy));
    t->trainee->energy = t->energy;
    FX_TRY(describe(t));
    FX_TRY(fx_stragglers_open(t->comm, t->config->run_straggler, &t->stragglers));
    if (t->comm->rank == 0) status = fx_metrics_open(t->run->folder, t->progress.step, &t->metrics);
    FX_TRY(fx_agree(t->comm, status));
    const fx_plan_summary s = fx_program_summary(t->trainee->step);
    fx_log(FX_INFO,
           "%lld parameters; a step: %d nodes, %.1f GFLOP a rank, %.1f MiB of activations, %d buckets",
           (long long)s.parameters, s.nodes, 1e-9 * s.flops, (double)s.arena_bytes / 1048576.0,
           t->trainee->buckets);
    t->save_seconds = (double)fx_checkpoint_bytes(t->trainee->params) / SAVED_A_SECOND;
    t->ticker = (fx_ticker){.steps = t->config->train_steps,
                            .batch = t->config->train_global_batch,
                            .epoch = fx_loader_epoch(t->loader),
                            .every = t->config->run_log_every,
                            .ranks = t->comm->size,
                            .both = options.model.tasks == (FX_TASK_SR | FX_TASK_FC),
                            .flop = s.flops,
                            .peak = 1e12 * t->config->run_peak,
                            .chore = {[FX_CHORE_SAVE] = {t->config->checkpoint_every, t->save_seconds},
                                      [FX_CHORE_VALIDATE] = {t->config->validate_every, 0}},
                            .deadline = t->deadline,
                            .stragglers = t->stragglers};
    return FX_OK;
}

static fx_status judge(const trainer *t, const fx_step_report *r)
{
    if (r->finite) return FX_OK;
    char who[64];
    snprintf(who, sizeof who, r->culprit >= 0 ? "losses of rank %d" : "the gradient's norm",
             r->culprit);
    if (t->config->train_nonfinite == 1) {
        fx_log(FX_INFO, "step %lld: %s not finite; the update is skipped",
               (long long)t->progress.step + 1, who);
        return FX_OK;
    }
    return fx_fail(FX_EVALUE, "step %lld: %s not finite; weights are those of step %lld",
                   (long long)t->progress.step + 1, who, (long long)t->progress.step);
}

/* After which updates: the last one's as well. */
static bool validates(const trainer *t, int64_t step)
{
    return t->validation && (step % t->config->validate_every == 0 || step == t->config->train_steps);
}

static fx_status validate(trainer *t)
{
    const double start = fx_now();
    FX_TRY(fx_validation_run(t->validation, &t->validated));
    const double seconds = fx_now() - start;
    t->validation_seconds = fmax(t->validation_seconds, seconds);
    fx_ticker_chore(&t->ticker, FX_CHORE_VALIDATE, seconds);
    fx_validation_print(&t->validated, t->progress.step, seconds);
    return FX_OK;
}

static fx_status one_step(trainer *t)
{
    const fx_config *c = t->config;
    const int64_t s = t->progress.step;
    const double start = fx_now(), waited = fx_loader_wait(t->loader);
    const double base = c->train_init_from[0] ? c->train_learning_rate / 3 : c->train_learning_rate;
    const double rate = fx_learning_rate(base, s, c->train_warmup, c->train_steps);
    const int64_t local = t->trainee->options.micro_batch * t->trainee->options.accumulate;
    const fx_step step = {.seed = (uint64_t)c->seed,
                          .step = (uint32_t)s,
                          .slot0 = (uint32_t)(t->comm->rank * local),
                          .learning_rate = (float)rate,
                          .ema_decay = (float)fx_ema_decay(c->train_ema_decay, s + 1),
                          .update = s + 1,
                          .gradient_scale = 1,
                          .dropout = true};
    fx_step_report report;
    fx_beat_step(s);
    FX_TRY(fx_agree(t->comm, fx_trainee_load(t->trainee, t->loader, s)));
    FX_TRY(fx_trainee_step(t->trainee, &step, &report));
    FX_TRY(judge(t, &report));
    t->progress.step = s + 1;
    t->progress.loss = report.loss;
    const double seconds = fx_now() - start, wait = fx_loader_wait(t->loader) - waited;
    fx_status status = FX_OK;
    t->step_seconds = fmax(t->step_seconds, seconds);
    const fx_own_times own = fx_stragglers_add(t->stragglers, report.own);
    fx_ticker_step(&t->ticker, s + 1, &report, rate, wait);
    if (validates(t, s + 1)) FX_TRY(validate(t));
    if (t->comm->rank == 0)
        status =
            fx_metrics_add(&t->metrics, s + 1, &report, rate, seconds, wait, c->train_global_batch,
                           t->comm->size > 1 ? &own : NULL, validates(t, s + 1) ? &t->validated : NULL);
    if (status == FX_OK && t->comm->rank == 0 && validates(t, s + 1))
        status = fx_validation_show(t->validation, s + 1, t->metrics.events);
    fx_log(FX_DEBUG, "step %lld: %.6f s, %.6f s of them by itself, %.6f s waiting for data",
           (long long)s + 1, seconds, report.own[t->comm->rank], wait);
    return fx_agree(t->comm, status);
}

/* Beside every checkpoint, so that a run that fails has them too. */
static fx_status write_ranks(const trainer *t)
{
    char path[FX_PATH_MAX];
    if (t->comm->size == 1 || t->comm->rank > 0) return FX_OK;
    FX_TRY(fx_path(path, "%s/ranks.json", t->run->folder));
    return fx_stragglers_write(t->stragglers, path);
}

static fx_status save(trainer *t)
{
    if (t->saved == t->progress.step) return FX_OK;
    const double start = fx_now();
    fx_beat_phase(FX_PHASE_SAVE, t->folder.checkpoints);
    FX_TRY(
        fx_checkpoint_save(t->comm, t->trainee->params, t->exec, &t->progress, t->folder.checkpoints));
    t->saved = t->progress.step;
    t->saved_at = fx_now();
    t->save_seconds = fmax(t->save_seconds, t->saved_at - start);
    fx_ticker_chore(&t->ticker, FX_CHORE_SAVE, t->saved_at - start);
    return fx_agree(t->comm, write_ranks(t));
}

/* A step more could end too late for the save and what comes after it. Twice, because nothing takes the
 * same time always. */
static bool time_is_over(const trainer *t, double now)
{
    const double validation = validates(t, t->progress.step + 1) ? t->validation_seconds : 0;
    return now + 2 * (t->step_seconds + validation + t->save_seconds) + LEAVES_WITHIN > t->deadline;
}

/* By the file STOP. Rank 0 looks once a second at most: a file system shared by many may be slow to
 * answer. */
static bool is_told_to_stop(trainer *t, double now)
{
    if (t->comm->rank > 0 || now - t->looked_at < 1) return false;
    t->looked_at = now;
    return fx_file_exists(t->folder.stop);
}

/* Whether any rank was asked to stop or the time is over, or else the newest checkpoint is too old: the
 * same answer on all ranks. A stop saves as well. */
static fx_status clock_and_signals(trainer *t, bool *stop, bool *due)
{
    enum { DUE = 1, TIME_OVER = 1000, STOP_FILE = 1001, SIGNAL = 1002 };
    const double now = fx_now(), minutes = t->config->checkpoint_minutes;
    int64_t reason = 0;
    if (minutes > 0 && now - t->saved_at >= 60 * minutes) reason = DUE;
    if (time_is_over(t, now)) reason = TIME_OVER;
    if (is_told_to_stop(t, now)) reason = STOP_FILE;
    if (fx_signals_seen()) reason = SIGNAL + fx_signals_seen();
    FX_TRY(fx_comm_max_i64(t->comm, &reason));
    *due = reason == DUE;
    *stop = reason >= TIME_OVER;
    if (reason == TIME_OVER)
        fx_log(FX_INFO, "time limit in %.0f s: saving and stopping", t->deadline - now);
    else if (reason == STOP_FILE)
        fx_log(FX_INFO, "%s: saving and stopping", t->folder.stop);
    else if (*stop)
        fx_log(FX_INFO, "signal %lld: saving and stopping", (long long)reason - SIGNAL);
    return FX_OK;
}

static fx_status loop(trainer *t, bool *early)
{
    const int64_t every = t->config->checkpoint_every;
    bool due = false;
    char slow[256];
    double before[FX_ENERGY_KINDS]; /* what was used to get here: not the run's */
    fx_energy_read(t->energy, before);
    fx_ticker_start(&t->ticker, t->progress.step);
    t->saved_at = fx_now();
    fx_loader_follow(t->loader);
    fx_beat_own(); /* from here on */
    while (t->progress.step < t->config->train_steps && !*early) {
        FX_TRY(one_step(t));
        if (t->progress.step == t->config->train_steps) break;
        if (every > 0 && t->progress.step % every == 0) FX_TRY(save(t));
        FX_TRY(clock_and_signals(t, early, &due));
        if (due) FX_TRY(save(t));
    }
    fx_stragglers_summary(t->stragglers, slow, sizeof slow);
    if (slow[0]) fx_log(FX_INFO, "%s", slow);
    return save(t);
}

/* A run that ended well is not a failure because its report is. */
static void write_report(const char *folder)
{
    if (fx_run_report(folder) == FX_OK) return;
    fx_log(FX_WARN, "no report: %s", fx_error_message());
    fx_error_clear();
}

fx_status fx_train(fx_comm *comm, const fx_config *config, const fx_run_options *run, bool *early)
{
    fx_config resolved;
    trainer t = {.comm = comm, .config = &resolved, .run = run};
    fx_log_setup(comm->rank, comm->size, (fx_level)config->run_log_level);
    t.deadline = fx_now() + run->time_limit;
    *early = false;
    FX_TRY(fx_agree(comm, comm->rank == 0 ? fx_starts_count(run->folder) : FX_OK));
    FX_TRY(fx_agree(comm, fx_settings_of_data(config, &resolved)));
    fx_status status = set_up(&t);
    if (status == FX_OK) status = loop(&t, early);
    fx_metrics_close(&t.metrics);
    fx_stragglers_free(&t.stragglers);
    fx_energy_close(&t.energy);
    fx_loader_free(&t.loader);
    fx_validation_close(&t.validation);
    fx_trainee_free(&t.trainee);
    if (t.exec) t.exec->backend->close(&t.exec);
    fx_free(t.engines);
    fx_watchdog_stop(&t.watchdog);
    if (status == FX_OK && comm->rank == 0) write_report(run->folder);
    fx_run_folder_close(&t.folder);
    return status;
}
