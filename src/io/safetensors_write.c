/* safetensors_write.c: writes safetensors files as the format's reference writer does. */
#include "flexhpc/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "safetensors.h"

/* A tensor of the caller's list, by name in the file. */
typedef struct place {
    const fx_safetensor *tensor;
    int64_t begin, bytes;
    bool written;
} place;

struct fx_safetensors_writer {
    char path[FX_PATH_MAX], part[FX_PATH_MAX];
    int fd;
    int64_t data; /* where the values begin */
    place *place; /* in the order of the caller's list */
    int count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp((*(place *const *)a)->tensor->name, (*(place *const *)b)->tensor->name);
}

static int64_t bytes_of(const fx_safetensor *t)
{
    int64_t bytes = sizeof(float);
    for (int i = 0; i < t->rank; i++)
        bytes *= t->dim[i];
    return bytes;
}

static json_t *describe(const place *p)
{
    json_t *shape = json_array();
    int bad = shape ? 0 : -1;
    for (int i = 0; i < p->tensor->rank; i++)
        bad |= json_array_append_new(shape, json_integer(p->tensor->dim[i]));
    json_t *entry = json_pack("{ss so s[I, I]}", "dtype", "F32", "shape", shape, "data_offsets",
                              (json_int_t)p->begin, (json_int_t)(p->begin + p->bytes));
    if (!entry || !bad) return entry;
    json_decref(entry);
    return NULL;
}

/* Metadata, then tensors by name, which get their places in this order. NULL: no memory. */
static json_t *make_header(place **sorted, int count, const char *const *metadata)
{
    json_t *header = json_object(), *texts = json_object();
    int bad = header && texts ? 0 : -1;
    int64_t at = 0;
    for (int i = 0; metadata[i]; i += 2)
        bad |= json_object_set_new(texts, metadata[i], json_string(metadata[i + 1]));
    bad |= json_object_set_new(header, FX_METADATA, texts);
    for (int i = 0; i < count; i++) {
        sorted[i]->begin = at;
        at += sorted[i]->bytes;
        bad |= json_object_set_new(header, sorted[i]->tensor->name, describe(sorted[i]));
    }
    if (!bad) return header;
    json_decref(header);
    return NULL;
}

static fx_status failed(const char *path, const char *call)
{
    return fx_fail(FX_EIO, "%s: %s: %s", path, call, strerror(errno));
}

static fx_status write_bytes(const fx_safetensors_writer *w, int64_t at, const void *data, int64_t size)
{
    for (int64_t done = 0; done < size;) {
        const ssize_t n = pwrite(w->fd, (const char *)data + done, (size_t)(size - done), at + done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(w->part, "write");
        done += n;
    }
    return FX_OK;
}

static fx_status write_header(fx_safetensors_writer *w, const json_t *header)
{
    const size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT),
                 padded = (length + FX_LENGTH_BYTES - 1) / FX_LENGTH_BYTES * FX_LENGTH_BYTES;
    const uint64_t size = padded;
    char *text = NULL;
    FX_TRY(FX_ALLOC(text, FX_LENGTH_BYTES + padded));
    memcpy(text, &size, sizeof size);
    json_dumpb(header, text + FX_LENGTH_BYTES, length, JSON_COMPACT);
    memset(text + FX_LENGTH_BYTES + length, ' ', padded - length);
    w->data = (int64_t)(FX_LENGTH_BYTES + padded);
    const fx_status status = write_bytes(w, 0, text, w->data);
    fx_free(text);
    return status;
}

static fx_status enough_room(const fx_safetensors_writer *w)
{
    int64_t need = 0, space = 0;
    for (int i = 0; i < w->count; i++)
        need += w->place[i].bytes;
    FX_TRY(fx_free_space(w->part, &space));
    FX_REQUIRE(space >= need, FX_EIO, "%s: needs %lld MiB, %lld MiB are free", w->path,
               (long long)(need >> 20), (long long)(space >> 20));
    return FX_OK;
}

static fx_status begin(fx_safetensors_writer *w, const fx_safetensor *tensors, place **sorted,
                       const char *const *metadata)
{
    for (int i = 0; i < w->count; i++) {
        w->place[i] = (place){.tensor = &tensors[i], .bytes = bytes_of(&tensors[i])};
        sorted[i] = &w->place[i];
    }
    qsort(sorted, (size_t)w->count, sizeof *sorted, by_name);
    json_t *header = make_header(sorted, w->count, metadata);
    FX_REQUIRE(header, FX_ENOMEM, "%s: no memory for the header", w->path);
    w->fd = open(w->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    fx_status status = w->fd < 0 ? failed(w->part, "open") : FX_OK;
    if (status != FX_OK) w->part[0] = '\0'; /* whatever is there is not ours to remove */
    if (status == FX_OK) status = enough_room(w);
    if (status == FX_OK) status = write_header(w, header);
    json_decref(header);
    return status;
}

fx_status fx_safetensors_create(const char *path, const fx_safetensor *tensors, int count,
                                const char *const *metadata, fx_safetensors_writer **out)
{
    fx_safetensors_writer *w = NULL;
    place **sorted = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(w, 1));
    w->fd = -1;
    w->count = count;
    FX_TRY_DONE(fx_path(w->path, "%s", path));
    FX_TRY_DONE(fx_path(w->part, "%s.part", path));
    FX_TRY_DONE(FX_ALLOC(w->place, count));
    FX_TRY_DONE(FX_ALLOC(sorted, count));
    status = begin(w, tensors, sorted, metadata);
done:
    fx_free(sorted);
    if (status == FX_OK)
        *out = w;
    else
        fx_safetensors_abandon(&w);
    return status;
}

fx_status fx_safetensors_write(fx_safetensors_writer *w, int i, const float *values)
{
    FX_TRY(write_bytes(w, w->data + w->place[i].begin, values, w->place[i].bytes));
    w->place[i].written = true;
    return FX_OK;
}

fx_status fx_safetensors_finish(fx_safetensors_writer **writer)
{
    fx_safetensors_writer *w = *writer;
    fx_status status = FX_OK;
    for (int i = 0; i < w->count; i++)
        FX_REQUIRE_DONE(w->place[i].written, FX_EARG, "%s: %s was not written", w->path,
                        w->place[i].tensor->name);
    const int closed = close(w->fd);
    w->fd = -1;
    status = closed == 0 ? fx_commit(w->part, w->path) : failed(w->part, "close");
    if (status == FX_OK) w->part[0] = '\0';
done:
    fx_safetensors_abandon(writer);
    return status;
}

void fx_safetensors_abandon(fx_safetensors_writer **writer)
{
    fx_safetensors_writer *w = *writer;
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    if (w->part[0]) unlink(w->part);
    fx_free(w->place);
    fx_free(w);
    *writer = NULL;
}
