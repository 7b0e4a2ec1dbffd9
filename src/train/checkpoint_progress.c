/* checkpoint_progress.c: what a checkpoint holds beside tensors: root attributes with a checksum of
 * their own, and the engines that the backend chose. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "checkpoint_file.h"
#include "flexhpc/backend.h"
#include "flexhpc/mem.h"

static const char *const FORMAT = "flexhpc-checkpoint-1";

bool fx_progress_scale(const fx_progress *p, const char *dataset, double *scale)
{
    const size_t length = strlen(dataset);
    for (const char *at = p->data_sets; *at; at += strcspn(at, ",") + 1) {
        if (strncmp(at, dataset, length) == 0 && at[length] == '=') {
            *scale = strtod(at + length + 1, NULL);
            return true;
        }
        if (!strchr(at, ',')) return false;
    }
    return false;
}

static int64_t progress_hash(const fx_progress *p, const char *config)
{
    char line[320 + FX_DATASETS_TEXT];
    size_t used;
    used = (size_t)snprintf(line, sizeof line, "%lld %lld %a %a ", (long long)p->step,
                            (long long)p->ranks, p->data_scale, p->loss);
    if (p->data_sets[0]) used += (size_t)snprintf(line + used, sizeof line - used, "%s ", p->data_sets);
    if (!isnan(p->condition_mean)) /* it came later */
        used += (size_t)snprintf(line + used, sizeof line - used, "%a %a ", p->condition_least,
                                 p->condition_mean);
    if (p->moments >= 0) /* so did it */
        snprintf(line + used, sizeof line - used, "%lld ", (long long)p->moments);
    return (int64_t)XXH64(config, strlen(config), XXH64(line, strlen(line), 0));
}

fx_status fx_progress_write(fx_h5 *f, const fx_progress *p)
{
    char *config = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(config, FX_CONFIG_TEXT_MAX));
    FX_TRY_DONE(fx_config_text(&p->config, config, FX_CONFIG_TEXT_MAX));
    FX_TRY_DONE(fx_h5_set_text(f, "/", "format", FORMAT));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "step", p->step));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "ranks", p->ranks));
    FX_TRY_DONE(fx_h5_set_real(f, "/", "data_scale", p->data_scale));
    FX_TRY_DONE(fx_h5_set_real(f, "/", "loss", p->loss));
    if (p->data_sets[0]) FX_TRY_DONE(fx_h5_set_text(f, "/", "data_sets", p->data_sets));
    if (!isnan(p->condition_mean)) {
        FX_TRY_DONE(fx_h5_set_real(f, "/", "condition_least", p->condition_least));
        FX_TRY_DONE(fx_h5_set_real(f, "/", "condition_mean", p->condition_mean));
    }
    if (p->moments >= 0) FX_TRY_DONE(fx_h5_set_int(f, "/", "moments", p->moments));
    FX_TRY_DONE(fx_h5_set_text(f, "/", "config", config));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "xxh64", progress_hash(p, config)));
done:
    fx_free(config);
    return status;
}

fx_status fx_progress_read(fx_h5 *f, const char *path, fx_progress *p)
{
    char format[64], *config = NULL;
    int64_t hash = 0;
    fx_status status = FX_OK;
    FX_TRY(fx_h5_get_text(f, "/", "format", format, sizeof format));
    FX_REQUIRE(strcmp(format, FORMAT) == 0, FX_EVALUE, "%s: format %s, not %s", path, format, FORMAT);
    FX_TRY(FX_ALLOC(config, FX_CONFIG_TEXT_MAX));
    FX_TRY_DONE(fx_h5_get_int(f, "/", "step", &p->step));
    FX_TRY_DONE(fx_h5_get_int(f, "/", "ranks", &p->ranks));
    FX_TRY_DONE(fx_h5_get_real(f, "/", "data_scale", &p->data_scale));
    FX_TRY_DONE(fx_h5_get_real(f, "/", "loss", &p->loss));
    p->condition_least = p->condition_mean = NAN;
    p->data_sets[0] = '\0';
    if (fx_h5_has_attribute(f, "/", "data_sets"))
        FX_TRY_DONE(fx_h5_get_text(f, "/", "data_sets", p->data_sets, sizeof p->data_sets));
    if (fx_h5_has_attribute(f, "/", "condition_mean")) {
        FX_TRY_DONE(fx_h5_get_real(f, "/", "condition_least", &p->condition_least));
        FX_TRY_DONE(fx_h5_get_real(f, "/", "condition_mean", &p->condition_mean));
    }
    p->moments = -1;
    if (fx_h5_has_attribute(f, "/", "moments"))
        FX_TRY_DONE(fx_h5_get_int(f, "/", "moments", &p->moments));
    FX_TRY_DONE(fx_h5_get_text(f, "/", "config", config, FX_CONFIG_TEXT_MAX));
    FX_TRY_DONE(fx_h5_get_int(f, "/", "xxh64", &hash));
    FX_REQUIRE_DONE(hash == progress_hash(p, config), FX_EVALUE, "%s: attributes: checksum differs",
                    path);
    FX_TRY_DONE(fx_config_parse(&p->config, path, config, strlen(config), NULL));
done:
    fx_free(config);
    return status;
}

/* ---- Engines (fx_exec): an attribute of rank 0's text, which has a checksum of its own. */

enum { ENGINES_MOST = 1 << 20 };
static const char *const ENGINES = "engines";

fx_status fx_engines_write(fx_comm *comm, fx_h5 *f, const fx_exec *exec)
{
    int64_t bytes = exec->engines ? (int64_t)strlen(exec->engines) + 1 : 0;
    char *text = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_comm_max_i64(comm, &bytes));
    if (bytes == 0) return FX_OK;
    FX_TRY(fx_agree(comm, FX_ALLOC(text, bytes)));
    if (comm->rank == 0) memcpy(text, exec->engines, (size_t)bytes);
    FX_TRY_DONE(comm->ops->broadcast(comm, text, (size_t)bytes, 0));
    FX_TRY_DONE(fx_h5_set_text(f, "/", ENGINES, text));
done:
    fx_free(text);
    return status;
}

static fx_status read_engines(const char *path, char **out)
{
    fx_h5 *f = NULL;
    char *text = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_h5_open(path, FX_H5_OURS, &f));
    if (fx_h5_has_attribute(f, "/", ENGINES)) {
        FX_TRY_DONE(FX_ALLOC(text, ENGINES_MOST));
        FX_TRY_DONE(fx_h5_get_text(f, "/", ENGINES, text, ENGINES_MOST));
        *out = text;
        text = NULL;
    }
done:
    fx_free(text);
    fx_h5_abandon(&f);
    return status;
}

fx_status fx_checkpoint_engines(fx_comm *comm, const char *path, char **out)
{
    *out = NULL;
    return fx_agree(comm, comm->rank == 0 ? read_engines(path, out) : FX_OK);
}

fx_status fx_checkpoint_peek(fx_comm *comm, const char *path, fx_progress *out)
{
    fx_h5 *f = NULL;
    fx_status status = FX_OK;
    if (comm->rank == 0) {
        status = fx_h5_open(path, FX_H5_OURS, &f);
        if (status == FX_OK) status = fx_progress_read(f, path, out);
        fx_h5_abandon(&f);
    }
    FX_TRY(fx_agree(comm, status));
    return comm->ops->broadcast(comm, out, sizeof *out, 0);
}
