/* verify.c: the program against a golden file: what the published implementation computes from the same
 * weights and inputs. Every dataset of the file is compared; limits are flex-model 9's for fp32. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "golden.h"

static const double OUTPUT = 2e-5, LATENT = 5e-6, LOSS = 5e-6, CONTRAST = 3e-5, GRADIENT = 2e-4;
static const double TRAIN_LOSS = 2e-5, TRAIN_LOOSE = 1e-3, BICUBIC = 1e-6, SCHEDULE = 1e-12;
static const double SEEN_GRADIENT = 1e-5; /* of the largest: below it rounding is all there is */

typedef struct check {
    fx_exec *exec;
    fx_golden golden;
    FILE *out;
    int compared; /* datasets */
} check;

static fx_status judge(check *c, const char *dataset, double error, double limit)
{
    c->compared++;
    fprintf(c->out, "  %-22s %9.2e   limit %.0e\n", dataset, error, limit);
    FX_REQUIRE(error <= limit, FX_EVALUE, "%s: %s: differs by %.3g of its norm, limit %.0e",
               c->golden.path, dataset, error, limit);
    return FX_OK;
}

/* Norm of the difference over the norm of the file's values; infinite for what is not finite. */
static double deviation(const double *ours, const double *theirs, int64_t count)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (ours[i] - theirs[i]) * (ours[i] - theirs[i]);
        norm += theirs[i] * theirs[i];
    }
    const double error = sqrt(difference) / (norm > 0 ? sqrt(norm) : 1.0);
    return isfinite(error) ? error : INFINITY;
}

/* Our numbers, in the file's order, against a dataset of the file. */
static fx_status compare(check *c, const char *dataset, const double *ours, int64_t count, double limit)
{
    fx_h5_shape shape;
    double *theirs = NULL;
    int64_t stored = 1;
    FX_TRY(fx_h5_describe(c->golden.file, dataset, &shape));
    for (int i = 0; i < shape.rank; i++)
        stored *= shape.dim[i];
    FX_REQUIRE(stored == count, FX_EVALUE, "%s: %s: %lld values, the model has %lld", c->golden.path,
               dataset, (long long)stored, (long long)count);
    FX_TRY(FX_ALLOC(theirs, count));
    fx_status status = fx_h5_read(c->golden.file, dataset, NULL, NULL, FX_H5_F64, theirs);
    if (status == FX_OK) status = judge(c, dataset, deviation(ours, theirs, count), limit);
    fx_free(theirs);
    return status;
}

/* `count` values of a kept tensor from element `first`, every stride-th, plus `base` where given. */
typedef struct part {
    const fx_tensor *tensor, *base;
    int64_t first, count, stride, base_stride;
} part;

static fx_status compare_tensor(check *c, const char *dataset, fx_program *program, part p,
                                double limit)
{
    fx_status status = FX_OK;
    float *x = NULL, *base = NULL;
    double *ours = NULL;
    FX_TRY_DONE(FX_ALLOC(x, fx_count(p.tensor)));
    FX_TRY_DONE(fx_program_read(program, p.tensor, x));
    if (p.base) {
        FX_TRY_DONE(FX_ALLOC(base, fx_count(p.base)));
        FX_TRY_DONE(fx_program_read(program, p.base, base));
    }
    FX_TRY_DONE(FX_ALLOC(ours, p.count));
    for (int64_t i = 0; i < p.count; i++) {
        ours[i] = (double)x[p.first + i * p.stride];
        if (base) ours[i] += (double)base[(i + 1) * p.base_stride - 1]; /* the last channel */
    }
    FX_TRY_DONE(compare(c, dataset, ours, p.count, limit));
done:
    fx_free(x);
    fx_free(base);
    fx_free(ours);
    return status;
}

static fx_status compare_whole(check *c, const char *dataset, fx_program *program, const fx_tensor *t,
                               double limit)
{
    return compare_tensor(c, dataset, program, (part){.tensor = t, .count = fx_count(t), .stride = 1},
                          limit);
}

static fx_step step_of(double learning_rate, double ema_decay, int64_t update)
{
    return (fx_step){.learning_rate = (float)learning_rate,
                     .ema_decay = (float)ema_decay,
                     .update = update,
                     .gradient_scale = 1};
}

