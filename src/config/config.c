/* config.c: defaults, then a file, then overrides, then what follows from them; and the way back to
 * text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "keys.h"

enum { FILE_MAX = 1 << 20, VALUE_MAX = 640, KEYS_MAX = 256 };

static fx_status set_defaults(fx_config *config)
{
    memset(config, 0, sizeof *config);
    for (int i = 0; i < fx_key_count; i++) {
        const fx_key *key = &fx_keys[i];
        char *value = (char *)config + key->offset;
        switch (key->type) {
        case FX_KEY_INT:
            *(int64_t *)(void *)value = (int64_t)key->first;
            break;
        case FX_KEY_REAL:
            *(double *)(void *)value = key->first;
            break;
        case FX_KEY_BOOL:
            *(bool *)(void *)value = key->first != 0;
            break;
        case FX_KEY_CHOICE:
            *(int *)(void *)value = (int)key->first;
            break;
        case FX_KEY_TEXT:
        case FX_KEY_LIST:
            FX_TRY(fx_key_set(config, key, key->text));
            break;
        }
    }
    return FX_OK;
}

static fx_status override(fx_config *config, const char *text, int *given)
{
    char name[FX_NAME_MAX];
    const char *equals = strchr(text, '=');
    FX_REQUIRE(equals && (size_t)(equals - text) < sizeof name, FX_ECONFIG,
               "--set %s: key=value expected", text);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    const fx_key *key = fx_key_find(name);
    if (!key) return fx_context(fx_key_unknown(name), "--set %s", text);
    given[key - fx_keys] = FX_GIVEN_BY_SET;
    FX_TRY_CTX(fx_key_set(config, key, equals + 1), "--set %s", text);
    return FX_OK;
}

static fx_status parse(fx_config *config, const char *name, const char *text, size_t size,
                       const char *const *overrides, int given[KEYS_MAX])
{
    FX_REQUIRE(fx_key_count <= KEYS_MAX, FX_EARG, "more than %d keys", KEYS_MAX);
    FX_REQUIRE(size <= FILE_MAX, FX_ECONFIG, "%s: %zu bytes, at most %d", name, size, FILE_MAX);
    FX_TRY(set_defaults(config));
    FX_TRY(fx_yaml_read(config, name, text, size, given));
    for (; overrides && *overrides; overrides++)
        FX_TRY(override(config, *overrides, given));
    FX_TRY_CTX(fx_config_complete(config, given), "%s", name);
    return FX_OK;
}

fx_status fx_config_parse(fx_config *config, const char *name, const char *text, size_t size,
                          const char *const *overrides)
{
    int given[KEYS_MAX] = {FX_NOT_GIVEN};
    return parse(config, name, text, size, overrides, given);
}

static fx_status load(fx_config *config, const char *file, const char *const *overrides,
                      int given[KEYS_MAX])
{
    char *text = NULL;
    size_t size = 0;
    if (!file) return parse(config, "defaults", "", 0, overrides, given);
    const fx_status read = fx_read_text(file, FILE_MAX, &text, &size);
    if (read != FX_OK) return read == FX_EIO ? FX_ECONFIG : read;
    const fx_status status = parse(config, file, text, size, overrides, given);
    fx_free(text);
    return status;
}

fx_status fx_config_load(fx_config *config, const char *file, const char *const *overrides)
{
    int given[KEYS_MAX] = {FX_NOT_GIVEN};
    return load(config, file, overrides, given);
}

/* A double-quoted YAML scalar. */
static void print_quoted(FILE *out, const char *text)
{
    putc('"', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') putc('\\', out);
        if ((unsigned char)*c < 0x20)
            fprintf(out, "\\x%02x", (unsigned char)*c);
        else
            putc(*c, out);
    }
    putc('"', out);
}

/* 0: the key stands at the top. */
static size_t section_length(const fx_key *key)
{
    const char *dot = strchr(key->name, '.');
    return dot ? (size_t)(dot - key->name) : 0;
}

static bool opens_section(int i)
{
    const size_t n = section_length(&fx_keys[i]);
    return n > 0 && (i == 0 || strncmp(fx_keys[i].name, fx_keys[i - 1].name, n + 1) != 0);
}

