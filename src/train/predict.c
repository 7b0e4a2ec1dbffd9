/* predict.c: a training step on ranks that aren't here (src/report/scaling_model.c): by number of ranks
 * and by jitter, what the loss is made of, and what would make it smaller. Efficiency: the step of one
 * rank alone, with the same batch and no jitter, over the step predicted. */
#include <math.h>
#include <string.h>

#include "flexhpc/bench.h"
#include "flexhpc/report.h"
#include "scaling_tape.h"

enum { SIGMAS = 4, USUAL = 1, POINTS = 16, RANKS_MAX = 4096, PROFILE_MAX = 1 << 27 };
static const double sigma[SIGMAS] = {0, 0.003, 0.01, 0.03};
static const char *const sigma_names[SIGMAS] = {"no jitter", "jitter 0.3 %", "jitter 1 %",
                                                "jitter 3 %"};
static const double SLOW =
    0.06; /* of compute beside NCCL's sums: assumed; measured sums take nothing */

const char *const fx_foresee_columns[] = {"ranks",     "step_ms",       "sums_ms",       "exposed_ms",
                                          "slowed_ms", "eff_0",         "eff_0.3",       "eff_1",
                                          "eff_3",     "samples_per_s", "read_gb_per_s", NULL};
static const char *const change_columns[] = {"change", "step_ms", "exposed_ms", "eff_0.3", NULL};

typedef struct model {
    const fx_config *config;
    const fx_foresee_options *options;
    fx_tape_times times;
    fx_fabric fabric;
    double slow, alone, read; /* seconds of a step: on one rank; that a rank reads, 0: unknown */
} model;

typedef struct point {
    int ranks;
    fx_replay at[SIGMAS];
    double step[SIGMAS]; /* of the replay, or of reading where that takes longer */
} point;

static fx_status predict(const model *m, const fx_config *config, int ranks, point *out)
{
    fx_scaling_tape tape;
    *out = (point){.ranks = ranks};
    fx_status status = fx_scaling_tape_create(config, &m->times, m->options->batch, ranks, &tape);
    for (int i = 0; status == FX_OK && i < SIGMAS; i++) {
        status = fx_replay_jitter(tape.entry, tape.count, &m->fabric, ranks, m->slow, sigma[i],
                                  (uint64_t)config->seed, &out->at[i]);
        out->step[i] = fmax(out->at[i].step, m->read);
    }
    fx_scaling_tape_free(&tape);
    return status;
}

static json_t *row_of(const model *m, const point *p)
{
    const double samples = (double)p->ranks * (double)m->options->batch / p->step[USUAL];
    const fx_replay *r = &p->at[0];
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "ranks", p->ranks,
                     "step_ms", 1e3 * p->step[0], "sums_ms", 1e3 * r->sums, "exposed_ms",
                     1e3 * r->exposed, "slowed_ms", 1e3 * r->slowed, "eff_0",
                     100 * (m->alone / p->step[0]), "eff_0.3", 100 * (m->alone / p->step[1]), "eff_1",
                     100 * (m->alone / p->step[2]), "eff_3", 100 * (m->alone / p->step[3]),
                     "samples_per_s", samples, "read_gb_per_s",
                     1e-9 * samples * fx_sample_bytes(m->config));
}

static fx_status add_change(const model *m, const fx_config *c, const char *name, int ranks,
                            json_t *changes)
{
    point p;
    FX_TRY(predict(m, c, ranks, &p));
    json_t *row =
        json_pack("{s:s, s:f, s:f, s:f}", "change", name, "step_ms", 1e3 * p.step[USUAL], "exposed_ms",
                  1e3 * p.at[USUAL].exposed, "eff_0.3", 100 * (m->alone / p.step[USUAL]));
    FX_REQUIRE(json_array_append_new(changes, row) == 0, FX_ENOMEM, "no memory for the changes");
    return FX_OK;
}

static fx_status try_changes(const model *m, int ranks, json_t *changes)
{
    static const double mib[] = {1, 2, 4, 8, 16, 32, 64, 4096};
    FX_TRY(add_change(m, m->config, "as configured", ranks, changes));
    fx_config c = *m->config;
    for (size_t i = 0; i < sizeof mib / sizeof *mib; i++) {
        char name[64];
        if (fabs(mib[i] - m->config->train_bucket) < 0.01) continue;
        c.train_bucket = mib[i];
        FX_TRY(fx_print(name, sizeof name, "train.bucket: %g", mib[i]));
        FX_TRY(add_change(m, &c, name, ranks, changes));
    }
    c = *m->config;
    c.train_reduce_type = !c.train_reduce_type;
    FX_TRY(add_change(m, &c,
                      c.train_reduce_type ? "train.reduce_type: bf16" : "train.reduce_type: fp32",
                      ranks, changes));
    c = *m->config;
    c.train_shard_optimizer = !c.train_shard_optimizer;
    const bool shards = c.train_shard_optimizer;
    return add_change(m, &c, shards ? "train.shard_optimizer: true" : "train.shard_optimizer: false",
                      ranks, changes);
}

