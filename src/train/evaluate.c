/* evaluate.c: a trained model on patches of a pack. Sample i of a Reynolds number is a function of i
 * alone, and ranks share samples by batches, so any rank count scores the same set with the same noise.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "evaluation.h"
#include "flexhpc/checkpoint.h"
#include "flexhpc/data.h"
#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/train.h"

static const double TWO_PI = 6.283185307179586;

/* One task at one Reynolds number. */
typedef struct row {
    fx_spectrum *model, *truth;
    float *input, *estimate, *target; /* fields of its first sample; on the rank that had it */
    bool seen;
} row;

typedef struct evaluation {
    fx_comm *comm;
    const fx_config *config; /* of the call: what to evaluate */
    fx_progress progress;    /* of the checkpoint: what was trained */
    fx_step_options options;
    fx_exec *exec;
    fx_params *params;
    fx_sampler sampler;
    fx_pack_reader *pack;
    fx_scores scores;
    row rows[FX_EVALUATION_ROWS]; /* [task * reynolds + r] */
    int reynolds;
    int64_t batch, pixels;
    float *snapshots, *future, *re, *noise, *lowres, *residual;
} evaluation;

static bool is_listed(const fx_list *list, double value)
{
    for (int i = 0; i < list->count; i++)
        if (list->value[i] == value) return true;
    return list->count == 0;
}

/* Parameters need their slabs before programs read them: one program with every parameter is recorded
 * first. */
static fx_status make_parameters(evaluation *e)
{
    fx_builder *g = NULL;
    FX_TRY(fx_params_create(&e->params));
    FX_TRY(fx_builder_create(e->params, &g));
    const int64_t side = e->options.model.image;
    fx_batch in = {.snapshots =
                       fx_input(g, "snapshots", 4, FX_DIMS(1, side, side, e->options.model.cond)),
                   .lowres = fx_input(g, "lowres", 4, FX_DIMS(1, side, side, 1)),
                   .re = fx_input(g, "re", 2, FX_DIMS(1, 1))};
    const int64_t tasks = e->options.model.tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    fx_record_sampler(g, &e->options.model, e->options.schedule, 1, &in,
                      fx_input(g, "x", 4, FX_DIMS(tasks, side, side, 1)));
    const fx_status status = fx_builder_status(g);
    fx_builder_free(&g);
    if (status != FX_OK) return status;
    return fx_params_allocate(e->params, e->exec, NULL, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA);
}

static fx_status open_model(evaluation *e, const char *folder)
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

