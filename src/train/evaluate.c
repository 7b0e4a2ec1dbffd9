/* evaluate.c: a trained model on patches of a pack: opens both, shares the batches of samples over the
 * ranks, merges their scores. Any rank count scores the same set with the same noise. */
#include "evaluate.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

static const double TWO_PI = 6.283185307179586;

static bool is_listed(const fx_list *list, double value)
{
    for (int i = 0; i < list->count; i++)
        if (list->value[i] == value) return true;
    return list->count == 0;
}

/* Parameters need their slabs before programs read them: one program with every parameter is recorded
 * first. */
static fx_status make_parameters(fx_evaluation *e)
{
    fx_builder *g = NULL;
    FX_TRY(fx_params_create(&e->params));
    FX_TRY(fx_params_store_as(e->params, e->exec->storage));
    FX_TRY(fx_builder_create(e->params, &g));
    const int64_t side = e->options.model.image;
    fx_batch in = {.snapshots =
                       fx_input(g, "snapshots", 4, FX_DIMS(1, side, side, e->options.model.cond)),
                   .lowres = fx_input(g, "lowres", 4, FX_DIMS(1, side, side, 1)),
                   .re = fx_input_stored(g, "re", 2, FX_DIMS(1, 1))};
    const int64_t tasks = e->options.model.tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    fx_record_sampler(g, &e->options.model, e->options.schedule, 1, &in,
                      fx_input(g, "x", 4, FX_DIMS(tasks, side, side, 1)));
    const fx_status status = fx_builder_status(g);
    fx_builder_free(&g);
    if (status != FX_OK) return status;
    return fx_params_allocate(e->params, e->exec, NULL, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA);
}

static fx_status open_model(fx_evaluation *e, const char *folder)
{
    char checkpoints[FX_PATH_MAX], path[FX_PATH_MAX];
    FX_TRY(fx_agree(e->comm, fx_exec_open(e->comm, e->config, &e->exec)));
    FX_TRY(fx_path(checkpoints, "%s/ckpt", folder));
    FX_TRY(fx_checkpoint_find(e->comm, checkpoints, path));
    FX_REQUIRE(path[0], FX_ECONFIG, "%s: no checkpoint to evaluate", checkpoints);
    FX_TRY(fx_checkpoint_peek(e->comm, path, &e->progress));
    FX_TRY(fx_step_options_from_config(&e->progress.config, 1, &e->options));
    FX_TRY(fx_agree(e->comm, make_parameters(e)));
    FX_TRY(fx_checkpoint_load(e->comm, e->params, e->exec, path, true));
    FX_TRY(fx_agree(e->comm, fx_sampler_create(e->exec, e->params, &e->options, e->batch,
                                               (int)e->config->sample_steps, true, &e->sampler)));
    fx_log(FX_INFO, "%s: step %lld, EMA weights, %lld DDIM steps", path, (long long)e->progress.step,
           (long long)e->config->sample_steps);
    return FX_OK;
}

static fx_status open_pack(fx_evaluation *e)
{
    FX_REQUIRE(e->config->data_path[0], FX_ECONFIG, "data.path: which pack is evaluated?");
    FX_TRY(fx_pack_open(e->config->data_path, &e->pack));
    const fx_manifest *m = fx_pack_manifest(e->pack);
    FX_REQUIRE(m->patch == e->options.model.image, FX_ECONFIG,
               "%s: patches of %lld pixels, data.patch is %lld", e->config->data_path,
               (long long)m->patch, (long long)e->options.model.image);
    FX_REQUIRE(2 * m->reynolds_count <= FX_EVALUATION_ROWS, FX_ECONFIG,
               "%s: more than %d Reynolds numbers", e->config->data_path, FX_EVALUATION_ROWS / 2);
    e->reynolds = m->reynolds_count;
    const double length = TWO_PI * (double)m->patch / (double)m->source[0].width;
    for (int k = 0; k < 2 * e->reynolds; k++) {
        FX_TRY(fx_spectrum_create(&e->rows[k].model, m->patch, length, FX_HANN));
        FX_TRY(fx_spectrum_create(&e->rows[k].truth, m->patch, length, FX_HANN));
        e->rows[k].seen =
            is_listed(&e->progress.config.data_reynolds, m->reynolds[k % e->reynolds].reynolds);
    }
    return FX_OK;
}

