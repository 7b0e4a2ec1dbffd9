/* json.c: thin checks over jansson. Messages name file, place and key. */
#include "flexhpc/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

/* The place of a member: "a" in the root, else "place.a". A place that is too long is cut: it is only
 * told. */
static fx_json member(const fx_json *object, const char *key, json_t *value)
{
    fx_json out = {.value = value, .file = object->file};
    snprintf(out.place, sizeof out.place, "%s%s%s", object->place, object->place[0] ? "." : "", key);
    return out;
}

static fx_status wrong(const fx_json *at, const char *wanted)
{
    return fx_fail(FX_EVALUE, "%s: %s: %s %s", at->file, at->place, at->value ? "not" : "missing,",
                   wanted);
}

/* The member `key`; its value is NULL when it is missing. */
static fx_json find(const fx_json *object, const char *key)
{
    return member(object, key, json_object_get(object->value, key));
}

fx_status fx_json_parse(const char *file, const char *text, size_t size, fx_json *root)
{
    json_error_t error;
    *root = (fx_json){.file = file, .value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error)};
    if (!root->value) {
        for (char *c = error.text; *c; c++) /* it quotes the file: no control bytes on a terminal */
            if (iscntrl((unsigned char)*c)) *c = '?';
        return fx_fail(json_error_code(&error) == json_error_out_of_memory ? FX_ENOMEM : FX_EVALUE,
                       "%s:%d: %s", file, error.line, error.text);
    }
    if (json_is_object(root->value)) return FX_OK;
    fx_json_free(root);
    return fx_fail(FX_EVALUE, "%s: not a JSON object", file);
}

fx_status fx_json_load(const char *file, size_t most, fx_json *root)
{
    char *text = NULL;
    size_t size = 0;
    *root = (fx_json){.file = file};
    FX_TRY(fx_read_text(file, most, &text, &size));
    const fx_status status = fx_json_parse(file, text, size, root);
    fx_free(text);
    return status;
}

void fx_json_free(fx_json *root)
{
    json_decref(root->value);
    root->value = NULL;
}

bool fx_json_has(const fx_json *object, const char *key)
{
    return json_object_get(object->value, key) != NULL;
}

fx_status fx_json_int(const fx_json *object, const char *key, int64_t least, int64_t most, int64_t *out)
{
    const fx_json at = find(object, key);
    if (!json_is_integer(at.value)) return wrong(&at, "a whole number");
    const int64_t value = json_integer_value(at.value);
    FX_REQUIRE(value >= least && value <= most, FX_EVALUE,
               "%s: %s: %" PRId64 " is not from %" PRId64 " to %" PRId64, at.file, at.place, value,
               least, most);
    *out = value;
    return FX_OK;
}

fx_status fx_json_real(const fx_json *object, const char *key, double least, double most, double *out)
{
    const fx_json at = find(object, key);
    if (!json_is_number(at.value)) return wrong(&at, "a number");
    const double value = json_number_value(at.value);
    FX_REQUIRE(value >= least && value <= most, FX_EVALUE, "%s: %s: %g is not from %g to %g", at.file,
               at.place, value, least, most);
    *out = value;
    return FX_OK;
}

fx_status fx_json_bool(const fx_json *object, const char *key, bool *out)
{
    const fx_json at = find(object, key);
    if (!json_is_boolean(at.value)) return wrong(&at, "true or false");
    *out = json_is_true(at.value);
    return FX_OK;
}

fx_status fx_json_text(const fx_json *object, const char *key, char *out, size_t size)
{
    const fx_json at = find(object, key);
    if (!json_is_string(at.value)) return wrong(&at, "a text");
    const size_t length = json_string_length(at.value);
    FX_REQUIRE(length < size, FX_EVALUE, "%s: %s: %zu bytes of text, at most %zu", at.file, at.place,
               length, size - 1);
    memcpy(out, json_string_value(at.value), length + 1);
    return FX_OK;
}

fx_status fx_json_object(const fx_json *object, const char *key, fx_json *out)
{
    *out = find(object, key);
    return json_is_object(out->value) ? FX_OK : wrong(out, "an object");
}

fx_status fx_json_array(const fx_json *object, const char *key, int least, int most, fx_json *out,
                        int *count)
{
    *out = find(object, key);
    if (!json_is_array(out->value)) return wrong(out, "a list");
    const size_t entries = json_array_size(out->value);
    FX_REQUIRE(entries <= (size_t)most && (int)entries >= least, FX_EVALUE,
               "%s: %s: a list of %zu entries, not of %d to %d", out->file, out->place, entries, least,
               most);
    *count = (int)entries;
    return FX_OK;
}

fx_status fx_json_entry(const fx_json *array, int i, fx_json *out)
{
    *out = (fx_json){.file = array->file, .value = json_array_get(array->value, (size_t)i)};
    snprintf(out->place, sizeof out->place, "%s[%d]", array->place, i);
    return json_is_object(out->value) ? FX_OK : wrong(out, "an object");
}

fx_status fx_json_write(const char *file, const json_t *value)
{
    const size_t flags = JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(17);
    FX_REQUIRE(value, FX_EVALUE, "%s: not written: no memory, or a number that is not finite", file);
    const size_t size = json_dumpb(value, NULL, 0, flags);
    FX_REQUIRE(size > 0, FX_EVALUE, "%s: not written: JSON can't hold it", file);
    char *text = NULL;
    FX_TRY(FX_ALLOC(text, size + 1));
    json_dumpb(value, text, size, flags);
    text[size] = '\n';
    const fx_status status = fx_write_text(file, text, size + 1);
    fx_free(text);
    return status;
}
