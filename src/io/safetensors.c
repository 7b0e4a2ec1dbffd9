/* safetensors.c: reads safetensors files, strictly (format: huggingface/safetensors, README and
 * tensor.rs). The header is looked over for depth and size before it is parsed, and every tensor's
 * place is checked before any value is read. */
#include "flexhpc/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flexhpc/json.h"
#include "flexhpc/mem.h"
#include "safetensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are read as they lie in the file");

enum {
    HEADER_MOST = 100000000, /* of the format */
    DEPTH_MOST = 3,          /* file, tensor, shape */
    PARTS_MOST = 1 << 20,    /* commas of the header: keys and dimensions */
    SHOWN = 128              /* bytes of a name in messages */
};

struct fx_safetensors {
    char path[FX_PATH_MAX];
    int fd;       /* -1: parsed from memory */
    int64_t data; /* where the values begin */
    json_t *header;
    fx_safetensor *tensor; /* by name */
    int count;
};

static const struct {
    const char *name;
    int64_t bytes;
} DTYPES[] = {{"F32", 4},     {"F16", 2},     {"BF16", 2}, {"F64", 8}, {"I64", 8}, {"I32", 4},
              {"I16", 2},     {"I8", 1},      {"U64", 8},  {"U32", 4}, {"U16", 2}, {"U8", 1},
              {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"BOOL", 1}, {"C64", 8}};
enum { DTYPE_COUNT = sizeof DTYPES / sizeof *DTYPES };

/* ---- The header as text. */

/* What bounds the parser's time and memory: how deep it nests, how many parts it has. */
static fx_status look_over(const char *path, const char *text, size_t size)
{
    int depth = 0, parts = 0;
    bool quoted = false;
    FX_REQUIRE(size > 0 && text[0] == '{', FX_EVALUE, "%s: header: does not begin with '{'", path);
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (c == '"') quoted = !quoted;
        if (quoted && c == '\\') i++; /* the next byte is no quote */
        if (quoted) continue;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        if (c == ',') parts++;
        FX_REQUIRE(depth <= DEPTH_MOST, FX_EVALUE, "%s: header: nested deeper than %d", path,
                   DEPTH_MOST);
        FX_REQUIRE(parts <= PARTS_MOST, FX_EVALUE, "%s: header: more than %d parts", path, PARTS_MOST);
    }
    return FX_OK;
}

/* ---- One tensor. */

static fx_status wrong(const fx_safetensors *f, const char *name, const char *what)
{
    return fx_fail(FX_EVALUE, "%s: %.*s: %s", f->path, SHOWN, name, what);
}

static fx_status read_dtype(const fx_safetensors *f, const json_t *entry, fx_safetensor *t,
                            int64_t *bytes)
{
    const char *text = json_string_value(json_object_get(entry, "dtype"));
    if (!text) return wrong(f, t->name, "dtype: missing, or not a text");
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (strcmp(DTYPES[i].name, text) == 0) {
            t->dtype = DTYPES[i].name;
            *bytes = DTYPES[i].bytes;
            return FX_OK;
        }
    return fx_fail(FX_EVALUE, "%s: %.*s: dtype: %.40s is not known here", f->path, SHOWN, t->name,
                   text);
}

/* Shape, and the bytes that it takes. */
static fx_status read_shape(const fx_safetensors *f, const json_t *entry, fx_safetensor *t,
                            int64_t *bytes)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return wrong(f, t->name, "shape: missing, or not a list");
    const size_t rank = json_array_size(shape);
    if (rank > FX_SAFETENSORS_RANK) return wrong(f, t->name, "shape: more than 8 dimensions");
    t->rank = (int)rank;
    t->count = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return wrong(f, t->name, "shape: not whole numbers from 0 on");
        t->dim[i] = json_integer_value(dim);
        if (__builtin_mul_overflow(t->count, t->dim[i], &t->count))
            return wrong(f, t->name, "shape: more values than can be counted");
    }
    if (__builtin_mul_overflow(t->count, *bytes, bytes))
        return wrong(f, t->name, "shape: more bytes than can be counted");
    return FX_OK;
}

static fx_status read_place(const fx_safetensors *f, const json_t *entry, fx_safetensor *t)
{
    const json_t *place = json_object_get(entry, "data_offsets"), *begin = json_array_get(place, 0),
                 *end = json_array_get(place, 1);
    if (json_array_size(place) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return wrong(f, t->name, "data_offsets: missing, or not two whole numbers");
    const int64_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from) return wrong(f, t->name, "data_offsets: end before they begin");
    t->begin = from;
    t->bytes = to - from;
    return FX_OK;
}

