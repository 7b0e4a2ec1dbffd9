/* run_words.c: what a run's record says, in words. */
#include "run_words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/train.h"

static const double LEARNS = 0.05; /* fall of the loss over the last tenth of the steps */
static const double WAITS = 0.2;   /* share of the time */
static const double RISES = 0.05;  /* of the validation's loss above its least */
static const double FEW_SAMPLES = 1e6;

/* Sticky: after a failure to allocate texts are NULL, and fx_run_words_find says so. */
typedef struct writer {
    fx_run_record *run;
    fx_run_words *out;
    bool failed;
} writer;

#define PRINT(w, ...) kept((w), fx_pool_print((w)->run->pool, __VA_ARGS__))
static const char *kept(writer *w, const char *text)
{
    if (!text) w->failed = true;
    return text;
}

static void add_fact(writer *w, const char *key, const char *value)
{
    if (value && w->out->facts < FX_WORDS) w->out->fact[w->out->facts++] = (fx_fact){key, value};
}

static void add_finding(writer *w, fx_mark mark, const char *text)
{
    if (text && w->out->findings < FX_WORDS)
        w->out->finding[w->out->findings++] = (fx_finding){mark, text};
}

static void add_paragraph(writer *w, const char *text)
{
    if (text && w->out->paragraphs < FX_WORDS) w->out->paragraph[w->out->paragraphs++] = text;
}

const char *fx_run_name(const char *folder)
{
    const char *name = folder + strlen(folder);
    int parts = 0;
    while (name > folder) {
        if (name[-1] == '/' && ++parts == 2) break;
        name--;
    }
    return name;
}

/* "500, 1000 and 2000" */
static const char *list_text(writer *w, const fx_list *list, const char *none)
{
    const char *text = list->count ? "" : none;
    for (int i = 0; i < list->count && text; i++)
        text = PRINT(w, "%s%s%g", text,
                     i == 0                ? ""
                     : i < list->count - 1 ? ", "
                                           : " and ",
                     list->value[i]);
    return text;
}

/* "32-32-64-64" */
static const char *row_text(writer *w, const fx_list *list)
{
    const char *text = "";
    for (int i = 0; i < list->count && text; i++)
        text = PRINT(w, "%s%s%g", text, i ? "-" : "", list->value[i]);
    return text;
}

static const char *arch_name(const fx_config *c)
{
    static const char *const names[] = {"FLEX", "U-Net", "UViT"};
    return names[c->model_arch];
}

static const char *network_text(writer *w)
{
    enum { FLEX, UNET, UVIT };
    const fx_config *c = &w->run->config;
    const char *channels = row_text(w, &c->model_channels), *blocks = row_text(w, &c->model_blocks);
    if (c->model_arch == UVIT)
        return PRINT(w, "UViT, width %lld, depth %lld, patches of %lld \xc3\x97 %lld pixels",
                     (long long)c->model_embed_dim, (long long)c->model_depth,
                     (long long)c->model_patch, (long long)c->model_patch);
    if (c->model_arch == UNET)
        return PRINT(w, "U-Net, channels %s, blocks %s, attention at maps of side %s", channels, blocks,
                     list_text(w, &c->model_attention_sides, "none"));
    return PRINT(w, "FLEX, channels %s, blocks %s, depth %lld", channels, blocks,
                 (long long)c->model_depth);
}

static const char *tasks_text(writer *w)
{
    const fx_config *c = &w->run->config;
    const long long factor = c->data_factor, cond = c->model_cond;
    enum { BOTH, SR_ALONE };
    const char *snapshots = cond == 1 ? "the last snapshot" : PRINT(w, "%lld snapshots", cond);
    if (c->model_tasks == SR_ALONE) return PRINT(w, "super-resolution \xc3\x97%lld", factor);
    if (c->model_tasks != BOTH) return PRINT(w, "forecasts from %s", snapshots);
    return PRINT(w, "super-resolution \xc3\x97%lld and forecasts from %s", factor, snapshots);
}

static const char *size_text(writer *w)
{
    const double count = (double)fx_run_record_parameters(w->run);
    if (count <= 0) return "";
    return count < 1e6 ? PRINT(w, " of %.3g thousand parameters", 1e-3 * count)
                       : PRINT(w, " of %.3g million parameters", 1e-6 * count);
}