static fx_status open_pack(evaluation *e)
{
    FX_REQUIRE(e->config->data_path[0], FX_ECONFIG, "data.path: which pack is evaluated?");
    FX_TRY(fx_pack_open(e->config->data_path, &e->pack));
    const fx_manifest *m = fx_pack_manifest(e->pack);
    FX_REQUIRE(m->patch == e->options.model.image, FX_ECONFIG,
               "%s: patches of %lld pixels, model.image is %lld", e->config->data_path,
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

static fx_status make_buffers(evaluation *e)
{
    const size_t fields = (size_t)(e->batch * e->pixels);
    FX_TRY(FX_ALLOC(e->snapshots, fields * (size_t)e->options.model.cond));
    FX_TRY(FX_ALLOC(e->future, fields));
    FX_TRY(FX_ALLOC(e->re, e->batch));
    FX_TRY(FX_ALLOC(e->noise, 2 * fields));
    FX_TRY(FX_ALLOC(e->lowres, fields));
    return FX_ALLOC(e->residual, 2 * fields);
}

/* Sample i of n: times evenly spread over the run, the place at random. */
typedef struct place {
    int64_t patch, snapshot;
    double time;
} place;

static place place_of(const evaluation *e, const fx_pack_reynolds *r, int64_t i)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const uint32_t counter[4] = {(uint32_t)i, 0, fx_crc32("evaluation"), 0};
    const fx_philox random = fx_philox4x32((uint64_t)r->reynolds, counter);
    place p = {.patch = r->first + (int64_t)(random.word[0] % (uint64_t)r->patches)};
    const fx_patch patch = fx_manifest_patch(m, p.patch);
    const int64_t cond = e->options.model.cond, ahead = e->progress.config.data_forecast_step;
    const int64_t choices = patch.snapshots - ahead - cond + 1;
    p.snapshot = cond - 1 + (2 * i + 1) * choices / (2 * e->config->eval_patches);
    p.time = patch.start + (double)p.snapshot * patch.interval;
    return p;
}

/* Row b of the batch: inputs, target and noise, divided by the checkpoint's scale. */
static fx_status load(evaluation *e, const fx_pack_reynolds *r, int64_t i, int64_t b)
{
    const place p = place_of(e, r, i);
    const int64_t cond = e->options.model.cond, ahead = e->progress.config.data_forecast_step,
                  n = e->pixels;
    float *window = NULL;
    FX_TRY(FX_ALLOC(window, (cond + ahead) * n));
    const fx_status status =
        fx_pack_read(e->pack, p.patch, p.snapshot - cond + 1, cond + ahead, window);
    const float scale = (float)(1.0 / e->progress.data_scale);
    for (int64_t k = 0; status == FX_OK && k < n; k++) {
        for (int64_t c = 0; c < cond; c++)
            e->snapshots[(b * n + k) * cond + c] = scale * window[c * n + k];
        e->future[b * n + k] = scale * window[(cond + ahead - 1) * n + k];
    }
    fx_free(window);
    e->re[b] = (float)(r->reynolds / e->progress.config.data_condition_scale);
    for (uint32_t task = 0; task < 2; task++)
        fx_fill_normal((uint64_t)e->config->run_seed, 2 * (uint32_t)i + task, fx_crc32("x_T"),
                       (uint32_t)r->reynolds, e->noise + (task * e->batch + b) * n, n);
    return status;
}

static fx_status sample(evaluation *e)
{
    const fx_step step = {.seed = (uint64_t)e->config->run_seed, .gradient_scale = 1};
    fx_program *p = e->sampler.program;
    FX_TRY(fx_program_write(p, e->sampler.inputs.snapshots, e->snapshots));
    FX_TRY(fx_program_write(p, e->sampler.inputs.re, e->re));
    FX_TRY(fx_program_write(p, e->sampler.x, e->noise));
    FX_TRY(fx_program_run(p, &step, NULL));
    if (e->sampler.inputs.lowres) FX_TRY(fx_program_read(p, e->sampler.inputs.lowres, e->lowres));
    return fx_program_read(p, e->sampler.residual, e->residual);
}

static fx_status keep_example(evaluation *e, row *k, const float *input, const float *estimate,
                              const float *target)
{
    const size_t bytes = (size_t)e->pixels * sizeof(float);
    FX_TRY(FX_ALLOC(k->input, e->pixels));
    FX_TRY(FX_ALLOC(k->estimate, e->pixels));
    FX_TRY(FX_ALLOC(k->target, e->pixels));
    memcpy(k->input, input, bytes);
    memcpy(k->estimate, estimate, bytes);
    memcpy(k->target, target, bytes);
    return FX_OK;
}

/* Scores row b as sample i of a task; `fields`: scratch of three fields. */
static fx_status score(evaluation *e, int r, fx_task task, int64_t i, int64_t b, float *fields)
{
    const int64_t n = e->pixels, cond = e->options.model.cond;
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[r];
    const bool first_task = task == FX_SR || !(e->options.model.tasks & FX_TASK_SR);
    const float *residual = e->residual + ((first_task ? 0 : e->batch) + b) * n;
    float *last = fields, *before = fields + n, *estimate = fields + 2 * n;
    for (int64_t k = 0; k < n; k++) {
        last[k] = e->snapshots[(b * n + k) * cond + cond - 1];
        before[k] = cond > 1 ? e->snapshots[(b * n + k) * cond + cond - 2] : 0.0f;
    }
    const float *base = task == FX_SR ? e->lowres + b * n : last,
                *target = task == FX_SR ? last : e->future + b * n;
    for (int64_t k = 0; k < n; k++)
        estimate[k] = base[k] + residual[k];
    const fx_sample_score s = {
        .index = i,
        .block = (int64_t)place_of(e, reynolds, i).time,
        .reynolds = reynolds->reynolds,
        .task = task,
        .rfne = fx_rfne(estimate, target, n),
        .floor = {fx_rfne(base, target, n),
                  task == FX_FC && cond > 1
                      ? fx_rfne_extrapolated(before, last,
                                             (double)e->progress.config.data_forecast_step, target, n)
                      : NAN},
        .correlation = fx_correlation(estimate, target, n)};
    FX_TRY(fx_scores_add(&e->scores, &s));
    row *k = &e->rows[(int)task * e->reynolds + r];
    FX_TRY(fx_spectrum_add(k->model, estimate, NULL));
    FX_TRY(fx_spectrum_add(k->truth, target, NULL));
    return i == 0 ? keep_example(e, k, base, estimate, target) : FX_OK;
}

/* One batch of samples from `first` on. A short last batch repeats its last sample, and scores it once.
 */
static fx_status run_batch(evaluation *e, int r, int64_t first)
{
    const fx_pack_reynolds *reynolds = &fx_pack_manifest(e->pack)->reynolds[r];
    const int64_t most = e->config->eval_patches - 1;
    float *fields = NULL;
    fx_status status = FX_OK;
    for (int64_t b = 0; b < e->batch; b++)
        FX_TRY(load(e, reynolds, first + b < most ? first + b : most, b));
    FX_TRY(sample(e));
    FX_TRY(FX_ALLOC(fields, 3 * e->pixels));
    for (int64_t b = 0; b < e->batch && first + b <= most; b++) {
        if (e->options.model.tasks & FX_TASK_SR) FX_TRY_DONE(score(e, r, FX_SR, first + b, b, fields));
        if (e->options.model.tasks & FX_TASK_FC) FX_TRY_DONE(score(e, r, FX_FC, first + b, b, fields));
    }
done:
    fx_free(fields);
    return status;
}

static fx_status run_all(evaluation *e)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    for (int r = 0; r < e->reynolds; r++) {
        if (!is_listed(&e->config->eval_reynolds, m->reynolds[r].reynolds)) continue;
        for (int64_t first = 0, number = 0; first < e->config->eval_patches;
             first += e->batch, number++)
            if (number % e->comm->size == e->comm->rank) FX_TRY(run_batch(e, r, first));
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

/* Index into rows of a score. */
static row *row_of(evaluation *e, const fx_score *s)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    int r = 0;
    while (r < e->reynolds - 1 && m->reynolds[r].reynolds != s->reynolds)
        r++;
    return &e->rows[(int)s->task * e->reynolds + r];
}

static fx_status write_vector(fx_h5 *f, const char *name, fx_h5_type type, int rank, int64_t n,
                              const void *data)
{
    FX_TRY(fx_h5_dataset(f, name, (fx_h5_shape){rank, {n, n}, type}, NULL, false));
    return fx_h5_write(f, name, NULL, NULL, type, data);
}

static fx_status write_spectra(fx_h5 *f, int k, const row *w)
{
    const int64_t n = fx_spectrum_whole_shells(w->truth), all = fx_spectrum_shells(w->truth);
    static const char *const names[] = {"k", "model", "truth"};
    double *x = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(x, 3 * all));
    fx_spectrum_read(w->truth, x, x + 2 * all, NULL);
    fx_spectrum_read(w->model, NULL, x + all, NULL);
    for (int i = 0; i < 3; i++) {
        char name[48];
        FX_TRY_DONE(fx_print(name, sizeof name, "spectrum/%d/%s", k, names[i]));
        FX_TRY_DONE(write_vector(f, name, FX_H5_F64, 1, n, x + i * all));
    }
done:
    fx_free(x);
    return status;
}

