/* golden.c: reads what a golden file is about, and makes its weights and inputs. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"

static const uint64_t GAMMA = 0x9E3779B97F4A7C15u;

/* least + u width with u in [0, 1), rounded once. */
static void numbers(uint64_t tag, const char *name, double least, double width, float *out,
                    int64_t count)
{
    const uint64_t high = (uint64_t)fx_crc32(name) << 32, key = tag * GAMMA;
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) {
        uint64_t z = ((high | (uint64_t)i) ^ key) + GAMMA;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        out[i] = (float)(least + (double)(z >> 11) * 0x1p-53 * width);
    }
}

void fx_golden_numbers(uint64_t tag, const char *name, double amplitude, float *out, int64_t count)
{
    numbers(tag, name, -amplitude, 2.0 * amplitude, out, count);
}

static fx_status integer(const fx_golden *g, const char *name, int64_t *out)
{
    return fx_h5_get_int(g->file, "/", name, out);
}

static fx_status real(const fx_golden *g, const char *name, double *out)
{
    return fx_h5_get_real(g->file, "/", name, out);
}

/* An attribute that may be absent keeps the value that *out has. */
static fx_status real_or(const fx_golden *g, const char *name, double *out)
{
    return fx_h5_has_attribute(g->file, "/", name) ? real(g, name, out) : FX_OK;
}

static fx_status word_or(const fx_golden *g, const char *name, const char *const *words, int count,
                         int *out)
{
    char text[32];
    if (!fx_h5_has_attribute(g->file, "/", name)) return FX_OK;
    FX_TRY(fx_h5_get_text(g->file, "/", name, text, sizeof text));
    for (int i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return FX_OK;
        }
    return fx_fail(FX_EVALUE, "%s: attribute %s: \"%s\" is not known", g->path, name, text);
}

static fx_status levels(const fx_golden *g, const char *name, int *count, int64_t *out)
{
    double values[FX_MAX_LEVELS];
    FX_TRY(fx_h5_get_reals(g->file, "/", name, values, FX_MAX_LEVELS, count));
    for (int l = 0; l < *count; l++)
        out[l] = (int64_t)values[l];
    return FX_OK;
}

static fx_status read_levels(fx_golden *g)
{
    fx_model *m = &g->options.model;
    int count = 0;
    FX_TRY(levels(g, "channels", &m->levels, m->channels));
    FX_TRY(levels(g, "res_blocks", &count, m->blocks));
    FX_REQUIRE(count == m->levels, FX_EVALUE, "%s: attribute res_blocks: %d levels, channels has %d",
               g->path, count, m->levels);
    return FX_OK;
}

static fx_status read_transformer(fx_golden *g)
{
    fx_model *m = &g->options.model;
    double ratio = 2;
    FX_TRY(integer(g, "depth", &m->depth));
    FX_TRY(real(g, "mlp_ratio", &ratio));
    m->mlp_ratio = (int64_t)ratio;
    return FX_OK;
}

static fx_status read_flex(fx_golden *g)
{
    fx_model *m = &g->options.model;
    int count = 0;
    double patch = 1, weak = 4;
    FX_TRY(read_levels(g));
    FX_TRY(read_transformer(g));
    FX_TRY(real_or(g, "latent_patch", &patch));
    count = m->levels;
    memcpy(m->decoder_channels, m->channels, sizeof m->channels);
    if (fx_h5_has_attribute(g->file, "/", "decoder_channels"))
        FX_TRY(levels(g, "decoder_channels", &count, m->decoder_channels));
    FX_REQUIRE(count == m->levels, FX_EVALUE, "%s: attribute decoder_channels: %d levels", g->path,
               count);
    weak = m->levels < 4 ? m->levels : 4;
    FX_TRY(real_or(g, "weak_levels", &weak));
    m->weak_levels = (int)weak;
    m->latent_patch = (int64_t)patch;
    return FX_OK;
}

/* Attention is given by how often the maps are halved before it: 1, 2, 4... */
static fx_status read_unet(fx_golden *g)
{
    double halvings[FX_MAX_LEVELS];
    int count = 0;
    fx_model *m = &g->options.model;
    FX_TRY(read_levels(g));
    FX_TRY(fx_h5_get_reals(g->file, "/", "attention_downsampling", halvings, FX_MAX_LEVELS, &count));
    for (int i = 0; i < count; i++) {
        const unsigned bit =
            halvings[i] >= 1 && halvings[i] < 1 << FX_MAX_LEVELS ? (unsigned)halvings[i] : 0;
        FX_REQUIRE(bit && (bit & (bit - 1)) == 0 && (double)bit == halvings[i], FX_EVALUE,
                   "%s: attribute attention_downsampling: %g is no power of two below %d", g->path,
                   halvings[i], 1 << FX_MAX_LEVELS);
        m->attention |= bit;
    }
    return FX_OK;
}

static fx_status read_uvit(fx_golden *g)
{
    FX_TRY(integer(g, "embed_dim", &g->options.model.embed_dim));
    FX_TRY(integer(g, "patch_size", &g->options.model.patch));
    return read_transformer(g);
}