/* Efficiencies above 100 % are no error: the rank alone has more to do. */
static void tell_why_above(const json_t *rows, const json_t *changes, FILE *out)
{
    const json_t *const tables[] = {rows, changes}, *row;
    double most = 0;
    size_t i;
    for (int t = 0; t < 2; t++)
        json_array_foreach(tables[t], i, row)
        {
            most = fmax(most, json_real_value(json_object_get(row, "eff_0"))); /* of rows only */
            most = fmax(most, json_real_value(json_object_get(row, "eff_0.3")));
        }
    if (most > 100)
        fprintf(out,
                "above 100: with train.shard_optimizer a rank updates its share of the weights, the "
                "one alone all of them\n");
}

/* What the step has beyond that of one rank alone, and the largest part of it. */
static void tell_what_binds(const model *m, const point *p, const json_t *changes, FILE *out)
{
    const fx_replay *r = &p->at[0];
    const double step = p->step[USUAL], share = 100 / step;
    const struct {
        const char *what;
        double seconds;
    } part[] = {
        {"jitter of 0.3 %", fmax(0, p->at[USUAL].step - r->step)},
        {"sums that nothing hides", r->exposed},
        {"compute slowed beside sums", r->slowed},
        {"reading: stage the pack on the nodes (data.stage), or add file servers",
         fmax(0, m->read - p->at[USUAL].step)},
    };
    enum { PARTS = sizeof part / sizeof *part };
    int most = 0;
    fprintf(out, "at %d ranks, of a step of %.2f ms:", p->ranks, 1e3 * step);
    for (int i = 0; i < PARTS; i++) {
        if (part[i].seconds > part[most].seconds) most = i;
        fprintf(out, "%s %.2f %% %.*s", i ? "," : "", share * part[i].seconds,
                (int)strcspn(part[i].what, ":"), part[i].what);
    }
    fprintf(out, "\nbinds: %s\n",
            share * part[most].seconds < 0.1 ? "compute itself" : part[most].what);
    const json_t *best = json_array_get(changes, 0), *row;
    const double before = json_real_value(json_object_get(best, "eff_0.3"));
    size_t i;
    json_array_foreach(changes, i, row) if (json_real_value(json_object_get(row, "eff_0.3")) >
                                            json_real_value(json_object_get(best, "eff_0.3"))) best =
        row;
    const double after = json_real_value(json_object_get(best, "eff_0.3"));
    if (after - before < 0.05)
        fprintf(out, "change: none of these is worth 0.05 points\n");
    else
        fprintf(out, "change: %s: %.2f %% instead of %.2f %%\n",
                json_string_value(json_object_get(best, "change")), after, before);
}

static fx_status draw(const model *m, const point *p, int count)
{
    double x[POINTS], y[SIGMAS][POINTS];
    fx_curve curve[SIGMAS];
    for (int s = 0; s < SIGMAS; s++) {
        for (int i = 0; i < count; i++) {
            x[i] = p[i].ranks;
            y[s][i] = 100 * (m->alone / p[i].step[s]);
        }
        curve[s] = (fx_curve){sigma_names[s], x, y[s], count};
    }
    const fx_chart chart = {.title = m->fabric.network ? m->fabric.network->title
                                                       : "Sums as measured by bench comm",
                            .x_label = "ranks",
                            .y_label = "predicted weak-scaling efficiency, %",
                            .log_x = true,
                            .curve = curve,
                            .curves = SIGMAS};
    return fx_chart_write(&chart, m->options->plot);
}

/* Of a rank, from the slowest one's rate when the cache was cold. */
static fx_status read_seconds(const fx_config *c, const fx_foresee_options *o, double *out)
{
    fx_json root, rows, row;
    int count;
    char kind[16];
    double rate = 0;
    fx_status status = FX_OK;
    *out = 0;
    if (!o->io) return FX_OK;
    FX_TRY(fx_json_load(o->io, 1 << 20, &root));
    FX_TRY_DONE(fx_json_text(&root, "kind", kind, sizeof kind));
    FX_REQUIRE_DONE(strcmp(kind, "io") == 0, FX_EVALUE, "%s: holds %s, not a result of bench io", o->io,
                    kind);
    FX_TRY_DONE(fx_json_array(&root, "rows", 1, 2, &rows, &count));
    FX_TRY_DONE(fx_json_entry(&rows, 0, &row));
    FX_TRY_DONE(fx_json_real(&row, "mb_per_s_least", 1e-9, 1e9, &rate));
    *out = (double)o->batch * fx_sample_bytes(c) / (1e6 * rate);
done:
    fx_json_free(&root);
    return status;
}

