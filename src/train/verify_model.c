/* verify_model.c: a model against a golden file: outputs of one step, its gradients, samples, and
 * a training trajectory. */
#include <math.h>
#include <stdio.h>

#include "flexhpc/mem.h"
#include "verify.h"

static const double NOISE = 2e-5, SCHEDULE = 1e-12;

static fx_step step_of(double learning_rate, double ema_decay, int64_t update)
{
    return (fx_step){.learning_rate = (float)learning_rate,
                     .ema_decay = (float)ema_decay,
                     .update = update,
                     .gradient_scale = 1};
}

static fx_status check_outputs(fx_check *c, fx_trainee *t)
{
    const fx_golden *g = &c->golden;
    const fx_objective_nodes *n = &t->nodes[0];
    const fx_step step = step_of(0, 1, 1);
    fx_step_report report;
    const int64_t b = g->options.micro_batch;
    FX_TRY(fx_golden_weights(g, t->params, c->exec));
    FX_TRY(fx_golden_inputs(g, "", t->step, &t->inputs[0], NULL));
    FX_TRY(fx_trainee_step(t, &step, &report));
    const fx_check_part alpha = {.tensor = n->schedule, .first = 0, .count = b, .stride = 4};
    const fx_check_part sigma = {.tensor = n->schedule, .first = 1, .count = b, .stride = 4};
    FX_TRY(fx_check_tensor(c, "out/alpha", t->step, alpha, NOISE));
    FX_TRY(fx_check_tensor(c, "out/sigma", t->step, sigma, NOISE));
    FX_TRY(fx_check_whole(c, "out/z", t->step, n->z, NOISE));
    FX_TRY(fx_check_whole(c, "out/latent", t->step, n->latent, c->limit->latent));
    FX_TRY(fx_check_whole(c, "out/velocity", t->step, n->velocity, c->limit->output));
    FX_TRY(fx_check_values(c, g->plain ? "out/loss_l1" : "out/loss", &report.loss, 1, c->limit->loss));
    if (n->contrast)
        FX_TRY(fx_check_values(c, "out/loss_contrastive", &report.contrast, 1, c->limit->contrast));
    return fx_check_gradients(c, t->params);
}

static fx_status check_samples(fx_check *c, fx_params *params, int steps, bool forecasts)
{
    const fx_golden *g = &c->golden;
    const int64_t b = g->options.micro_batch,
                  pixels = b * g->options.model.image * g->options.model.image;
    const bool sr = g->options.model.tasks & FX_TASK_SR;
    fx_sampler s = {0};
    char name[32];
    fx_status status = fx_sampler_create(c->exec, params, &g->options, b, steps, false, &s);
    if (status == FX_OK) status = fx_golden_inputs(g, "", s.encoder, &s.inputs, NULL);
    if (status == FX_OK)
        status = fx_golden_inputs(g, "", s.denoiser, &(fx_batch){.re = s.inputs.re}, s.x);
    if (status == FX_OK) status = fx_sampler_encode(&s);
    if (status == FX_OK) status = fx_sampler_denoise(&s);
    if (status == FX_OK && sr) {
        snprintf(name, sizeof name, "out/ddim%d_sr", steps);
        const fx_check_part p = {.tensor = s.residual,
                                 .base = s.inputs.lowres,
                                 .count = pixels,
                                 .stride = 1,
                                 .base_stride = 1};
        status = fx_check_tensor(c, name, s.denoiser, p, c->limit->output);
    }
    if (status == FX_OK && forecasts) {
        snprintf(name, sizeof name, "out/ddim%d_fc", steps);
        const fx_check_part p = {.tensor = s.residual,
                                 .base = s.inputs.snapshots,
                                 .first = sr ? pixels : 0,
                                 .count = pixels,
                                 .stride = 1,
                                 .base_stride = g->options.model.cond};
        status = fx_check_tensor(c, name, s.denoiser, p, c->limit->output);
    }
    fx_sampler_free(&s);
    return status;
}

static fx_status final_loss(fx_check *c, fx_params *params, bool ema, const char *dataset)
{
    const fx_golden *g = &c->golden;
    fx_probe probe = {0};
    fx_status status = FX_OK;
    float *rows = NULL;
    double sum = 0;
    const fx_step step = step_of(0, 1, 1);
    FX_TRY(fx_probe_create(c->exec, params, &g->options, ema, &probe));
    const int64_t count = fx_count(probe.nodes.loss);
    FX_TRY_DONE(FX_ALLOC(rows, count));
    FX_TRY_DONE(fx_golden_inputs(g, "", probe.program, &probe.inputs, NULL));
    FX_TRY_DONE(fx_program_run(probe.program, &step, NULL));
    FX_TRY_DONE(fx_program_read(probe.program, probe.nodes.loss, rows));
    for (int64_t i = 0; i < count; i++)
        sum += (double)rows[i];
    sum /= (double)count;
    FX_TRY_DONE(fx_check_values(c, dataset, &sum, 1, c->limit->train_loss));
done:
    fx_free(rows);
    fx_program_free(&probe.program);
    return status;
}