static fx_status write_example(evaluation *e, fx_h5 *f, int k, const fx_score *s, const row *w)
{
    static const char *const names[] = {"input", "model", "truth"};
    const float *fields[] = {w->input, w->estimate, w->target};
    char name[48], title[128];
    for (int i = 0; i < 3; i++) {
        FX_TRY(fx_print(name, sizeof name, "panel/%d/%s", k, names[i]));
        FX_TRY(write_vector(f, name, FX_H5_F32, 2, e->options.model.image, fields[i]));
    }
    FX_TRY(fx_print(title, sizeof title, "Re %g%s, %s", s->reynolds,
                    w->seen ? "" : " (never trained on)",
                    s->task == FX_SR ? "super-resolution" : "forecast"));
    FX_TRY(fx_print(name, sizeof name, "panel/%d/input", k));
    FX_TRY(fx_h5_set_text(f, name, "title", title));
    FX_TRY(fx_print(title, sizeof title, "bicubic from one pixel in %lld x %lld",
                    (long long)e->options.factor, (long long)e->options.factor));
    return fx_h5_set_text(f, name, "input_label", s->task == FX_SR ? title : "last snapshot");
}

static void fill_row(const fx_score *s, bool seen, double fine, double *out)
{
    const double values[FX_SCORE_COLUMNS] = {[FX_COLUMN_TASK] = s->task,
                                             [FX_COLUMN_REYNOLDS] = s->reynolds,
                                             [FX_COLUMN_COUNT] = (double)s->count,
                                             [FX_COLUMN_BLOCKS] = (double)s->blocks,
                                             [FX_COLUMN_RFNE] = s->rfne,
                                             [FX_COLUMN_RFNE_ERROR] = s->rfne_error,
                                             [FX_COLUMN_RFNE_LOW] = s->rfne_low,
                                             [FX_COLUMN_RFNE_HIGH] = s->rfne_high,
                                             [FX_COLUMN_FLOOR] = s->floor[0],
                                             [FX_COLUMN_FLOOR2] = s->floor[1],
                                             [FX_COLUMN_RATIO] = s->ratio,
                                             [FX_COLUMN_RATIO_LOW] = s->ratio_low,
                                             [FX_COLUMN_RATIO_HIGH] = s->ratio_high,
                                             [FX_COLUMN_CORRELATION] = s->correlation,
                                             [FX_COLUMN_SEEN] = seen,
                                             [FX_COLUMN_FINE_SCALES] = fine};
    memcpy(out, values, sizeof values);
}

