/* sample_field.c: flexhpc sample on whole fields of a source file. Rank 0 reads and writes, a strip at
 * a time; all ranks sample. Held on every rank: of super-resolution the coarse field; of a forecast the
 * snapshots that it starts from and the next one. A forecast with feedback of members goes through all
 * leads member by member, so memory does not grow with members; one with feedback of the mean takes all
 * members of a lead together, from one encoding. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "evaluate.h"
#include "field_file.h"
#include "field_seams.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/train.h"

typedef struct job {
    fx_comm *comm;
    const fx_config *config;
    fx_trained *model;
    fx_source *source;
    fx_field *field;
    fx_field_file file; /* rank 0's */
    fx_task task;
    int64_t height, width, factor, first, frames; /* of the result; factor: its size over the input's */
    double condition;                             /* that the model is told */
    bool coarse;                                  /* the source holds the input */
    int64_t member, frame;                        /* that are being sampled; member: of one at a time */
    float **state; /* (inputs): coarse field, or snapshots, newest last */
    int inputs;
    float *next, *strip; /* of a forecast: (height, width); rank 0's: (side, width) */
} job;

/* ---- What is asked for. */

static fx_status check_times(job *j)
{
    const fx_source_info *info = fx_source_describe(j->source);
    const fx_config *c = j->config;
    const int64_t cond = j->model->options.model.cond, least = j->task == FX_SR ? 0 : cond - 1,
                  count = j->task == FX_SR ? c->sample_snapshots : 1,
                  ahead = j->model->progress.config.data_forecast_step;
    j->first = c->sample_snapshot < 0 ? least : c->sample_snapshot;
    j->frames = j->task == FX_SR ? count : c->sample_horizon;
    FX_REQUIRE(j->first >= least, FX_ECONFIG,
               "sample.snapshot: %lld: the model starts from %lld snapshots, so %lld is the first",
               (long long)j->first, (long long)cond, (long long)least);
    FX_REQUIRE(j->first + count <= info->snapshots, FX_ECONFIG,
               "sample.snapshot: %lld to %lld, but %s has %lld snapshots", (long long)j->first,
               (long long)(j->first + count - 1), c->sample_source, (long long)info->snapshots);
    FX_REQUIRE(
        j->task == FX_SR || j->frames == 1 || cond == 1 || ahead == 1, FX_ECONFIG,
        "sample.horizon: %lld: the model starts from %lld snapshots in a row and forecasts the one "
        "%lld ahead: those between are nobody's",
        (long long)j->frames, (long long)cond, (long long)ahead);
    return FX_OK;
}

/* eval.scale, put in the place of the checkpoint's. A source does not say which data set of the
 * training it is of, so where these had scales of their own one has to be given. */
static fx_status find_scale(job *j)
{
    fx_progress *p = &j->model->progress;
    const char *word = j->config->eval_scale;
    double number = p->data_scale;
    if (!word[0] || strcmp(word, "checkpoint") == 0) {
        FX_REQUIRE(!p->data_sets[0] || p->config.data_scale > 0, FX_ECONFIG,
                   "eval.scale: checkpoint: %s was trained on data sets with scales of their own (%s): "
                   "give that of %s as a number",
                   j->model->path, p->data_sets, j->config->sample_source);
        return FX_OK;
    }
    FX_REQUIRE(fx_is_number(word, &number) && number > 0 && isfinite(number), FX_ECONFIG,
               "eval.scale: \"%s\" is none of checkpoint, a number above 0, which whole fields "
               "(sample.source) need",
               word);
    p->data_scale = number;
    return FX_OK;
}

/* What the model is told: eval.condition, or what the source says. */
static fx_status find_condition(job *j)
{
    FX_TRY(fx_evaluation_condition(j->config, j->model, &j->condition));
    if (!isnan(j->condition)) return FX_OK;
    j->condition = fx_source_run_of(j->source, j->config->sample_run).condition;
    FX_REQUIRE(j->condition > 0 || fx_trained_with_zero(j->model), FX_ECONFIG,
               "source.condition: %s does not say its Reynolds number, and the model was not trained "
               "without one",
               j->config->sample_source);
    return FX_OK;
}

