/* shard.c: one file of a pack; its layout and the reasons are in shard.h. */
#include "shard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "shape.h"
#include "shard_checksum.h"

static const int64_t CHUNK_BYTES = 64ll << 20, MOST_CHUNK_BYTES = 1ll << 30; /* as io reads them */
static const char FIELDS[] = "w", CHECKSUMS[] = "checksum";

struct fx_shard_writer {
    fx_h5 *file;
    int64_t side, patches, snapshots;
    uint64_t *checksum; /* (P, T) */
    fx_stats *stats;    /* (P): a patch's snapshots come in order, patches in any */
};

struct fx_shard {
    char path[FX_PATH_MAX];
    fx_h5 *file;
    int64_t side, snapshots;
    uint64_t *checksum; /* (P, T) */
    fx_shard_hash hash;
    int64_t window;     /* snapshots of a chunk; 0: all is read through HDF5 */
    fx_h5_place *chunk; /* (P, chunks of a patch) where they lie; byte 0: not looked up yet */
};

static fx_h5_shape fields_shape(const fx_shard_layout *l)
{
    return (fx_h5_shape){4, {l->patches, l->source->snapshots, l->side, l->side}, FX_H5_F32};
}

static fx_h5_shape checksums_shape(const fx_shard_layout *l)
{
    return (fx_h5_shape){2, {l->patches, l->source->snapshots}, FX_H5_U64};
}

/* ---- Writing ---- */

static fx_status write_identity(fx_h5 *file, const fx_shard_layout *l)
{
    FX_TRY(fx_shard_checksum_mark(file));
    FX_TRY(fx_h5_set_text(file, "/", "source", l->source->name));
    FX_TRY(fx_h5_set_real(file, "/", "Re", l->source->reynolds));
    FX_TRY(fx_h5_set_int(file, "/", "seed", l->source->seed));
    FX_TRY(fx_h5_set_real(file, "/", "start", l->source->start));
    FX_TRY(fx_h5_set_real(file, "/", "interval", l->source->interval));
    if (l->source->run > 0) FX_TRY(fx_h5_set_int(file, "/", "run", l->source->run));
    if (strcmp(l->source->field, FIELDS) != 0)
        FX_TRY(fx_h5_set_text(file, "/", "field", l->source->field));
    return fx_h5_set_int(file, "/", "tile", l->tile);
}

static fx_status write_ints(fx_h5 *file, const char *name, int64_t count, const int64_t *values)
{
    FX_TRY(fx_h5_dataset(file, name, (fx_h5_shape){1, {count}, FX_H5_I64}, NULL));
    return fx_h5_write(file, name, NULL, NULL, FX_H5_I64, values);
}

/* Tile numbers, corners in the source and pixels of a patch. `room` holds 3 P + S numbers. */
static fx_status write_places(fx_h5 *file, const fx_shard_layout *l, int64_t *room)
{
    const int64_t across = l->source->width / l->side, P = l->patches;
    int64_t *patch = room, *row = room + P, *column = room + 2 * P, *pixel = room + 3 * P;
    for (int64_t p = 0; p < P; p++) {
        patch[p] = l->tile + p;
        row[p] = patch[p] / across * l->side;
        column[p] = patch[p] % across * l->side;
    }
    for (int64_t k = 0; k < l->side; k++)
        pixel[k] = k;
    FX_TRY(write_ints(file, "patch", P, patch));
    FX_TRY(write_ints(file, "row", P, row));
    FX_TRY(write_ints(file, "column", P, column));
    FX_TRY(write_ints(file, "y", l->side, pixel));
    return write_ints(file, "x", l->side, pixel);
}

