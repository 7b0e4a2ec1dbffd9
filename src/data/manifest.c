/* manifest.c: manifest.json, the description of a pack. Keys are sorted, numbers exact, and nothing of
 * the run that wrote it (date, host, ranks) is inside, so packing again gives the same bytes. What is
 * read is checked before anything is allocated from it: the file may come from anywhere. */
#include "flexhpc/data.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { VERSION = 1, MOST_BYTES = 1 << 28, MOST_SOURCES = 65536 };
static const char FORMAT[] = "flexhpc-pack", HEX_DIGITS[] = "0123456789abcdefABCDEF";

/* One object of the file and its name in messages, "shards[3]". */
typedef struct part {
    const json_t *object;
    const char *name;
} part;

static fx_status get_int(part p, const char *key, int64_t least, int64_t most, int64_t *out)
{
    const json_t *v = json_object_get(p.object, key);
    FX_REQUIRE(json_is_integer(v) && json_integer_value(v) >= least && json_integer_value(v) <= most,
               FX_EVALUE, "%s.%s: not a whole number from %" PRId64 " to %" PRId64, p.name, key, least,
               most);
    *out = json_integer_value(v);
    return FX_OK;
}

static fx_status get_real(part p, const char *key, double *out)
{
    const json_t *v = json_object_get(p.object, key);
    FX_REQUIRE(json_is_number(v) && isfinite(json_number_value(v)), FX_EVALUE, "%s.%s: not a number",
               p.name, key);
    *out = json_number_value(v);
    return FX_OK;
}

/* A text of printable ASCII characters. */
static fx_status get_text(part p, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(p.object, key));
    bool printable = text && text[0];
    for (const char *c = text; printable && *c; c++)
        printable = *c >= ' ' && *c <= '~';
    FX_REQUIRE(printable, FX_EVALUE, "%s.%s: not a printable text", p.name, key);
    return fx_print(out, size, "%s", text);
}

/* A text that is a plain file name. */
static fx_status get_name(part p, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(p.object, key));
    FX_REQUIRE(text && fx_is_plain_name(text), FX_EVALUE, "%s.%s: not a plain file name", p.name, key);
    return fx_print(out, size, "%s", text);
}

static fx_status get_array(part p, const char *key, int most, const json_t **out, int *count)
{
    *out = json_object_get(p.object, key);
    FX_REQUIRE(json_is_array(*out) && json_array_size(*out) > 0 &&
                   json_array_size(*out) <= (size_t)most,
               FX_EVALUE, "%s: not a list of 1 to %d objects", key, most);
    *count = (int)json_array_size(*out);
    return FX_OK;
}

/* What is written only where it isn't as in published NSKT files: the run, the field, the axes along
 * which the domain is periodic, and a data set of its own with its scale. */
static fx_status read_optional(part p, bool periodic, fx_pack_source *s)
{
    const json_t *axes = json_object_get(p.object, "periodic");
    s->periodic[0] = s->periodic[1] = periodic;
    FX_TRY(fx_print(s->field, sizeof s->field, "w"));
    if (json_object_get(p.object, "dataset")) {
        FX_TRY(get_name(p, "dataset", s->dataset, sizeof s->dataset));
        FX_TRY(get_real(p, "scale", &s->scale));
        FX_REQUIRE(s->scale > 0, FX_EVALUE, "%s.scale: not positive", p.name);
    }
    if (json_object_get(p.object, "run")) FX_TRY(get_int(p, "run", 0, MOST_SOURCES, &s->run));
    if (json_object_get(p.object, "field")) FX_TRY(get_text(p, "field", s->field, sizeof s->field));
    if (!axes) return FX_OK;
    FX_REQUIRE(json_array_size(axes) == 2 && json_is_boolean(json_array_get(axes, 0)) &&
                   json_is_boolean(json_array_get(axes, 1)),
               FX_EVALUE, "%s.periodic: not two of true and false, for y and x", p.name);
    for (size_t i = 0; i < 2; i++)
        s->periodic[i] = json_is_true(json_array_get(axes, i));
    return FX_OK;
}