static fx_status read_model(fx_golden *g)
{
    static const char *const archs[] = {"flex", "unet", "uvit"}, *const tasks[] = {"both", "sr", "fc"};
    static const unsigned bits[] = {FX_TASK_SR | FX_TASK_FC, FX_TASK_SR, FX_TASK_FC};
    static fx_status (*const read[])(fx_golden *) = {read_flex, read_unet, read_uvit};
    fx_model *m = &g->options.model;
    int arch = 0, task = 0;
    double scale = 1;
    FX_TRY(word_or(g, "arch", archs, 3, &arch));
    FX_TRY(word_or(g, "tasks", tasks, 3, &task));
    FX_TRY(integer(g, "image_size", &m->image));
    FX_TRY(integer(g, "cond_snapshots", &m->cond));
    FX_TRY(integer(g, "heads", &m->heads));
    FX_TRY(real_or(g, "strong_scale", &scale));
    m->arch = (fx_arch)arch;
    m->tasks = bits[task];
    m->strong_scale = (float)scale;
    FX_TRY(read[arch](g));
    return fx_model_check(m);
}

static fx_status read_objective(fx_golden *g)
{
    static const char *const predicts[] = {"v", "x", "eps"}, *const criteria[] = {"l1", "mse", "huber"};
    fx_step_options *o = &g->options;
    int predict = FX_PREDICT_V, criterion = FX_L1;
    double sigmoid = 0, weight = 0, temperature = 0;
    o->schedule.sigmoid_shift = -1;
    o->target = (fx_target_attrs){.scale = {1, 1}};
    FX_TRY(word_or(g, "predict", predicts, 3, &predict));
    FX_TRY(word_or(g, "criterion", criteria, 3, &criterion));
    FX_TRY(real_or(g, "sigmoid_weight", &sigmoid));
    FX_TRY(real_or(g, "sigmoid_shift", &o->schedule.sigmoid_shift));
    FX_REQUIRE(sigmoid != 0 || o->schedule.sigmoid_shift == -1, FX_EVALUE,
               "%s: attribute sigmoid_shift: %g means nothing without sigmoid_weight", g->path,
               o->schedule.sigmoid_shift);
    FX_TRY(real(g, "logsnr_shift", &o->schedule.shift));
    if (o->model.tasks == (FX_TASK_SR | FX_TASK_FC)) {
        FX_TRY(real(g, "contrastive_weight", &weight));
        FX_TRY(real(g, "contrastive_temperature", &temperature));
    }
    o->schedule.predict = (fx_predict)predict;
    o->schedule.sigmoid_weight = sigmoid != 0;
    o->criterion = (fx_criterion)criterion;
    o->contrast_weight = (float)weight;
    o->contrast_temperature = (float)temperature;
    g->plain = predict == FX_PREDICT_V && criterion == FX_L1 && sigmoid == 0;
    return FX_OK;
}

/* Files without a trajectory are checked with an update whose learning rate is 0. */
static fx_status read_training(fx_golden *g)
{
    static const char *const optimizers[] = {"lion", "adamw"};
    fx_step_options *o = &g->options;
    int optimizer = FX_LION;
    double steps = 0, warmup = 0, total = 0, clip = 1;
    FX_TRY(real_or(g, "train_steps", &steps));
    if (steps > 0) {
        FX_TRY(word_or(g, "optimizer", optimizers, 2, &optimizer));
        FX_TRY(real(g, "warmup_steps", &warmup));
        FX_TRY(real(g, "total_steps", &total));
        FX_TRY(real(g, "clip_norm", &clip));
        FX_TRY(real(g, "learning_rate", &g->learning_rate));
        FX_TRY(real(g, "ema_decay", &g->ema_decay));
    }
    g->train_steps = (int64_t)steps;
    g->warmup_steps = (int64_t)warmup;
    g->total_steps = (int64_t)total;
    o->clip.max_norm = (float)clip;
    o->update = (fx_update_attrs){.optimizer = (fx_optimizer)optimizer,
                                  .beta1 = 0.9,
                                  .beta2 = optimizer == FX_ADAMW ? 0.999 : 0.98,
                                  .eps = 1e-8};
    return FX_OK;
}

static fx_status read_attributes(fx_golden *g)
{
    char format[64];
    int64_t tag = 0;
    FX_TRY(fx_h5_get_text(g->file, "/", "format", format, sizeof format));
    FX_REQUIRE(strcmp(format, "flex-golden-1") == 0, FX_EVALUE,
               "%s: attribute format: \"%s\" is not known", g->path, format);
    FX_TRY(integer(g, "tag", &tag));
    FX_TRY(integer(g, "batch", &g->options.micro_batch));
    FX_REQUIRE(g->options.micro_batch >= 1 && g->options.micro_batch <= 1024, FX_EVALUE,
               "%s: attribute batch: %lld", g->path, (long long)g->options.micro_batch);
    g->tag = (uint64_t)tag;
    g->options.accumulate = 1;
    g->options.given = true;
    g->options.bucket_bytes = 1 << 20;
    FX_TRY(read_model(g));
    FX_TRY(read_objective(g));
    return read_training(g);
}

