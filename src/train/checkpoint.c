/* checkpoint.c: writes and reads the training state; checkpoint_file.h has the layout. */
#include "flexhpc/checkpoint.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "checkpoint_file.h"
#include "flexhpc/backend.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "latest.h"

enum {
    FILE_OVERHEAD = 1 << 14,  /* the configuration, most of it */
    DATASET_OVERHEAD = 1 << 9 /* object header, attribute, the group's entry */
};

const fx_checkpoint_kind fx_checkpoint_kinds[FX_CHECKPOINT_KINDS] = {
    {FX_SLAB_VALUE, "value", true},
    {FX_SLAB_EMA, "ema", true},
    {FX_SLAB_MOMENT1, "moment1", false},
    {FX_SLAB_MOMENT2, "moment2", false}};

static int kind_of(fx_slab slab)
{
    int kind = 0;
    while (fx_checkpoint_kinds[kind].slab != slab)
        kind++;
    return kind;
}

bool fx_checkpoint_has(unsigned slabs, const fx_param *p, int kind)
{
    const fx_slab slab = fx_checkpoint_kinds[kind].slab;
    return (slabs & 1u << slab) && (p->trained || slab == FX_SLAB_VALUE);
}

static unsigned slabs_of(fx_params *params)
{
    unsigned slabs = 0;
    for (int kind = 0; kind < FX_CHECKPOINT_KINDS; kind++)
        if (fx_params_slab(params, fx_checkpoint_kinds[kind].slab, 0))
            slabs |= 1u << fx_checkpoint_kinds[kind].slab;
    return slabs;
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

fx_status fx_checkpoint_room(fx_params *params, float **buffer)
{
    int64_t largest = 1;
    for (int i = 0; i < fx_params_count(params); i++) {
        const int64_t count = fx_count(&fx_params_at(params, i)->value);
        if (count > largest) largest = count;
    }
    return FX_ALLOC(*buffer, largest);
}

/* ---- Tensors. */

fx_status fx_checkpoint_name(char out[FX_CHECKPOINT_NAME], int kind, const fx_param *p)
{
    return fx_print(out, FX_CHECKPOINT_NAME, "%s/%s", fx_checkpoint_kinds[kind].name, p->name);
}

/* Replicas are equal on all ranks, or put together there; tensor i is written by rank i mod size, the
 * others bring nothing. */
static fx_status write_tensor(fx_comm *comm, fx_h5 *f, fx_params *params, fx_exec *exec, int i,
                              int kind, float *buffer)
{
    char name[FX_CHECKPOINT_NAME];
    const fx_param *p = fx_params_at(params, i);
    fx_h5_shape shape = {.rank = p->value.rank, .type = FX_H5_F32};
    int64_t offset[FX_MAX_RANK] = {0}, count[FX_MAX_RANK];
    memcpy(shape.dim, p->value.dim, sizeof(int64_t) * (size_t)p->value.rank);
    memcpy(count, p->value.dim, sizeof count);
    if (i % comm->size != comm->rank) count[0] = 0;
    FX_TRY(fx_checkpoint_name(name, kind, p));
    FX_TRY(fx_params_read_whole(params, exec, p, fx_checkpoint_kinds[kind].slab, buffer));
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
    for (int kind = 0; status == FX_OK && kind < FX_CHECKPOINT_KINDS; kind++)
        if (fx_checkpoint_has(slabs_of(params), fx_params_at(params, i), kind))
            status = write_tensor(comm, f, params, exec, i, kind, buffer);
    return fx_h5_settle(f, status);
}

static fx_status write_all(fx_comm *comm, const char *part, fx_params *params, fx_exec *exec,
                           const fx_progress *progress)
{
    fx_h5 *f = NULL;
    float *buffer = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_checkpoint_room(params, &buffer));
    FX_TRY_DONE(fx_h5_create(comm, part, &f));
    FX_TRY_DONE(fx_progress_write(f, progress));
    FX_TRY_DONE(fx_engines_write(comm, f, exec));
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
        for (int kind = 0; kind < FX_CHECKPOINT_KINDS; kind++) {
            const fx_param *p = fx_params_at(params, i);
            if (fx_checkpoint_has(slabs_of(params), p, kind))
                bytes += (int64_t)bytes_of(p) + DATASET_OVERHEAD;
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
    const unsigned slabs = slabs_of(params);
    fx_progress own = *progress;
    own.moments = (slabs >> FX_SLAB_MOMENT1 & 1u) + (slabs >> FX_SLAB_MOMENT2 & 1u);
    fx_status status = fx_print(name, sizeof name, "step-%08lld.h5", (long long)progress->step);
    if (status == FX_OK) status = fx_path(final, "%s/%s", folder, name);
    if (status == FX_OK) status = fx_path(part, "%s.part", final);
    if (status == FX_OK && comm->rank == 0) status = fx_make_dirs(folder);
    if (status == FX_OK && comm->rank == 0) status = enough_room(params, folder);
    FX_TRY(fx_agree(comm, status));

    status = fx_agree(comm, write_all(comm, part, params, exec, &own));
    if (comm->rank == 0 && status == FX_OK) status = fx_checkpoint_verify_as(part, params, slabs);
    if (comm->rank == 0 && status == FX_OK) status = fx_commit(part, final);
    if (comm->rank == 0 && status == FX_OK) status = fx_latest_set(folder, name);
    if (comm->rank == 0 && status == FX_OK)
        status = fx_latest_prune(folder, (int)progress->config.checkpoint_keep,
                                 progress->config.checkpoint_keep_every);
    if (comm->rank == 0 && status != FX_OK) (void)fx_remove(part);
    status = fx_agree(comm, status);
    return status == FX_OK ? FX_OK : fx_context(status, "checkpoint %s", final);
}

fx_status fx_checkpoint_describe(fx_h5 *f, const char *path, int kind, const fx_param *p)
{
    char name[FX_CHECKPOINT_NAME];
    fx_h5_shape shape;
    const fx_tensor *like = &p->value;
    FX_TRY(fx_checkpoint_name(name, kind, p));
    FX_REQUIRE(fx_h5_exists(f, name), FX_EVALUE, "%s: %s: missing", path, name);
    FX_TRY(fx_h5_describe(f, name, &shape));
    FX_REQUIRE(shape.type == FX_H5_F32, FX_EVALUE, "%s: %s: of another type than float32", path, name);
    bool same = shape.rank == like->rank;
    for (int i = 0; same && i < shape.rank; i++)
        same = shape.dim[i] == like->dim[i];
    FX_REQUIRE(same, FX_EVALUE, "%s: %s: of another shape than the model's %s", path, name,
               fx_shape_text(like));
    return FX_OK;
}

static fx_status read_tensor(fx_h5 *f, const char *path, int kind, const fx_param *p, float *buffer)
{
    char name[FX_CHECKPOINT_NAME];
    int64_t hash = 0;
    FX_TRY(fx_checkpoint_describe(f, path, kind, p));
    FX_TRY(fx_checkpoint_name(name, kind, p));
    FX_REQUIRE(fx_h5_has_attribute(f, name, "xxh64"), FX_EVALUE, "%s: %s: without a checksum", path,
               name);
    FX_TRY(fx_h5_read(f, name, NULL, NULL, FX_H5_F32, buffer));
    FX_TRY(fx_h5_get_int(f, name, "xxh64", &hash));
    FX_REQUIRE(hash == hash_of(buffer, fx_count(&p->value)), FX_EVALUE, "%s: %s: checksum differs",
               path, name);
    return FX_OK;
}

fx_status fx_checkpoint_tensor(fx_h5 *f, const char *path, fx_slab slab, const fx_param *p, float *out)
{
    return read_tensor(f, path, kind_of(slab), p, out);
}

/* An imported run (import.c) has weights alone. */
static fx_status has_optimizer(fx_h5 *f, const char *path)
{
    FX_REQUIRE(fx_h5_exists(f, fx_checkpoint_kinds[kind_of(FX_SLAB_MOMENT1)].name), FX_ECONFIG,
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
    fx_status status = fx_checkpoint_room(params, &buffer);
    if (status == FX_OK && comm->rank == 0) status = fx_h5_open(path, FX_H5_OURS, &f);
    if (status == FX_OK && f && !weights_only) status = has_optimizer(f, path);
    FX_TRY_DONE(fx_agree(comm, status));
    for (int i = 0; i < fx_params_count(params); i++)
        for (int kind = 0; kind < FX_CHECKPOINT_KINDS; kind++) {
            const fx_param *p = fx_params_at(params, i);
            if (!fx_checkpoint_has(slabs_of(params), p, kind) ||
                (weights_only && !fx_checkpoint_kinds[kind].weights))
                continue;
            if (comm->rank == 0) status = read_tensor(f, path, kind, p, buffer);
            FX_TRY_DONE(fx_agree(comm, status));
            FX_TRY_DONE(comm->ops->broadcast(comm, buffer, bytes_of(p), 0));
            FX_TRY_DONE(fx_params_write(params, exec, p, fx_checkpoint_kinds[kind].slab, buffer));
        }
done:
    fx_h5_abandon(&f);
    fx_free(buffer);
    return status;
}

/* ---- Which one. */

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