/* Times, or snapshot numbers when the source doesn't say its interval. `room` holds T numbers. */
static fx_status write_times(fx_h5 *file, const fx_pack_source *s, double *room)
{
    for (int64_t t = 0; t < s->snapshots; t++)
        room[t] = s->interval > 0 ? s->start + (double)t * s->interval : (double)t;
    FX_TRY(fx_h5_dataset(file, "time", (fx_h5_shape){1, {s->snapshots}, FX_H5_F64}, NULL));
    return fx_h5_write(file, "time", NULL, NULL, FX_H5_F64, room);
}

static fx_status write_coordinates(fx_h5 *file, const fx_shard_layout *l)
{
    fx_status status = FX_OK;
    int64_t *places = NULL;
    double *times = NULL;
    FX_TRY_DONE(FX_ALLOC(places, 3 * l->patches + l->side));
    FX_TRY_DONE(FX_ALLOC(times, l->source->snapshots));
    FX_TRY_DONE(write_places(file, l, places));
    FX_TRY_DONE(write_times(file, l->source, times));
    FX_TRY_DONE(fx_h5_name_dims(file, FIELDS, (const char *const[]){"patch", "time", "y", "x"}));
    FX_TRY_DONE(fx_h5_name_dims(file, CHECKSUMS, (const char *const[]){"patch", "time"}));
    FX_TRY_DONE(fx_h5_name_dims(file, "row", (const char *const[]){"patch"}));
    FX_TRY_DONE(fx_h5_name_dims(file, "column", (const char *const[]){"patch"}));
done:
    fx_free(places);
    fx_free(times);
    return status;
}

fx_status fx_shard_wanted(const fx_config *config, const fx_shard_layout *l, fx_pack_storage *out)
{
    const int64_t T = l->source->snapshots, one = l->side * l->side * (int64_t)sizeof(float),
                  fit = CHUNK_BYTES / one < 1 ? 1 : CHUNK_BYTES / one,
                  own = config->pack_compress > 0 ? 1 : fit,
                  window = config->pack_window > 0 ? config->pack_window : own;
    *out = (fx_pack_storage){.window = window < T ? window : T, .compress = (int)config->pack_compress};
    FX_REQUIRE(
        out->window <= MOST_CHUNK_BYTES / one, FX_ECONFIG,
        "pack.window: a chunk of %lld snapshots of %lld pixels squared is %.0f MiB, more than %lld",
        (long long)out->window, (long long)l->side, (double)(out->window * one) / 0x1p20,
        (long long)(MOST_CHUNK_BYTES >> 20));
    return FX_OK;
}

/* The fields' dataset. */
static fx_status create_fields(fx_h5 *file, const fx_shard_layout *l, const fx_pack_storage *storage)
{
    const int64_t chunk[] = {1, storage->window, l->side, l->side};
    return storage->compress > 0
               ? fx_h5_dataset_deflated(file, FIELDS, fields_shape(l), chunk, storage->compress)
               : fx_h5_dataset(file, FIELDS, fields_shape(l), chunk);
}

fx_status fx_shard_create(const char *path, const fx_shard_layout *l, const fx_pack_storage *storage,
                          fx_shard_writer **out)
{
    fx_status status = FX_OK;
    fx_shard_writer *shard = NULL;
    const int64_t T = l->source->snapshots;
    FX_TRY_DONE(FX_ALLOC(shard, 1));
    shard->side = l->side;
    shard->patches = l->patches;
    shard->snapshots = T;
    FX_TRY_DONE(FX_ALLOC(shard->checksum, l->patches * T));
    FX_TRY_DONE(FX_ALLOC(shard->stats, l->patches));
    FX_TRY_DONE(fx_h5_create(NULL, path, &shard->file));
    FX_TRY_DONE(create_fields(shard->file, l, storage));
    FX_TRY_DONE(fx_h5_dataset(shard->file, CHECKSUMS, checksums_shape(l), NULL));
    FX_TRY_DONE(write_identity(shard->file, l));
    FX_TRY_DONE(write_coordinates(shard->file, l));
done:
    if (status != FX_OK) fx_shard_abandon(&shard);
    *out = shard;
    return status;
}