fx_status fx_config_print(const fx_config *config, FILE *out)
{
    for (int i = 0; i < fx_key_count; i++) {
        const fx_key *key = &fx_keys[i];
        const size_t n = section_length(key);
        char text[VALUE_MAX];
        if (opens_section(i)) fprintf(out, "%.*s:\n", (int)n, key->name);
        fx_key_text(config, key, text, sizeof text);
        fprintf(out, n ? "  %s: " : "%s: ", n ? key->name + n + 1 : key->name);
        if (key->type == FX_KEY_LIST)
            fprintf(out, "[%s]\n", text);
        else if (key->type == FX_KEY_TEXT) {
            print_quoted(out, text);
            putc('\n', out);
        } else
            fprintf(out, "%s\n", text);
    }
    FX_REQUIRE(!ferror(out), FX_EIO, "the configuration could not be written");
    return FX_OK;
}

fx_status fx_config_text(const fx_config *config, char *text, size_t size)
{
    memset(text, 0, size);
    FILE *out = fmemopen(text, size, "w");
    FX_REQUIRE(out, FX_ENOMEM, "no memory for a text stream");
    const fx_status status = fx_config_print(config, out);
    const bool fits = fclose(out) == 0 && text[size - 1] == '\0';
    FX_REQUIRE(fits || status != FX_OK, FX_EARG, "the configuration is longer than %zu bytes", size);
    return status;
}

int fx_config_diff(const fx_config *a, const fx_config *b, char *text, size_t size)
{
    int count = 0;
    size_t used = 0;
    if (size > 0) text[0] = '\0';
    for (int i = 0; i < fx_key_count; i++) {
        char left[VALUE_MAX], right[VALUE_MAX];
        fx_key_text(a, &fx_keys[i], left, sizeof left);
        fx_key_text(b, &fx_keys[i], right, sizeof right);
        if (strcmp(left, right) == 0) continue;
        count++;
        if (used + 4 >= size) continue;
        const int n =
            snprintf(text + used, size - used, "%s: %s -> %s\n", fx_keys[i].name, left, right);
        if (n >= 0 && (size_t)n < size - used) {
            used += (size_t)n;
            continue;
        }
        snprintf(text + size - 4, 4, "...");
        used = size;
    }
    return count;
}

static bool has_default(const fx_config *config, const fx_key *key)
{
    char text[VALUE_MAX], first[VALUE_MAX];
    fx_config defaults;
    if (set_defaults(&defaults) != FX_OK) return false;
    fx_key_text(&defaults, key, first, sizeof first);
    fx_key_text(config, key, text, sizeof text);
    return strcmp(text, first) == 0;
}

fx_status fx_config_print_origins(const char *file, const char *const *overrides, FILE *out)
{
    int given[KEYS_MAX] = {FX_NOT_GIVEN};
    fx_config config;
    FX_TRY(load(&config, file, overrides, given));
    for (int i = 0; i < fx_key_count; i++) {
        char text[VALUE_MAX];
        fx_key_text(&config, &fx_keys[i], text, sizeof text);
        fprintf(out, "%-26s %-24s ", fx_keys[i].name, text[0] ? text : "-");
        if (given[i] == FX_GIVEN_BY_SET)
            fprintf(out, "--set\n");
        else if (given[i] != FX_NOT_GIVEN)
            fprintf(out, "%s:%d\n", file, given[i]);
        else
            fprintf(out, "%s\n", has_default(&config, &fx_keys[i]) ? "default" : "derived");
    }
    FX_REQUIRE(!ferror(out), FX_EIO, "the configuration could not be written");
    return FX_OK;
}

static void print_default(FILE *out, const fx_key *key)
{
    char text[VALUE_MAX];
    fx_config config;
    if (set_defaults(&config) != FX_OK) return;
    fx_key_text(&config, key, text, sizeof text);
    fprintf(out, "%-26s %-22s", key->name, text[0] ? text : "-");
}

fx_status fx_config_print_keys(FILE *out)
{
    for (int i = 0; i < fx_key_count; i++) {
        const fx_key *key = &fx_keys[i];
        print_default(out, key);
        if (key->type == FX_KEY_CHOICE)
            fprintf(out, " %-24s", key->text);
        else if (key->type == FX_KEY_TEXT || key->type == FX_KEY_BOOL)
            fprintf(out, " %-24s", key->type == FX_KEY_TEXT ? "text" : "true|false");
        else
            fprintf(out, " %g .. %-*g", key->least, 16, key->most);
        fprintf(out, " %s%s%s%s\n", key->help, key->unit[0] ? " [" : "", key->unit,
                key->unit[0] ? "]" : "");
    }
    FX_REQUIRE(!ferror(out), FX_EIO, "the keys could not be written");
    return FX_OK;
}
