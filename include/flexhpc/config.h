/* config.h: the configuration of a run. One flat struct, made from keys.def: key "train.clip" is the
 * member train_clip, a key without a section keeps its name. Includes error.h, str.h. */
#ifndef FLEXHPC_CONFIG_H
#define FLEXHPC_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "flexhpc/error.h"
#include "flexhpc/str.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_LIST_MAX = 16, FX_TEXT_MAX = 512 };

typedef struct fx_list {
    int count;
    double value[FX_LIST_MAX];
} fx_list;

/* The i-th number; a list of one number has it at every place. Local. */
double fx_list_at(const fx_list *list, int i);

/* Whether the number is listed; an empty list has every number. Local. */
bool fx_list_has(const fx_list *list, double value);

typedef struct fx_config {
#define FX_TOP_INT(name, ...)         int64_t name;
#define FX_TOP_CHOICE(name, ...)      int name;
#define FX_INT(section, name, ...)    int64_t section##_##name;
#define FX_REAL(section, name, ...)   double section##_##name;
#define FX_BOOL(section, name, ...)   bool section##_##name;
#define FX_TEXT(section, name, ...)   char section##_##name[FX_TEXT_MAX];
#define FX_CHOICE(section, name, ...) int section##_##name;
#define FX_LIST(section, name, ...)   fx_list section##_##name;
#include "flexhpc/keys.def"
#undef FX_TOP_INT
#undef FX_TOP_CHOICE
#undef FX_INT
#undef FX_REAL
#undef FX_BOOL
#undef FX_TEXT
#undef FX_CHOICE
#undef FX_LIST
} fx_config;

/* Defaults, then the YAML file (NULL: none), then "key=value" overrides of the command line
 * (NULL-terminated; NULL: none). Errors are FX_ECONFIG and name file:line, or "command line", and key,
 * and for an unknown key the nearest one. Presets and derived values (model.preset, beta2, ...) are
 * filled in, then the whole is checked. Local. */
fx_status fx_config_load(fx_config *config, const char *file, const char *const *overrides);

/* The same from text in memory; `name` stands for the file in messages. Local. */
fx_status fx_config_parse(fx_config *config, const char *name, const char *text, size_t size,
                          const char *const *overrides);

/* Prints every key as YAML that fx_config_parse reads back to the same config. Local. */
fx_status fx_config_print(const fx_config *config, FILE *out);

/* The same as zero-terminated text; FX_EARG when it does not fit (FX_CONFIG_TEXT_MAX always does).
 * Local. */
enum { FX_CONFIG_TEXT_MAX = 1 << 16 };
fx_status fx_config_text(const fx_config *config, char *text, size_t size);

/* Loads as fx_config_load, and prints as fx_config_print with the origin of each value as a comment:
 * default, FILE:LINE, command line, or that it follows from other keys. Local. */
fx_status fx_config_print_origins(const char *file, const char *const *overrides, FILE *out);

/* The keys whose values differ in meaning, as "train.global_batch: 8 -> 16" lines in `text` (cut, with
 * "..." at the end, when it does not fit); the number of them. Local. */
int fx_config_diff(const fx_config *a, const fx_config *b, char *text, size_t size);

/* One line a key: name, default, range, help, unit. Local. */
fx_status fx_config_print_keys(FILE *out);

/* The i-th key's name, NULL beyond the last; *words: what a choice or a switch may be, "a|b|c", else
 * NULL. Local. */
const char *fx_config_key(int i, const char **words);

/* One key's help, name, default, range and unit; FX_ECONFIG names the nearest key. Local. */
fx_status fx_config_explain(const char *key, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