static fx_status check_source(job *j)
{
    const fx_source_info *info = fx_source_describe(j->source);
    const fx_config *c = j->config;
    FX_REQUIRE(c->sample_run < info->runs, FX_ECONFIG, "sample.run: %lld, but %s has %lld",
               (long long)c->sample_run, c->sample_source, (long long)info->runs);
    FX_TRY(find_scale(j));
    FX_TRY(find_condition(j));
    j->coarse = j->task == FX_SR && c->sample_input == FX_INPUT_COARSE;
    j->factor = j->task == FX_SR ? j->model->options.factor : 1;
    j->height = info->height * (j->coarse ? j->factor : 1);
    j->width = info->width * (j->coarse ? j->factor : 1);
    return check_times(j);
}

static fx_status make_room(job *j)
{
    j->inputs = j->task == FX_SR ? 1 : (int)j->model->options.model.cond;
    FX_TRY(FX_ALLOC(j->state, j->inputs));
    for (int s = 0; s < j->inputs; s++)
        FX_TRY(FX_ALLOC(j->state[s], j->height * j->width / (j->factor * j->factor)));
    if (j->task == FX_FC) FX_TRY(FX_ALLOC(j->next, j->height * j->width));
    if (j->comm->rank == 0) FX_TRY(FX_ALLOC(j->strip, j->model->options.model.image * j->width));
    return FX_OK;
}

static bool feeds_mean(const job *j)
{
    return j->task == FX_FC && j->config->sample_feedback == FX_FEEDBACK_MEAN;
}

/* All members of a frame before the next frame; else all frames of a member before the next member. */
static bool together(const job *j)
{
    return j->task == FX_SR || feeds_mean(j);
}

static fx_status open_field(job *j)
{
    const fx_config *c = j->config;
    const fx_source_info *info = fx_source_describe(j->source);
    const fx_field_options options = {.task = j->task,
                                      .height = j->height,
                                      .width = j->width,
                                      .periodic = {info->periodic[0], info->periodic[1]},
                                      .overlap = c->sample_overlap,
                                      .reynolds = j->condition,
                                      .seed = (uint64_t)c->seed,
                                      .members = together(j) ? (int)c->sample_members : 1};
    FX_TRY_CTX(fx_field_create(j->comm, j->model, &options, &j->field), "%s", c->sample_source);
    return make_room(j);
}

static fx_status open_all(job *j, const char *folder)
{
    j->task = (fx_task)j->config->sample_task;
    FX_TRY(fx_trained_open(j->comm, j->config, folder, &j->model));
    fx_status status = fx_source_open(j->config->sample_source, j->config, &j->source);
    if (status == FX_OK) status = check_source(j);
    if (status == FX_OK) status = open_field(j);
    return fx_agree(j->comm, status);
}

/* ---- Reading: rank 0, rows in strips. */

typedef fx_status (*visit_strip)(job *j, int64_t row, int64_t rows);

static fx_status read_strips(job *j, int64_t t, visit_strip visit)
{
    const fx_source_info *info = fx_source_describe(j->source);
    const int64_t most = j->model->options.model.image;
    for (int64_t row = 0; row < info->height; row += most) {
        const int64_t rows = info->height - row < most ? info->height - row : most;
        const fx_source_box box = {j->config->sample_run, t, 1, row, rows, 0, info->width};
        FX_TRY(fx_source_read_finite(j->source, &box, j->strip));
        FX_TRY(visit(j, row, rows));
    }
    return FX_OK;
}

static fx_status keep_truth(job *j, int64_t row, int64_t rows)
{
    return fx_field_file_write(&j->file, "truth", j->frame, row, rows, j->strip);
}

/* Of a fine field every factor-th value of every factor-th row; a strip begins with such a row. */
static fx_status keep_coarse(job *j, int64_t row, int64_t rows)
{
    const int64_t step = j->coarse ? 1 : j->factor, width = j->width / j->factor;
    for (int64_t y = 0; y < rows; y += step)
        for (int64_t x = 0; x < width; x++)
            j->state[0][(row + y) / step * width + x] = j->strip[y * width * step + x * step];
    return j->coarse ? FX_OK : keep_truth(j, row, rows);
}

