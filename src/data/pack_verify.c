/* pack_verify.c: a pack against its own checksums. Shard i is read by rank i mod size, round by round;
 * after each round rank 0 tells what was found, in the order of the shards. Size and layout first, then
 * the whole file's checksum; where that differs, every snapshot's, to say which are lost. Statistics
 * that the shards bring along must make those of the manifest, which has no checksum of its own. */
#include "pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { TEXT = 4096, MORE = 8 /* for "  ...\n" */ };

/* Of one shard. */
typedef struct finding {
    fx_stats stats;  /* as the shard has them */
    double bytes;    /* read */
    char text[TEXT]; /* a line for each damage; "": whole */
} finding;

typedef struct verification {
    fx_comm *comm;
    const char *folder;
    FILE *out; /* of rank 0; NULL elsewhere, and where nobody wants to hear */
    fx_manifest manifest;
    fx_pack_reynolds *made; /* (reynolds_count) from the shards; patches: of those that are whole */
    int damaged;
    double bytes;
    char first[FX_PATH_MAX]; /* damage */
} verification;

/* ---- One shard. */

static bool is_full(const finding *f)
{
    const size_t used = strlen(f->text);
    return used >= 4 && strcmp(f->text + used - 4, "...\n") == 0;
}

/* Adds a line. Those that don't fit become "...". */
__attribute__((format(printf, 2, 3))) static void tell(finding *f, const char *fmt, ...)
{
    const size_t used = strlen(f->text), room = TEXT - MORE - used;
    va_list args;
    if (is_full(f)) return;
    va_start(args, fmt);
    const int length = vsnprintf(f->text + used, room, fmt, args);
    va_end(args);
    if (length >= 0 && (size_t)length + 1 < room)
        memcpy(f->text + used + length, "\n", 2);
    else
        memcpy(f->text + used, "  ...\n", 7);
}

/* The snapshots of one patch that can't be read as they were packed. `x` holds one. */
static fx_status find_in_patch(fx_shard *file, const fx_pack_shard *s, const fx_shard_layout *l,
                               int64_t place, float *x, finding *f)
{
    const int64_t T = l->source->snapshots;
    int64_t first = -1;
    for (int64_t t = 0; t <= T && !is_full(f); t++) {
        const fx_status status = t < T ? fx_shard_read(file, place, t, 1, x) : FX_OK;
        if (status == FX_ENOMEM) return status;
        if (status != FX_OK && first < 0) first = t;
        if (status == FX_OK && first >= 0) {
            tell(f,
                 "  patch %" PRId64 " of the pack: w[%" PRId64 "], snapshots %" PRId64 " to %" PRId64,
                 s->first + place, place, first, t - 1);
            first = -1;
        }
        fx_error_clear();
    }
    return FX_OK;
}

static fx_status find_snapshots(fx_shard *file, const fx_pack_shard *s, const fx_shard_layout *l,
                                finding *f)
{
    float *x = NULL;
    const size_t before = strlen(f->text);
    fx_status status = FX_ALLOC(x, l->side * l->side);
    for (int64_t place = 0; status == FX_OK && place < l->patches; place++)
        status = find_in_patch(file, s, l, place, x, f);
    fx_free(x);
    if (status == FX_OK && strlen(f->text) == before)
        tell(f, "  outside the fields: every snapshot has its checksum");
    return status;
}

static fx_status check_file(const verification *v, int shard, finding *f)
{
    char path[FX_PATH_MAX];
    uint64_t checksum = 0;
    fx_shard *file = NULL;
    const fx_pack_shard *s = &v->manifest.shard[shard];
    const fx_shard_layout layout = fx_shard_layout_of(&v->manifest, shard);
    FX_TRY(fx_shard_locate(v->folder, s, path));
    FX_TRY(fx_shard_open(path, &layout, &file));
    fx_status status = fx_shard_stats(file, &f->stats);
    if (status == FX_OK) status = fx_file_xxh64(path, &checksum);
    if (status == FX_OK) f->bytes = (double)s->bytes;
    if (status == FX_OK && checksum != s->checksum) {
        tell(f, "%s: XXH64 %016" PRIx64 ", the manifest says %016" PRIx64, path, checksum, s->checksum);
        status = find_snapshots(file, s, &layout, f);
    }
    fx_shard_close(&file);
    return status;
}

/* Whatever is wrong with a file is a finding, not a failure. */
static fx_status check_shard(const verification *v, int shard, finding *f)
{
    *f = (finding){0};
    if (shard >= v->manifest.shards) return FX_OK;
    const fx_status status = check_file(v, shard, f);
    if (status == FX_ENOMEM) return status;
    if (status != FX_OK) tell(f, "%s", fx_error_message());
    fx_error_clear();
    return FX_OK;
}