fx_status fx_golden_open(const char *path, fx_golden *out)
{
    memset(out, 0, sizeof *out);
    out->path = path;
    FX_TRY(fx_h5_open(path, FX_H5_FOREIGN, &out->file));
    const fx_status status = read_attributes(out);
    if (status != FX_OK) fx_h5_abandon(&out->file);
    return status;
}

static void weight_numbers(const fx_golden *g, const fx_param *p, float *out)
{
    const fx_tensor *t = &p->value;
    const int64_t count = fx_count(t);
    double amplitude = 0.1;
    if (p->init.kind == FX_INIT_FREQUENCIES)
        amplitude = 6.0;
    else if (p->init.kind == FX_INIT_PHASES)
        amplitude = 3.0;
    else if (p->init.kind == FX_INIT_NORMAL_002)
        amplitude = 0.02;
    else if (t->rank >= 2)
        amplitude = 1.0 / sqrt((double)(count / t->dim[0]));
    fx_golden_numbers(g->tag, p->name, amplitude, out, count);
    for (int64_t i = 0; p->init.kind == FX_INIT_ONE && i < count; i++)
        out[i] = 1.0f + out[i];
}

fx_status fx_golden_weights(const fx_golden *g, fx_params *params, fx_exec *exec)
{
    static const fx_slab moments[] = {FX_SLAB_MOMENT1, FX_SLAB_MOMENT2};
    fx_status status = FX_OK;
    float *x = NULL;
    for (int i = 0; i < fx_params_count(params); i++) {
        const fx_param *p = fx_params_at(params, i);
        const size_t count = (size_t)fx_count(&p->value);
        fx_free(x);
        FX_TRY_DONE(FX_ALLOC(x, count));
        weight_numbers(g, p, x);
        FX_TRY_DONE(fx_params_write(params, exec, p, FX_SLAB_VALUE, x));
        if (!p->trained) continue;
        FX_TRY_DONE(fx_params_write(params, exec, p, FX_SLAB_EMA, x));
        memset(x, 0, count * sizeof *x);
        for (int m = 0; m < 2; m++)
            if (fx_params_slab(params, moments[m], 0))
                FX_TRY_DONE(fx_params_write(params, exec, p, moments[m], x));
    }
done:
    fx_free(x);
    return status;
}

/* (B, C, P) to (B, P, C). */
static void channels_last(const float *in, int64_t b, int64_t c, int64_t pixels, float *out)
{
    for (int64_t i = 0; i < b * c * pixels; i++) {
        const int64_t sample = i / (c * pixels), channel = i / pixels % c, pixel = i % pixels;
        out[(sample * pixels + pixel) * c + channel] = in[i];
    }
}

/* u in [0, 1) where `unit`, else +-amplitude; the file's order is channel before pixel. */
static fx_status input(const fx_golden *g, const char *prefix, const char *name, double amplitude,
                       bool unit, fx_program *program, fx_tensor *t, int copies)
{
    if (!t) return FX_OK;
    char full[64];
    fx_status status = FX_OK;
    float *x = NULL, *y = NULL;
    const int64_t count = fx_count(t), each = count / copies, channels = t->rank == 4 ? t->dim[3] : 1;
    FX_TRY(fx_print(full, sizeof full, "%s%s", prefix, name));
    FX_TRY_DONE(FX_ALLOC(x, count));
    FX_TRY_DONE(FX_ALLOC(y, count));
    numbers(g->tag, full, unit ? 0.0 : -amplitude, unit ? 1.0 : 2.0 * amplitude, x, each);
    channels_last(x, t->dim[0] / copies, channels, each / (t->dim[0] / copies) / channels, y);
    for (int k = 1; k < copies; k++)
        memcpy(y + k * each, y, (size_t)each * sizeof *y);
    FX_TRY_DONE(fx_program_write(program, t, y));
done:
    fx_free(x);
    fx_free(y);
    return status;
}

fx_status fx_golden_inputs(const fx_golden *g, const char *prefix, fx_program *program,
                           const fx_batch *b, fx_tensor *x)
{
    static const double UNIT_VARIANCE = 1.7320508; /* uniform of standard deviation 1 */
    FX_TRY(input(g, prefix, "lowres", 1.5, false, program, b->lowres, 1));
    FX_TRY(input(g, prefix, "snapshots", 1.5, false, program, b->snapshots, 1));
    FX_TRY(input(g, prefix, "future", 1.5, false, program, b->future, 1));
    FX_TRY(input(g, prefix, "re", 0, true, program, b->re, 1));
    FX_TRY(input(g, prefix, "t", 0, true, program, b->t, 1));
    FX_TRY(input(g, prefix, "eps", UNIT_VARIANCE, false, program, b->eps, 1));
    return input(g, prefix, "x_T", UNIT_VARIANCE, false, program, x,
                 x ? (int)(x->dim[0] / b->re->dim[0]) : 1);
}