static fx_status read_sources(part top, fx_manifest *m)
{
    const json_t *list;
    int count = 0;
    FX_TRY(get_array(top, "sources", MOST_SOURCES, &list, &count));
    FX_TRY(FX_ALLOC(m->source, count));
    for (int i = 0; i < count; i++) {
        char name[32];
        fx_pack_source *s = &m->source[i];
        FX_TRY(fx_print(name, sizeof name, "sources[%d]", i));
        const part p = {json_array_get(list, (size_t)i), name};
        s->scale = m->scale;
        FX_TRY(get_name(p, "name", s->name, sizeof s->name));
        FX_TRY(get_real(p, "reynolds", &s->reynolds));
        FX_REQUIRE(i == 0 || s->reynolds >= m->source[i - 1].reynolds, FX_EVALUE,
                   "%s.reynolds: out of order", name);
        FX_TRY(get_real(p, "start", &s->start));
        FX_TRY(get_real(p, "interval", &s->interval));
        FX_TRY(get_int(p, "seed", 0, INT64_MAX, &s->seed));
        FX_TRY(get_int(p, "snapshots", 1, FX_MOST_SNAPSHOTS, &s->snapshots));
        FX_TRY(get_int(p, "height", m->patch, FX_MOST_SIDE, &s->height));
        FX_TRY(get_int(p, "width", m->patch, FX_MOST_SIDE, &s->width));
        FX_TRY(read_optional(p, json_is_true(json_object_get(top.object, "periodic")), s));
    }
    m->sources = count;
    return FX_OK;
}

static fx_status read_shards(part top, fx_manifest *m)
{
    const json_t *list;
    int count = 0;
    FX_TRY(get_array(top, "shards", FX_MOST_SHARDS, &list, &count));
    FX_TRY(FX_ALLOC(m->shard, count));
    for (int i = 0; i < count; i++) {
        char name[32];
        int64_t source = 0;
        fx_pack_shard *s = &m->shard[i];
        FX_TRY(fx_print(name, sizeof name, "shards[%d]", i));
        const part p = {json_array_get(list, (size_t)i), name};
        FX_TRY(get_name(p, "name", s->name, sizeof s->name));
        FX_TRY(get_int(p, "source", 0, m->sources - 1, &source));
        s->source = (int)source;
        const fx_pack_source *from = &m->source[source];
        const int64_t tiles = (from->height / m->patch) * (from->width / m->patch);
        FX_TRY(get_int(p, "tile", 0, tiles - 1, &s->tile));
        FX_TRY(get_int(p, "patches", 1, tiles - s->tile, &s->patches));
        FX_TRY(get_int(p, "bytes", 1, INT64_MAX, &s->bytes));
        const char *text = json_string_value(json_object_get(p.object, "xxh64"));
        FX_REQUIRE(text && strlen(text) == 16 && strspn(text, HEX_DIGITS) == 16, FX_EVALUE,
                   "%s.xxh64: not 16 hexadecimal digits", name);
        s->checksum = strtoull(text, NULL, 16);
        FX_REQUIRE(i == 0 || s->source >= m->shard[i - 1].source, FX_EVALUE, "%s.source: out of order",
                   name);
        s->first = m->patches;
        m->patches += s->patches;
    }
    m->shards = count;
    return FX_OK;
}

static double reynolds_of(const fx_manifest *m, int shard)
{
    return m->source[m->shard[shard].source].reynolds;
}

/* Patches of one Re stand together, for sources are sorted by it, and shards by their source. The list
 * is sorted too, so one walk over the shards serves all of it, however long a hostile file makes both.
 */
