/* yaml.c: a configuration file: keys, and sections of keys, nothing deeper. Anchors, aliases and tags
 * are refused: there is nothing to share in a flat file, and they are how small texts become large. */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "keys.h"

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    const char *file;
    fx_config *config;
    fx_given *given;
} reader;

static unsigned long line_of(const reader *r)
{
    return (unsigned long)r->event.start_mark.line + 1;
}

static fx_status place(const reader *r, fx_status status)
{
    return fx_context(status, "%s:%lu", r->file, line_of(r));
}

static fx_status next(reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return FX_OK;
    memset(&r->event, 0, sizeof r->event);
    return fx_fail(FX_ECONFIG, "%s:%lu: %s", r->file, (unsigned long)r->parser.problem_mark.line + 1,
                   r->parser.problem ? r->parser.problem : "is no YAML");
}

static fx_status expect(reader *r, yaml_event_type_t type, const char *what)
{
    FX_TRY(next(r));
    return r->event.type == type ? FX_OK : place(r, fx_fail(FX_ECONFIG, "%s expected", what));
}

/* The present event as plain text. */
static fx_status scalar(reader *r, const char *what, char *out, size_t size)
{
    if (r->event.type == YAML_ALIAS_EVENT) return place(r, fx_fail(FX_ECONFIG, "an alias, refused"));
    if (r->event.type != YAML_SCALAR_EVENT) return place(r, fx_fail(FX_ECONFIG, "%s expected", what));
    if (r->event.data.scalar.anchor || r->event.data.scalar.tag)
        return place(r, fx_fail(FX_ECONFIG, "an anchor or tag, refused"));
    const char *text = (const char *)r->event.data.scalar.value;
    if (strlen(text) != r->event.data.scalar.length || strlen(text) >= size)
        return place(r, fx_fail(FX_ECONFIG, "%s too long", what));
    strcpy(out, text);
    return FX_OK;
}

/* [1, 2, 3] becomes "1,2,3". */
static fx_status sequence(reader *r, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    if (r->event.data.sequence_start.anchor || r->event.data.sequence_start.tag)
        return place(r, fx_fail(FX_ECONFIG, "an anchor or tag, refused"));
    for (;;) {
        char item[64];
        FX_TRY(next(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT) return FX_OK;
        FX_TRY(scalar(r, "number", item, sizeof item));
        const int n = snprintf(out + used, size - used, used ? ",%s" : "%s", item);
        if (n < 0 || (size_t)n >= size - used) return place(r, fx_fail(FX_ECONFIG, "list too long"));
        used += (size_t)n;
    }
}

/* The value of the key that the present event names. */
static fx_status read_value(reader *r, const fx_key *key, const char *name)
{
    char value[FX_TEXT_MAX + 1];
    int *where = &r->given->where[key - fx_keys];
    if (*where) return place(r, fx_fail(FX_ECONFIG, "%s: given twice", name));
    *where = (int)line_of(r);
    FX_TRY(next(r));
    if (r->event.type == YAML_SEQUENCE_START_EVENT && key->type == FX_KEY_LIST)
        FX_TRY(sequence(r, value, sizeof value));
    else
        FX_TRY(scalar(r, "value", value, sizeof value));
    const fx_status status = fx_key_set(r->config, key, value);
    return status == FX_OK ? FX_OK : place(r, status);
}

static fx_status read_key(reader *r, const char *section)
{
    char name[FX_NAME_MAX], word[FX_NAME_MAX / 2 - 2];
    FX_TRY(scalar(r, "key", word, sizeof word));
    snprintf(name, sizeof name, "%s.%s", section, word);
    const fx_key *key = fx_key_find(name);
    return key ? read_value(r, key, name) : place(r, fx_key_unknown(name));
}

/* "no such section or key; did you mean ...?": sections, and keys that have none. */
static fx_status unknown_section(const char *word)
{
    const char *names[FX_KEYS_MAX];
    char sections[FX_KEYS_MAX][FX_NAME_MAX / 2];
    int count = 0;
    for (int i = 0; i < fx_key_count; i++) {
        snprintf(sections[count], sizeof sections[count], "%.*s", (int)strcspn(fx_keys[i].name, "."),
                 fx_keys[i].name);
        names[count] = sections[count];
        if (count == 0 || strcmp(names[count], names[count - 1]) != 0) count++;
    }
    const char *nearest = fx_nearest(word, names, count);
    return nearest ? fx_fail(FX_ECONFIG, "%s: no such section or key; did you mean %s?", word, nearest)
                   : fx_fail(FX_ECONFIG, "%s: no such section or key", word);
}

/* A section, or a key that has none. */
static fx_status read_section(reader *r)
{
    char section[FX_NAME_MAX / 2 - 2], start[FX_NAME_MAX / 2];
    FX_TRY(scalar(r, "section", section, sizeof section));
    const fx_key *key = strchr(section, '.') ? NULL : fx_key_find(section);
    if (key) return read_value(r, key, section);
    snprintf(start, sizeof start, "%s.", section);
    bool known = false;
    for (int i = 0; i < fx_key_count; i++)
        known = known || strncmp(fx_keys[i].name, start, strlen(start)) == 0;
    if (!known) return place(r, unknown_section(section));
    FX_TRY(expect(r, YAML_MAPPING_START_EVENT, "the section's keys"));
    if (r->event.data.mapping_start.anchor || r->event.data.mapping_start.tag)
        return place(r, fx_fail(FX_ECONFIG, "an anchor or tag, refused"));
    for (;;) {
        FX_TRY(next(r));
        if (r->event.type == YAML_MAPPING_END_EVENT) return FX_OK;
        FX_TRY(read_key(r, section));
    }
}

static fx_status read_document(reader *r)
{
    FX_TRY(expect(r, YAML_STREAM_START_EVENT, "YAML"));
    FX_TRY(next(r));
    if (r->event.type == YAML_STREAM_END_EVENT) return FX_OK;
    FX_TRY(expect(r, YAML_MAPPING_START_EVENT, "sections of keys"));
    for (;;) {
        FX_TRY(next(r));
        if (r->event.type == YAML_MAPPING_END_EVENT) break;
        FX_TRY(read_section(r));
    }
    FX_TRY(expect(r, YAML_DOCUMENT_END_EVENT, "end of the document"));
    return expect(r, YAML_STREAM_END_EVENT, "one document");
}

fx_status fx_yaml_read(fx_config *config, const char *file, const char *text, size_t size,
                       fx_given *given)
{
    reader r = {.file = file, .config = config, .given = given};
    FX_REQUIRE(yaml_parser_initialize(&r.parser), FX_ENOMEM, "%s: no memory for the parser", file);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    const fx_status status = read_document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return status;
}
