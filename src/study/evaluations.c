/* evaluations.c: the evaluations of a study's runs. They are files that `flexhpc eval` could have
 * written, in the run's folder; one that is there is taken where it was made
 * of the same pack, checkpoint's step and settings; any other is made again. */
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/train.h"
#include "study.h"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static fx_status add(study *s, const study_evaluation *wanted)
{
    FX_REQUIRE(wanted->pack[0], FX_ECONFIG, "%s: the study %s needs this pack", wanted->key,
               s->kind->name);
    FX_REQUIRE(s->evaluations < STUDY_EVALUATIONS, FX_ECONFIG, "more than %d evaluations a run",
               STUDY_EVALUATIONS);
    for (const study_evaluation *e = s->evaluation; e < s->evaluation + s->evaluations; e++)
        FX_REQUIRE(strcmp(last_part(e->pack), last_part(wanted->pack)) != 0 ||
                       strcmp(e->name, wanted->name) != 0,
                   FX_ECONFIG, "%s: %s and %s (%s) have one name, and so would their evaluations",
                   wanted->key, wanted->pack, e->pack, e->key);
    s->evaluation[s->evaluations++] = *wanted;
    return FX_OK;
}

fx_status study_evaluate_on(study *s, const char *key, const char *pack, int64_t steps, int64_t members)
{
    study_evaluation e = {.key = key, .pack = pack, .steps = steps, .members = members};
    FX_TRY(fx_print(e.name, sizeof e.name, "n%lld-m%lld", (long long)steps, (long long)members));
    return add(s, &e);
}

fx_status study_evaluate_foreign(study *s, const char *key, const char *pack, int64_t steps)
{
    study_evaluation e = {.key = key, .pack = pack, .steps = steps, .members = 1, .foreign = true};
    FX_TRY(fx_print(e.name, sizeof e.name, "n%lld-m1-foreign", (long long)steps));
    return add(s, &e);
}

/* What `flexhpc eval` is asked for. */
static fx_status configure(const study *s, const study_evaluation *e, fx_config *c)
{
    *c = s->config;
    c->sample_steps = e->steps;
    c->eval_members = e->members;
    if (e->foreign) FX_TRY(fx_print(c->eval_scale, sizeof c->eval_scale, "pack"));
    if (e->foreign && strcmp(c->eval_condition, "pack") == 0) /* the default: not chosen */
        FX_TRY(fx_print(c->eval_condition, sizeof c->eval_condition, "mean"));
    FX_TRY(fx_print(c->data_path, sizeof c->data_path, "%s", e->pack));
    return fx_print(c->eval_name, sizeof c->eval_name, "%s", e->name);
}

/* Whether a file is what the evaluation would give again; of a pack that is no longer there, as far as
 * can be told. */
static fx_status compare(const study *s, const study_run *run, const study_evaluation *e,
                         const fx_eval_file *file, bool *same)
{
    char asked[FX_ASKED_MAX];
    int64_t pack = 0;
    fx_config c;
    FX_TRY(configure(s, e, &c));
    FX_TRY(fx_evaluation_asked(&c, asked, sizeof asked, &pack));
    *same = file->step == run->step && file->sample_steps == e->steps && file->members == e->members &&
            file->patches == c.eval_patches && file->seed == c.seed &&
            strcmp(file->asked, asked) == 0 && (pack == 0 || file->pack_hash == pack);
    return FX_OK;
}

/* One that can't be read is made again. */
static bool read_file(study *s, const study_run *run, const study_evaluation *e, fx_eval_file *out)
{
    char path[FX_PATH_MAX];
    bool same = false;
    *out = (fx_eval_file){0};
    if (fx_eval_file_path(run->folder, e->pack, e->name, path) == FX_OK && fx_file_exists(path) &&
        fx_eval_file_read(path, out) == FX_OK && compare(s, run, e, out, &same) == FX_OK && same)
        return true;
    if (fx_error_message()[0]) fx_log(FX_WARN, "%s", fx_error_message());
    fx_error_clear();
    fx_eval_file_free(out);
    return false;
}

bool study_evaluation_is_there(study *s, const study_run *run, int i)
{
    fx_eval_file file;
    if (!read_file(s, run, &s->evaluation[i], &file)) return false;
    fx_eval_file_free(&file);
    return true;
}

static fx_status is_there(study *s, const study_run *run, int i, bool *there)
{
    int64_t found = s->group->rank == 0 && study_evaluation_is_there(s, run, i);
    FX_TRY(fx_comm_max_i64(s->group, &found));
    *there = found != 0;
    return FX_OK;
}

static fx_status evaluate(study *s, study_run *run, const study_evaluation *e)
{
    fx_config c;
    fx_lock *lock = NULL;
    FX_TRY(configure(s, e, &c));
    FX_TRY(study_run_lock(s, run, &lock));
    if (run->busy) return FX_OK;
    if (s->groups > 1) fx_log_name(run->name);
    fx_log(FX_INFO, "study %s: evaluating %s on %s, %lld steps, %lld members", s->kind->name, run->name,
           e->pack, (long long)e->steps, (long long)e->members);
    const fx_status status = fx_evaluate(s->group, &c, run->folder);
    fx_lock_release(&lock);
    return status == FX_OK ? FX_OK : fx_context(status, "%s", e->pack);
}

fx_status study_evaluations_make(study *s, bool *early)
{
    for (study_run *run = s->run; run < s->run + s->runs && !s->lost; run++)
        for (int i = 0; i < s->evaluations && run->mine && study_run_finished(run); i++) {
            bool there = false;
            FX_TRY(is_there(s, run, i, &there));
            if (there) continue;
            FX_TRY(study_is_over(s, 2 * s->longest, early));
            if (*early) return FX_OK;
            const double start = fx_now();
            FX_TRY(study_run_note(s, run, evaluate(s, run, &s->evaluation[i])));
            if (run->status != FX_OK) break;
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
