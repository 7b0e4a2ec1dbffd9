/* flexhpc.c: the C API of flexhpc.h on the program's own sampling: what it adds is the caller's units
 * and shapes, and that a solver's process is left as it was. */
#include "api.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>

#include "flexhpc/mem.h"
#include "version.h"

static_assert((int)FLEXHPC_EARG == (int)FX_EARG && (int)FLEXHPC_ECONFIG == (int)FX_ECONFIG &&
                  (int)FLEXHPC_EIO == (int)FX_EIO && (int)FLEXHPC_ENOMEM == (int)FX_ENOMEM &&
                  (int)FLEXHPC_EDEVICE == (int)FX_EDEVICE && (int)FLEXHPC_EVALUE == (int)FX_EVALUE,
              "the API's statuses are the library's");

static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;

fx_visit fx_api_enter(void)
{
    pthread_mutex_lock(&door);
    return (fx_visit){omp_get_max_threads(), omp_get_dynamic()};
}

flexhpc_status fx_api_leave(fx_visit v, fx_status status)
{
    omp_set_num_threads(v.threads);
    omp_set_dynamic(v.dynamic);
    pthread_mutex_unlock(&door);
    return (flexhpc_status)status;
}

/* Threads decide the order of sums: they are the model's in every thread. */
void fx_api_threads(const fx_trained *m)
{
    omp_set_dynamic(0);
    omp_set_num_threads(m->exec->options.threads);
}

/* ---- Opening. */

/* Defaults, and what the two words say. */
static fx_status set_choices(fx_config *config, const flexhpc_options *o)
{
    char backend[64], precision[64];
    FX_TRY(fx_print(backend, sizeof backend, "backend=%s", o->backend ? o->backend : "auto"));
    FX_TRY(fx_print(precision, sizeof precision, "precision=%s", o->precision ? o->precision : "auto"));
    return fx_config_load(config, NULL, (const char *[]){backend, precision, NULL});
}

static fx_status set_count(int64_t *key, const char *name, int value, int most)
{
    FX_REQUIRE(value >= 0 && value <= most, FX_ECONFIG, "options: %s: %d is not between 0 and %d", name,
               value, most);
    if (value > 0) *key = value;
    return FX_OK;
}

/* The keys that options stand for; the number of steps is the checkpoint's where they say nothing. */
static fx_status configure(const char *path, const flexhpc_options *o, fx_config *config,
                           char checkpoint[FX_PATH_MAX])
{
    static const flexhpc_options none;
    fx_progress run;
    if (!o) o = &none;
    FX_TRY_CTX(set_choices(config, o), "options");
    FX_TRY(fx_checkpoint_named(fx_comm_self(), path, checkpoint));
    FX_TRY(fx_checkpoint_peek(fx_comm_self(), checkpoint, &run));
    config->sample_steps = run.config.sample_steps;
    config->eval_batch = 1;
    FX_TRY(set_count(&config->run_threads, "threads", o->threads, 4096));
    FX_TRY(set_count(&config->sample_steps, "steps", o->steps, 1000));
    return set_count(&config->eval_batch, "batch", o->batch, 65536);
}

static void close_model(flexhpc_model **model)
{
    if (!*model) return;
    fx_trained_close(&(*model)->trained);
    fx_free(*model);
    *model = NULL;
}

static fx_status open_model(const char *path, const flexhpc_options *options, flexhpc_model **out)
{
    fx_config config;
    char checkpoint[FX_PATH_MAX];
    FX_REQUIRE(out, FX_EARG, "flexhpc_open: no place for the model");
    *out = NULL;
    FX_REQUIRE(path, FX_EARG, "flexhpc_open: no path");
    FX_TRY(configure(path, options, &config, checkpoint));
    FX_TRY(FX_ALLOC(*out, 1));
    const fx_status status = fx_trained_open(fx_comm_self(), &config, checkpoint, &(*out)->trained);
    if (status != FX_OK) close_model(out);
    return status;
}