static fx_status read_coarse(job *j)
{
    FX_TRY(read_strips(j, j->first + j->frame, keep_coarse));
    return fx_field_file_write(&j->file, "input", j->frame, 0, j->height / j->factor, j->state[0]);
}

static fx_status read_snapshots(job *j)
{
    for (int s = 0; s < j->inputs; s++) {
        const fx_source_box box = {.run = j->config->sample_run,
                                   .t = j->first - j->inputs + 1 + s,
                                   .times = 1,
                                   .rows = j->height,
                                   .columns = j->width};
        FX_TRY(fx_source_read_finite(j->source, &box, j->state[s]));
        FX_TRY(fx_field_file_write(&j->file, "input", s, 0, j->height, j->state[s]));
    }
    return FX_OK;
}

/* All ranks get what rank 0 reads. Collective. */
static fx_status load_state(job *j, fx_status (*read)(job *j))
{
    const size_t bytes = (size_t)(j->height * j->width / (j->factor * j->factor)) * sizeof(float);
    FX_TRY(fx_agree(j->comm, j->comm->rank == 0 ? read(j) : FX_OK));
    for (int s = 0; s < j->inputs; s++)
        FX_TRY(j->comm->ops->broadcast(j->comm, j->state[s], bytes, 0));
    return FX_OK;
}

/* ---- Sampling. */

static fx_status take(void *self, uint32_t member, int64_t row, int64_t rows, const float *values)
{
    job *j = self;
    if (j->next && feeds_mean(j))
        for (int64_t i = 0; i < rows * j->width; i++)
            j->next[row * j->width + i] += values[i] / (float)j->config->sample_members;
    else if (j->next)
        memcpy(j->next + row * j->width, values, (size_t)(rows * j->width) * sizeof *values);
    if (j->comm->rank > 0) return FX_OK;
    return fx_field_file_member(&j->file, member, j->frame, row, rows, values);
}

static fx_status sample_frame(job *j, uint32_t member, int members)
{
    const double start = fx_now();
    const bool sr = j->task == FX_SR;
    const fx_field_call call = {.input = (const float *const *)j->state,
                                .frame = (uint32_t)(sr ? j->first + j->frame : 1 + j->frame),
                                .member = member,
                                .members = members};
    FX_TRY(fx_field_run(j->field, &call, (fx_field_sink){take, j}));
    fx_log(FX_INFO, "%s %lld: %d of %lld members, %lld tiles: %.2f s", sr ? "snapshot" : "lead",
           (long long)call.frame, members, (long long)j->config->sample_members,
           (long long)fx_tiles_count(fx_field_tiles(j->field)), fx_now() - start);
    return FX_OK;
}

static fx_status sharpen(job *j)
{
    for (j->frame = 0; j->frame < j->frames; j->frame++) {
        FX_TRY(load_state(j, read_coarse));
        FX_TRY(sample_frame(j, 0, (int)j->config->sample_members));
    }
    return FX_OK;
}

/* The next field becomes the newest snapshot; the oldest one's memory takes the field after it. */
static void advance(job *j)
{
    float *oldest = j->state[0];
    for (int s = 1; s < j->inputs; s++)
        j->state[s - 1] = j->state[s];
    j->state[j->inputs - 1] = j->next;
    j->next = oldest;
    memset(j->next, 0, (size_t)(j->height * j->width) * sizeof *j->next);
}

static fx_status forecast(job *j, uint32_t member, int members)
{
    j->member = member;
    j->frame = 0;
    FX_TRY(load_state(j, read_snapshots));
    memset(j->next, 0, (size_t)(j->height * j->width) * sizeof *j->next);
    for (j->frame = 0; j->frame < j->frames; j->frame++) {
        FX_TRY(sample_frame(j, member, members));
        advance(j);
    }
    return FX_OK;
}

static fx_status forecast_members(job *j)
{
    if (feeds_mean(j)) return forecast(j, 0, (int)j->config->sample_members);
    for (int64_t member = 0; member < j->config->sample_members; member++)
        FX_TRY(forecast(j, (uint32_t)member, 1));
    return FX_OK;
}

