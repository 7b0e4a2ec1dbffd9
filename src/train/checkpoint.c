/* checkpoint.c: writes and reads the training state. Layout: `value/NAME`, `ema/NAME`, `moment1/NAME`,
 * `moment2/NAME` (published names and shapes, float32), each with the attribute `xxh64` of its bytes;
 * root attributes for the rest, with a checksum of their own, and, where the backend chose engines,
 * `engines`. */
#include "flexhpc/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "checkpoint_file.h"
#include "flexhpc/backend.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "latest.h"

static const char *const FORMAT = "flexhpc-checkpoint-1";
static const struct {
    fx_slab slab;
    const char *name;
    bool weights;
} SLABS[] = {{FX_SLAB_VALUE, "value", true},
             {FX_SLAB_EMA, "ema", true},
             {FX_SLAB_MOMENT1, "moment1", false},
             {FX_SLAB_MOMENT2, "moment2", false}};
enum {
    SLAB_KINDS = sizeof SLABS / sizeof *SLABS,
    DATASET_NAME = FX_NAME_MAX + 16,
    FILE_OVERHEAD = 1 << 14,   /* the configuration, most of it */
    DATASET_OVERHEAD = 1 << 9, /* object header, attribute, the group's entry */
    CONFIG_MAX = 1 << 16
};

static int kind_of(fx_slab slab)
{
    int kind = 0;
    while (SLABS[kind].slab != slab)
        kind++;
    return kind;
}

/* Buffers are not trained: they have a value and nothing else. */
static bool has(fx_params *params, const fx_param *p, int kind)
{
    return fx_params_slab(params, SLABS[kind].slab, 0) &&
           (p->trained || SLABS[kind].slab == FX_SLAB_VALUE);
}

static int64_t hash_of(const float *x, int64_t count)
{
    return (int64_t)XXH64(x, (size_t)count * sizeof *x, 0);
}

/* As a checkpoint holds it, whatever kernels read it as. */
static size_t bytes_of(const fx_param *p)
{
    return (size_t)fx_count(&p->value) * sizeof(float);
}

static fx_status largest_tensor(fx_params *params, float **buffer)
{
    int64_t largest = 1;
    for (int i = 0; i < fx_params_count(params); i++) {
        const int64_t count = fx_count(&fx_params_at(params, i)->value);
        if (count > largest) largest = count;
    }
    return FX_ALLOC(*buffer, largest);
}

/* ---- Progress: root attributes. */

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
        snprintf(line + used, sizeof line - used, "%a %a ", p->condition_least, p->condition_mean);
    return (int64_t)XXH64(config, strlen(config), XXH64(line, strlen(line), 0));
}

static fx_status write_progress(fx_h5 *f, const fx_progress *p)
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
    FX_TRY_DONE(fx_h5_set_text(f, "/", "config", config));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "xxh64", progress_hash(p, config)));
done:
    fx_free(config);
    return status;
}

static fx_status read_progress(fx_h5 *f, const char *path, fx_progress *p)
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

static fx_status write_engines(fx_comm *comm, fx_h5 *f, const fx_exec *exec)
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

/* ---- Tensors. */

static fx_status dataset_name(char out[DATASET_NAME], int kind, const fx_param *p)
{
    return fx_print(out, DATASET_NAME, "%s/%s", SLABS[kind].name, p->name);
}

/* Replicas are equal on all ranks, or put together there; tensor i is written by rank i mod size, the
 * others bring nothing. */
static fx_status write_tensor(fx_comm *comm, fx_h5 *f, fx_params *params, fx_exec *exec, int i,
                              int kind, float *buffer)
{
    char name[DATASET_NAME];
    const fx_param *p = fx_params_at(params, i);
    fx_h5_shape shape = {.rank = p->value.rank, .type = FX_H5_F32};
    int64_t offset[FX_MAX_RANK] = {0}, count[FX_MAX_RANK];
    memcpy(shape.dim, p->value.dim, sizeof(int64_t) * (size_t)p->value.rank);
    memcpy(count, p->value.dim, sizeof count);
    if (i % comm->size != comm->rank) count[0] = 0;
    FX_TRY(dataset_name(name, kind, p));
    FX_TRY(fx_params_read_whole(params, exec, p, SLABS[kind].slab, buffer));
    FX_TRY(fx_h5_dataset(f, name, shape, NULL));
    FX_TRY(fx_h5_set_int(f, name, "xxh64", hash_of(buffer, fx_count(&p->value))));
    return fx_h5_write(f, name, offset, count, FX_H5_F32, buffer);
}

/* All of parameter i. */
static fx_status write_parameter(fx_comm *comm, fx_h5 *f, fx_params *params, fx_exec *exec, int i,
                                 float *buffer)
{
    fx_status status = FX_OK;
    fx_h5_hold(f);
    for (int kind = 0; status == FX_OK && kind < SLAB_KINDS; kind++)
        if (has(params, fx_params_at(params, i), kind))
            status = write_tensor(comm, f, params, exec, i, kind, buffer);
    return fx_h5_settle(f, status);
}

