/* evaluate.c: a trained model on patches of a pack: opens both, shares the batches of samples over the
 * ranks, merges their scores. Any rank count scores the same set with the same noise. */
#include "evaluate.h"

#include "event_images.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

fx_status fx_evaluation_programs(fx_evaluation *e, bool losses)
{
    fx_trained *m = e->trained;
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        if (!fx_trained_has(m, task)) continue;
        fx_step_options one = m->options;
        one.model.tasks = task == FX_SR ? FX_TASK_SR : FX_TASK_FC;
        one.micro_batch = m->batch;
        one.accumulate = 1;
        FX_TRY(fx_trained_prepare(m, task));
        if (losses) FX_TRY(fx_probe_create(m->exec, m->params, &one, true, &e->probe[task]));
    }
    return FX_OK;
}

static fx_status open_model(fx_evaluation *e, const char *folder)
{
    FX_TRY(fx_trained_open(e->comm, e->config, folder, &e->trained));
    FX_TRY(fx_agree(e->comm, fx_evaluation_programs(e, false)));
    fx_log(FX_INFO, "%s: step %lld, EMA weights, %lld DDIM steps", e->trained->path,
           (long long)e->trained->progress.step, (long long)e->config->sample_steps);
    return FX_OK;
}

static fx_status open_pack(fx_evaluation *e)
{
    FX_REQUIRE(e->config->data_path[0], FX_ECONFIG, "data.path: which pack is evaluated?");
    FX_TRY(fx_pack_open(e->config->data_path, &e->pack));
    const fx_manifest *m = fx_pack_manifest(e->pack);
    FX_REQUIRE(m->patch == e->trained->options.model.image, FX_ECONFIG,
               "%s: patches of %lld pixels, data.patch is %lld", e->config->data_path,
               (long long)m->patch, (long long)e->trained->options.model.image);
    FX_REQUIRE(2 * m->reynolds_count <= FX_EVALUATION_ROWS, FX_ECONFIG,
               "%s: more than %d Reynolds numbers", e->config->data_path, FX_EVALUATION_ROWS / 2);
    e->reynolds = m->reynolds_count;
    FX_TRY(fx_evaluation_units(e));
    return fx_coarsener_open(&e->trained->progress.config, e->config->data_path, m, &e->coarsener);
}

/* Rollouts feed the model its own forecasts, which must lie as far apart as its inputs; and runs must
 * hold the truth of all leads. */
static fx_status check_horizon(const fx_evaluation *e)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const int64_t cond = e->trained->options.model.cond,
                  ahead = e->trained->progress.config.data_forecast_step,
                  wanted = cond + e->horizon * ahead;
    if (e->horizon < 2 || !fx_trained_has(e->trained, FX_FC)) return FX_OK;
    FX_REQUIRE(
        cond == 1 || ahead == 1, FX_ECONFIG,
        "eval.horizon: %d: the model starts from %lld snapshots in a row and forecasts the one %lld "
        "later: a second lead has no inputs",
        e->horizon, (long long)cond, (long long)ahead);
    for (int r = 0; r < m->reynolds_count; r++) {
        const fx_pack_reynolds *of = &m->reynolds[r];
        for (int64_t p = of->first; fx_evaluates(e, r) && p < of->first + of->patches; p++)
            FX_REQUIRE(fx_manifest_patch(m, p).snapshots >= wanted, FX_ECONFIG,
                       "eval.horizon: %d leads need runs of %lld snapshots, a run of Re %g has %lld",
                       e->horizon, (long long)wanted, of->reynolds,
                       (long long)fx_manifest_patch(m, p).snapshots);
    }
    return FX_OK;
}

/* What is measured beyond a validation's scores. Wave numbers count waves in the width of the domain,
 * of the first source's where they differ, whatever its unit of length. */
static fx_status measure_all(fx_evaluation *e)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const fx_step_options *o = &e->trained->options;
    for (int k = 0; k < 2 * e->reynolds; k++)
        e->rows[k].seen = fx_list_has(&e->trained->progress.config.data_reynolds,
                                      m->reynolds[k % e->reynolds].reynolds);
    e->whole = fx_manifest_is_whole(m);
    FX_TRY(fx_measure_create(&e->measure, m->patch, m->source[0].width, o->factor,
                             e->whole ? FX_PERIODIC : FX_HANN, e->members, (uint64_t)e->config->seed));
    e->measure->details.leads = e->horizon;
    if (o->coarse) e->measure->factor = 0; /* the input is made from all pixels, or not from them */
    e->scores.details = e->measure->details;
    return FX_ALLOC(e->natural, e->trained->batch);
}

bool fx_evaluation_takes(const fx_config *config, double reynolds)
{
    return fx_list_has(&config->eval_reynolds, reynolds);
}

bool fx_evaluates(const fx_evaluation *e, int r)
{
    return fx_evaluation_takes(e->config, fx_pack_manifest(e->pack)->reynolds[r].reynolds);
}

static fx_status check_reynolds(const fx_evaluation *e)
{
    bool any = false;
    for (int r = 0; r < e->reynolds; r++)
        any |= fx_evaluates(e, r);
    FX_REQUIRE(any, FX_ECONFIG, "eval.reynolds: the pack %s holds none of them", e->config->data_path);
    return FX_OK;
}

