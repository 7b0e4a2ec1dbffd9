/* show.c: a configuration as text: YAML that reads back, with or without where each value comes from;
 * differences; and the keys themselves. */
#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "keys.h"

#define SWITCH "true|false"
enum { VALUE_MAX = 640, ORIGIN_COLUMN = 40 };

/* A double-quoted YAML scalar; the columns it takes. */
static int print_quoted(FILE *out, const char *text)
{
    int columns = 2;
    putc('"', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') columns += fprintf(out, "\\");
        columns += (unsigned char)*c < 0x20 ? fprintf(out, "\\x%02x", (unsigned char)*c)
                                            : fprintf(out, "%c", *c);
    }
    putc('"', out);
    return columns;
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

/* Key i as a line of YAML without its end; the columns it takes. */
static int print_key(const fx_config *config, int i, FILE *out)
{
    const fx_key *key = &fx_keys[i];
    const size_t n = section_length(key);
    char text[VALUE_MAX];
    if (opens_section(i)) fprintf(out, "%.*s:\n", (int)n, key->name);
    fx_key_text(config, key, text, sizeof text);
    const int columns = n ? fprintf(out, "  %s: ", key->name + n + 1) : fprintf(out, "%s: ", key->name);
    if (key->type == FX_KEY_TEXT) return columns + print_quoted(out, text);
    return columns + fprintf(out, key->type == FX_KEY_LIST ? "[%s]" : "%s", text);
}

static fx_status written(FILE *out, const char *what)
{
    FX_REQUIRE(!ferror(out), FX_EIO, "%s could not be written", what);
    return FX_OK;
}

fx_status fx_config_print(const fx_config *config, FILE *out)
{
    for (int i = 0; i < fx_key_count; i++) {
        print_key(config, i, out);
        putc('\n', out);
    }
    return written(out, "the configuration");
}

fx_status fx_config_print_origins(const char *file, const char *const *overrides, FILE *out)
{
    fx_config config, defaults;
    fx_given given;
    FX_TRY(fx_config_defaults(&defaults));
    FX_TRY(fx_config_load_given(&config, file, overrides, &given));
    for (int i = 0; i < fx_key_count; i++) {
        char value[VALUE_MAX], first[VALUE_MAX];
        const int columns = print_key(&config, i, out);
        fprintf(out, "%*s  # ", columns < ORIGIN_COLUMN ? ORIGIN_COLUMN - columns : 0, "");
        fx_key_text(&config, &fx_keys[i], value, sizeof value);
        fx_key_text(&defaults, &fx_keys[i], first, sizeof first);
        if (given.where[i] == FX_ON_COMMAND_LINE)
            fprintf(out, "command line\n");
        else if (given.where[i] > 0)
            fprintf(out, "%s:%d\n", file, given.where[i]);
        else
            fprintf(out, strcmp(value, first) == 0 ? "default\n" : "follows from other keys\n");
    }
    return written(out, "the configuration");
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

/* One number of diffusion.residual_scale is that of both tasks. */
static bool means_same(const fx_config *a, const fx_config *b, const fx_key *key)
{
    const fx_list *x = &a->diffusion_residual_scale, *y = &b->diffusion_residual_scale;
    return strcmp(key->name, "diffusion.residual_scale") == 0 && fx_list_at(x, 0) == fx_list_at(y, 0) &&
           fx_list_at(x, 1) == fx_list_at(y, 1);
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
        if (strcmp(left, right) == 0 || means_same(a, b, &fx_keys[i])) continue;
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

/* The default, then the range or the words; `least` and `most` of numbers only. */
static fx_status describe(const fx_key *key, char *first, char *range, size_t size)
{
    fx_config config;
    FX_TRY(fx_config_defaults(&config));
    fx_key_text(&config, key, first, size);
    if (key->type == FX_KEY_CHOICE) return fx_print(range, size, "%s", key->text);
    if (key->type == FX_KEY_TEXT) return fx_print(range, size, "text");
    if (key->type == FX_KEY_BOOL) return fx_print(range, size, SWITCH);
    return fx_print(range, size, "%g .. %g", key->least, key->most);
}

fx_status fx_config_print_keys(FILE *out)
{
    for (int i = 0; i < fx_key_count; i++) {
        const fx_key *key = &fx_keys[i];
        char first[VALUE_MAX], range[VALUE_MAX];
        FX_TRY(describe(key, first, range, sizeof first));
        fprintf(out, "%-26s %-22s %-24s %s%s%s%s\n", key->name, first[0] ? first : "-", range,
                key->help, key->unit[0] ? " [" : "", key->unit, key->unit[0] ? "]" : "");
    }
    return written(out, "the keys");
}

const char *fx_config_key(int i, const char **words)
{
    if (i >= fx_key_count) return NULL;
    const fx_key *key = &fx_keys[i];
    *words = key->type == FX_KEY_CHOICE ? key->text : key->type == FX_KEY_BOOL ? SWITCH : NULL;
    return key->name;
}

fx_status fx_config_explain(const char *name, char *out, size_t size)
{
    char first[VALUE_MAX], range[VALUE_MAX];
    const fx_key *key = fx_key_find(name);
    if (!key) return fx_key_unknown(name);
    FX_TRY(describe(key, first, range, sizeof first));
    return fx_print(out, size, "%s [%s; default %s; %s%s%s]", key->help, key->name,
                    first[0] ? first : "none", range, key->unit[0] ? " " : "", key->unit);
}