static fx_status read_tensor(const fx_safetensors *f, const char *name, const json_t *entry,
                             fx_safetensor *t)
{
    int64_t bytes = 0;
    t->name = name;
    if (!json_is_object(entry)) return wrong(f, name, "not an object");
    FX_TRY(read_dtype(f, entry, t, &bytes));
    FX_TRY(read_shape(f, entry, t, &bytes));
    FX_TRY(read_place(f, entry, t));
    if (json_object_size(entry) != 3)
        return wrong(f, name, "more keys than dtype, shape and data_offsets");
    FX_REQUIRE(bytes == t->bytes, FX_EVALUE,
               "%s: %.*s: data_offsets: %lld bytes, shape and dtype need %lld", f->path, SHOWN, name,
               (long long)t->bytes, (long long)bytes);
    return FX_OK;
}

/* ---- All tensors. */

static int by_place(const void *a, const void *b)
{
    const fx_safetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* an empty one first */
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const fx_safetensor *)a)->name, ((const fx_safetensor *)b)->name);
}

/* Each begins where the one before it ends, and the last ends with the file. */
static fx_status check_cover(fx_safetensors *f, int64_t bytes)
{
    int64_t at = 0;
    qsort(f->tensor, (size_t)f->count, sizeof *f->tensor, by_place);
    for (int i = 0; i < f->count; i++) {
        const fx_safetensor *t = &f->tensor[i];
        if (t->begin < at) return wrong(f, t->name, "data_offsets: overlap another tensor's");
        if (t->begin > at) return wrong(f, t->name, "data_offsets: leave a hole before them");
        if (t->bytes > bytes - at) return wrong(f, t->name, "data_offsets: end behind the file");
        at += t->bytes;
    }
    FX_REQUIRE(at == bytes, FX_EVALUE, "%s: %lld bytes of values, the tensors have %lld", f->path,
               (long long)bytes, (long long)at);
    qsort(f->tensor, (size_t)f->count, sizeof *f->tensor, by_name);
    return FX_OK;
}

static fx_status check_metadata(const fx_safetensors *f, json_t *metadata)
{
    const char *key;
    json_t *value;
    FX_REQUIRE(json_is_object(metadata), FX_EVALUE, "%s: __metadata__: not an object", f->path);
    json_object_foreach(metadata, key, value) FX_REQUIRE(
        json_is_string(value), FX_EVALUE, "%s: __metadata__: %.*s: not a text", f->path, SHOWN, key);
    return FX_OK;
}

static fx_status read_all(fx_safetensors *f, int64_t bytes)
{
    const char *name;
    json_t *entry;
    FX_TRY(FX_ALLOC(f->tensor, json_object_size(f->header) + 1));
    json_object_foreach(f->header, name, entry)
    {
        if (strcmp(name, FX_METADATA) == 0)
            FX_TRY(check_metadata(f, entry));
        else
            FX_TRY(read_tensor(f, name, entry, &f->tensor[f->count++]));
    }
    return check_cover(f, bytes);
}

fx_status fx_safetensors_parse(const char *path, const char *header, size_t size, int64_t file_bytes,
                               fx_safetensors **out)
{
    fx_safetensors *f = NULL;
    fx_json root = {0};
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(f, 1));
    f->fd = -1;
    f->data = FX_LENGTH_BYTES + (int64_t)size;
    FX_TRY_DONE(fx_path(f->path, "%s", path));
    FX_REQUIRE_DONE(file_bytes >= f->data, FX_EVALUE, "%s: header: longer than the file", path);
    FX_TRY_DONE(look_over(path, header, size));
    status = fx_json_parse(path, header, size, &root);
    f->header = root.value;
    if (status == FX_OK) status = read_all(f, file_bytes - f->data);
done:
    if (status == FX_OK)
        *out = f;
    else
        fx_safetensors_close(&f);
    return status;
}

/* ---- Files. */

static fx_status failed(const char *path, const char *call)
{
    return fx_fail(FX_EIO, "%s: %s: %s", path, call, strerror(errno));
}

