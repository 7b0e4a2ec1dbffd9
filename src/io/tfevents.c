/* tfevents.c: TensorBoard's event files, written without its libraries.
 * A record (TFRecord): u64 n, u32 masked CRC of these 8 bytes, n bytes, u32 masked CRC of them; numbers
 * little-endian. masked(c) = rotate_right(c, 15) + 0xa282ead8, c = CRC-32C (Castagnoli).
 * The n bytes are a protobuf message: Event {1 wall_time double, 2 step int64, 3 file_version string,
 * 5 Summary {1 Value {1 tag string, 2 simple_value float, 4 Image {1 height, 2 width, 3 colorspace,
 * 4 encoded_image_string}}, ...}, 7 SessionLog {1 status}}
 * (event.proto and summary.proto of TensorFlow). A key is 8 * field + type; types are varint 0, 8 bytes
 * 1, length and bytes 2, 4 bytes 5. */
#include "flexhpc/tfevents.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { VARINT = 0, EIGHT_BYTES = 1, BYTES = 2, FOUR_BYTES = 5 };
enum { WALL_TIME = 1, STEP = 2, FILE_VERSION = 3, SUMMARY = 5, SESSION_LOG = 7 }; /* of Event */
enum { SESSION_START = 1 };
enum { VALUE_MAX = FX_NAME_MAX + 32, SUMMARY_MAX = FX_TFEVENTS_SCALARS * (VALUE_MAX + 4) };
enum { EVENT_MAX = SUMMARY_MAX + 64, NAMES_TRIED = 1000 };

struct fx_tfevents {
    FILE *file;
    char path[FX_PATH_MAX];
    uint8_t event[EVENT_MAX], summary[SUMMARY_MAX];
};

/* ---- The message: each function returns the new end of it. */

static uint8_t *put_varint(uint8_t *at, uint64_t x)
{
    for (; x >= 0x80; x >>= 7)
        *at++ = (uint8_t)(x | 0x80);
    *at++ = (uint8_t)x;
    return at;
}

static uint8_t *put_key(uint8_t *at, int field, int type)
{
    return put_varint(at, (uint64_t)(8 * field + type));
}

static uint8_t *put_little_endian(uint8_t *at, uint64_t x, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *at++ = (uint8_t)(x >> 8 * i);
    return at;
}

static uint8_t *put_bytes(uint8_t *at, int field, const void *bytes, size_t count)
{
    at = put_varint(put_key(at, field, BYTES), count);
    memcpy(at, bytes, count);
    return at + count;
}

static uint8_t *put_double(uint8_t *at, int field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return put_little_endian(put_key(at, field, EIGHT_BYTES), bits, 8);
}

static uint8_t *put_float(uint8_t *at, int field, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return put_little_endian(put_key(at, field, FOUR_BYTES), bits, 4);
}

/* What every event begins with; a step of 0 is the default, and left out. */
static uint8_t *begin_event(fx_tfevents *e, int64_t step)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    uint8_t *at = put_double(e->event, WALL_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    return step ? put_varint(put_key(at, STEP, VARINT), (uint64_t)step) : at;
}

/* ---- The record. */