static fx_status run_all(fx_evaluation *e)
{
    for (int r = 0; r < e->reynolds; r++) {
        if (!fx_evaluates(e, r)) continue;
        for (int64_t first = 0, number = 0; first < e->config->eval_patches;
             first += e->trained->batch, number++)
            if (number % e->comm->size == e->comm->rank) FX_TRY(fx_evaluation_batch(e, r, first));
    }
    return FX_OK;
}

void fx_evaluation_close(fx_evaluation **evaluation)
{
    fx_evaluation *e = *evaluation;
    if (!e) return;
    for (int task = 0; task < 2; task++)
        fx_program_free(&e->probe[task].program);
    fx_trained_close(&e->trained);
    fx_coarsener_close(&e->coarsener);
    fx_pack_close(&e->pack);
    fx_scores_free(&e->scores);
    for (int k = 0; k < FX_EVALUATION_ROWS; k++) {
        fx_free(e->rows[k].input);
        fx_free(e->rows[k].estimate);
        fx_free(e->rows[k].target);
    }
    fx_measure_free(&e->measure);
    fx_free(e->natural);
    fx_free(e->ensemble);
    fx_free(e->scale);
    fx_free(e->future);
    fx_free(e->losses);
    fx_free(e->wanted);
    fx_free(e->said);
    fx_free(e);
    *evaluation = NULL;
}

static fx_status make(fx_comm *comm, const fx_config *config, fx_evaluation **out)
{
    FX_TRY(FX_ALLOC(*out, 1));
    (*out)->comm = comm;
    (*out)->config = config;
    (*out)->members = 1;
    (*out)->horizon = 1;
    return FX_OK;
}

/* What needs the model to be there. */
static fx_status open_data(fx_evaluation *e)
{
    FX_TRY(open_pack(e));
    FX_TRY(FX_ALLOC(e->ensemble, e->members * e->trained->batch * e->trained->pixels));
    return FX_ALLOC(e->future, e->trained->batch * e->trained->pixels);
}

fx_status fx_evaluation_open(fx_comm *comm, const fx_config *config, const char *folder,
                             fx_evaluation **out)
{
    FX_TRY(fx_agree(comm, make(comm, config, out)));
    (*out)->members = (int)config->eval_members;
    (*out)->horizon = (int)config->eval_horizon;
    FX_TRY(open_model(*out, folder));
    fx_status status = open_data(*out);
    if (status == FX_OK) status = check_reynolds(*out);
    if (status == FX_OK) status = check_horizon(*out);
    if (status == FX_OK) status = measure_all(*out);
    return fx_agree(comm, status);
}

static fx_status make_losses(fx_evaluation *e)
{
    const int64_t batch = e->trained->batch, fields = batch * e->trained->pixels;
    FX_TRY(FX_ALLOC(e->losses, batch));
    FX_TRY(FX_ALLOC(e->wanted, fields));
    return FX_ALLOC(e->said, fields);
}

fx_status fx_evaluation_of(fx_comm *comm, const fx_config *config, const fx_trainee *trainee,
                           const fx_progress *progress, fx_evaluation **out)
{
    fx_status status = make(comm, config, out);
    if (status == FX_OK) status = fx_trained_of(trainee, config, progress, &(*out)->trained);
    if (status == FX_OK) status = fx_evaluation_programs(*out, true);
    if (status == FX_OK) status = open_data(*out);
    if (status == FX_OK) status = make_losses(*out);
    return fx_agree(comm, status);
}

fx_status fx_evaluation_run(fx_evaluation *e)
{
    return fx_agree(e->comm, run_all(e));
}

/* Scores that are written are not lost because their pictures are. */
static void show_examples(const char *folder, const char *path)
{
    if (fx_event_images_write(folder, path) == FX_OK) return;
    fx_log(FX_WARN, "no pictures for TensorBoard: %s", fx_error_message());
    fx_error_clear();
}

fx_status fx_evaluate(fx_comm *comm, const fx_config *config, const char *folder)
{
    fx_evaluation *e = NULL;
    fx_status status = FX_OK;
    fx_score scores[FX_EVALUATION_ROWS];
    int count = 0;
    char path[FX_PATH_MAX];
    FX_REQUIRE(config->data_path[0], FX_ECONFIG, "data.path: which pack is evaluated?");
    FX_TRY(fx_agree(comm, fx_eval_file_path(folder, config->data_path, config->eval_name, path)));
    FX_TRY_DONE(fx_evaluation_open(comm, config, folder, &e));
    FX_TRY_DONE(fx_evaluation_run(e));
    FX_TRY_DONE(fx_scores_merge(&e->scores, comm));
    status =
        fx_scores_summarise(&e->scores, (uint64_t)config->seed, scores, FX_EVALUATION_ROWS, &count);
    FX_TRY_DONE(fx_agree(comm, status));
    fx_evaluation_print(e, scores, count);
    if (comm->rank == 0) status = fx_evaluation_write(e, path, scores, count);
    if (comm->rank == 0 && status == FX_OK) show_examples(folder, path);
    status = fx_agree(comm, status);
done:
    fx_evaluation_close(&e);
    return status;
}
