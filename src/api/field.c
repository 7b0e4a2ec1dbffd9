/* field.c: the C API on fields of any size: tiles as `flexhpc sample` makes them, in the caller's
 * arrays.
 */
#include "api.h"

#include <string.h>

#include "flexhpc/field.h"
#include "flexhpc/mem.h"

/* What a call asks for. */
typedef struct request {
    const char *name; /* of the call, for messages */
    fx_task task;
    const flexhpc_draw *draw;
    const flexhpc_grid *grid;
    int64_t leads;
    const float *in;
    float *out;
} request;

typedef struct result {
    float *field;
    int64_t width;
} result;

static fx_status take(void *self, uint32_t member, int64_t row, int64_t rows, const float *values)
{
    const result *r = self;
    (void)member; /* there is one */
    memcpy(r->field + row * r->width, values, (size_t)(rows * r->width) * sizeof *values);
    return FX_OK;
}

static fx_status check(const request *r, const fx_trained *m)
{
    const flexhpc_grid *g = r->grid;
    const int64_t cond = m->options.model.cond, most = 1 << 20,
                  unit = r->task == FX_SR ? m->options.factor : 1,
                  field =
                      r->task == FX_SR ? g->rows / unit * (g->columns / unit) : g->rows * g->columns;
    FX_TRY(fx_api_check_task(r->name, m, r->task));
    FX_TRY(fx_api_check_draw(r->name, m, r->draw, 1));
    FX_REQUIRE(g->rows > 0 && g->rows <= most && g->columns > 0 && g->columns <= most, FX_EARG,
               "%s: a grid of %lld x %lld", r->name, (long long)g->rows, (long long)g->columns);
    FX_REQUIRE(g->overlap <= 0.5, FX_EARG, "%s: overlap %g is above 1/2", r->name, g->overlap);
    FX_REQUIRE(r->leads > 0 && r->leads <= INT32_MAX, FX_EARG, "%s: leads is %lld", r->name,
               (long long)r->leads);
    FX_REQUIRE(
        r->leads == 1 || cond == 1 || m->progress.config.data_forecast_step == 1, FX_EARG,
        "%s: %lld leads: the model starts from %lld snapshots in a row and forecasts the one %lld "
        "ahead: those between are nobody's",
        r->name, (long long)r->leads, (long long)cond,
        (long long)m->progress.config.data_forecast_step);
    return fx_api_check_finite(r->name, r->in, field * (r->task == FX_SR ? 1 : cond), field);
}

/* Lead j starts from the last snapshots of those given and those made before it. */
static fx_status sample_leads(const request *r, const fx_trained *m, fx_field *field)
{
    const int64_t n = r->grid->rows * r->grid->columns,
                  past = r->task == FX_SR ? 1 : m->options.model.cond;
    const float **input = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(input, past));
    for (int64_t j = 0; j < r->leads; j++) {
        for (int64_t s = 0; s < past; s++)
            input[s] = s + j < past ? r->in + (s + j) * n : r->out + (s + j - past) * n;
        result to = {r->out + j * n, r->grid->columns};
        const fx_field_call call = {.input = input,
                                    .frame = r->task == FX_SR ? 0 : (uint32_t)(1 + j),
                                    .member = r->draw->member,
                                    .members = 1};
        FX_TRY_DONE(fx_field_run(field, &call, (fx_field_sink){take, &to}));
    }
done:
    fx_free(input);
    return status;
}

static fx_status sample(const request *r, const flexhpc_model *model)
{
    FX_REQUIRE(model && r->draw && r->grid && r->in && r->out, FX_EARG, "%s: %s is a null pointer",
               r->name,
               !model     ? "the model"
               : !r->draw ? "the draw"
               : !r->grid ? "the grid"
               : !r->in   ? "the input"
                          : "the output");
    const flexhpc_grid *g = r->grid;
    fx_trained *m = model->trained;
    fx_field *field = NULL;
    FX_TRY(check(r, m));
    fx_api_threads(m);
    const fx_field_options options = {.task = r->task,
                                      .height = g->rows,
                                      .width = g->columns,
                                      .periodic = {g->periodic_y != 0, g->periodic_x != 0},
                                      .overlap = g->overlap < 0    ? 0
                                                 : g->overlap == 0 ? 0.25
                                                                   : g->overlap,
                                      .reynolds = r->draw->reynolds,
                                      .seed = r->draw->seed,
                                      .members = 1};
    fx_status status = fx_field_create(fx_comm_self(), m, &options, &field);
    if (status == FX_OK) status = sample_leads(r, m, field);
    fx_field_free(&field);
    return status == FX_OK ? FX_OK : fx_context(status, "%s", r->name);
}

flexhpc_status flexhpc_superres_field(flexhpc_model *model, const flexhpc_draw *draw,
                                      const flexhpc_grid *grid, const float *coarse, float *fine)
{
    const fx_visit v = fx_api_enter();
    const request r = {"flexhpc_superres_field", FX_SR, draw, grid, 1, coarse, fine};
    return fx_api_leave(v, sample(&r, model));
}

flexhpc_status flexhpc_forecast_field(flexhpc_model *model, const flexhpc_draw *draw,
                                      const flexhpc_grid *grid, int64_t leads, const float *past,
                                      float *next)
{
    const fx_visit v = fx_api_enter();
    const request r = {"flexhpc_forecast_field", FX_FC, draw, grid, leads, past, next};
    return fx_api_leave(v, sample(&r, model));
}