static fx_status read_bytes(const fx_safetensors *f, int64_t at, void *out, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n = pread(f->fd, (char *)out + done, size - done, at + (int64_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(f->path, "read");
        FX_REQUIRE(n > 0, FX_EIO, "%s: got shorter while it was read", f->path);
        done += (size_t)n;
    }
    return FX_OK;
}

/* Everything before the values, of an open file. */
static fx_status read_header(const fx_safetensors *raw, fx_safetensors **out)
{
    struct stat s;
    uint64_t size = 0;
    char *header = NULL;
    if (fstat(raw->fd, &s) != 0) return failed(raw->path, "stat");
    FX_REQUIRE(S_ISREG(s.st_mode), FX_EIO, "%s: is no regular file", raw->path);
    FX_REQUIRE(s.st_size >= FX_LENGTH_BYTES, FX_EVALUE, "%s: %lld bytes are no safetensors file",
               raw->path, (long long)s.st_size);
    FX_TRY(read_bytes(raw, 0, &size, sizeof size));
    FX_REQUIRE(size <= HEADER_MOST, FX_EVALUE, "%s: header: %llu bytes, at most %d", raw->path,
               (unsigned long long)size, HEADER_MOST);
    FX_REQUIRE((int64_t)size <= s.st_size - FX_LENGTH_BYTES, FX_EVALUE,
               "%s: header: longer than the file", raw->path);
    FX_TRY(FX_ALLOC(header, size + 1));
    fx_status status = read_bytes(raw, FX_LENGTH_BYTES, header, size);
    if (status == FX_OK) status = fx_safetensors_parse(raw->path, header, size, s.st_size, out);
    fx_free(header);
    return status;
}

fx_status fx_safetensors_open(const char *path, fx_safetensors **out)
{
    fx_safetensors raw = {0};
    FX_TRY(fx_path(raw.path, "%s", path));
    raw.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not be waited for */
    if (raw.fd < 0) return failed(path, "open");
    const fx_status status = read_header(&raw, out);
    if (status == FX_OK)
        (*out)->fd = raw.fd;
    else
        close(raw.fd);
    return status;
}

void fx_safetensors_close(fx_safetensors **file)
{
    fx_safetensors *f = *file;
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    json_decref(f->header);
    fx_free(f->tensor);
    fx_free(f);
    *file = NULL;
}

int fx_safetensors_count(const fx_safetensors *file)
{
    return file->count;
}

const fx_safetensor *fx_safetensors_at(const fx_safetensors *file, int i)
{
    return &file->tensor[i];
}

const fx_safetensor *fx_safetensors_find(const fx_safetensors *file, const char *name)
{
    const fx_safetensor key = {.name = name};
    return bsearch(&key, file->tensor, (size_t)file->count, sizeof key, by_name);
}

const char *fx_safetensors_metadata(const fx_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, FX_METADATA), key));
}

/* ---- Values. */

static float from_half(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? ldexpf((float)fraction, -24)
                                       : ldexpf((float)(1024 + fraction), exponent - 25);
    return bits >> 15 ? -size : size;
}

static float from_bf16(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

static float value_of(const unsigned char *at, const char *dtype)
{
    uint16_t bits;
    double wide;
    float x;
    if (strcmp(dtype, "F64") == 0) {
        memcpy(&wide, at, sizeof wide);
        return (float)wide;
    }
    if (strcmp(dtype, "F32") == 0) {
        memcpy(&x, at, sizeof x);
        return x;
    }
    memcpy(&bits, at, sizeof bits);
    return strcmp(dtype, "F16") == 0 ? from_half(bits) : from_bf16(bits);
}

fx_status fx_safetensors_read(const fx_safetensors *f, const fx_safetensor *t, float *out)
{
    unsigned char piece[1 << 15];
    const bool floats = strcmp(t->dtype, "F32") == 0 || strcmp(t->dtype, "F64") == 0 ||
                        strcmp(t->dtype, "F16") == 0 || strcmp(t->dtype, "BF16") == 0;
    FX_REQUIRE(floats, FX_EVALUE, "%s: %.*s: dtype: %s is none of F32, F64, F16, BF16", f->path, SHOWN,
               t->name, t->dtype);
    FX_REQUIRE(f->fd >= 0, FX_EARG, "%s: a header without its file", f->path);
    const int64_t width = t->count ? t->bytes / t->count : 1, most = (int64_t)sizeof piece / width;
    for (int64_t first = 0; first < t->count; first += most) {
        const int64_t n = t->count - first < most ? t->count - first : most;
        FX_TRY(read_bytes(f, f->data + t->begin + first * width, piece, (size_t)(n * width)));
        for (int64_t i = 0; i < n; i++) {
            out[first + i] = value_of(piece + i * width, t->dtype);
            FX_REQUIRE(isfinite(out[first + i]), FX_EVALUE, "%s: %.*s: value %lld is %g", f->path,
                       SHOWN, t->name, (long long)(first + i), (double)out[first + i]);
        }
    }
    return FX_OK;
}