static fx_status check_profile(const fx_json *profile, const fx_config *c, const fx_foresee_options *o)
{
    char kind[16];
    int64_t batch, image;
    FX_TRY(fx_json_text(profile, "kind", kind, sizeof kind));
    FX_REQUIRE(strcmp(kind, "profile") == 0, FX_EVALUE, "%s: holds %s, not a result of profile",
               profile->file, kind);
    FX_TRY(fx_json_int(profile, "batch", 1, INT32_MAX, &batch));
    FX_TRY(fx_json_int(profile, "image", 1, INT32_MAX, &image));
    FX_REQUIRE(image == c->data_patch, FX_EVALUE, "%s: images of %lld pixels, data.patch is %lld",
               profile->file, (long long)image, (long long)c->data_patch);
    FX_REQUIRE(batch == o->batch, FX_EVALUE, "%s: %lld samples a rank: --batch %lld", profile->file,
               (long long)batch, (long long)batch);
    return FX_OK;
}

/* All numbers of ranks; returns how many. */
static int ranks_of(const model *m, int out[POINTS])
{
    const int first = m->fabric.measured ? m->fabric.measured->ranks : m->fabric.network->per_node;
    int count = 0;
    if (m->options->ranks > 0) {
        out[0] = m->options->ranks;
        return 1;
    }
    for (int n = first; n <= RANKS_MAX && count < POINTS; n *= 2)
        out[count++] = n;
    return count;
}

static void print_head(const model *m, FILE *out)
{
    const fx_foresee_options *o = m->options;
    const fx_network *w = m->fabric.network;
    if (w)
        fprintf(out, "network   %s\n          %s\n", w->title, w->source);
    else
        fprintf(out, "network   sums of %s, %d ranks\n", o->comm, m->fabric.measured->ranks);
    if (m->times.profile)
        fprintf(out, "compute   measured: %s\n", o->profile);
    else
        fprintf(out, "compute   limits of %s (%s), of which kernels reach %.0f %%\n",
                m->times.device->name, m->times.device->source, 100 * o->fraction);
    fprintf(out, "a rank    %lld samples, %.2f ms a step alone, jitter %s; eff: %% of that alone\n",
            (long long)o->batch, 1e3 * m->alone, "0, 0.3, 1, 3 %");
}

static fx_status run(model *m, FILE *out, json_t *rows, json_t *changes)
{
    point p[POINTS], one;
    int ranks[POINTS];
    const int count = ranks_of(m, ranks);
    m->alone = 1;
    FX_TRY(predict(m, m->config, 1, &one));
    m->alone = one.at[0].step;
    for (int i = 0; i < count; i++) {
        FX_TRY(predict(m, m->config, ranks[i], &p[i]));
        FX_REQUIRE(json_array_append_new(rows, row_of(m, &p[i])) == 0, FX_ENOMEM,
                   "no memory for the rows");
    }
    const point *told = &p[count - 1];
    for (int i = 0; i < count; i++)
        if (p[i].ranks == 1024) told = &p[i];
    FX_TRY(try_changes(m, told->ranks, changes));
    print_head(m, out);
    fx_table_print(out, rows, fx_foresee_columns);
    fputc('\n', out);
    fx_table_print(out, changes, change_columns);
    tell_why_above(rows, changes, out);
    tell_what_binds(m, told, changes, out);
    return m->options->plot ? draw(m, p, count) : FX_OK;
}

fx_status fx_foresee(const fx_config *config, const fx_foresee_options *o, FILE *out, json_t **result)
{
    fx_json profile = {0};
    fx_sum_curve curve;
    model m = {.config = config, .options = o, .slow = o->comm ? 0 : SLOW};
    json_t *rows = NULL, *changes = NULL;
    const fx_network *network = &fx_networks[0];
    fx_status status = FX_OK;
    *result = NULL;
    if (o->network) FX_TRY(fx_network_find(o->network, &network));
    m.times = (fx_tape_times){.device = network->device, .fraction = o->fraction};
    m.fabric.network = network;
    if (o->comm) {
        FX_TRY(fx_sum_curve_read(o->comm, &curve));
        m.fabric = (fx_fabric){.measured = &curve};
    }
    FX_TRY(read_seconds(config, o, &m.read));
    if (o->profile) {
        FX_TRY(fx_json_load(o->profile, PROFILE_MAX, &profile));
        m.times.profile = &profile;
        FX_TRY_DONE(check_profile(&profile, config, o));
    }
    rows = json_array();
    changes = json_array();
    FX_REQUIRE_DONE(rows && changes, FX_ENOMEM, "no memory for the prediction");
    FX_TRY_DONE(run(&m, out, rows, changes));
    *result =
        json_pack("{s:s, s:s, s:s, s:f, s:I, s:f, s:O, s:O}", "kind", "prediction", "network",
                  o->comm ? "measured" : network->name, "compute",
                  o->profile ? "measured" : network->device->name, "fraction", o->fraction, "batch",
                  (json_int_t)o->batch, "alone_ms", 1e3 * m.alone, "rows", rows, "changes", changes);
done:
    json_decref(rows);
    json_decref(changes);
    fx_json_free(&profile);
    return status;
}
