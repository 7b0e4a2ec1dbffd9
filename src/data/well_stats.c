/* well_stats.c: numbers from stats.yaml of The Well,
 *   rms:
 *     field: 1.5            a scalar field
 *     velocity: [0.1, 0.2]  a vector
 * and the same for mean and std. */
#include "well_stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "source.h"

enum { MOST_BYTES = 1 << 20, DEEPEST = 16 };

/* Where the parser is. depth 1: keys such as rms; 2: names of fields; 3: components. */
typedef struct place {
    int depth;
    bool key[DEEPEST]; /* the next scalar of this depth is a key */
    bool list[DEEPEST];
    bool in_table, in_field;
    int64_t component;
} place;

static bool equals(const yaml_event_t *e, const char *text)
{
    return strcmp((const char *)e->data.scalar.value, text) == 0;
}

/* A scalar; true when it is the wanted one. */
static bool take(place *p, const yaml_event_t *e, const char *table, const char *field, int64_t channel)
{
    const int d = p->depth;
    if (!p->list[d] && p->key[d]) {
        p->key[d] = false;
        if (d == 1) p->in_table = equals(e, table);
        if (d == 2) p->in_field = equals(e, field);
        return false;
    }
    p->key[d] = true;
    if (!p->in_table || !p->in_field) return false;
    if (d == 2) return channel == 0;
    return d == 3 && p->list[d] && p->component++ == channel;
}

/* The number table.field[channel]; NaN: not there. */
static double look_up(const char *text, size_t size, const char *table, const char *field,
                      int64_t channel)
{
    yaml_parser_t parser;
    yaml_event_t e;
    place p = {0};
    double found = NAN;
    if (!yaml_parser_initialize(&parser)) return NAN;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    for (bool more = true; more && yaml_parser_parse(&parser, &e); yaml_event_delete(&e)) {
        const bool begins = e.type == YAML_MAPPING_START_EVENT || e.type == YAML_SEQUENCE_START_EVENT;
        if (begins && ++p.depth < DEEPEST) {
            p.key[p.depth - 1] = true; /* what begins is the value of a key */
            p.key[p.depth] = true;
            p.list[p.depth] = e.type == YAML_SEQUENCE_START_EVENT;
            p.component = 0;
        }
        if (e.type == YAML_MAPPING_END_EVENT || e.type == YAML_SEQUENCE_END_EVENT) p.depth--;
        more = p.depth < DEEPEST && e.type != YAML_STREAM_END_EVENT;
        if (e.type == YAML_SCALAR_EVENT && take(&p, &e, table, field, channel)) {
            if (!fx_is_number((const char *)e.data.scalar.value, &found)) found = NAN;
            more = false;
        }
    }
    yaml_parser_delete(&parser);
    return found;
}

fx_status fx_well_scale(const char *path, const char *field, int64_t channel, double *out)
{
    char file[FX_PATH_MAX], *text = NULL;
    size_t size = 0;
    const int folder = (int)(fx_base_name(path) - path);
    *out = 0;
    FX_TRY(fx_path(file, "%.*s../../stats.yaml", folder, path));
    if (!fx_file_exists(file)) return FX_OK;
    FX_TRY(fx_read_text(file, MOST_BYTES, &text, &size));
    const double mean = look_up(text, size, "mean", field, channel),
                 std = look_up(text, size, "std", field, channel),
                 rms = look_up(text, size, "rms", field, channel);
    fx_free(text);
    const double scale = isnan(rms) ? sqrt(mean * mean + std * std) : rms;
    if (isnan(scale)) return FX_OK;
    FX_REQUIRE(scale > 0 && isfinite(scale), FX_EVALUE, "%s: %s: root mean square %g", file, field,
               scale);
    *out = scale;
    return FX_OK;
}
