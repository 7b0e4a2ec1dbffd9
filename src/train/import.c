/* import.c: a safetensors file as a run folder with one checkpoint. Names are matched first, against
 * the model that the configuration describes; only then memory is taken for it. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/checkpoint.h"
#include "flexhpc/interchange.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/safetensors.h"
#include "latest.h"
#include "run_folder.h"

static const char EMA[] = "ema.", MODULE[] = "module.";
enum { CPU = 1 }; /* of the key `backend` */

/* A tensor of the file under the name that it means. */
typedef struct named {
    const char *name; /* without what frameworks put before and between */
    const fx_safetensor *tensor;
    bool ema, used;
} named;

typedef struct importer {
    fx_safetensors *file;
    const char *path;
    const fx_import_options *options;
    fx_progress progress;
    fx_params *params;
    fx_pool *pool; /* of names */
    named *found;  /* sorted: values before EMA, then by name */
    int count;
    const fx_safetensor **value, **ema; /* of each parameter; NULL: none */
    int missing, unexpected, misshapen;
    char first[FX_NAME_MAX + 32]; /* of what does not fit */
    fx_run_folder folder;
} importer;

/* ---- What the file is about. */

static fx_status read_config(importer *m)
{
    const fx_import_options *o = m->options;
    fx_config *c = &m->progress.config;
    char *end = NULL;
    const char *text = fx_safetensors_metadata(m->file, "config"),
               *step = fx_safetensors_metadata(m->file, "step");
    if (o->config) {
        FX_TRY(fx_config_load(c, o->config, o->overrides));
    } else {
        FX_REQUIRE(text, FX_ECONFIG, "%s: no configuration in its metadata: give a CONFIG", m->path);
        FX_TRY_CTX(fx_config_parse(c, "config", text, strlen(text), o->overrides), "%s: metadata",
                   m->path);
    }
    FX_REQUIRE(c->data_scale > 0, FX_ECONFIG,
               "data.scale: what were the fields of %s divided by? The published models' are 5.4574137",
               m->path);
    FX_REQUIRE(fx_residual_scale(c, FX_SR) > 0 && fx_residual_scale(c, FX_FC) > 0, FX_ECONFIG,
               "diffusion.residual_scale: what was that which %s diffuses divided by?", m->path);
    m->progress.data_scale = (double)(float)c->data_scale; /* as the loader divides */
    m->progress.ranks = 1;
    m->progress.step = step ? strtoll(step, &end, 10) : 0;
    FX_REQUIRE(!step ||
                   (isdigit((unsigned char)step[0]) && *end == '\0' && m->progress.step <= INT32_MAX),
               FX_EVALUE, "%s: metadata: step: %.40s is none", m->path, step);
    return FX_OK;
}

static fx_status describe_model(importer *m)
{
    fx_step_options options;
    FX_TRY(fx_step_options_alone(&m->progress.config, &options));
    return fx_model_parameters(&options, FX_F32, &m->params);
}

/* ---- Names. */

static int in_order(const void *a, const void *b)
{
    const named *x = a, *y = b;
    return x->ema != y->ema ? (int)x->ema - (int)y->ema : strcmp(x->name, y->name);
}

static const char *after(const char *text, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : text;
}

/* "ema.encoder.module.x" and "module.encoder.x" are "encoder.x", the first of the EMA. */
static fx_status understand(importer *m, const fx_safetensor *t, named *out)
{
    const char *name = after(after(t->name, MODULE), EMA);
    *out = (named){.tensor = t, .ema = strncmp(after(t->name, MODULE), EMA, strlen(EMA)) == 0};
    name = after(name, MODULE);
    const char *dot = strchr(name, '.'), *rest = dot ? after(dot + 1, MODULE) : NULL;
    out->name = rest && rest != dot + 1
                    ? fx_pool_print(m->pool, "%.*s%s", (int)(dot + 1 - name), name, rest)
                    : name;
    FX_REQUIRE(out->name, FX_ENOMEM, "no memory for names");
    return FX_OK;
}

static fx_status read_names(importer *m)
{
    m->count = fx_safetensors_count(m->file);
    FX_TRY(fx_pool_create(&m->pool));
    FX_TRY(FX_ALLOC(m->found, m->count));
    for (int i = 0; i < m->count; i++)
        FX_TRY(understand(m, fx_safetensors_at(m->file, i), &m->found[i]));
    qsort(m->found, (size_t)m->count, sizeof *m->found, in_order);
    for (int i = 1; i < m->count; i++)
        FX_REQUIRE(in_order(&m->found[i - 1], &m->found[i]) != 0, FX_EVALUE,
                   "%s: %.128s and %.128s mean the same", m->path, m->found[i - 1].tensor->name,
                   m->found[i].tensor->name);
    return FX_OK;
}

static void tell(importer *m, int *counter, const char *what, const char *prefix, const char *name,
                 const char *more)
{
    if (m->first[0] == '\0')
        snprintf(m->first, sizeof m->first, "%s %s%.*s", what, prefix, FX_NAME_MAX, name);
    fx_log(FX_INFO, "%s: %s%.*s%s", what, prefix, FX_NAME_MAX, name, more);
    ++*counter;
}

static bool fits(const fx_safetensor *t, const fx_tensor *like)
{
    bool same = t->rank == like->rank;
    for (int i = 0; same && i < t->rank; i++)
        same = t->dim[i] == like->dim[i];
    return same;
}

static void tell_misshapen(importer *m, const named *n, const fx_param *p)
{
    char more[FX_NAME_MAX], shape[FX_NAME_MAX] = "";
    for (int i = 0, used = 0; i < n->tensor->rank && used < (int)sizeof shape - 24; i++)
        used += snprintf(shape + used, sizeof shape - (size_t)used, i ? ", %" PRId64 : "%" PRId64,
                         n->tensor->dim[i]);
    snprintf(more, sizeof more, ": (%.64s), the model's is %.40s", shape, fx_shape_text(&p->value));
    tell(m, &m->misshapen, "another shape", n->ema ? EMA : "", p->name, more);
}