/* What the source has at the leads; beyond its end there is no truth. */
static fx_status write_truth(job *j)
{
    const int64_t ahead = j->model->progress.config.data_forecast_step,
                  have = fx_source_describe(j->source)->snapshots;
    for (j->frame = 0; j->frame < j->frames; j->frame++) {
        const int64_t t = j->first + ahead * (1 + j->frame);
        if (t < have) {
            FX_TRY(read_strips(j, t, keep_truth));
            continue;
        }
        for (int64_t i = 0; i < j->width; i++)
            j->strip[i] = NAN;
        for (int64_t row = 0; row < j->height; row++)
            FX_TRY(keep_truth(j, row, 1));
    }
    return FX_OK;
}

/* Frames of a member that were sampled whole. */
static int64_t complete_of(const job *j, int64_t member)
{
    if (together(j) || member == j->member) return j->frame;
    return member < j->member ? j->frames : 0;
}

static fx_status end_file(job *j, const char *why)
{
    int64_t *complete = NULL;
    FX_TRY(FX_ALLOC(complete, j->config->sample_members));
    for (int64_t m = 0; m < j->config->sample_members; m++)
        complete[m] = complete_of(j, m);
    const fx_status status = fx_field_file_end(&j->file, complete, why);
    fx_free(complete);
    return status;
}

/* What was sampled before a value that is not finite may be hours of work: it is kept, and its file
 * says how much it is. The other ranks wait, however long rank 0 writes. Collective. */
static fx_status keep_what_came_before(job *j, const char *out)
{
    char why[1024];
    snprintf(why, sizeof why, "%s", fx_error_message());
    if (complete_of(j, 0) == 0) return fx_context(FX_EVALUE, "%s: not written", out);
    FX_TRY_CTX(fx_agree(j->comm, j->comm->rank == 0 ? end_file(j, why) : FX_OK),
               "%s; what came before was not kept", why);
    return fx_fail(FX_EVALUE, "%s: ends early, what came before is kept (attribute `complete`): %s",
                   out, why);
}

static fx_status create_file(job *j, const char *command, const char *out)
{
    const fx_field_file_options options = {.config = j->config,
                                           .model = j->model,
                                           .source = j->source,
                                           .tiles = fx_field_tiles(j->field),
                                           .command = command,
                                           .task = j->task,
                                           .truth = !j->coarse,
                                           .first = j->first,
                                           .frames = j->frames};
    FX_TRY(fx_field_file_create(out, &options, &j->file));
    return j->task == FX_FC ? write_truth(j) : FX_OK;
}

static void close_all(job *j)
{
    fx_field_file_abandon(&j->file);
    fx_field_free(&j->field);
    for (int s = 0; j->state && s < j->inputs; s++)
        fx_free(j->state[s]);
    fx_free(j->state);
    fx_free(j->next);
    fx_free(j->strip);
    fx_source_close(&j->source);
    fx_trained_close(&j->model);
}

/* The fields are what was asked for, and may be hours of work: a failed look at their seams is told,
 * and ends neither them nor the command. */
static void look_for_seams(fx_field_file *file)
{
    if (fx_field_seams(file) == FX_OK) return;
    fx_log(FX_WARN,
           "%s: kept, but its seams were not measured: %s; see that it can be read, or sample again",
           file->path, fx_error_message());
    fx_error_clear();
}

fx_status fx_sample_field(fx_comm *comm, const fx_config *config, const char *folder,
                          const char *command, const char *out)
{
    job j = {.comm = comm, .config = config};
    fx_status status = FX_OK;
    FX_TRY_DONE(open_all(&j, folder));
    FX_TRY_DONE(fx_agree(comm, comm->rank == 0 ? create_file(&j, command, out) : FX_OK));
    status = j.task == FX_SR ? sharpen(&j) : forecast_members(&j);
    if (status == FX_EVALUE) status = keep_what_came_before(&j, out);
    if (status != FX_OK) goto done;
    if (comm->rank == 0) {
        look_for_seams(&j.file);
        status = fx_field_file_close(&j.file);
    }
    status = fx_agree(comm, status);
done:
    close_all(&j);
    return status;
}