/* Row of the gradient table: our norm and projection against the file's. */
static fx_status gradient_of(check *c, fx_params *params, const char *name, double *l2, double *dot,
                             char *shape, size_t size)
{
    char probe_name[FX_NAME_MAX + 8];
    fx_status status = FX_OK;
    float *x = NULL, *probe = NULL;
    const fx_param *p = fx_params_find(params, name);
    FX_REQUIRE(p && p->trained, FX_EVALUE, "%s: grad/name: the model has no parameter %s",
               c->golden.path, name);
    const int64_t count = fx_count(&p->value);
    FX_TRY(fx_print(probe_name, sizeof probe_name, "probe:%s", name));
    FX_TRY_DONE(FX_ALLOC(x, count));
    FX_TRY_DONE(FX_ALLOC(probe, count));
    FX_TRY_DONE(fx_params_read(params, c->exec, p, FX_SLAB_GRADIENT, x));
    fx_golden_numbers(c->golden.tag, probe_name, 1.0, probe, count);
    *l2 = *dot = 0;
    for (int64_t i = 0; i < count; i++) {
        *l2 += (double)x[i] * (double)x[i];
        *dot += (double)x[i] * (double)probe[i];
    }
    *l2 = sqrt(*l2);
    shape[0] = '\0';
    for (int i = 0; i < p->value.rank; i++) {
        const size_t used = strlen(shape);
        snprintf(shape + used, size - used, i ? ",%lld" : "%lld", (long long)p->value.dim[i]);
    }
done:
    fx_free(x);
    fx_free(probe);
    return status;
}

typedef struct gradient_row {
    double l2, dot;
    char name[FX_NAME_MAX];
} gradient_row;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const gradient_row *)a)->name, ((const gradient_row *)b)->name);
}

static fx_status each_once(const check *c, gradient_row *rows, int64_t count)
{
    qsort(rows, (size_t)count, sizeof *rows, by_name);
    for (int64_t i = 1; i < count; i++)
        FX_REQUIRE(strcmp(rows[i].name, rows[i - 1].name) != 0, FX_EVALUE,
                   "%s: grad/name: %s is there twice", c->golden.path, rows[i].name);
    return FX_OK;
}

static fx_status read_rows(check *c, fx_params *params, int64_t count, gradient_row *ours)
{
    for (int64_t i = 0; i < count; i++) {
        char shape[64], stored[64];
        FX_TRY(fx_h5_read_string(c->golden.file, "grad/name", i, ours[i].name, sizeof ours[i].name));
        FX_TRY(fx_h5_read_string(c->golden.file, "grad/shape", i, stored, sizeof stored));
        FX_TRY(gradient_of(c, params, ours[i].name, &ours[i].l2, &ours[i].dot, shape, sizeof shape));
        FX_REQUIRE(strcmp(shape, stored) == 0, FX_EVALUE, "%s: grad/shape: %s of %s, the model's is %s",
                   c->golden.path, stored, ours[i].name, shape);
    }
    return FX_OK;
}

static fx_status check_gradients(check *c, fx_params *params)
{
    fx_h5_shape shape;
    fx_status status = FX_OK;
    gradient_row *ours = NULL;
    double *l2 = NULL, *dot = NULL, largest = 0, error[2] = {0, 0};
    int trained = 0;
    for (int i = 0; i < fx_params_count(params); i++)
        trained += fx_params_at(params, i)->trained;
    FX_TRY(fx_h5_describe(c->golden.file, "grad/l2", &shape));
    const int64_t count = shape.dim[0];
    FX_REQUIRE(shape.rank == 1 && count == trained, FX_EVALUE,
               "%s: grad/l2: %lld gradients, the model has %d", c->golden.path, (long long)count,
               trained);
    FX_TRY_DONE(FX_ALLOC(ours, count));
    FX_TRY_DONE(FX_ALLOC(l2, count));
    FX_TRY_DONE(FX_ALLOC(dot, count));
    FX_TRY_DONE(fx_h5_read(c->golden.file, "grad/l2", NULL, NULL, FX_H5_F64, l2));
    FX_TRY_DONE(fx_h5_read(c->golden.file, "grad/dot", NULL, NULL, FX_H5_F64, dot));
    FX_TRY_DONE(read_rows(c, params, count, ours));
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(l2[i]));
    for (int64_t i = 0; i < count; i++) {
        if (fmax(fabs(l2[i]), ours[i].l2) <= SEEN_GRADIENT * largest) continue;
        const double of_l2 = fabs(ours[i].l2 - l2[i]) / fabs(l2[i]),
                     of_dot = fabs(ours[i].dot - dot[i]) / fabs(l2[i]);
        error[0] = of_l2 <= error[0] ? error[0] : of_l2; /* NaN is kept */
        error[1] = of_dot <= error[1] ? error[1] : of_dot;
        if (!(of_l2 <= GRADIENT))
            fprintf(c->out, "  grad/l2 of %s: %.9g, file %.9g\n", ours[i].name, ours[i].l2, l2[i]);
    }
    FX_TRY_DONE(judge(c, "grad/l2", error[0], GRADIENT));
    FX_TRY_DONE(judge(c, "grad/dot", error[1], GRADIENT));
    FX_TRY_DONE(each_once(c, ours, count));
    c->compared += 2; /* names and shapes */