static fx_status write_all(fx_comm *comm, const char *part, fx_params *params, fx_exec *exec,
                           const fx_progress *progress)
{
    fx_h5 *f = NULL;
    float *buffer = NULL;
    fx_status status = FX_OK;
    FX_TRY(largest_tensor(params, &buffer));
    FX_TRY_DONE(fx_h5_create(comm, part, &f));
    FX_TRY_DONE(write_progress(f, progress));
    FX_TRY_DONE(write_engines(comm, f, exec));
    for (int i = 0; i < fx_params_count(params); i++)
        FX_TRY_DONE(write_parameter(comm, f, params, exec, i, buffer));
    fx_stop_point("after_write", part);
    FX_TRY_DONE(fx_h5_close(&f)); /* flushes: a failed close is a failed save */
done:
    fx_h5_abandon(&f);
    fx_free(buffer);
    return status;
}

int64_t fx_checkpoint_bytes(fx_params *params)
{
    int64_t bytes = FILE_OVERHEAD;
    for (int i = 0; i < fx_params_count(params); i++)
        for (int kind = 0; kind < SLAB_KINDS; kind++) {
            const fx_param *p = fx_params_at(params, i);
            if (has(params, p, kind)) bytes += (int64_t)bytes_of(p) + DATASET_OVERHEAD;
        }
    return bytes;
}

static fx_status enough_room(fx_params *params, const char *folder)
{
    int64_t space = 0;
    const int64_t need = fx_checkpoint_bytes(params) + (16 << 20);
    FX_TRY(fx_free_space(folder, &space));
    FX_REQUIRE(space >= need, FX_EIO, "%s: a checkpoint needs %lld MiB, %lld MiB are free", folder,
               (long long)(need >> 20), (long long)(space >> 20));
    return FX_OK;
}

fx_status fx_checkpoint_save(fx_comm *comm, fx_params *params, fx_exec *exec,
                             const fx_progress *progress, const char *folder)
{
    char part[FX_PATH_MAX], final[FX_PATH_MAX], name[32];
    fx_status status = fx_print(name, sizeof name, "step-%08lld.h5", (long long)progress->step);
    if (status == FX_OK) status = fx_path(final, "%s/%s", folder, name);
    if (status == FX_OK) status = fx_path(part, "%s.part", final);
    if (status == FX_OK && comm->rank == 0) status = fx_make_dirs(folder);
    if (status == FX_OK && comm->rank == 0) status = enough_room(params, folder);
    FX_TRY(fx_agree(comm, status));

    status = fx_agree(comm, write_all(comm, part, params, exec, progress));
    if (comm->rank == 0 && status == FX_OK) status = fx_checkpoint_verify(part);
    if (comm->rank == 0 && status == FX_OK) status = fx_commit(part, final);
    if (comm->rank == 0 && status == FX_OK) status = fx_latest_set(folder, name);
    if (comm->rank == 0 && status == FX_OK)
        status = fx_latest_prune(folder, (int)progress->config.checkpoint_keep,
                                 progress->config.checkpoint_keep_every);
    if (comm->rank == 0 && status != FX_OK) (void)fx_remove(part);
    status = fx_agree(comm, status);
    return status == FX_OK ? FX_OK : fx_context(status, "checkpoint %s", final);
}

static fx_status read_tensor(fx_h5 *f, const char *path, int kind, const fx_param *p, float *buffer)
{
    char name[DATASET_NAME];
    fx_h5_shape shape;
    int64_t hash = 0;
    const fx_tensor *like = &p->value;
    FX_TRY(dataset_name(name, kind, p));
    FX_TRY(fx_h5_describe(f, name, &shape));
    bool same = shape.rank == like->rank;
    for (int i = 0; same && i < shape.rank; i++)
        same = shape.dim[i] == like->dim[i];
    FX_REQUIRE(same, FX_EVALUE, "%s: %s: of another shape than the model's %s", path, name,
               fx_shape_text(like));
    FX_TRY(fx_h5_read(f, name, NULL, NULL, FX_H5_F32, buffer));
    FX_TRY(fx_h5_get_int(f, name, "xxh64", &hash));
    FX_REQUIRE(hash == hash_of(buffer, fx_count(like)), FX_EVALUE, "%s: %s: checksum differs", path,
               name);
    return FX_OK;
}

fx_status fx_checkpoint_tensor(fx_h5 *f, const char *path, fx_slab slab, const fx_param *p, float *out)
{
    return read_tensor(f, path, kind_of(slab), p, out);
}

/* An imported run (import.c) has weights alone. */
static fx_status has_optimizer(fx_h5 *f, const char *path)
{
    FX_REQUIRE(fx_h5_exists(f, SLABS[kind_of(FX_SLAB_MOMENT1)].name), FX_ECONFIG,
               "%s: has weights but no state of an optimizer, as runs of `flexhpc import`: it can't be "
               "continued; start another run from its weights by train.init_from",
               path);
    return FX_OK;
}

