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

/* Where key i was given: given[i] is the line of the file, or one of these. */
enum { FX_NOT_GIVEN = 0, FX_GIVEN_BY_SET = -1 };

/* Reads a YAML text into the config, and the lines of its keys into `given`. */
fx_status fx_yaml_read(fx_config *config, const char *file, const char *text, size_t size, int *given);

/* Fills in what was not given: presets and derived values; then checks what keys say together. */
fx_status fx_config_complete(fx_config *config, const int *given);

#endif
