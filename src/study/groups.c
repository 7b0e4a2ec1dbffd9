/* groups.c: several runs of a study at once. The job's ranks work in groups, each of which trains and
 * evaluates runs of its own as the same number of ranks alone would, to the bit. Whose a run is is
 * settled before anybody begins: the costliest open run goes to the group that has the least so far,
 * and so on (Graham's longest processing time first: at most 4/3 of the best time). Nobody waits for a
 * lock, and a group that is done waits for the others. */
#include <stdlib.h>
#include <string.h>

#include "flexhpc/data.h"
#include "flexhpc/log.h"
#include "flexhpc/train.h"
#include "study.h"

/* An evaluation's forward pass costs a third of a training step's sample. */
static const double FORWARD = 1.0 / 3;
enum { BOTH_TASKS, SR_ALONE }; /* of the key model.tasks */

typedef struct open_run {
    study_run *run;
    double cost;
} open_run;

/* Patches that an evaluation scores; of a pack that is no longer there as if of one Reynolds number. */
static double patches_of(study *s, const study_evaluation *e)
{
    fx_manifest manifest;
    int count = 0;
    if (fx_manifest_read(e->pack, &manifest) == FX_OK) {
        for (int r = 0; r < manifest.reynolds_count; r++)
            count += fx_evaluation_takes(&s->config, manifest.reynolds[r].reynolds);
        fx_manifest_free(&manifest);
    } else {
        fx_error_clear();
    }
    return (double)s->config.eval_patches * (count > 0 ? count : 1);
}

/* Forecasts of forecasts go on from the first lead. */
static double leads_of(const study *s, const fx_config *run)
{
    const double leads = (double)s->config.eval_horizon;
    return run->model_tasks == SR_ALONE ? 1 : run->model_tasks == BOTH_TASKS ? (1 + leads) / 2 : leads;
}

/* In operations; 0: nothing is to be done. A run whose arm can't be planned will most likely end before
 * its first step, and says why itself: it counts as next to nothing. */
static double cost_of(study *s, const study_run *run)
{
    const fx_config *c = &run->config;
    const bool finished = study_run_finished(run);
    double samples = (double)((c->train_steps - run->step) * c->train_global_batch);
    study_cost sample;
    for (int i = 0; i < s->evaluations; i++) {
        const study_evaluation *e = &s->evaluation[i];
        if (!finished || !study_evaluation_is_there(s, run, i))
            samples += FORWARD * patches_of(s, e) * leads_of(s, c) * (double)(e->members * e->steps);
    }
    if (samples == 0 || !(finished || s->config.study_train)) return 0;
    if (study_cost_of(c, &sample) == FX_OK) return samples * sample.flop;
    fx_log(FX_WARN, "%s: what it costs is not known: %s", run->name, fx_error_message());
    fx_error_clear();
    return 1;
}

/* Costliest first; of equal ones the study's order. */
static int by_cost(const void *a, const void *b)
{
    const open_run *x = a, *y = b;
    if (x->cost != y->cost) return x->cost > y->cost ? -1 : 1;
    return x->run < y->run ? -1 : 1;
}

static int least_of(const double *load, int groups)
{
    int least = 0;
    for (int g = 1; g < groups; g++)
        if (load[g] < load[least]) least = g;
    return least;
}

/* On rank 0. */
static fx_status share_out(study *s)
{
    const int ranks = s->comm->size / s->groups;
    open_run *list = NULL;
    double *load = NULL;
    int count = 0;
    fx_status status = FX_OK;
    FX_TRY_DONE(FX_ALLOC(list, s->runs));
    FX_TRY_DONE(FX_ALLOC(load, s->groups));
    for (study_run *run = s->run; run < s->run + s->runs; run++) {
        list[count].run = run;
        if (run->mine) list[count].cost = cost_of(s, run);
        if (list[count].cost > 0) count++;
    }
    qsort(list, (size_t)count, sizeof *list, by_cost);
    for (int i = 0; i < count; i++) {
        list[i].run->group = least_of(load, s->groups);
        load[list[i].run->group] += list[i].cost;
    }
    fx_log(FX_INFO, "study %s: %d runs are open, for %d groups of %d %s", s->kind->name, count,
           s->groups, ranks, ranks == 1 ? "rank" : "ranks");
done:
    fx_free(list);
    fx_free(load);
    return status;
}

fx_status study_groups_open(study *s)
{
    const int64_t size = s->comm->size, ranks = s->config.study_ranks ? s->config.study_ranks : size;
    s->group = s->comm;
    FX_REQUIRE(size % ranks == 0, FX_ECONFIG,
               "study.ranks: %lld ranks do not divide into groups of %lld", (long long)size,
               (long long)ranks);
    s->groups = (int)(size / ranks);
    if (s->groups == 1) return FX_OK;
    FX_TRY(fx_agree(s->comm, s->comm->rank == 0 ? share_out(s) : FX_OK));
    for (study_run *run = s->run; run < s->run + s->runs; run++) {
        FX_TRY(s->comm->ops->broadcast(s->comm, &run->group, sizeof run->group, 0));
        run->mine = run->mine && run->group == s->comm->rank / (int)ranks;
    }
    FX_TRY(s->comm->ops->split(s->comm, (int)ranks, &s->group));
    fx_log_setup(s->group->rank, s->group->size, FX_INFO);
    return FX_OK;
}

/* What a run's group knows and the others don't. */
typedef struct outcome {
    int32_t status;
    char why[STUDY_WHY];
} outcome;

static fx_status hear(study *s, study_run *run)
{
    outcome o = {.status = run->status};
    memcpy(o.why, run->why, sizeof o.why);
    FX_TRY(s->comm->ops->broadcast(s->comm, &o, sizeof o, run->group * (s->comm->size / s->groups)));
    run->status = (fx_status)o.status;
    memcpy(run->why, o.why, sizeof o.why);
    return FX_OK;
}

fx_status study_groups_close(study *s, bool *early)
{
    int64_t stopped = *early;
    if (s->groups == 1) return FX_OK;
    fx_log_name("");
    s->group->ops->close(s->group);
    s->group = s->comm;
    FX_TRY(fx_comm_max_i64(s->comm, &stopped));
    *early = stopped != 0;
    for (study_run *run = s->run; run < s->run + s->runs; run++)
        FX_TRY(hear(s, run));
    fx_log_setup(s->comm->rank, s->comm->size, FX_INFO);
    return FX_OK;
}
