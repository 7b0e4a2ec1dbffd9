/* evaluations.c: the evaluations of a study's runs. They are files that `flexhpc eval` could have
 * written, in the run's folder; one that is there and was made with the same sampling is taken. */
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/train.h"
#include "study.h"

fx_status study_evaluate_on(study *s, const char *key, const char *pack, int64_t steps, int64_t members)
{
    FX_REQUIRE(pack[0], FX_ECONFIG, "%s: the study %s needs this pack", key, s->kind->name);
    FX_REQUIRE(s->evaluations < STUDY_EVALUATIONS, FX_ECONFIG, "more than %d evaluations a run",
               STUDY_EVALUATIONS);
    study_evaluation *e = &s->evaluation[s->evaluations++];
    *e = (study_evaluation){.key = key, .pack = pack, .steps = steps, .members = members};
    return fx_print(e->name, sizeof e->name, "n%lld-m%lld", (long long)steps, (long long)members);
}

/* Whether a file is what the evaluation would give again. */
static bool is_same(const study *s, const study_run *run, const study_evaluation *e,
                    const fx_eval_file *file)
{
    return file->step == run->step && file->sample_steps == e->steps && file->members == e->members &&
           file->patches == s->config.eval_patches && file->seed == s->config.seed;
}

/* One that can't be read is made again. */
static bool read_file(study *s, const study_run *run, const study_evaluation *e, fx_eval_file *out)
{
    char path[FX_PATH_MAX];
    *out = (fx_eval_file){0};
    if (fx_eval_file_path(run->folder, e->pack, e->name, path) == FX_OK && fx_file_exists(path) &&
        fx_eval_file_read(path, out) == FX_OK && is_same(s, run, e, out))
        return true;
    if (fx_error_message()[0]) fx_log(FX_WARN, "%s", fx_error_message());
    fx_error_clear();
    fx_eval_file_free(out);
    return false;
}

static fx_status is_there(study *s, const study_run *run, const study_evaluation *e, bool *there)
{
    fx_eval_file file;
    int64_t found = 0;
    if (s->comm->rank == 0 && read_file(s, run, e, &file)) {
        fx_eval_file_free(&file);
        found = 1;
    }
    FX_TRY(fx_comm_max_i64(s->comm, &found));
    *there = found != 0;
    return FX_OK;
}

static fx_status evaluate(study *s, study_run *run, const study_evaluation *e)
{
    fx_config c = s->config;
    fx_lock *lock = NULL;
    c.sample_steps = e->steps;
    c.eval_members = e->members;
    if (e->foreign) FX_TRY(fx_print(c.eval_scale, sizeof c.eval_scale, "pack"));
    if (e->foreign && strcmp(c.eval_condition, "pack") == 0) /* the default: not chosen */
        FX_TRY(fx_print(c.eval_condition, sizeof c.eval_condition, "mean"));
    FX_TRY(fx_print(c.data_path, sizeof c.data_path, "%s", e->pack));
    FX_TRY(fx_print(c.eval_name, sizeof c.eval_name, "%s", e->name));
    FX_TRY(study_run_lock(s, run, &lock));
    if (run->busy) return FX_OK;
    fx_log(FX_INFO, "study %s: evaluating %s on %s, %lld steps, %lld members", s->kind->name, run->name,
           e->pack, (long long)e->steps, (long long)e->members);
    const fx_status status = fx_evaluate(s->comm, &c, run->folder);
    fx_lock_release(&lock);
    return status == FX_OK ? FX_OK : fx_context(status, "%s on %s", run->name, e->pack);
}

fx_status study_evaluations_make(study *s, bool *early)
{
    for (study_run *run = s->run; run < s->run + s->runs; run++)
        for (int i = 0; i < s->evaluations && run->mine && study_run_finished(run); i++) {
            bool there = false;
            FX_TRY(is_there(s, run, &s->evaluation[i], &there));
            if (there) continue;
            FX_TRY(study_is_over(s, 2 * s->longest, early));
            if (*early) return FX_OK;
            const double start = fx_now();
            FX_TRY(evaluate(s, run, &s->evaluation[i]));
            if (fx_now() - start > s->longest) s->longest = fx_now() - start;
        }
    return FX_OK;
}

fx_status study_evaluations_read(study *s)
{
    for (study_run *run = s->run; run < s->run + s->runs; run++) {
        FX_TRY(FX_ALLOC(run->evaluation, s->evaluations));
        FX_TRY(FX_ALLOC(run->have, s->evaluations));
        for (int i = 0; i < s->evaluations && study_run_finished(run); i++)
            run->have[i] = read_file(s, run, &s->evaluation[i], &run->evaluation[i]);
    }
    return FX_OK;
}

void study_evaluations_free(study *s)
{
    for (study_run *run = s->run; run && run < s->run + s->runs; run++) {
        for (int i = 0; i < s->evaluations && run->evaluation; i++)
            fx_eval_file_free(&run->evaluation[i]);
        fx_free(run->evaluation);
        fx_free(run->have);
    }
}