/* The tensor of a parameter, NULL where there is none or it does not fit. */
static const fx_safetensor *find(importer *m, const fx_param *p, bool ema, bool needed)
{
    const named key = {.name = p->name, .ema = ema};
    named *n = m->count ? bsearch(&key, m->found, (size_t)m->count, sizeof key, in_order) : NULL;
    if (!n && needed) tell(m, &m->missing, "missing", ema ? EMA : "", p->name, "");
    if (!n) return NULL;
    n->used = true;
    if (fits(n->tensor, &p->value)) return n->tensor;
    tell_misshapen(m, n, p);
    return NULL;
}

static bool has_any(const importer *m, bool ema)
{
    for (int i = 0; i < m->count; i++)
        if (m->found[i].ema == ema) return true;
    return false;
}

/* Where the file has no weights of a kind at all, the other kind serves for both. Buffers are of either
 * kind. */
static fx_status match(importer *m)
{
    const int params = fx_params_count(m->params);
    const bool values = has_any(m, false), averages = has_any(m, true);
    FX_TRY(FX_ALLOC(m->value, params));
    FX_TRY(FX_ALLOC(m->ema, params));
    for (int i = 0; i < params; i++) {
        const fx_param *p = fx_params_at(m->params, i);
        m->ema[i] = find(m, p, true, averages && p->trained);
        m->value[i] = find(m, p, false, p->trained ? values || !averages : !m->ema[i]);
        if (!m->value[i]) m->value[i] = m->ema[i];
        if (!m->ema[i]) m->ema[i] = m->value[i];
    }
    for (int i = 0; i < m->count; i++)
        if (!m->found[i].used) tell(m, &m->unexpected, "unexpected", "", m->found[i].tensor->name, "");
    FX_REQUIRE(
        m->options->partial || m->first[0] == '\0', FX_EVALUE,
        "%s: %d missing, %d unexpected, %d of another shape; the first: %s (--partial takes the rest)",
        m->path, m->missing, m->unexpected, m->misshapen, m->first);
    return FX_OK;
}

/* ---- Values. */

static fx_status load(importer *m, fx_exec *exec)
{
    float *buffer = NULL;
    int64_t largest = 1;
    fx_status status = FX_OK;
    FX_TRY(fx_params_allocate(m->params, exec, NULL, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_EMA));
    FX_TRY(fx_params_initialize(m->params, exec, (uint64_t)m->progress.config.seed));
    for (int i = 0; i < fx_params_count(m->params); i++)
        if (fx_count(&fx_params_at(m->params, i)->value) > largest)
            largest = fx_count(&fx_params_at(m->params, i)->value);
    FX_TRY_DONE(FX_ALLOC(buffer, largest));
    for (int i = 0; i < fx_params_count(m->params); i++) {
        const fx_param *p = fx_params_at(m->params, i);
        if (m->value[i]) FX_TRY_DONE(fx_safetensors_read(m->file, m->value[i], buffer));
        if (m->value[i]) FX_TRY_DONE(fx_params_write(m->params, exec, p, FX_SLAB_VALUE, buffer));
        if (!m->ema[i] || !p->trained) continue;
        if (m->ema[i] != m->value[i]) FX_TRY_DONE(fx_safetensors_read(m->file, m->ema[i], buffer));
        FX_TRY_DONE(fx_params_write(m->params, exec, p, FX_SLAB_EMA, buffer));
    }
done:
    fx_free(buffer);
    return status;
}

static fx_status save(importer *m, fx_exec *exec)
{
    FX_TRY(load(m, exec));
    FX_TRY(fx_run_folder_describe(&m->folder, exec, fx_comm_self(), &m->progress.config,
                                  m->options->command, NULL, NULL, NULL));
    FX_TRY(fx_checkpoint_save(fx_comm_self(), m->params, exec, &m->progress, m->folder.checkpoints));
    fx_log(FX_INFO, "%s: step %lld, %d tensors from %s", m->folder.path, (long long)m->progress.step,
           m->count - m->unexpected - m->misshapen, m->path);
    return FX_OK;
}

static fx_status open_folder(importer *m, const char *run)
{
    FX_TRY(fx_run_folder_open(fx_comm_self(), run, false, &m->folder));
    FX_REQUIRE(fx_latest_step(m->folder.checkpoints) < 0, FX_ECONFIG,
               "%s: has checkpoints already: choose another --run", m->folder.checkpoints);
    return FX_OK;
}

fx_status fx_import(const char *file, const char *run, const fx_import_options *options)
{
    importer *m = NULL;
    fx_exec *exec = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(m, 1));
    m->path = file;
    m->options = options;
    FX_TRY_DONE(fx_safetensors_open(file, &m->file));
    FX_TRY_DONE(read_config(m));
    FX_TRY_DONE(describe_model(m));
    FX_TRY_DONE(read_names(m));
    FX_TRY_DONE(match(m));
    FX_TRY_DONE(open_folder(m, run));
    fx_config host = m->progress.config;
    host.backend = CPU;
    host.precision = 0;
    FX_TRY_DONE(fx_exec_open(fx_comm_self(), &host, &exec));
    status = save(m, exec);
done:
    fx_params_free(&m->params);
    if (exec) exec->backend->close(&exec);
    fx_run_folder_close(&m->folder);
    fx_safetensors_close(&m->file);
    fx_pool_free(&m->pool);
    fx_free(m->found);
    fx_free(m->value);
    fx_free(m->ema);
    fx_free(m);
    return status;
}