static fx_status make_buffers(fx_evaluation *e)
{
    const size_t fields = (size_t)(e->batch * e->pixels);
    FX_TRY(FX_ALLOC(e->snapshots, fields * (size_t)e->options.model.cond));
    FX_TRY(FX_ALLOC(e->future, fields));
    FX_TRY(FX_ALLOC(e->re, e->batch));
    FX_TRY(FX_ALLOC(e->noise, 2 * fields));
    FX_TRY(FX_ALLOC(e->lowres, fields));
    return FX_ALLOC(e->residual, 2 * fields);
}

bool fx_evaluates(const fx_evaluation *e, int r)
{
    return is_listed(&e->config->eval_reynolds, fx_pack_manifest(e->pack)->reynolds[r].reynolds);
}

static fx_status run_all(fx_evaluation *e)
{
    for (int r = 0; r < e->reynolds; r++) {
        if (!fx_evaluates(e, r)) continue;
        for (int64_t first = 0, number = 0; first < e->config->eval_patches;
             first += e->batch, number++)
            if (number % e->comm->size == e->comm->rank) FX_TRY(fx_evaluation_batch(e, r, first));
    }
    return FX_OK;
}

static void print_scores(const fx_score *s, int count)
{
    fx_log(FX_INFO,
           "task       Re   n   RFNE [95 %%]              floor   ratio [95 %%]           correlation");
    for (int i = 0; i < count; i++)
        fx_log(FX_INFO, "%s %8g %4lld   %.4f [%.4f, %.4f]   %.4f   %.3f [%.3f, %.3f]   %.4f",
               s[i].task == FX_SR ? "SR" : "FC", s[i].reynolds, (long long)s[i].count, s[i].rfne,
               s[i].rfne_low, s[i].rfne_high, s[i].floor[0], s[i].ratio, s[i].ratio_low,
               s[i].ratio_high, s[i].correlation);
}

static fx_status merge(fx_evaluation *e)
{
    FX_TRY(fx_scores_merge(&e->scores, e->comm));
    for (int k = 0; k < 2 * e->reynolds; k++) {
        FX_TRY(fx_spectrum_merge(e->rows[k].model, e->comm));
        FX_TRY(fx_spectrum_merge(e->rows[k].truth, e->comm));
    }
    return FX_OK;
}

void fx_evaluation_close(fx_evaluation **evaluation)
{
    fx_evaluation *e = *evaluation;
    if (!e) return;
    fx_program_free(&e->sampler.program);
    fx_params_free(&e->params);
    fx_pack_close(&e->pack);
    fx_scores_free(&e->scores);
    for (int k = 0; k < FX_EVALUATION_ROWS; k++) {
        fx_spectrum_free(&e->rows[k].model);
        fx_spectrum_free(&e->rows[k].truth);
        fx_free(e->rows[k].input);
        fx_free(e->rows[k].estimate);
        fx_free(e->rows[k].target);
    }
    float *buffers[] = {e->snapshots, e->future, e->re, e->noise, e->lowres, e->residual};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        fx_free(buffers[i]);
    if (e->exec) e->exec->backend->close(&e->exec);
    fx_free(e);
    *evaluation = NULL;
}

fx_status fx_evaluation_open(fx_comm *comm, const fx_config *config, const char *folder,
                             fx_evaluation **out)
{
    fx_evaluation *e = NULL;
    FX_TRY(FX_ALLOC(e, 1));
    *out = e;
    e->comm = comm;
    e->config = config;
    e->batch = config->eval_batch;
    FX_TRY(open_model(e, folder));
    e->pixels = e->options.model.image * e->options.model.image;
    fx_status status = open_pack(e);
    if (status == FX_OK) status = make_buffers(e);
    return fx_agree(comm, status);
}

fx_status fx_evaluation_run(fx_evaluation *e)
{
    return fx_agree(e->comm, run_all(e));
}

fx_status fx_evaluate(fx_comm *comm, const fx_config *config, const char *folder)
{
    fx_evaluation *e = NULL;
    fx_status status = FX_OK;
    fx_score scores[FX_EVALUATION_ROWS];
    int count = 0;
    FX_TRY_DONE(fx_evaluation_open(comm, config, folder, &e));
    FX_TRY_DONE(fx_evaluation_run(e));
    FX_TRY_DONE(merge(e));
    FX_TRY_DONE(
        fx_scores_summarise(&e->scores, (uint64_t)config->seed, scores, FX_EVALUATION_ROWS, &count));
    print_scores(scores, count);
    if (comm->rank == 0) status = fx_evaluation_write(e, folder, scores, count);
    status = fx_agree(comm, status);
done:
    fx_evaluation_close(&e);
    return status;
}