static fx_status read_reynolds(part top, fx_manifest *m)
{
    const json_t *list;
    int count = 0, next = 0; /* next: the first shard that no Re before has taken */
    FX_TRY(get_array(top, "reynolds", MOST_SOURCES, &list, &count));
    FX_TRY(FX_ALLOC(m->reynolds, count));
    for (int i = 0; i < count; i++) {
        char name[32];
        double std = 0;
        fx_pack_reynolds *r = &m->reynolds[i];
        FX_TRY(fx_print(name, sizeof name, "reynolds[%d]", i));
        const part p = {json_array_get(list, (size_t)i), name};
        FX_TRY(get_real(p, "reynolds", &r->reynolds));
        FX_TRY(get_int(p, "count", 1, INT64_MAX, &r->stats.count));
        FX_TRY(get_real(p, "mean", &r->stats.mean));
        FX_TRY(get_real(p, "std", &std));
        FX_TRY(get_real(p, "min", &r->stats.least));
        FX_TRY(get_real(p, "max", &r->stats.largest));
        r->stats.square = std * std * (double)r->stats.count;
        FX_REQUIRE(i == 0 || r->reynolds > m->reynolds[i - 1].reynolds, FX_EVALUE,
                   "%s.reynolds: out of order", name);
        for (; next < m->shards && reynolds_of(m, next) <= r->reynolds; next++) {
            if (reynolds_of(m, next) < r->reynolds) continue;
            if (r->patches == 0) r->first = m->shard[next].first;
            r->patches += m->shard[next].patches;
        }
        FX_REQUIRE(r->patches > 0, FX_EVALUE, "%s: no shard holds Re %g", name, r->reynolds);
    }
    m->reynolds_count = count;
    return FX_OK;
}

static fx_status read_all(const json_t *json, fx_manifest *m)
{
    int64_t version = 0;
    const part top = {json, "pack"};
    const char *format = json_string_value(json_object_get(json, "format"));
    FX_REQUIRE(format && strcmp(format, FORMAT) == 0, FX_EVALUE, "not the manifest of a pack");
    FX_TRY(get_int(top, "version", 0, INT64_MAX, &version));
    FX_REQUIRE(version == VERSION, FX_EVALUE, "version %" PRId64 ", this program reads %d", version,
               VERSION);
    FX_TRY(get_int(top, "patch", 1, FX_MOST_SIDE, &m->patch));
    FX_TRY(get_int(top, "strata", 1, MOST_SOURCES, &m->strata));
    FX_TRY(get_real(top, "scale", &m->scale));
    FX_REQUIRE(m->scale > 0, FX_EVALUE, "pack.scale: not positive");
    FX_TRY(read_sources(top, m));
    FX_TRY(read_shards(top, m));
    return read_reynolds(top, m);
}

fx_status fx_manifest_parse(const char *name, const char *text, size_t size, fx_manifest *out)
{
    json_error_t error;
    *out = (fx_manifest){0};
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    FX_REQUIRE(json, FX_EVALUE, "%s: line %d: %s", name, error.line, error.text);
    const fx_status status = read_all(json, out);
    json_decref(json);
    if (status == FX_OK) return FX_OK;
    fx_manifest_free(out);
    return fx_context(status, "%s", name);
}

fx_status fx_manifest_read(const char *folder, fx_manifest *out)
{
    char path[FX_PATH_MAX], *text = NULL;
    size_t size;
    *out = (fx_manifest){0};
    FX_TRY(fx_path(path, "%s/manifest.json", folder));
    FX_TRY(fx_read_text(path, MOST_BYTES, &text, &size));
    const fx_status status = fx_manifest_parse(path, text, size, out);
    fx_free(text);
    return status;
}

static int add_optional(json_t *source, const fx_pack_source *s, bool periodic)
{
    int bad = source ? 0 : -1;
    if (s->dataset[0]) {
        bad |= json_object_set_new(source, "dataset", json_string(s->dataset));
        bad |= json_object_set_new(source, "scale", json_real(s->scale));
    }
    if (s->run > 0) bad |= json_object_set_new(source, "run", json_integer(s->run));
    if (strcmp(s->field, "w") != 0) bad |= json_object_set_new(source, "field", json_string(s->field));
    if (!periodic)
        bad |= json_object_set_new(source, "periodic",
                                   json_pack("[b, b]", s->periodic[0], s->periodic[1]));
    return bad;
}

/* json_pack gives NULL when memory is gone; json_array_append_new then fails too, so one check at the
 * end is enough. */