/* ---- Facts. */

static double sum_of(const double *x, int64_t from, int64_t count)
{
    double sum = 0;
    for (int64_t i = from; i < count; i++)
        if (isfinite(x[i])) sum += x[i];
    return sum;
}

static double mean_of(const double *x, int64_t from, int64_t count)
{
    double sum = 0, terms = 0;
    for (int64_t i = from; i < count; i++)
        if (isfinite(x[i])) sum += x[i], terms++;
    return terms > 0 ? sum / terms : NAN;
}

static const char *time_text(writer *w)
{
    const fx_run_record *r = w->run;
    const double seconds = sum_of(r->column[FX_RECORD_SECONDS], 0, r->steps),
                 wait = sum_of(r->column[FX_RECORD_WAIT], 0, r->steps);
    const int64_t from = r->steps > 50 ? r->steps - 50 : 0;
    const long s = lround(seconds);
    return PRINT(
        w, "%ld:%02ld:%02ld of steps, %.1f samples/s at the end, %.1f\xe2\x80\xaf%% waiting for data",
        s / 3600, s / 60 % 60, s % 60, mean_of(r->column[FX_RECORD_SPEED], from, r->steps),
        100 * wait / seconds);
}

/* What a counter said last, and the samples of the steps in which it counted; 0: in none. */
static double energy_of(const fx_run_record *r, fx_record_column column, double *samples,
                        int64_t *counted)
{
    double joules = 0;
    *samples = 0;
    *counted = 0;
    for (int64_t i = 0; i < r->steps; i++) {
        if (!isfinite(r->column[column][i])) continue;
        joules = r->column[column][i];
        *samples += r->column[FX_RECORD_SPEED][i] * r->column[FX_RECORD_SECONDS][i];
        ++*counted;
    }
    return joules;
}

/* "4.31 kJ of processors and memory, 12.3 kJ of GPUs: 2.13 J a sample, validations and saves between
 * steps included" */
static const char *energy_text(writer *w)
{
    const struct {
        fx_record_column column;
        const char *name;
    } kinds[] = {{FX_RECORD_CPU_JOULES, "processors and memory"}, {FX_RECORD_GPU_JOULES, "GPUs"}};
    const fx_run_record *r = w->run;
    const char *text = "", *part = "";
    char joules[32], each[32];
    double a_sample = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds && text && part; k++) {
        double samples;
        int64_t counted;
        fx_si_text(energy_of(r, kinds[k].column, &samples, &counted), "J", joules, sizeof joules);
        if (counted == 0) continue;
        a_sample += energy_of(r, kinds[k].column, &samples, &counted) / samples;
        text = PRINT(w, "%s%s%s of %s", text, text[0] ? ", " : "", joules, kinds[k].name);
        if (counted < r->steps)
            part = PRINT(w, "%s; of %s in %lld of %lld steps alone", part, kinds[k].name,
                         (long long)counted, (long long)r->steps);
    }
    if (!text || !part) return NULL;
    if (!text[0]) /* a run of an older version says nothing of counters */
        return r->environment && strstr(r->environment, "\nenergy ") ? "no counter on this machine"
                                                                     : "not measured";
    fx_si_text(a_sample, "J", each, sizeof each);
    return PRINT(w, "%s: %s a sample, validations and saves between steps included%s", text, each,
                 part);
}

/* Line `index` of env.txt, without its end. */
static const char *environment_line(writer *w, int index)
{
    const char *line = w->run->environment;
    for (int i = 0; i < index && line; i++) {
        line = strchr(line, '\n');
        if (line) line++;
    }
    return line && *line ? PRINT(w, "%.*s", (int)strcspn(line, "\n"), line) : NULL;
}

static const char *place_text(writer *w)
{
    const char *text = w->run->environment ? strstr(w->run->environment, "\nrank ") : NULL;
    char host[FX_NAME_MAX];
    int ranks = 0;
    if (!text || sscanf(text, "\nrank %*d/%d on %127[^,\n]", &ranks, host) != 2) return NULL;
    return ranks == 1 ? PRINT(w, "1 rank on %s", host)
                      : PRINT(w, "%d ranks, the first on %s", ranks, host);
}