fx_status fx_checkpoint_load(fx_comm *comm, fx_params *params, fx_exec *exec, const char *path,
                             bool weights_only)
{
    fx_h5 *f = NULL;
    float *buffer = NULL;
    fx_status status = largest_tensor(params, &buffer);
    if (status == FX_OK && comm->rank == 0) status = fx_h5_open(path, FX_H5_OURS, &f);
    if (status == FX_OK && f && !weights_only) status = has_optimizer(f, path);
    FX_TRY_DONE(fx_agree(comm, status));
    for (int i = 0; i < fx_params_count(params); i++)
        for (int kind = 0; kind < SLAB_KINDS; kind++) {
            const fx_param *p = fx_params_at(params, i);
            if (!has(params, p, kind) || (weights_only && !SLABS[kind].weights)) continue;
            if (comm->rank == 0) status = read_tensor(f, path, kind, p, buffer);
            FX_TRY_DONE(fx_agree(comm, status));
            FX_TRY_DONE(comm->ops->broadcast(comm, buffer, bytes_of(p), 0));
            FX_TRY_DONE(fx_params_write(params, exec, p, SLABS[kind].slab, buffer));
        }
done:
    fx_h5_abandon(&f);
    fx_free(buffer);
    return status;
}

/* ---- Verification of a file by itself. */

typedef struct verifier {
    const char *path;
    float *buffer;
    int64_t room;
} verifier;

static fx_status verify_dataset(void *self, fx_h5 *f, const char *name)
{
    verifier *v = self;
    fx_h5_shape shape;
    int64_t count = 1, hash = 0;
    FX_TRY(fx_h5_describe(f, name, &shape));
    for (int i = 0; i < shape.rank; i++)
        count *= shape.dim[i];
    if (count > v->room) {
        fx_free(v->buffer);
        v->room = 0;
        FX_TRY(FX_ALLOC(v->buffer, count));
        v->room = count;
    }
    FX_TRY(fx_h5_read(f, name, NULL, NULL, FX_H5_F32, v->buffer));
    FX_TRY(fx_h5_get_int(f, name, "xxh64", &hash));
    FX_REQUIRE(hash == hash_of(v->buffer, count), FX_EVALUE, "%s: %s: checksum differs", v->path, name);
    return FX_OK;
}

fx_status fx_checkpoint_verify(const char *path)
{
    fx_h5 *f = NULL;
    fx_progress progress;
    verifier v = {.path = path};
    FX_TRY(fx_h5_open(path, FX_H5_OURS, &f));
    fx_status status = read_progress(f, path, &progress);
    if (status == FX_OK) status = fx_h5_walk(f, verify_dataset, &v);
    fx_free(v.buffer);
    fx_h5_abandon(&f);
    return status;
}

fx_status fx_checkpoint_peek(fx_comm *comm, const char *path, fx_progress *out)
{
    fx_h5 *f = NULL;
    fx_status status = FX_OK;
    if (comm->rank == 0) {
        status = fx_h5_open(path, FX_H5_OURS, &f);
        if (status == FX_OK) status = read_progress(f, path, out);
        fx_h5_abandon(&f);
    }
    FX_TRY(fx_agree(comm, status));
    return comm->ops->broadcast(comm, out, sizeof *out, 0);
}

fx_status fx_checkpoint_find(fx_comm *comm, const char *folder, char path[FX_PATH_MAX])
{
    fx_status status = FX_OK;
    memset(path, 0, FX_PATH_MAX);
    if (comm->rank == 0) status = fx_latest_find(folder, path);
    FX_TRY(fx_agree(comm, status));
    return comm->ops->broadcast(comm, path, FX_PATH_MAX, 0);
}

/* Whether the name is a file, not the folder of a run. */
static fx_status is_file(const char *name, const char *checkpoints, int64_t *yes)
{
    *yes = !fx_file_exists(checkpoints);
    FX_REQUIRE(!*yes || fx_file_exists(name), FX_ECONFIG, "%s: no checkpoint, and no run that has one",
               name);
    return FX_OK;
}

fx_status fx_checkpoint_named(fx_comm *comm, const char *name, char path[FX_PATH_MAX])
{
    char checkpoints[FX_PATH_MAX];
    int64_t file = 0;
    FX_TRY(fx_path(checkpoints, "%s/ckpt", name));
    FX_TRY(fx_agree(comm, comm->rank == 0 ? is_file(name, checkpoints, &file) : FX_OK));
    FX_TRY(fx_comm_max_i64(comm, &file));
    if (file) return fx_path(path, "%s", name);
    FX_TRY(fx_checkpoint_find(comm, checkpoints, path));
    FX_REQUIRE(path[0], FX_ECONFIG, "%s: no checkpoint", checkpoints);
    return FX_OK;
}