done:
    fx_free(ours);
    fx_free(l2);
    fx_free(dot);
    return status;
}

static fx_status check_outputs(check *c, fx_trainee *t)
{
    const fx_golden *g = &c->golden;
    const fx_objective_nodes *n = &t->nodes[0];
    const fx_step step = step_of(0, 1, 1);
    fx_step_report report;
    const int64_t b = g->options.micro_batch;
    FX_TRY(fx_golden_weights(g, t->params, c->exec));
    FX_TRY(fx_golden_inputs(g, "", t->step, &t->inputs[0], NULL));
    FX_TRY(fx_trainee_step(t, &step, &report));
    const part alpha = {.tensor = n->schedule, .first = 0, .count = b, .stride = 4};
    const part sigma = {.tensor = n->schedule, .first = 1, .count = b, .stride = 4};
    FX_TRY(compare_tensor(c, "out/alpha", t->step, alpha, OUTPUT));
    FX_TRY(compare_tensor(c, "out/sigma", t->step, sigma, OUTPUT));
    FX_TRY(compare_whole(c, "out/z", t->step, n->z, OUTPUT));
    FX_TRY(compare_whole(c, "out/latent", t->step, n->latent, LATENT));
    FX_TRY(compare_whole(c, "out/velocity", t->step, n->velocity, OUTPUT));
    FX_TRY(compare(c, g->plain ? "out/loss_l1" : "out/loss", &report.loss, 1, LOSS));
    if (n->contrast) FX_TRY(compare(c, "out/loss_contrastive", &report.contrast, 1, CONTRAST));
    return check_gradients(c, t->params);
}

static fx_status check_samples(check *c, fx_params *params, int steps, bool forecasts)
{
    const fx_golden *g = &c->golden;
    const int64_t b = g->options.micro_batch,
                  pixels = b * g->options.model.image * g->options.model.image;
    const bool sr = g->options.model.tasks & FX_TASK_SR;
    fx_sampler s = {0};
    char name[32];
    const fx_step step = step_of(0, 1, 1);
    FX_TRY(fx_sampler_create(c->exec, params, &g->options, b, steps, false, &s));
    fx_status status = fx_golden_inputs(g, "", s.program, &s.inputs, s.x);
    if (status == FX_OK) status = fx_program_run(s.program, &step, NULL);
    if (status == FX_OK && sr) {
        snprintf(name, sizeof name, "out/ddim%d_sr", steps);
        const part p = {.tensor = s.residual,
                        .base = s.inputs.lowres,
                        .count = pixels,
                        .stride = 1,
                        .base_stride = 1};
        status = compare_tensor(c, name, s.program, p, OUTPUT);
    }
    if (status == FX_OK && forecasts) {
        snprintf(name, sizeof name, "out/ddim%d_fc", steps);
        const part p = {.tensor = s.residual,
                        .base = s.inputs.snapshots,
                        .first = sr ? pixels : 0,
                        .count = pixels,
                        .stride = 1,
                        .base_stride = g->options.model.cond};
        status = compare_tensor(c, name, s.program, p, OUTPUT);
    }
    fx_program_free(&s.program);
    return status;
}

static fx_status final_loss(check *c, fx_params *params, bool ema, const char *dataset)
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
    FX_TRY_DONE(compare(c, dataset, &sum, 1, TRAIN_LOSS));
done:
    fx_free(rows);
    fx_program_free(&probe.program);
    return status;
}

enum { TRAIN_MAX = 64 };