/* "EMA weights; pack-heldout: step 384, 2 DDIM steps; pack-unseen: step 384, 2 DDIM steps, 8 members; 1
 * more with a name" */
static const char *evaluations_text(writer *w)
{
    const fx_run_record *r = w->run;
    const char *text = NULL;
    int named = 0;
    for (int i = 0; i < r->evaluations; i++) {
        const fx_eval_file *of = &r->evaluation[i];
        named += of->name[0] != '\0';
        if (of->name[0]) continue;
        const char *members = of->members > 1 ? PRINT(w, ", %lld members", (long long)of->members) : "";
        text = PRINT(w, "%s; %s: step %lld, %lld DDIM step%s%s", text ? text : "EMA weights", of->pack,
                     (long long)of->step, (long long)of->sample_steps, of->sample_steps == 1 ? "" : "s",
                     members ? members : "");
    }
    if (named > 0)
        text =
            PRINT(w, "%s; %d%s with a name", text ? text : "EMA weights", named, text ? " more" : "");
    return text;
}

static int64_t newest_step(const fx_run_record *r)
{
    return r->steps > 0 ? (int64_t)r->step[r->steps - 1] : 0;
}

static void find_facts(writer *w)
{
    static const char *const optimizers[] = {"Lion", "AdamW"};
    const fx_run_record *r = w->run;
    const fx_config *c = &r->config;
    const char *place = place_text(w), *version = environment_line(w, 1);
    add_fact(w, "model", network_text(w));
    add_fact(w, "tasks", tasks_text(w));
    add_fact(w, "data",
             PRINT(w, "%s: Re %s, patches of %lld \xc3\x97 %lld pixels", c->data_path,
                   list_text(w, &c->data_reynolds, "of the pack"), (long long)c->data_patch,
                   (long long)c->data_patch));
    add_fact(w, "training",
             PRINT(w, "%s, learning rate %g, %lld samples a step, seed %lld",
                   optimizers[c->train_optimizer], c->train_learning_rate,
                   (long long)c->train_global_batch, (long long)c->seed));
    if (r->steps > 0) add_fact(w, "time", time_text(w));
    if (r->steps > 0) add_fact(w, "energy", energy_text(w));
    add_fact(w, "evaluated", evaluations_text(w));
    if (place) add_fact(w, "where", place);
    if (version) add_fact(w, "program", version);
}

/* ---- Findings of the training; those of the scores the report makes. */

static void find_ending(writer *w)
{
    const fx_run_record *r = w->run;
    const long long done = newest_step(r), wanted = r->config.train_steps;
    int64_t bad = 0, first = -1;
    if (done >= wanted)
        add_finding(w, FX_MARK_GOOD, PRINT(w, "Training finished: %lld steps.", done));
    else
        add_finding(w, FX_MARK_BAD,
                    PRINT(w, "Training did not finish: %lld of %lld steps.", done, wanted));
    for (int64_t i = 0; i < r->steps; i++)
        if (!isfinite(r->column[FX_RECORD_SR][i]) || !isfinite(r->column[FX_RECORD_FC][i]) ||
            !isfinite(r->column[FX_RECORD_NORM][i])) {
            if (bad++ == 0) first = i;
        }
    if (bad > 0)
        add_finding(w, FX_MARK_BAD,
                    PRINT(w, "Loss or gradient not finite in %lld steps, first in step %.0f.",
                          (long long)bad, r->step[first]));
}

static void find_trends(writer *w)
{
    const fx_run_record *r = w->run;
    const int64_t tenth = r->steps / 10, n = r->steps;
    if (tenth >= 10) {
        const double then = mean_of(r->column[FX_RECORD_SR], n - 2 * tenth, n - tenth) +
                            mean_of(r->column[FX_RECORD_FC], n - 2 * tenth, n - tenth),
                     now = mean_of(r->column[FX_RECORD_SR], n - tenth, n) +
                           mean_of(r->column[FX_RECORD_FC], n - tenth, n);
        if (now < (1 - LEARNS) * then)
            add_finding(w, FX_MARK_NOTE,
                        PRINT(w,
                              "Still learning at the end: the loss fell by %.0f\xe2\x80\xaf%% over the "
                              "last tenth of the "
                              "steps.",
                              100 * (1 - now / then)));
    }
    const double wait = sum_of(r->column[FX_RECORD_WAIT], 0, n),
                 time = sum_of(r->column[FX_RECORD_SECONDS], 0, n);
    if (wait > WAITS * time)
        add_finding(
            w, FX_MARK_NOTE,
            PRINT(w, "%.0f\xe2\x80\xaf%% of the time went by waiting for data.", 100 * wait / time));
}

