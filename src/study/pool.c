/* pool.c: the runs of a study. They are run folders as `flexhpc train` makes them, in FOLDER/runs,
 * where every study finds the arms that it shares with others. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/train.h"
#include "study.h"

enum { WORDS = 64, SEED_TEXT = 32 };

/* ---- Which runs. */

static int arms_of(const study_kind *kind)
{
    int count = 0;
    while (kind->arm[count].name)
        count++;
    return count;
}

static const char *network_keys(const fx_config *c, study_network network)
{
    return network == STUDY_UNET   ? c->study_unet
           : network == STUDY_UVIT ? c->study_uvit
                                   : c->study_flex;
}

/* Adds the words of `keys` to `list`, which keeps its NULL. */
static fx_status add_words(study *s, const char *keys, const char **list, int *count)
{
    char *rest = NULL, *text = fx_pool_print(s->pool, "%s", keys);
    if (!text) return FX_ENOMEM;
    for (char *word = strtok_r(text, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        FX_REQUIRE(*count < WORDS, FX_ECONFIG, "more than %d keys", WORDS);
        list[(*count)++] = word;
    }
    return FX_OK;
}

/* The configuration of a run: the call's, then the network's keys, the arm's, and the seed. */
static fx_status configure(study *s, study_run *run)
{
    static const char *const keys[] = {"study.flex", "study.unet", "study.uvit", "study.flex"};
    const char *list[2 * WORDS + 3] = {NULL};
    char seed[SEED_TEXT];
    int count = 0;
    for (; s->call->overrides && s->call->overrides[count]; count++) {
        FX_REQUIRE(count < WORDS, FX_ECONFIG, "more than %d --set", WORDS);
        list[count] = s->call->overrides[count];
    }
    int all = 0;
    const char **own = list + count;
    FX_TRY(add_words(s, network_keys(&s->config, run->arm->network), own, &all));
    FX_TRY(add_words(s, run->arm->set, own, &all));
    if (run->arm->network == STUDY_MIXED) {
        FX_REQUIRE(s->config.study_mixture[0], FX_ECONFIG,
                   "study.mixture: the study %s needs this pack", s->kind->name);
        own[all] = fx_pool_print(s->pool, "data.path=%s", s->config.study_mixture);
        if (!own[all++]) return FX_ENOMEM;
    }
    FX_TRY(fx_print(seed, sizeof seed, "seed=%lld", (long long)run->seed));
    own[all] = seed;
    const fx_status status = fx_config_load(&run->config, s->call->config, list);
    return status == FX_OK ? FX_OK
                           : fx_context(status, "arm %s (%s)", run->arm->name, keys[run->arm->network]);
}

/* Whether study.arms, a list by commas, names the arm. */
static bool is_named_in(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; *at; at += *at == ',') {
        const size_t length = strcspn(at, ",");
        if (length == n && strncmp(at, name, n) == 0) return true;
        at += length;
    }
    return list[0] == '\0';
}

static fx_status check_arms(const study *s)
{
    const char *names[STUDY_ARMS];
    char copy[FX_TEXT_MAX], *rest = NULL;
    const int arms = arms_of(s->kind);
    for (int i = 0; i < arms; i++)
        names[i] = s->kind->arm[i].name;
    strcpy(copy, s->config.study_arms);
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        bool known = false;
        for (int i = 0; i < arms; i++)
            known = known || strcmp(word, names[i]) == 0;
        const char *nearest = fx_nearest(word, names, arms);
        FX_REQUIRE(known, FX_ECONFIG, "study.arms: the study %s has no arm %s%s%s%s", s->kind->name,
                   word, nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    }
    return FX_OK;
}

/* study.part: "2/4". */
static fx_status read_part(const char *text, int *part, int *parts)
{
    char rest = 0;
    FX_REQUIRE(sscanf(text, "%d/%d%c", part, parts, &rest) == 2 && *part >= 1 && *parts >= *part,
               FX_ECONFIG, "study.part: \"%s\" is no I/N with 1 <= I <= N", text);
    return FX_OK;
}