flexhpc_status flexhpc_open(const char *path, const flexhpc_options *options, flexhpc_model **model)
{
    const fx_visit v = fx_api_enter();
    return fx_api_leave(v, open_model(path, options, model));
}

void flexhpc_close(flexhpc_model **model)
{
    const fx_visit v = fx_api_enter();
    if (model) close_model(model);
    fx_api_leave(v, FX_OK);
}

/* ---- Sampling. */

/* What a call asks for. */
typedef struct request {
    const char *name; /* of the call, for messages */
    fx_task task;
    const flexhpc_draw *draw;
    int64_t count, snapshots, rows, columns; /* of the input */
    const float *in;
    float *out;
} request;

fx_status fx_api_check_draw(const char *name, const fx_trained *m, const flexhpc_draw *d, int64_t count)
{
    FX_REQUIRE(count > 0 && count <= INT32_MAX, FX_EARG, "%s: count is %lld", name, (long long)count);
    FX_REQUIRE(d->reynolds >= 0 && d->reynolds <= 1e9, FX_EARG,
               "%s: Reynolds number %g is not between 0 and 1e9", name, d->reynolds);
    FX_REQUIRE(d->reynolds > 0 || fx_trained_with_zero(m), FX_EARG,
               "%s: Reynolds number 0: %s was not trained with it", name, m->path);
    FX_REQUIRE(d->member + count - 1 <= INT32_MAX, FX_EARG, "%s: member %lld is above 2^31 - 1", name,
               (long long)(d->member + count - 1));
    return FX_OK;
}

fx_status fx_api_check_task(const char *name, const fx_trained *m, fx_task task)
{
    FX_REQUIRE(fx_trained_has(m, task), FX_EARG, "%s: %s is not trained for it (model.tasks)", name,
               m->path);
    return FX_OK;
}

fx_status fx_api_check_finite(const char *name, const float *values, int64_t count, int64_t field)
{
    for (int64_t i = 0; i < count; i++)
        FX_REQUIRE(isfinite(values[i]), FX_EVALUE, "%s: input: value %lld of field %lld is not finite",
                   name, (long long)(i % field), (long long)(i / field));
    return FX_OK;
}

static fx_status check_shape(const request *r, const fx_trained *m)
{
    const int64_t S = m->options.model.image, side = r->task == FX_SR ? S / m->options.factor : S,
                  past = r->task == FX_SR ? 1 : m->options.model.cond;
    FX_TRY(fx_api_check_task(r->name, m, r->task));
    FX_REQUIRE(r->snapshots == past && r->rows == side && r->columns == side, FX_EARG,
               "%s: a field is (%lld, %lld, %lld), %s takes (%lld, %lld, %lld)", r->name,
               (long long)r->snapshots, (long long)r->rows, (long long)r->columns, m->path,
               (long long)past, (long long)side, (long long)side);
    return fx_api_check_finite(r->name, r->in, r->count * past * side * side, past * side * side);
}

/* Field k of the input as row b. Where the model has no input for coarse fields, their values stand
 * where its interpolation reads them. */
static void load(const request *r, fx_trained *m, int64_t k, int64_t b)
{
    const int64_t P = m->pixels, cond = m->options.model.cond, n = r->rows * r->columns,
                  S = m->options.model.image, f = r->task == FX_SR ? m->options.factor : 1;
    const float scale = (float)(1.0 / m->progress.data_scale), *in = r->in + k * r->snapshots * n;
    float *row = m->snapshots + b * P * cond;
    if (r->task == FX_SR && m->coarse) {
        for (int64_t i = 0; i < n; i++)
            m->coarse[b * n + i] = scale * in[i];
        return;
    }
    for (int64_t s = 0; s < r->snapshots; s++)
        for (int64_t i = 0; i < n; i++) {
            const int64_t pixel = (i / r->columns * S + i % r->columns) * f;
            row[pixel * cond + cond - r->snapshots + s] = scale * in[s * n + i];
        }
}