static void find_overfitting(writer *w)
{
    const fx_run_record *r = w->run;
    const double *loss = r->validation[0];
    int64_t least = 0;
    for (int64_t i = 1; i < r->validations; i++)
        if (loss[i] < loss[least]) least = i;
    if (r->validations > 2 && loss[r->validations - 1] > (1 + RISES) * loss[least])
        add_finding(
            w, FX_MARK_BAD,
            PRINT(w, "Validation got worse: its loss was %.4f at step %.0f and is %.4f at the end.",
                  loss[least], r->validated[least], loss[r->validations - 1]));
}

/* ---- Texts. */

static const char *judged_text(writer *w)
{
    const fx_run_record *r = w->run;
    int numbers = 0, unseen = 0;
    for (int i = 0; i < r->rows; i++) {
        bool again = false;
        for (int j = 0; j < i; j++)
            again |= r->row[j]->score.reynolds == r->row[i]->score.reynolds;
        numbers += !again;
        unseen += !again && !r->row[i]->seen;
    }
    if (numbers == 0 && r->evaluations > 0) return "Evaluated under names alone.";
    if (numbers == 0) return "Not evaluated.";
    if (numbers == 1) return PRINT(w, "Judged at one Reynolds number%s.", unseen ? ", never seen" : "");
    return PRINT(w, "Judged at %d Reynolds numbers, %d of them never seen.", numbers, unseen);
}

static void find_texts(writer *w)
{
    const fx_run_record *r = w->run;
    const fx_config *c = &r->config;
    const double samples = (double)newest_step(r) * (double)c->train_global_batch;
    w->out->title = PRINT(w, "%s: %s, %s", fx_run_name(r->folder), arch_name(c), tasks_text(w));
    w->out->summary = PRINT(w, "%s%s, trained for %lld of %lld steps of %lld samples at Re %s. %s",
                            arch_name(c), size_text(w), (long long)newest_step(r),
                            (long long)c->train_steps, (long long)c->train_global_batch,
                            list_text(w, &c->data_reynolds, "of its pack"), judged_text(w));
    add_paragraph(
        w,
        PRINT(w,
              "RFNE is the norm of the error over the norm of the truth, a patch at a time, averaged. "
              "A ratio is the model\xe2\x80\x99s RFNE over its floor\xe2\x80\x99s: %s interpolation "
              "for super-resolution, the unchanged last snapshot for forecasts. Intervals are 95 %% "
              "block bootstraps over time; they do not hold the spread between training seeds.",
              fx_upsampling_name(c)));
    add_paragraph(w, "Few DDIM steps from noise give something close to the conditional mean, which "
                     "makes RFNE small and "
                     "fine scales weak. A low RFNE therefore says nothing about the realism of small "
                     "eddies; the spectrum "
                     "does.");
    add_paragraph(w, "A ratio to persistence says little where the flow hardly changes between two "
                     "snapshots: persistence "
                     "is almost right there. Where the change is steady besides, linear extrapolation, "
                     "in the table as "
                     "well, is the floor that counts.");
    if (samples < FEW_SAMPLES)
        add_paragraph(w, PRINT(w,
                               "This model saw %.0f samples of %lld \xc3\x97 %lld pixels. The "
                               "published ones see patches of "
                               "256 \xc3\x97 256 pixels of 2048 \xc3\x97 2048 fields for hundreds of "
                               "epochs, which is millions of "
                               "samples: what they reach, this one can not show.",
                               samples, (long long)c->data_patch, (long long)c->data_patch));
}

fx_status fx_run_words_find(fx_run_record *record, fx_run_words *out)
{
    writer w = {.run = record, .out = out};
    *out = (fx_run_words){0};
    find_texts(&w);
    find_facts(&w);
    find_ending(&w);
    find_trends(&w);
    find_overfitting(&w);
    return w.failed ? fx_fail(FX_ENOMEM, "no memory for the words of a report") : FX_OK;
}
