/* keys.h: the table of configuration keys, made from keys.def. Private to src/config. */
#ifndef FX_KEYS_H
#define FX_KEYS_H

#include "flexhpc/config.h"

typedef enum fx_key_type {
    FX_KEY_INT,
    FX_KEY_REAL,
    FX_KEY_BOOL,
    FX_KEY_TEXT,
    FX_KEY_CHOICE,
    FX_KEY_LIST
} fx_key_type;

typedef struct fx_key {
    const char *name; /* "train.global_batch", "seed" */
    fx_key_type type;
    size_t offset;    /* in fx_config */
    double first;     /* default of numbers, booleans, choices */
    const char *text; /* default of texts and lists; the words of a choice */
    double least, most;
    const char *unit, *help;
} fx_key;

extern const fx_key fx_keys[];
extern const int fx_key_count;

/* NULL when there is no such key. */
const fx_key *fx_key_find(const char *name);

/* A value from its text, checked against type and range; FX_ECONFIG names the key, not the place. */
fx_status fx_key_set(fx_config *config, const fx_key *key, const char *text);

/* The value as text that fx_key_set reads back bit by bit. */
void fx_key_text(const fx_config *config, const fx_key *key, char *out, size_t size);

/* "no such key; did you mean ...?" */
fx_status fx_key_unknown(const char *name);

/* Where each key was given: 0 nowhere, a line of the file, or FX_ON_COMMAND_LINE. */
enum { FX_KEYS_MAX = 256, FX_ON_COMMAND_LINE = -1 };
typedef struct fx_given {
    int where[FX_KEYS_MAX];
} fx_given;

/* Reads a YAML text into the config; notes the line of every key that it names. */
fx_status fx_yaml_read(fx_config *config, const char *file, const char *text, size_t size,
                       fx_given *given);

/* Fills in what was not given: presets and derived values; then checks what keys say together. */
fx_status fx_config_complete(fx_config *config, const fx_given *given);

/* config.c: every key at its default; and fx_config_parse and fx_config_load, which also say where each
 * key was given. */
fx_status fx_config_defaults(fx_config *config);
fx_status fx_config_resolve(fx_config *config, const char *name, const char *text, size_t size,
                            const char *const *overrides, fx_given *given);
fx_status fx_config_load_given(fx_config *config, const char *file, const char *const *overrides,
                               fx_given *given);

#endif