fx_status fx_shard_write(fx_shard_writer *shard, int64_t place, int64_t t, int64_t count,
                         const float *values)
{
    const int64_t pixels = shard->side * shard->side;
    for (int64_t i = 0; i < count; i++) {
        shard->checksum[place * shard->snapshots + t + i] =
            fx_shard_checksum(FX_SHARD_XXH3, values + i * pixels, pixels);
        fx_stats_add(&shard->stats[place], values + i * pixels, pixels);
    }
    return fx_h5_write(shard->file, FIELDS, (const int64_t[]){place, t, 0, 0},
                       (const int64_t[]){1, count, shard->side, shard->side}, FX_H5_F32, values);
}

static fx_status write_summary(const fx_shard_writer *shard)
{
    fx_stats all = {0};
    for (int64_t p = 0; p < shard->patches; p++)
        fx_stats_merge(&all, &shard->stats[p]);
    FX_TRY(fx_h5_write(shard->file, CHECKSUMS, NULL, NULL, FX_H5_U64, shard->checksum));
    FX_TRY(fx_h5_set_int(shard->file, "/", "count", all.count));
    FX_TRY(fx_h5_set_real(shard->file, "/", "mean", all.mean));
    FX_TRY(fx_h5_set_real(shard->file, "/", "square", all.square));
    FX_TRY(fx_h5_set_real(shard->file, "/", "least", all.least));
    return fx_h5_set_real(shard->file, "/", "largest", all.largest);
}

fx_status fx_shard_finish(fx_shard_writer **shard)
{
    fx_status status = write_summary(*shard);
    if (status == FX_OK) status = fx_h5_close(&(*shard)->file);
    fx_shard_abandon(shard);
    return status;
}

void fx_shard_abandon(fx_shard_writer **shard)
{
    if (!*shard) return;
    fx_h5_abandon(&(*shard)->file);
    fx_free((*shard)->checksum);
    fx_free((*shard)->stats);
    fx_free(*shard);
    *shard = NULL;
}

/* ---- Reading ---- */

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t snapshot_bytes(const fx_shard *shard)
{
    return shard->side * shard->side * (int64_t)sizeof(float);
}

static fx_status check_shape(fx_shard *shard, const char *name, fx_h5_shape want)
{
    fx_h5_shape found;
    FX_TRY(fx_h5_describe(shard->file, name, &found));
    bool same = found.rank == want.rank && found.type == want.type;
    for (int i = 0; same && i < want.rank; i++)
        same = found.dim[i] == want.dim[i];
    if (same) return FX_OK;
    return fx_fail(FX_EVALUE, "%s: %s is %s of type %d, the manifest makes it %s of type %d",
                   shard->path, name, fx_shape_print(found).text, (int)found.type,
                   fx_shape_print(want).text, (int)want.type);
}

/* Run and field stand in a shard only where they aren't 0 and w. */
static fx_status check_field(fx_shard *shard, const fx_pack_source *s)
{
    char field[FX_NAME_MAX + 1] = "w";
    int64_t run = 0;
    if (fx_h5_has_attribute(shard->file, "/", "run"))
        FX_TRY(fx_h5_get_int(shard->file, "/", "run", &run));
    if (fx_h5_has_attribute(shard->file, "/", "field"))
        FX_TRY(fx_h5_get_text(shard->file, "/", "field", field, sizeof field));
    FX_REQUIRE(run == s->run && strcmp(field, s->field) == 0, FX_EVALUE,
               "%s: holds %s of run %lld, the manifest says %s of run %lld", shard->path, field,
               (long long)run, s->field, (long long)s->run);
    return FX_OK;
}