static fx_status check_training(check *c, fx_trainee *t)
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
    FX_TRY(compare(c, "train/lr", rate, n, SCHEDULE));
    FX_TRY(compare(c, "train/ema_decay", decay, n, SCHEDULE));
    FX_TRY(compare(c, "train/loss", loss, n, TRAIN_LOSS));
    if (t->nodes[0].contrast) FX_TRY(compare(c, "train/loss_contrastive", contrast, n, TRAIN_LOOSE));
    FX_TRY(compare(c, "train/grad_norm", norm, n, TRAIN_LOOSE));
    FX_TRY(final_loss(c, t->params, false, "train/final_loss"));
    return final_loss(c, t->params, true, "train/final_loss_ema");
}

static fx_status count_one(void *self, fx_h5 *f, const char *name)
{
    (void)f, (void)name;
    ++*(int *)self;
    return FX_OK;
}

/* A dataset that nothing looked at would be a silent hole. */
static fx_status all_compared(const check *c)
{
    int stored = 0;
    FX_TRY(fx_h5_walk(c->golden.file, count_one, &stored));
    FX_REQUIRE(stored == c->compared, FX_EVALUE, "%s: %d datasets, %d of them known", c->golden.path,
               stored, c->compared);
    return FX_OK;
}

/* Looked for before anything is computed. */
static fx_status all_there(const check *c)
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

static fx_status verify_model(check *c)
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
    FX_TRY_DONE(all_compared(c));
done:
    fx_trainee_free(&t);
    return status;
}

static fx_status verify_bicubic(check *c, int64_t factor, int64_t side)
{
    fx_params *params = NULL;
    fx_builder *g = NULL;
    fx_program *program = NULL;
    fx_status status = FX_OK;
    float *x = NULL;
    char name[16];
    const fx_step step = step_of(0, 1, 1);
    snprintf(name, sizeof name, "up/%lld", (long long)factor);
    FX_TRY_DONE(FX_ALLOC(x, side * side));
    FX_TRY_DONE(fx_params_create(&params));
    FX_TRY_DONE(fx_builder_create(params, &g));
    fx_tensor *patch = fx_input(g, "patch", 4, FX_DIMS(1, side, side, 1));
    const fx_attrs attrs = {.bicubic = {.factor = factor}};
    const fx_node *node = fx_record(g, FX_OP_bicubic, name, attrs, &patch, 1);
    const fx_tensor *up = node ? fx_keep(g, node->out[0]) : NULL;
    FX_TRY_DONE(fx_program_create(c->exec, &g, false, &program));
    fx_golden_numbers(c->golden.tag, "patch", 1.5, x, side * side);
    FX_TRY_DONE(fx_program_write(program, patch, x));
    FX_TRY_DONE(fx_program_run(program, &step, NULL));
    FX_TRY_DONE(compare_whole(c, name, program, up, BICUBIC));
done:
    fx_free(x);
    fx_program_free(&program);
    fx_builder_free(&g);
    fx_params_free(&params);
    return status;
}

static fx_status verify_bicubics(check *c, const char *file)
{
    int64_t tag = 0, side = 0;
    FX_TRY(fx_h5_get_int(c->golden.file, "/", "tag", &tag));
    FX_TRY(fx_h5_get_int(c->golden.file, "/", "side", &side));
    FX_REQUIRE(side >= 8 && side <= 4096, FX_EVALUE, "%s: attribute side: %lld", file, (long long)side);
    c->golden.tag = (uint64_t)tag;
    for (int64_t factor = 2; factor <= 8; factor *= 2)
        FX_TRY(verify_bicubic(c, factor, side));
    return all_compared(c);
}

/* The kind of file is its format attribute's. */
static fx_status is_bicubic(const char *file, bool *out)
{
    fx_h5 *f = NULL;
    char format[64];
    FX_TRY(fx_h5_open(file, FX_H5_FOREIGN, &f));
    const fx_status status = fx_h5_get_text(f, "/", "format", format, sizeof format);
    *out = status == FX_OK && strcmp(format, "flex-golden-bicubic-1") == 0;
    fx_h5_abandon(&f);
    return status;
}

fx_status fx_verify(fx_exec *exec, const char *file, FILE *out)
{
    check c = {.exec = exec, .out = out};
    bool bicubic = false;
    fx_status status = FX_OK;
    FX_TRY(is_bicubic(file, &bicubic));
    fprintf(out, "%s\n", file);
    if (bicubic) {
        c.golden.path = file;
        FX_TRY(fx_h5_open(file, FX_H5_FOREIGN, &c.golden.file));
        status = verify_bicubics(&c, file);
    } else {
        FX_TRY(fx_golden_open(file, &c.golden));
        status = verify_model(&c);
    }
    fx_h5_abandon(&c.golden.file);
    return status;
}
