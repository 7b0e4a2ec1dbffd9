/* keys.c: the table of keys, and one value to and from text. */
#include "keys.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { VALUE_MAX = 640 };

const fx_key fx_keys[] = {
#define FX_TOP_INT(name, first, least, most, unit, help)                                               \
    {#name, FX_KEY_INT, offsetof(fx_config, name), first, "", least, most, unit, help},
#define FX_TOP_CHOICE(name, first, words, help)                                                        \
    {#name, FX_KEY_CHOICE, offsetof(fx_config, name), first, words, 0, 0, "", help},
#define AT(section, name) offsetof(fx_config, section##_##name)
#define FX_INT(section, name, first, least, most, unit, help)                                          \
    {#section "." #name, FX_KEY_INT, AT(section, name), first, "", least, most, unit, help},
#define FX_REAL(section, name, first, least, most, unit, help)                                         \
    {#section "." #name, FX_KEY_REAL, AT(section, name), first, "", least, most, unit, help},
#define FX_BOOL(section, name, first, help)                                                            \
    {#section "." #name, FX_KEY_BOOL, AT(section, name), first, "", 0, 1, "", help},
#define FX_TEXT(section, name, first, help)                                                            \
    {#section "." #name, FX_KEY_TEXT, AT(section, name), 0, first, 0, 0, "", help},
#define FX_CHOICE(section, name, first, words, help)                                                   \
    {#section "." #name, FX_KEY_CHOICE, AT(section, name), first, words, 0, 0, "", help},
#define FX_LIST(section, name, first, least, most, help)                                               \
    {#section "." #name, FX_KEY_LIST, AT(section, name), 0, first, least, most, "", help},
#include "flexhpc/keys.def"
#undef FX_TOP_INT
#undef FX_TOP_CHOICE
#undef AT
#undef FX_INT
#undef FX_REAL
#undef FX_BOOL
#undef FX_TEXT
#undef FX_CHOICE
#undef FX_LIST
};
const int fx_key_count = (int)(sizeof fx_keys / sizeof *fx_keys);

const fx_key *fx_key_find(const char *name)
{
    for (int i = 0; i < fx_key_count; i++)
        if (strcmp(fx_keys[i].name, name) == 0) return &fx_keys[i];
    return NULL;
}

fx_status fx_key_unknown(const char *name)
{
    const char *names[sizeof fx_keys / sizeof *fx_keys];
    for (int i = 0; i < fx_key_count; i++)
        names[i] = fx_keys[i].name;
    const char *nearest = fx_nearest(name, names, fx_key_count);
    return nearest ? fx_fail(FX_ECONFIG, "%s: no such key; did you mean %s?", name, nearest)
                   : fx_fail(FX_ECONFIG, "%s: no such key", name);
}

static void *at(const fx_config *config, const fx_key *key)
{
    return (char *)config + key->offset;
}

static fx_status parse_number(const fx_key *key, const char *text, bool whole, double *out)
{
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end);
    const char *kind = whole ? "whole number" : "number";
    FX_REQUIRE(end != text && *end == '\0' && errno == 0 && isfinite(value), FX_ECONFIG,
               "%s: \"%s\" is no %s", key->name, text, kind);
    FX_REQUIRE(!whole || value == floor(value), FX_ECONFIG, "%s: \"%s\" is no %s", key->name, text,
               kind);
    FX_REQUIRE(value >= key->least, FX_ECONFIG, "%s: %s is below %.10g%s%s", key->name, text,
               key->least, key->unit[0] ? " " : "", key->unit);
    FX_REQUIRE(value <= key->most, FX_ECONFIG, "%s: %s is above %.10g%s%s", key->name, text, key->most,
               key->unit[0] ? " " : "", key->unit);
    *out = value;
    return FX_OK;
}

static fx_status parse_bool(const fx_key *key, const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (int i = 0; i < 8; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2 == 1;
            return FX_OK;
        }
    return fx_fail(FX_ECONFIG, "%s: \"%s\" is neither true nor false", key->name, text);
}

static fx_status parse_choice(const fx_key *key, const char *text, int *out)
{
    const size_t length = strlen(text);
    int index = 0;
    for (const char *word = key->text; word; index++) {
        const char *bar = strchr(word, '|');
        const size_t n = bar ? (size_t)(bar - word) : strlen(word);
        if (n == length && strncmp(word, text, n) == 0) {
            *out = index;
            return FX_OK;
        }
        word = bar ? bar + 1 : NULL;
    }
    return fx_fail(FX_ECONFIG, "%s: \"%s\" is none of %s", key->name, text, key->text);
}

static fx_status parse_list(const fx_key *key, const char *text, fx_list *out)
{
    char copy[VALUE_MAX], *rest = NULL;
    fx_list list = {0};
    FX_REQUIRE(strlen(text) < sizeof copy, FX_ECONFIG, "%s: longer than %d bytes", key->name,
               VALUE_MAX - 1);
    strcpy(copy, text);
    for (char *item = strtok_r(copy, ",[] ", &rest); item; item = strtok_r(NULL, ",[] ", &rest)) {
        FX_REQUIRE(list.count < FX_LIST_MAX, FX_ECONFIG, "%s: more than %d numbers", key->name,
                   FX_LIST_MAX);
        FX_TRY(parse_number(key, item, false, &list.value[list.count++]));
    }
    *out = list;
    return FX_OK;
}

fx_status fx_key_set(fx_config *config, const fx_key *key, const char *text)
{
    double number = 0;
    void *value = at(config, key);
    switch (key->type) {
    case FX_KEY_INT:
        FX_TRY(parse_number(key, text, true, &number));
        *(int64_t *)value = (int64_t)number;
        return FX_OK;
    case FX_KEY_REAL:
        return parse_number(key, text, false, value);
    case FX_KEY_BOOL:
        return parse_bool(key, text, value);
    case FX_KEY_CHOICE:
        return parse_choice(key, text, value);
    case FX_KEY_LIST:
        return parse_list(key, text, value);
    case FX_KEY_TEXT:
        FX_REQUIRE(strlen(text) < FX_TEXT_MAX, FX_ECONFIG, "%s: longer than %d bytes", key->name,
                   FX_TEXT_MAX - 1);
        memset(value, 0, FX_TEXT_MAX);
        strcpy(value, text);
        return FX_OK;
    }
    return FX_OK;
}

/* The shortest decimal that reads back as the same double; a whole number as its digits. */
static void shortest(double value, char *out, size_t size)
{
    if (value == floor(value) && fabs(value) < 1e7) {
        snprintf(out, size, "%.0f", value);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, value);
        if (strtod(out, NULL) == value) return;
    }
}

static void choice_text(const fx_key *key, int index, char *out, size_t size)
{
    const char *word = key->text;
    while (index-- > 0 && strchr(word, '|'))
        word = strchr(word, '|') + 1;
    snprintf(out, size, "%.*s", (int)strcspn(word, "|"), word);
}

static void list_text(const fx_list *list, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < list->count; i++) {
        char number[40];
        shortest(list->value[i], number, sizeof number);
        const int n = snprintf(out + used, size - used, i ? ",%s" : "%s", number);
        used = used + (size_t)n < size ? used + (size_t)n : size - 1;
    }
}

void fx_key_text(const fx_config *config, const fx_key *key, char *out, size_t size)
{
    const void *value = at(config, key);
    switch (key->type) {
    case FX_KEY_INT:
        snprintf(out, size, "%lld", (long long)*(const int64_t *)value);
        break;
    case FX_KEY_REAL:
        shortest(*(const double *)value, out, size);
        break;
    case FX_KEY_BOOL:
        snprintf(out, size, "%s", *(const bool *)value ? "true" : "false");
        break;
    case FX_KEY_CHOICE:
        choice_text(key, *(const int *)value, out, size);
        break;
    case FX_KEY_LIST:
        list_text(value, out, size);
        break;
    case FX_KEY_TEXT:
        snprintf(out, size, "%s", (const char *)value);
        break;
    }
}