static fx_status store(const request *r, const fx_trained *m, int64_t k, int64_t b)
{
    const float scale = (float)m->progress.data_scale, *row = m->estimate + b * m->pixels;
    float *out = r->out + k * m->pixels;
    for (int64_t i = 0; i < m->pixels; i++) {
        out[i] = scale * row[i];
        FX_REQUIRE(isfinite(out[i]), FX_EVALUE, "%s: result: value %lld of field %lld is not finite",
                   r->name, (long long)i, (long long)k);
    }
    return FX_OK;
}

/* The last field is repeated where the last batch is short. */
static fx_status run_batch(const request *r, fx_trained *m, int64_t first)
{
    const flexhpc_draw *d = r->draw;
    for (int64_t b = 0; b < m->batch; b++) {
        const int64_t k = first + b < r->count ? first + b : r->count - 1;
        load(r, m, k, b);
        fx_trained_draw(m, r->task, b, d->seed, d->member + (uint32_t)k, 0, d->reynolds);
    }
    FX_TRY(fx_trained_run(m, r->task));
    for (int64_t b = 0; b < m->batch && first + b < r->count; b++)
        FX_TRY(store(r, m, first + b, b));
    return FX_OK;
}

static fx_status sample(const request *r, const flexhpc_model *model)
{
    FX_REQUIRE(model && r->draw && r->in && r->out, FX_EARG, "%s: %s is a null pointer", r->name,
               !model     ? "the model"
               : !r->draw ? "the draw"
               : !r->in   ? "the input"
                          : "the output");
    fx_trained *m = model->trained;
    FX_TRY(fx_api_check_draw(r->name, m, r->draw, r->count));
    FX_TRY(check_shape(r, m));
    fx_api_threads(m);
    FX_TRY(fx_trained_prepare(m, r->task));
    for (int64_t first = 0; first < r->count; first += m->batch)
        FX_TRY(run_batch(r, m, first));
    return FX_OK;
}

flexhpc_status flexhpc_superres(flexhpc_model *model, const flexhpc_draw *draw, int64_t count,
                                int64_t rows, int64_t columns, const float *coarse, float *fine)
{
    const fx_visit v = fx_api_enter();
    const request r = {"flexhpc_superres", FX_SR, draw, count, 1, rows, columns, coarse, fine};
    return fx_api_leave(v, sample(&r, model));
}

flexhpc_status flexhpc_forecast(flexhpc_model *model, const flexhpc_draw *draw, int64_t count,
                                int64_t snapshots, int64_t rows, int64_t columns, const float *past,
                                float *next)
{
    const fx_visit v = fx_api_enter();
    const request r = {"flexhpc_forecast", FX_FC, draw, count, snapshots, rows, columns, past, next};
    return fx_api_leave(v, sample(&r, model));
}

/* ---- What there is. */

flexhpc_status flexhpc_describe(const flexhpc_model *model, flexhpc_info *info)
{
    if (!model || !info)
        return (flexhpc_status)fx_fail(FX_EARG, "flexhpc_describe: %s is a null pointer",
                                       model ? "the description" : "the model");
    const fx_trained *m = model->trained;
    *info = (flexhpc_info){.side = m->options.model.image,
                           .factor = m->options.factor,
                           .past = m->options.model.cond,
                           .forecast_step = m->progress.config.data_forecast_step,
                           .superres = fx_trained_has(m, FX_SR),
                           .forecast = fx_trained_has(m, FX_FC),
                           .step = m->progress.step,
                           .parameters = fx_params_elements(m->params, true) +
                                         fx_params_elements(m->params, false),
                           .scale = m->progress.data_scale};
    return FLEXHPC_OK;
}

const char *flexhpc_error(void)
{
    return fx_error_message();
}

const char *flexhpc_version(void)
{
    return FX_VERSION;
}