static fx_status check_identity(fx_shard *shard, const fx_shard_layout *l)
{
    char source[FX_NAME_MAX + 1];
    double reynolds, start, interval;
    int64_t seed, tile;
    FX_TRY(fx_h5_get_text(shard->file, "/", "source", source, sizeof source));
    FX_TRY(fx_h5_get_real(shard->file, "/", "Re", &reynolds));
    FX_TRY(fx_h5_get_real(shard->file, "/", "start", &start));
    FX_TRY(fx_h5_get_real(shard->file, "/", "interval", &interval));
    FX_TRY(fx_h5_get_int(shard->file, "/", "seed", &seed));
    FX_TRY(fx_h5_get_int(shard->file, "/", "tile", &tile));
    const fx_pack_source *s = l->source;
    FX_REQUIRE(
        strcmp(source, s->name) == 0 && reynolds == s->reynolds && seed == s->seed &&
            start == s->start && interval == s->interval && tile == l->tile,
        FX_EVALUE, "%s: holds tile %lld of %s (Re %g, seed %lld), the manifest says tile %lld of %s",
        shard->path, (long long)tile, source, reynolds, (long long)seed, (long long)l->tile, s->name);
    return check_field(shard, s);
}

/* Room for the places of the chunks, where a chunk is what a writer of ours makes it. */
static fx_status find_windows(fx_shard *shard, int64_t patches)
{
    fx_h5_storage storage;
    FX_TRY(fx_h5_describe_storage(shard->file, FIELDS, &storage));
    const int64_t *chunk = storage.chunk;
    if (storage.rank != 4 || chunk[0] != 1 || chunk[2] != shard->side || chunk[3] != shard->side)
        return FX_OK;
    shard->window = chunk[1];
    return FX_ALLOC(shard->chunk, patches * ceil_div(shard->snapshots, shard->window));
}

fx_status fx_shard_open(const char *path, const fx_shard_layout *l, fx_shard **out)
{
    fx_status status = FX_OK;
    fx_shard *shard = NULL;
    FX_TRY_DONE(FX_ALLOC(shard, 1));
    FX_TRY_DONE(fx_path(shard->path, "%s", path));
    shard->side = l->side;
    shard->snapshots = l->source->snapshots;
    FX_TRY_DONE(fx_h5_open(path, FX_H5_OURS, &shard->file));
    FX_TRY_DONE(check_shape(shard, FIELDS, fields_shape(l)));
    FX_TRY_DONE(check_shape(shard, CHECKSUMS, checksums_shape(l)));
    FX_TRY_DONE(check_identity(shard, l));
    FX_TRY_DONE(fx_shard_checksum_kind(shard->file, path, &shard->hash));
    FX_TRY_DONE(find_windows(shard, l->patches));
    FX_TRY_DONE(FX_ALLOC(shard->checksum, l->patches * shard->snapshots));
    FX_TRY_DONE(fx_h5_read(shard->file, CHECKSUMS, NULL, NULL, FX_H5_U64, shard->checksum));
done:
    if (status != FX_OK) fx_shard_close(&shard);
    *out = shard;
    return status;
}

/* Where the snapshots from t on lie that share a chunk, `count` of them or fewer. */
static fx_status find_part(fx_shard *shard, int64_t place, int64_t t, int64_t *count, fx_h5_place *out)
{
    *out = (fx_h5_place){-1, -1};
    if (shard->window == 0) return FX_OK;
    const int64_t window = t / shard->window, first = window * shard->window;
    fx_h5_place *chunk = &shard->chunk[place * ceil_div(shard->snapshots, shard->window) + window];
    if (chunk->byte == 0)
        FX_TRY(fx_h5_chunk_place(shard->file, FIELDS, (const int64_t[]){place, first, 0, 0}, FX_H5_F32,
                                 chunk));
    if (*count > first + shard->window - t) *count = first + shard->window - t;
    *out = (fx_h5_place){chunk->file, chunk->byte + (t - first) * snapshot_bytes(shard)};
    return FX_OK;
}

