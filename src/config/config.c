/* config.c: defaults, then a file, then overrides, then what follows from them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "keys.h"

enum { FILE_MAX = 1 << 20 };

double fx_list_at(const fx_list *list, int i)
{
    return list->value[list->count > 1 ? i : 0];
}

bool fx_list_has(const fx_list *list, double value)
{
    for (int i = 0; i < list->count; i++)
        if (list->value[i] == value) return true;
    return list->count == 0;
}

fx_status fx_config_defaults(fx_config *config)
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

static fx_status override(fx_config *config, const char *text, const fx_key **key)
{
    char name[FX_NAME_MAX];
    const char *equals = strchr(text, '=');
    FX_REQUIRE(equals && (size_t)(equals - text) < sizeof name, FX_ECONFIG, "%s: key=value expected",
               text);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    *key = fx_key_find(name);
    return *key ? fx_key_set(config, *key, equals + 1) : fx_key_unknown(name);
}

fx_status fx_config_resolve(fx_config *config, const char *name, const char *text, size_t size,
                            const char *const *overrides, fx_given *given)
{
    FX_REQUIRE(fx_key_count <= FX_KEYS_MAX, FX_EARG, "more than %d keys", FX_KEYS_MAX);
    FX_REQUIRE(size <= FILE_MAX, FX_ECONFIG, "%s: %zu bytes, at most %d", name, size, FILE_MAX);
    memset(given, 0, sizeof *given);
    FX_TRY(fx_config_defaults(config));
    FX_TRY(fx_yaml_read(config, name, text, size, given));
    for (; overrides && *overrides; overrides++) {
        const fx_key *key = NULL;
        FX_TRY_CTX(override(config, *overrides, &key), "command line");
        given->where[key - fx_keys] = FX_ON_COMMAND_LINE;
    }
    FX_TRY_CTX(fx_config_complete(config, given), "%s", name);
    return FX_OK;
}

fx_status fx_config_parse(fx_config *config, const char *name, const char *text, size_t size,
                          const char *const *overrides)
{
    fx_given given;
    return fx_config_resolve(config, name, text, size, overrides, &given);
}

/* *text is freed with fx_free; NULL without a file. */
static fx_status read_file(const char *file, char **text, size_t *size)
{
    *text = NULL;
    *size = 0;
    const fx_status status = file ? fx_read_text(file, FILE_MAX, text, size) : FX_OK;
    return status == FX_EIO ? FX_ECONFIG : status;
}

fx_status fx_config_load_given(fx_config *config, const char *file, const char *const *overrides,
                               fx_given *given)
{
    char *text = NULL;
    size_t size = 0;
    FX_TRY(read_file(file, &text, &size));
    const fx_status status =
        fx_config_resolve(config, file ? file : "defaults", text ? text : "", size, overrides, given);
    fx_free(text);
    return status;
}

fx_status fx_config_load(fx_config *config, const char *file, const char *const *overrides)
{
    fx_given given;
    return fx_config_load_given(config, file, overrides, &given);
}
