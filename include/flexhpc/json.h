/* json.h: JSON files, checked. What is read may come from anywhere: every getter checks the type and
 * the bounds and says file, place and key when they are wrong ("manifest.json: shards[3].bytes: ...").
 * Writers build jansson values and hand them to fx_json_write. Includes error.h and jansson.h. All
 * Local. */
#ifndef FLEXHPC_JSON_H
#define FLEXHPC_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "flexhpc/error.h"
#include "flexhpc/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A value and where it stands. Copied freely; all are valid until the root is freed. */
typedef struct fx_json {
    json_t *value;           /* owned by the root */
    const char *file;        /* the caller's string given to load or parse: it outlives the values */
    char place[FX_NAME_MAX]; /* "shards[3]"; "" for the root; cut where it is longer */
} fx_json;

/* Reads a file of at most `most` bytes whose root is an object; a key given twice is an error. FX_EIO
 * when it can't be read, FX_EVALUE with file and line when it is no such JSON. *root is freed with
 * fx_json_free. */
fx_status fx_json_load(const char *file, size_t most, fx_json *root);

/* The same from text in memory; `file` stands for its name in messages. */
fx_status fx_json_parse(const char *file, const char *text, size_t size, fx_json *root);

/* Frees a root; an empty or freed one is nothing to free. */
void fx_json_free(fx_json *root);

/* Members of an object. FX_EVALUE when the key is missing, of another type, or out of bounds. */
bool fx_json_has(const fx_json *object, const char *key);
fx_status fx_json_int(const fx_json *object, const char *key, int64_t least, int64_t most,
                      int64_t *out);
fx_status fx_json_real(const fx_json *object, const char *key, double least, double most, double *out);
fx_status fx_json_bool(const fx_json *object, const char *key, bool *out);
fx_status fx_json_text(const fx_json *object, const char *key, char *out, size_t size);
fx_status fx_json_object(const fx_json *object, const char *key, fx_json *out);

/* A list of `least` to `most` values, and its length. */
fx_status fx_json_array(const fx_json *object, const char *key, int least, int most, fx_json *out,
                        int *count);

/* Entry i of such a list, which must be an object. */
fx_status fx_json_entry(const fx_json *array, int i, fx_json *out);

/* Writes `value` through fx_write_text, so that a kill leaves the old file or the new one: indented,
 * keys sorted, doubles with 17 digits, so equal values are equal bytes. Takes no reference. A NULL
 * value is a failure of whoever built it: no memory, or a number that is not finite. */
fx_status fx_json_write(const char *file, const json_t *value);

/* `rows`, a list of objects, under the names of `columns` (NULL-terminated; what a row lacks is "-"):
 * as an aligned table, and as a CSV file with 9 digits (table.c). */
void fx_table_print(FILE *out, const json_t *rows, const char *const *columns);
fx_status fx_table_csv(const char *file, const json_t *rows, const char *const *columns);

#ifdef __cplusplus
}
#endif
#endif
