/* bench.c: seconds of a training step and of sampling, on synthetic inputs. Words: benchmarks/TERMS.md.
 * After the timed steps one more runs under an observer, for the share outside convolutions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/json.h"
#include "flexhpc/mem.h"
#include "synthetic.h"

enum { SAMPLER_STEPS = 2 };

/* Largest resident set of a rank so far. */
static fx_status resident(fx_comm *comm, int64_t *bytes)
{
    const double mib = fx_resident_mib();
    FX_REQUIRE(!isnan(mib), FX_EIO, "getrusage failed");
    *bytes = (int64_t)(mib * 0x1p20);
    return fx_comm_max_i64(comm, bytes);
}

static fx_status time_steps(fx_synthetic *s, fx_bench_report *out)
{
    double ignored;
    for (int64_t i = 0; i < s->config->bench_warmup; i++)
        FX_TRY(fx_synthetic_step(s, &ignored));
    for (int i = 0; i < out->count; i++)
        FX_TRY(fx_synthetic_step(s, &out->step_s[i]));
    return resident(s->comm, &out->resident_bytes);
}

static fx_status watch_step(fx_synthetic *s, fx_bench_report *out)
{
    fx_recorder recorder;
    double seconds = 0;
    fx_status status = fx_agree(s->comm, fx_recorder_create(s->trainee, &recorder));
    if (status == FX_OK) status = fx_synthetic_step(s, &seconds);
    if (status == FX_OK) out->outside_conv = fx_recorder_outside_conv(&recorder, seconds);
    fx_recorder_free(&recorder, s->trainee);
    return status;
}

/* Sampling of one task only, super-resolution where the model has it, with the raw weights: no rank may
 * have the whole EMA. */
static fx_status time_sampling(fx_synthetic *s, fx_bench_report *out)
{
    fx_sampler sampler = {0};
    fx_step_options options = s->trainee->options;
    fx_status status = FX_OK;
    options.model.tasks &= options.model.tasks & FX_TASK_SR ? FX_TASK_SR : FX_TASK_FC;
    FX_TRY_DONE(fx_sampler_create(s->exec, s->trainee->params, &options, s->config->bench_patches,
                                  SAMPLER_STEPS, false, &sampler));
    FX_TRY_DONE(fx_synthetic_normal(s, sampler.encoder, sampler.inputs.snapshots));
    FX_TRY_DONE(fx_synthetic_normal(s, sampler.encoder, sampler.inputs.coarse));
    FX_TRY_DONE(fx_synthetic_condition(sampler.encoder, sampler.inputs.re));
    FX_TRY_DONE(fx_synthetic_normal(s, sampler.denoiser, sampler.x));
    for (int i = -2; i < out->count; i++) { /* cold: libraries load, then a graph is captured */
        const double start = fx_now();
        FX_TRY_DONE(fx_sampler_encode(&sampler));
        FX_TRY_DONE(fx_sampler_denoise(&sampler));
        FX_TRY_DONE(s->exec->backend->wait(s->exec));
        if (i >= 0) out->sample_s[i] = fx_now() - start;
    }
done:
    fx_sampler_free(&sampler);
    return status;
}

static fx_status measure(fx_synthetic *s, fx_bench_report *out)
{
    const fx_plan_summary plan = fx_program_summary(s->trainee->step);
    const fx_step_options *o = &s->trainee->options;
    out->ranks = s->comm->size;
    out->threads = s->exec->options.threads;
    out->batch = o->micro_batch * o->accumulate;
    out->image = o->model.image;
    out->patches = s->config->bench_patches;
    out->parameters = fx_params_elements(s->trainee->params, true);
    out->flop = plan.flops;
    out->arena_bytes = (int64_t)plan.arena_bytes;
    out->saved_bytes = (int64_t)plan.saved_bytes;
    FX_TRY(s->exec->backend->describe(s->exec, out->backend, sizeof out->backend));
    FX_TRY(time_steps(s, out));
    FX_TRY(watch_step(s, out));
    FX_TRY(fx_agree(s->comm, time_sampling(s, out)));
    for (int i = 0; i < out->count; i++)
        FX_TRY(fx_comm_max_f64(s->comm, &out->sample_s[i]));
    return FX_OK;
}

fx_status fx_bench(fx_comm *comm, const fx_config *config, fx_bench_report *out)
{
    fx_synthetic s;
    *out = (fx_bench_report){.count = (int)config->bench_steps};
    fx_status status = fx_synthetic_open(comm, config, &s);
    if (status == FX_OK) status = measure(&s, out);
    fx_synthetic_close(&s);
    return status;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void fx_bench_order(const double *seconds, int count, double *least, double *median)
{
    double sorted[FX_BENCH_MAX];
    memcpy(sorted, seconds, (size_t)count * sizeof *seconds);
    qsort(sorted, (size_t)count, sizeof *sorted, ascending);
    *least = sorted[0];
    *median = 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]);
}

static json_t *list(const double *values, int count)
{
    json_t *out = json_array();
    for (int i = 0; i < count; i++)
        if (json_array_append_new(out, json_real(values[i])) != 0) {
            json_decref(out);
            return NULL;
        }
    return out;
}

fx_status fx_bench_write(const fx_bench_report *r, const char *file)
{
    double least, median, sample, sample_median;
    fx_bench_order(r->step_s, r->count, &least, &median);
    fx_bench_order(r->sample_s, r->count, &sample, &sample_median);
    json_t *root = json_pack("{s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I}", "program", "flexhpc",
                             "backend", r->backend, "ranks", r->ranks, "threads", r->threads, "batch",
                             (json_int_t)r->batch, "image", (json_int_t)r->image, "sample_batch",
                             (json_int_t)r->patches, "parameters", (json_int_t)r->parameters);
    json_t *numbers = json_pack(
        "{s:o, s:f, s:f, s:o, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "step_s",
        list(r->step_s, r->count), "step_least_s", least, "step_median_s", median, "sample_s",
        list(r->sample_s, r->count), "sample_least_s", sample, "samples_per_s",
        (double)(r->batch * r->ranks) / least, "plan_flop", r->flop, "gflops", 1e-9 * r->flop / least,
        "outside_convolution", r->outside_conv, "arena_bytes", (json_int_t)r->arena_bytes,
        "saved_bytes", (json_int_t)r->saved_bytes, "resident_bytes", (json_int_t)r->resident_bytes);
    fx_status status = FX_OK;
    if (json_object_update(root, numbers) != 0)
        status = fx_fail(FX_ENOMEM, "%s: not written: no memory, or a number that is not finite", file);
    if (status == FX_OK) status = fx_json_write(file, root);
    json_decref(numbers);
    json_decref(root);
    return status;
}