static uint32_t masked_crc32c(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* A record of the event from `begin` to `end`, whole when it returns. */
static fx_status write_record(fx_tfevents *e, const uint8_t *begin, const uint8_t *end)
{
    uint8_t head[12], tail[4];
    const size_t count = (size_t)(end - begin);
    put_little_endian(head, count, 8);
    put_little_endian(head + 8, masked_crc32c(head, 8), 4);
    put_little_endian(tail, masked_crc32c(begin, count), 4);
    fwrite(head, 1, sizeof head, e->file);
    fwrite(begin, 1, count, e->file);
    fwrite(tail, 1, sizeof tail, e->file);
    FX_REQUIRE(fflush(e->file) == 0 && !ferror(e->file), FX_EIO, "%s: write: %s", e->path,
               strerror(errno));
    return FX_OK;
}

static fx_status write_event(fx_tfevents *e, const uint8_t *end)
{
    return write_record(e, e->event, end);
}

/* ---- The file. */

/* A name of its own, also for a second file in the same second. */
static fx_status create(const char *folder, fx_tfevents *e)
{
    for (int i = 0; i < NAMES_TRIED && !e->file; i++) {
        FX_TRY(fx_path(e->path, "%s/events.out.tfevents.%010lld.%s.%d.%d", folder,
                       (long long)time(NULL), fx_host(), (int)getpid(), i));
        e->file = fopen(e->path, "wxe");
        if (!e->file && errno != EEXIST) break;
    }
    FX_REQUIRE(e->file, FX_EIO, "%s: open: %s", e->path, strerror(errno));
    return FX_OK;
}

fx_status fx_tfevents_open(const char *folder, int64_t step, fx_tfevents **out)
{
    static const char version[] = "brain.Event:2";
    const uint8_t start[] = {8 * 1 + VARINT, SESSION_START};
    fx_tfevents *e = NULL;
    *out = NULL;
    FX_TRY(fx_make_dirs(folder));
    FX_TRY(FX_ALLOC(e, 1));
    fx_status status = create(folder, e);
    if (status == FX_OK)
        status =
            write_event(e, put_bytes(begin_event(e, 0), FILE_VERSION, version, sizeof version - 1));
    if (status == FX_OK && step != FX_TFEVENTS_HIDE_NOTHING)
        status = write_event(e, put_bytes(begin_event(e, step), SESSION_LOG, start, sizeof start));
    if (status != FX_OK) {
        fx_tfevents_close(&e);
        return status;
    }
    *out = e;
    return FX_OK;
}

fx_status fx_tfevents_add(fx_tfevents *e, int64_t step, const char *const *names, const double *values,
                          int count)
{
    uint8_t value[VALUE_MAX], *end = e->summary;
    FX_REQUIRE(count <= FX_TFEVENTS_SCALARS, FX_EARG, "%s: %d values a step, at most %d", e->path,
               count, FX_TFEVENTS_SCALARS);
    for (int i = 0; i < count; i++) {
        const size_t length = strlen(names[i]);
        FX_REQUIRE(length < FX_NAME_MAX, FX_EARG, "%s: %.40s...: longer than %d bytes", e->path,
                   names[i], FX_NAME_MAX - 1);
        uint8_t *at = put_float(put_bytes(value, 1, names[i], length), 2, (float)values[i]);
        end = put_bytes(end, 1, value, (size_t)(at - value));
    }
    return write_event(
        e, put_bytes(begin_event(e, step), SUMMARY, e->summary, (size_t)(end - e->summary)));
}

/* Messages grow inwards out: the picture, its value, the summary, the event. */
fx_status fx_tfevents_image(fx_tfevents *e, int64_t step, const char *name, const uint8_t *png,
                            size_t bytes, int64_t width, int64_t height)
{
    enum { TAG = 1, IMAGE = 4, HEIGHT = 1, WIDTH = 2, COLOURS = 3, RGB = 3, PNG = 4, AROUND = 64 };
    const size_t length = strlen(name);
    uint8_t *image = NULL, *value = NULL, *event = NULL, *at;
    fx_status status = FX_OK;
    FX_REQUIRE(length < FX_NAME_MAX, FX_EARG, "%s: %.40s...: longer than %d bytes", e->path, name,
               FX_NAME_MAX - 1);
    FX_TRY_DONE(FX_ALLOC(image, bytes + AROUND));
    FX_TRY_DONE(FX_ALLOC(value, bytes + length + 2 * AROUND));
    FX_TRY_DONE(FX_ALLOC(event, bytes + length + 4 * AROUND));
    at = put_varint(put_key(image, HEIGHT, VARINT), (uint64_t)height);
    at = put_varint(put_key(at, WIDTH, VARINT), (uint64_t)width);
    at = put_varint(put_key(at, COLOURS, VARINT), RGB);
    const size_t in_image = (size_t)(put_bytes(at, PNG, png, bytes) - image);
    at = put_bytes(put_bytes(value, TAG, name, length), IMAGE, image, in_image);
    const size_t in_value = (size_t)(at - value), head = (size_t)(begin_event(e, step) - e->event);
    /* The summary holds the one value: its length is known before it is written. */
    uint8_t key[AROUND];
    const size_t before = (size_t)(put_varint(put_key(key, 1, BYTES), in_value) - key);
    memcpy(event, e->event, head);
    at = put_varint(put_key(event + head, SUMMARY, BYTES), before + in_value);
    memcpy(at, key, before);
    memcpy(at + before, value, in_value);
    status = write_record(e, event, at + before + in_value);
done:
    fx_free(image);
    fx_free(value);
    fx_free(event);
    return status;
}

void fx_tfevents_close(fx_tfevents **events)
{
    if (!*events) return;
    if ((*events)->file) fclose((*events)->file);
    fx_free(*events);
    *events = NULL;
}