static fx_status read_part(fx_shard *shard, int64_t place, int64_t t, int64_t count, fx_h5_place from,
                           float *out)
{
    char *into = (char *)out;
    if (from.file < 0)
        return fx_h5_read(shard->file, FIELDS, (const int64_t[]){place, t, 0, 0},
                          (const int64_t[]){1, count, shard->side, shard->side}, FX_H5_F32, out);
    for (int64_t left = count * snapshot_bytes(shard); left > 0;) {
        const ssize_t got = pread(from.file, into, (size_t)left, from.byte);
        if (got < 0 && errno == EINTR) continue;
        FX_REQUIRE(got > 0, FX_EIO, "%s: %s[%lld, %lld]: %s", shard->path, FIELDS, (long long)place,
                   (long long)(t + count - 1 - (left - 1) / snapshot_bytes(shard)),
                   got < 0 ? strerror(errno) : "the file ends before it does");
        into += got;
        from.byte += got;
        left -= got;
    }
    return FX_OK;
}

fx_status fx_shard_find(fx_shard *shard, int64_t place, int64_t t, int64_t count)
{
    for (int64_t end = t + count, part; t < end; t += part) {
        fx_h5_place from;
        part = end - t;
        FX_TRY(find_part(shard, place, t, &part, &from));
    }
    return FX_OK;
}

void fx_shard_expect(fx_shard *shard, int64_t place, int64_t t, int64_t count)
{
    for (int64_t end = t + count, part; t < end; t += part) {
        fx_h5_place from;
        part = end - t;
        if (find_part(shard, place, t, &part, &from) != FX_OK) break; /* the read will say so */
        if (from.file >= 0)
            (void)posix_fadvise(from.file, from.byte, part * snapshot_bytes(shard),
                                POSIX_FADV_WILLNEED);
    }
    fx_error_clear();
}

fx_status fx_shard_read(fx_shard *shard, int64_t place, int64_t t, int64_t count, float *out)
{
    const int64_t pixels = shard->side * shard->side;
    for (int64_t done = 0, part; done < count; done += part) {
        fx_h5_place from;
        part = count - done;
        FX_TRY(find_part(shard, place, t + done, &part, &from));
        FX_TRY(read_part(shard, place, t + done, part, from, out + done * pixels));
    }
    for (int64_t i = 0; i < count; i++)
        FX_REQUIRE(fx_shard_checksum(shard->hash, out + i * pixels, pixels) ==
                       shard->checksum[place * shard->snapshots + t + i],
                   FX_EVALUE,
                   "%s: %s[%lld, %lld]: the checksum differs: pack again or restore the file",
                   shard->path, FIELDS, (long long)place, (long long)(t + i));
    return FX_OK;
}

fx_status fx_shard_stats(fx_shard *shard, fx_stats *out)
{
    FX_TRY(fx_h5_get_int(shard->file, "/", "count", &out->count));
    FX_TRY(fx_h5_get_real(shard->file, "/", "mean", &out->mean));
    FX_TRY(fx_h5_get_real(shard->file, "/", "square", &out->square));
    FX_TRY(fx_h5_get_real(shard->file, "/", "least", &out->least));
    return fx_h5_get_real(shard->file, "/", "largest", &out->largest);
}

fx_status fx_shard_storage_of(fx_shard *shard, fx_pack_storage *out)
{
    fx_h5_storage s;
    FX_TRY(fx_h5_describe_storage(shard->file, FIELDS, &s));
    *out = (fx_pack_storage){
        .window = s.rank == 4 ? s.chunk[1] : shard->snapshots, .compress = s.level, .bytes = s.bytes};
    return FX_OK;
}

void fx_shard_close(fx_shard **shard)
{
    if (!*shard) return;
    fx_h5_abandon(&(*shard)->file);
    fx_free((*shard)->checksum);
    fx_free((*shard)->chunk);
    fx_free(*shard);
    *shard = NULL;
}
