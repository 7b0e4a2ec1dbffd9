/* bench_scaling.c: training steps at this job's number of ranks, as one point of a weak and one of a
 * strong scaling curve. Error bars are the spread of `repeats` means, each of bench.steps steps after
 * bench.warmup that are thrown away. */
#include <math.h>

#include "flexhpc/bench.h"
#include "synthetic.h"

enum { REPEATS_MAX = 100 };

const char *const fx_bench_scaling_columns[] = {"mode",          "ranks",  "nodes", "batch",
                                                "global_batch",  "mean_s", "sd_s",  "least_s",
                                                "samples_per_s", NULL};

/* Means of the repeats; *least: of all steps. */
static fx_status time_repeats(fx_synthetic *s, int repeats, double *mean, double *least)
{
    const fx_config *c = s->config;
    *least = INFINITY;
    for (int r = 0; r < repeats; r++) {
        double seconds, sum = 0;
        for (int64_t i = 0; i < c->bench_warmup; i++)
            FX_TRY(fx_synthetic_step(s, &seconds));
        for (int64_t i = 0; i < c->bench_steps; i++) {
            FX_TRY(fx_synthetic_step(s, &seconds));
            sum += seconds;
            *least = fmin(*least, seconds);
        }
        mean[r] = sum / (double)c->bench_steps;
    }
    return FX_OK;
}

static json_t *row_of(const char *mode, const fx_synthetic *s, int nodes, int repeats,
                      const double *mean, double least)
{
    double sum = 0, square = 0;
    json_t *each = json_array();
    for (int r = 0; r < repeats; r++) {
        sum += mean[r] / repeats;
        if (json_array_append_new(each, json_real(mean[r])) != 0) break;
    }
    for (int r = 0; r < repeats; r++)
        square += (mean[r] - sum) * (mean[r] - sum);
    const int64_t global = s->config->train_global_batch;
    return json_pack("{s:s, s:i, s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "mode", mode, "ranks",
                     s->comm->size, "nodes", nodes, "batch", (json_int_t)(global / s->comm->size),
                     "global_batch", (json_int_t)global, "mean_s", sum, "sd_s",
                     repeats > 1 ? sqrt(square / (repeats - 1)) : 0.0, "least_s", least,
                     "samples_per_s", (double)global / sum, "repeat_s", each);
}

/* *parameters: of the model. */
static fx_status measure(fx_comm *comm, const fx_config *c, const char *mode, int nodes, int repeats,
                         json_t *rows, int64_t *parameters)
{
    fx_synthetic s;
    double mean[REPEATS_MAX], least = 0;
    fx_status status = fx_synthetic_open(comm, c, &s);
    if (status == FX_OK) status = time_repeats(&s, repeats, mean, &least);
    if (status == FX_OK) {
        json_t *row = row_of(mode, &s, nodes, repeats, mean, least);
        if (json_array_append_new(rows, row) != 0)
            status = fx_fail(FX_ENOMEM, "no memory for the rows");
        *parameters = fx_params_elements(s.trainee->params, true);
    }
    fx_synthetic_close(&s);
    return fx_agree(comm, status);
}

static fx_status head_of(fx_comm *comm, const fx_config *c, json_t **out)
{
    fx_exec *exec = NULL;
    char backend[256] = "";
    FX_TRY(fx_exec_open(comm, c, &exec));
    const fx_status status = fx_agree(comm, exec->backend->describe(exec, backend, sizeof backend));
    exec->backend->close(&exec);
    *out = json_pack("{s:s, s:s, s:I, s:I, s:I}", "kind", "scaling", "backend", backend, "image",
                     (json_int_t)c->data_patch, "steps", (json_int_t)c->bench_steps, "warmup",
                     (json_int_t)c->bench_warmup);
    return status;
}

fx_status fx_bench_scaling(fx_comm *comm, const fx_config *config, int64_t batch, int repeats,
                           json_t **out)
{
    fx_config c = *config;
    json_t *rows = json_array(), *head = NULL;
    int nodes = 0;
    int64_t parameters = 0;
    fx_status status = FX_OK;
    *out = NULL;
    FX_REQUIRE_DONE(repeats >= 1 && repeats <= REPEATS_MAX, FX_ECONFIG,
                    "bench scaling: %d repeats, not from 1 to %d", repeats, REPEATS_MAX);
    FX_REQUIRE_DONE(config->train_global_batch % comm->size == 0, FX_ECONFIG,
                    "train.global_batch: %lld, of strong scaling, does not divide into %d ranks",
                    (long long)config->train_global_batch, comm->size);
    FX_TRY_DONE(fx_bench_nodes(comm, &nodes));
    FX_TRY_DONE(head_of(comm, &c, &head));
    c.train_global_batch = batch * comm->size;
    FX_TRY_DONE(measure(comm, &c, "weak", nodes, repeats, rows, &parameters));
    c.train_global_batch = config->train_global_batch;
    FX_TRY_DONE(measure(comm, &c, "strong", nodes, repeats, rows, &parameters));
    if (json_object_set_new(head, "parameters", json_integer(parameters)) != 0 ||
        json_object_set(head, "rows", rows) != 0)
        status = fx_fail(FX_ENOMEM, "no memory for the rows");
    FX_TRY_DONE(fx_agree(comm, status));
    if (comm->rank == 0) *out = json_incref(head);
done:
    json_decref(rows);
    json_decref(head);
    return status;
}