fx_status study_runs_make(study *s)
{
    const fx_config *c = &s->config;
    const int arms = arms_of(s->kind), seeds = c->study_seeds.count;
    int part = 0, parts = 0;
    FX_REQUIRE(seeds > 0, FX_ECONFIG, "study.seeds: is empty");
    FX_TRY(check_arms(s));
    FX_TRY(read_part(c->study_part, &part, &parts));
    FX_TRY(FX_ALLOC(s->run, arms * seeds));
    for (int k = 0; k < seeds; k++) {
        const double seed = c->study_seeds.value[k];
        FX_REQUIRE(seed == floor(seed), FX_ECONFIG, "study.seeds: %g is no whole number", seed);
        for (int i = 0; i < k; i++)
            FX_REQUIRE(c->study_seeds.value[i] != seed, FX_ECONFIG,
                       "study.seeds: %g stands there twice", seed);
        for (int a = 0; a < arms; a++) {
            study_run *run = &s->run[s->runs];
            run->arm = &s->kind->arm[a];
            run->seed = (int64_t)seed;
            run->mine = is_named_in(c->study_arms, run->arm->name) && s->runs % parts == part - 1;
            FX_TRY(fx_print(run->name, sizeof run->name, "%s-s%lld", run->arm->name,
                            (long long)run->seed));
            FX_TRY(fx_path(run->folder, "%s/runs/%s", s->call->folder, run->name));
            FX_TRY(configure(s, run));
            s->runs++;
        }
    }
    return FX_OK;
}

/* ---- How far they are. */

bool study_run_finished(const study_run *run)
{
    return run->step == run->config.train_steps;
}

fx_status study_run_config(const study_run *run, fx_config *out)
{
    char path[FX_PATH_MAX];
    FX_TRY(fx_path(path, "%s/config.yaml", run->folder));
    return fx_config_load(out, path, NULL);
}

fx_status study_runs_look(study *s)
{
    for (study_run *run = s->run; run < s->run + s->runs; run++)
        FX_TRY(fx_run_step(s->comm, run->folder, &run->config, &run->step));
    return FX_OK;
}

fx_status study_is_over(study *s, double seconds, bool *over)
{
    int64_t stop = fx_signals_seen() || fx_now() + seconds > s->deadline;
    FX_TRY(fx_comm_max_i64(s->group, &stop));
    *over = stop != 0;
    return FX_OK;
}

fx_status study_run_lock(study *s, study_run *run, fx_lock **lock)
{
    bool held = false;
    fx_status status = FX_OK;
    *lock = NULL;
    if (s->group->rank == 0) status = fx_make_dirs(run->folder);
    if (s->group->rank == 0 && status == FX_OK) status = fx_lock_try(run->folder, lock, &held);
    if (held) {
        fx_log(FX_INFO, "%s is left alone: %s", run->name, fx_error_message());
        fx_error_clear();
        status = FX_OK;
    }
    FX_TRY(fx_agree(s->group, status));
    int64_t busy = held;
    FX_TRY(fx_comm_max_i64(s->group, &busy));
    run->busy = busy != 0;
    return FX_OK;
}

static fx_status train(study *s, study_run *run, bool *early)
{
    const fx_run_options options = {.folder = run->folder,
                                    .locked = true,
                                    .command = s->call->command,
                                    .time_limit = s->deadline - fx_now()};
    fx_lock *lock = NULL;
    FX_TRY(study_run_lock(s, run, &lock));
    if (run->busy) return FX_OK;
    if (s->groups > 1) fx_log_name(run->name);
    fx_log(FX_INFO, "study %s: training %s from step %lld to %lld", s->kind->name, run->name,
           (long long)run->step, (long long)run->config.train_steps);
    const fx_status status = fx_train(s->group, &run->config, &options, early);
    if (status != FX_OK) fx_log_last_words(fx_error_message());
    (void)fx_log_open(NULL); /* what follows is not the run's */
    fx_lock_release(&lock);
    if (status == FX_OK && !*early) run->step = run->config.train_steps;
    return status;
}

fx_status study_run_note(study *s, study_run *run, fx_status status)
{
    if (status == FX_OK) return FX_OK;
    if (status == FX_ECOMM) return fx_context(status, "%s", run->name);
    run->status = status;
    snprintf(run->why, sizeof run->why, "%.*s", STUDY_WHY - 1, fx_error_message());
    fx_error_clear();
    s->lost = status == FX_EDEVICE;
    fx_log(FX_INFO, "study %s: %s failed%s: %s", s->kind->name, run->name,
           s->lost ? "" : ", the others go on", run->why);
    return FX_OK;
}

fx_status study_runs_train(study *s, bool *early)
{
    for (study_run *run = s->run; run < s->run + s->runs; run++) {
        if (!run->mine || study_run_finished(run)) continue;
        FX_TRY(study_is_over(s, 0, early));
        if (*early) return FX_OK;
        FX_TRY(study_run_note(s, run, train(s, run, early)));
        if (*early || s->lost) return FX_OK;
    }
    return FX_OK;
}