/* Energy of the model over the truth's between the Nyquist number of the low-resolution input and the
 * grid's. */
static double fine_scales(const evaluation *e, const row *w)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const double nyquist = (double)m->source[0].width / 2;
    fx_band band;
    if (fx_spectrum_band(w->model, w->truth, NULL, nyquist / (double)e->options.factor, nyquist,
                         &band) == FX_OK)
        return band.energy;
    fx_error_clear();
    return NAN;
}

static fx_status write_results(evaluation *e, const char *folder, const fx_score *s, int count)
{
    char part[FX_PATH_MAX], final[FX_PATH_MAX];
    double table[FX_EVALUATION_ROWS * FX_SCORE_COLUMNS];
    fx_h5 *f = NULL;
    fx_status status = FX_OK;
    const char *slash = strrchr(e->config->data_path, '/'),
               *name = slash && slash[1] ? slash + 1 : e->config->data_path;
    FX_REQUIRE(fx_is_plain_name(name), FX_ECONFIG, "data.path: %s does not end in a plain name",
               e->config->data_path);
    FX_TRY(fx_path(final, "%s/eval-%s.h5", folder, name));
    FX_TRY(fx_path(part, "%s.part", final));
    FX_TRY_DONE(fx_h5_create(NULL, part, &f));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "step", e->progress.step));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "sample_steps", e->config->sample_steps));
    for (int k = 0; k < count; k++) {
        const row *w = row_of(e, &s[k]);
        fill_row(&s[k], w->seen, fine_scales(e, w), table + k * FX_SCORE_COLUMNS);
        FX_TRY_DONE(write_spectra(f, k, w));
        if (w->input) FX_TRY_DONE(write_example(e, f, k, &s[k], w));
    }
    FX_TRY_DONE(fx_h5_dataset(f, "scores", (fx_h5_shape){2, {count, FX_SCORE_COLUMNS}, FX_H5_F64}, NULL,
                              false));
    FX_TRY_DONE(fx_h5_write(f, "scores", NULL, NULL, FX_H5_F64, table));
    FX_TRY_DONE(fx_h5_close(&f));
    FX_TRY_DONE(fx_commit(part, final));
done:
    fx_h5_abandon(&f);
    return status;
}

static fx_status merge(evaluation *e)
{
    FX_TRY(fx_scores_merge(&e->scores, e->comm));
    for (int k = 0; k < 2 * e->reynolds; k++) {
        FX_TRY(fx_spectrum_merge(e->rows[k].model, e->comm));
        FX_TRY(fx_spectrum_merge(e->rows[k].truth, e->comm));
    }
    return FX_OK;
}

static void release(evaluation *e)
{
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
}

fx_status fx_evaluate(fx_comm *comm, const fx_config *config, const char *folder)
{
    evaluation *e = NULL;
    fx_status status = FX_OK;
    fx_score scores[FX_EVALUATION_ROWS];
    int count = 0;
    FX_TRY(FX_ALLOC(e, 1));
    e->comm = comm;
    e->config = config;
    e->batch = config->eval_batch;
    FX_TRY_DONE(open_model(e, folder));
    e->pixels = e->options.model.image * e->options.model.image;
    status = open_pack(e);
    if (status == FX_OK) status = make_buffers(e);
    FX_TRY_DONE(fx_agree(comm, status));
    FX_TRY_DONE(fx_agree(comm, run_all(e)));
    FX_TRY_DONE(merge(e));
    FX_TRY_DONE(fx_scores_summarise(&e->scores, (uint64_t)config->run_seed, scores, FX_EVALUATION_ROWS,
                                    &count));
    print_scores(scores, count);
    if (comm->rank == 0) status = write_results(e, folder, scores, count);
    status = fx_agree(comm, status);
done:
    release(e);
    return status;
}
