/* study.c: a study from its call to its table: runs, evaluations, analysis. */
#include <stdio.h>

#include "flexhpc/study.h"

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/train.h"
#include "study.h"

static fx_status open_study(study *s)
{
    FX_TRY(study_kind_find(s->call->name, &s->kind));
    FX_TRY(fx_config_load(&s->config, s->call->config, s->call->overrides));
    FX_TRY(fx_pool_create(&s->pool));
    FX_TRY(study_runs_make(s));
    FX_TRY(s->kind->plan(s));
    return fx_h5_shared_name(s->comm, s->call->folder);
}

/* Runs that are not finished, or not evaluated; their names. */
static int missing(const study *s, char *names, size_t size)
{
    int count = 0;
    size_t used = 0;
    names[0] = '\0';
    for (const study_run *run = s->run; run < s->run + s->runs; run++) {
        bool whole = study_run_finished(run);
        for (int i = 0; i < s->evaluations; i++)
            whole = whole && run->have[i];
        if (whole) continue;
        if (used < size)
            used += (size_t)snprintf(names + used, size - used, "%s%s", count ? ", " : "", run->name);
        count++;
    }
    return count;
}

static fx_status analyse(study *s)
{
    char names[512];
    FX_TRY(study_evaluations_read(s));
    const int left = missing(s, names, sizeof names);
    if (left > 0 && s->config.study_train) {
        fx_log(FX_INFO, "study %s: no table yet, %d of %d runs are not done: %s", s->kind->name, left,
               s->runs, names);
        return FX_OK;
    }
    FX_REQUIRE(left < s->runs, FX_ECONFIG,
               "%s/runs: study.train is false, and none of %d runs is there", s->call->folder, s->runs);
    if (left > 0) FX_TRY(study_say(s, FX_MARK_BAD, "Not there yet, and not compared: %s", names));
    FX_TRY(s->kind->analyse(s));
    FX_TRY(study_write(s));
    for (int i = 0; i < s->out.readings; i++)
        fx_log(FX_INFO, "%s", s->out.reading[i].text);
    fx_log(FX_INFO, "%s/%s/table.md", s->call->folder, s->kind->name);
    return FX_OK;
}

/* Those of this call, by name. A failed write decides how ranks end (fx_comm_finish), so it goes first.
 */
static fx_status failures(const study *s)
{
    char text[1024];
    fx_status status = FX_OK;
    int count = 0;
    size_t used = 0;
    for (const study_run *run = s->run; run < s->run + s->runs; run++) {
        if (run->status == FX_OK) continue;
        if (used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s: %s", count ? "; " : "",
                                     run->name, run->why);
        if (status == FX_OK || run->status == FX_EIO) status = run->status;
        count++;
    }
    return count == 0 ? FX_OK
                      : fx_fail(status, "study %s: %d of %d runs failed: %s", s->kind->name, count,
                                s->runs, text);
}

static fx_status run(study *s, bool *early)
{
    FX_TRY(fx_agree(s->comm, open_study(s)));
    FX_TRY(study_runs_look(s));
    FX_TRY(study_groups_open(s));
    if (s->config.study_train) FX_TRY(study_runs_train(s, early));
    if (!*early) FX_TRY(study_evaluations_make(s, early));
    FX_TRY(study_groups_close(s, early));
    if (*early) return FX_OK;
    FX_TRY(study_runs_look(s)); /* other groups' runs, and other jobs', have gone on */
    FX_TRY(fx_agree(s->comm, s->comm->rank == 0 ? analyse(s) : FX_OK));
    return failures(s);
}

fx_status fx_study(fx_comm *comm, const fx_study_call *call, bool *early)
{
    study s = {.comm = comm, .call = call, .deadline = fx_now() + call->time_limit};
    *early = false;
    const fx_status status = run(&s, early);
    study_evaluations_free(&s);
    for (int i = 0; i < s.out.tables; i++)
        fx_free(s.out.table[i].cell);
    fx_free(s.run);
    fx_pool_free(&s.pool);
    return status;
}