static json_t *describe(const fx_manifest *m)
{
    json_t *sources = json_array(), *shards = json_array(), *reynolds = json_array();
    int bad = 0;
    bool axes[2];
    fx_manifest_periodic(m, axes);
    const bool periodic = axes[0] && axes[1];
    for (int i = 0; i < m->sources; i++) {
        const fx_pack_source *s = &m->source[i];
        json_t *source = json_pack("{ss sf sf sf sI sI sI sI}", "name", s->name, "reynolds",
                                   s->reynolds, "start", s->start, "interval", s->interval, "seed",
                                   (json_int_t)s->seed, "snapshots", (json_int_t)s->snapshots, "height",
                                   (json_int_t)s->height, "width", (json_int_t)s->width);
        bad |= add_optional(source, s, periodic);
        bad |= json_array_append_new(sources, source);
    }
    for (int i = 0; i < m->shards; i++) {
        const fx_pack_shard *s = &m->shard[i];
        char hex[17];
        snprintf(hex, sizeof hex, "%016" PRIx64, s->checksum);
        bad |= json_array_append_new(shards, json_pack("{ss si sI sI sI ss}", "name", s->name, "source",
                                                       s->source, "tile", (json_int_t)s->tile,
                                                       "patches", (json_int_t)s->patches, "bytes",
                                                       (json_int_t)s->bytes, "xxh64", hex));
    }
    for (int i = 0; i < m->reynolds_count; i++) {
        const fx_pack_reynolds *r = &m->reynolds[i];
        bad |= json_array_append_new(
            reynolds,
            json_pack("{sf sI sf sf sf sf sf}", "reynolds", r->reynolds, "count",
                      (json_int_t)r->stats.count, "mean", r->stats.mean, "std", fx_stats_std(&r->stats),
                      "rms", fx_stats_rms(&r->stats), "min", r->stats.least, "max", r->stats.largest));
    }
    json_t *top = json_pack("{ss si sI ss sb sI sf so so so}", "format", FORMAT, "version", VERSION,
                            "patch", (json_int_t)m->patch, "positions", "tiles", "periodic", periodic,
                            "strata", (json_int_t)m->strata, "scale", m->scale, "sources", sources,
                            "shards", shards, "reynolds", reynolds);
    if (top && bad) json_decref(top);
    return bad ? NULL : top;
}

fx_status fx_manifest_write(const char *folder, const fx_manifest *manifest)
{
    char path[FX_PATH_MAX];
    FX_TRY(fx_path(path, "%s/manifest.json", folder));
    const size_t flags = JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(17);
    json_t *json = describe(manifest);
    const size_t size = json ? json_dumpb(json, NULL, 0, flags) : 0;
    char *text = NULL;
    fx_status status = size ? FX_ALLOC(text, size) : fx_fail(FX_ENOMEM, "no memory to write it");
    if (status == FX_OK) {
        json_dumpb(json, text, size, flags);
        status = fx_write_text(path, text, size);
    }
    json_decref(json);
    fx_free(text);
    return status == FX_OK ? FX_OK : fx_context(status, "%s", path);
}

void fx_manifest_periodic(const fx_manifest *m, bool periodic[2])
{
    periodic[0] = periodic[1] = true;
    for (int i = 0; i < m->sources; i++)
        for (int k = 0; k < 2; k++)
            periodic[k] = periodic[k] && m->source[i].periodic[k];
}

void fx_manifest_free(fx_manifest *manifest)
{
    fx_free(manifest->source);
    fx_free(manifest->shard);
    fx_free(manifest->reynolds);
    *manifest = (fx_manifest){0};
}

fx_patch fx_manifest_patch(const fx_manifest *m, int64_t patch)
{
    int low = 0, high = m->shards - 1; /* the last shard whose first patch is at most `patch` */
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (m->shard[middle].first <= patch)
            low = middle;
        else
            high = middle - 1;
    }
    const fx_pack_shard *shard = &m->shard[low];
    const fx_pack_source *source = &m->source[shard->source];
    const int64_t place = patch - shard->first, tile = shard->tile + place,
                  across = source->width / m->patch;
    return (fx_patch){
        .reynolds = source->reynolds,
        .start = source->start,
        .interval = source->interval,
        .seed = source->seed,
        .snapshots = source->snapshots,
        .row = tile / across * m->patch,
        .column = tile % across * m->patch,
        .source = shard->source,
        .shard = low,
        .place = place,
    };
}

bool fx_manifest_is_whole(const fx_manifest *m)
{
    for (int i = 0; i < m->sources; i++) {
        const fx_pack_source *s = &m->source[i];
        if (!s->periodic[0] || !s->periodic[1] || s->height != m->patch || s->width != m->patch)
            return false;
    }
    return true;
}