enum { TRAIN_MAX = 64 };

static fx_status check_training(fx_check *c, fx_trainee *t)
{
    const fx_golden *g = &c->golden;
    double loss[TRAIN_MAX], contrast[TRAIN_MAX], norm[TRAIN_MAX], rate[TRAIN_MAX], decay[TRAIN_MAX];
    const int64_t n = g->train_steps;
    FX_REQUIRE(n <= TRAIN_MAX, FX_EVALUE, "%s: attribute train_steps: %lld, at most %d", g->path,
               (long long)n, TRAIN_MAX);
    FX_TRY(fx_golden_weights(g, t->params, c->exec));
    for (int64_t k = 0; k < n; k++) {
        char prefix[32];
        fx_step_report report;
        rate[k] = fx_learning_rate(g->learning_rate, k, g->warmup_steps, g->total_steps);
        decay[k] = fx_ema_decay(g->ema_decay, k + 1);
        const fx_step step = step_of(rate[k], decay[k], k + 1);
        snprintf(prefix, sizeof prefix, "step%lld:", (long long)k);
        FX_TRY(fx_golden_inputs(g, prefix, t->step, &t->inputs[0], NULL));
        FX_TRY(fx_trainee_step(t, &step, &report));
        loss[k] = report.loss;
        contrast[k] = report.contrast;
        norm[k] = report.norm;
    }
    FX_TRY(fx_check_values(c, "train/lr", rate, n, SCHEDULE));
    FX_TRY(fx_check_values(c, "train/ema_decay", decay, n, SCHEDULE));
    FX_TRY(fx_check_values(c, "train/loss", loss, n, c->limit->train_loss));
    if (t->nodes[0].contrast)
        FX_TRY(fx_check_values(c, "train/loss_contrastive", contrast, n, c->limit->train_loose));
    FX_TRY(fx_check_values(c, "train/grad_norm", norm, n, c->limit->train_loose));
    FX_TRY(final_loss(c, t->params, false, "train/final_loss"));
    return final_loss(c, t->params, true, "train/final_loss_ema");
}

/* Looked for before anything is computed. */
static fx_status all_there(const fx_check *c)
{
    static const char *const always[] = {"out/alpha",  "out/sigma",    "out/z",
                                         "out/latent", "out/velocity", "grad/name",
                                         "grad/shape", "grad/l2",      "grad/dot"};
    static const char *const sr[] = {"out/ddim2_sr", "out/ddim5_sr"}, *const fc[] = {"out/ddim2_fc"};
    static const char *const both[] = {"out/loss_contrastive"};
    static const char *const train[] = {"train/lr",        "train/ema_decay",  "train/loss",
                                        "train/grad_norm", "train/final_loss", "train/final_loss_ema"};
    static const char *const train_both[] = {"train/loss_contrastive"};
    const unsigned tasks = c->golden.options.model.tasks;
    const bool trains = c->golden.train_steps > 0, two = tasks == (FX_TASK_SR | FX_TASK_FC);
    const char *const loss[] = {c->golden.plain ? "out/loss_l1" : "out/loss"};
    const struct {
        const char *const *names;
        int count;
        bool wanted;
    } groups[] = {{always, 9, true},
                  {loss, 1, true},
                  {sr, 2, tasks & FX_TASK_SR},
                  {fc, 1, tasks & FX_TASK_FC},
                  {both, 1, two},
                  {train, 6, trains},
                  {train_both, 1, trains && two}};
    for (size_t k = 0; k < sizeof groups / sizeof *groups; k++)
        for (int i = 0; groups[k].wanted && i < groups[k].count; i++)
            FX_REQUIRE(fx_h5_exists(c->golden.file, groups[k].names[i]), FX_EVALUE, "%s: %s: missing",
                       c->golden.path, groups[k].names[i]);
    return FX_OK;
}

fx_status fx_check_model(fx_check *c)
{
    fx_trainee *t = NULL;
    fx_status status = FX_OK;
    const bool sr = c->golden.options.model.tasks & FX_TASK_SR,
               fc = c->golden.options.model.tasks & FX_TASK_FC;
    FX_TRY(all_there(c));
    FX_TRY(fx_trainee_create(c->exec, &c->golden.options, false, &t));
    FX_TRY_DONE(check_outputs(c, t));
    FX_TRY_DONE(check_samples(c, t->params, 2, fc));
    if (sr) FX_TRY_DONE(check_samples(c, t->params, 5, false));
    if (c->golden.train_steps > 0) FX_TRY_DONE(check_training(c, t));
done:
    fx_trainee_free(&t);
    return status;
}