/* ---- All of them. */

static void take_damage(verification *v, const char *text)
{
    v->damaged++;
    if (v->out) fputs(text, v->out);
    if (!v->first[0]) snprintf(v->first, sizeof v->first, "%.*s", (int)strcspn(text, "\n"), text);
}

/* The findings of a round, (size), in the order of shards: so were statistics merged when packing. */
static void take_round(verification *v, const finding *all, int first)
{
    const fx_manifest *m = &v->manifest;
    for (int r = 0; r < v->comm->size && first + r < m->shards; r++) {
        const fx_pack_shard *s = &m->shard[first + r];
        v->bytes += all[r].bytes;
        if (all[r].text[0]) {
            take_damage(v, all[r].text);
            continue;
        }
        for (int k = 0; k < m->reynolds_count; k++)
            if (m->reynolds[k].reynolds == m->source[s->source].reynolds) {
                fx_stats_merge(&v->made[k].stats, &all[r].stats);
                v->made[k].patches += s->patches;
            }
    }
    if (v->out) fflush(v->out);
}

static bool is_near(double a, double b, double unit)
{
    return fabs(a - b) <= 1e-9 * unit;
}

/* Of the Reynolds numbers all of whose shards are whole. */
static void compare_statistics(verification *v)
{
    const fx_manifest *m = &v->manifest;
    for (int k = 0; k < m->reynolds_count; k++) {
        const fx_pack_reynolds *said = &m->reynolds[k];
        const fx_stats *a = &said->stats, *b = &v->made[k].stats;
        const double unit = fx_stats_rms(b);
        char text[FX_PATH_MAX + 256];
        if (v->made[k].patches != said->patches ||
            (a->count == b->count && is_near(a->mean, b->mean, unit) &&
             is_near(fx_stats_std(a), fx_stats_std(b), unit) && is_near(a->least, b->least, unit) &&
             is_near(a->largest, b->largest, unit)))
            continue;
        snprintf(text, sizeof text,
                 "%s/manifest.json: Re %g: %" PRId64
                 " values from %g to %g, mean %g, std %g; the shards "
                 "have %" PRId64 " from %g to %g, mean %g, std %g\n",
                 v->folder, said->reynolds, a->count, a->least, a->largest, a->mean, fx_stats_std(a),
                 b->count, b->least, b->largest, b->mean, fx_stats_std(b));
        take_damage(v, text);
    }
}

static fx_status check_all(verification *v)
{
    finding mine, *all = NULL;
    const fx_manifest *m = &v->manifest;
    fx_status status = fx_manifest_read(v->folder, &v->manifest);
    if (status == FX_OK) status = FX_ALLOC(all, v->comm->size);
    if (status == FX_OK) status = FX_ALLOC(v->made, m->reynolds_count);
    FX_TRY_DONE(fx_agree(v->comm, status));
    for (int first = 0; first < m->shards; first += v->comm->size) {
        FX_TRY_DONE(fx_agree(v->comm, check_shard(v, first + v->comm->rank, &mine)));
        FX_TRY_DONE(v->comm->ops->all_gather(v->comm, &mine, sizeof mine, all));
        take_round(v, all, first);
    }
    compare_statistics(v);
done:
    fx_free(all);
    return status;
}

static fx_status verify_one(fx_comm *comm, const char *folder, FILE *out, fx_pack_verified *result)
{
    verification v = {.comm = comm, .folder = folder, .out = comm->rank == 0 ? out : NULL};
    const fx_status status = check_all(&v);
    result->shards += v.manifest.shards;
    result->damaged += v.damaged;
    result->bytes += v.bytes;
    if (!result->first[0]) memcpy(result->first, v.first, sizeof v.first);
    fx_manifest_free(&v.manifest);
    fx_free(v.made);
    return status;
}

fx_status fx_pack_verify(fx_comm *comm, const char *folder, FILE *out, fx_pack_verified *result)
{
    char lowres[FX_PATH_MAX];
    const double begun = fx_now();
    *result = (fx_pack_verified){0};
    FX_TRY(verify_one(comm, folder, out, result));
    FX_TRY(fx_lowres_inside(comm, folder, lowres));
    if (lowres[0]) FX_TRY(verify_one(comm, lowres, out, result));
    result->seconds = fx_now() - begun;
    FX_REQUIRE(result->damaged == 0, FX_EVALUE, "%s: damaged in %d places, first %s", folder,
               result->damaged, result->first);
    return FX_OK;
}
