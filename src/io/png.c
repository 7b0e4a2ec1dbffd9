/* png.c: 8-bit RGB pictures as PNG. libpng's simplified interface makes the picture; it knows no
 * remarks, so these are put in after the header: a chunk is length, type, data, and the CRC-32 of type
 * and data, numbers big-endian (PNG specification, 5.3 and 11.3.4.3). */
#include "flexhpc/png.h"

#include <png.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum {
    MAX_SIDE = 1 << 16,
    MAX_TEXT = 1 << 20,
    MAX_KEY = 79,
    HEADER = 8 + 25, /* signature and IHDR */
    AROUND = 12      /* what a chunk has besides its data */
};

static bool printable(const char *text, bool newlines)
{
    for (const char *c = text; *c; c++)
        if ((*c < ' ' || *c > '~') && !(newlines && *c == '\n')) return false;
    return true;
}

static fx_status check_text(const fx_png_text *t)
{
    const size_t key = strlen(t->key);
    FX_REQUIRE(key >= 1 && key <= MAX_KEY && printable(t->key, false) && t->key[0] != ' ' &&
                   t->key[key - 1] != ' ',
               FX_EARG, "PNG: a remark's key is not 1 to %d printable ASCII characters", MAX_KEY);
    FX_REQUIRE(strlen(t->text) <= MAX_TEXT && printable(t->text, true), FX_EARG,
               "PNG: remark %s: not at most %d printable ASCII characters", t->key, MAX_TEXT);
    return FX_OK;
}

static size_t chunk_bytes(const fx_png_text *t)
{
    return AROUND + strlen(t->key) + 1 + strlen(t->text);
}

/* Writes one tEXt chunk; returns its end. */
static uint8_t *put_text(uint8_t *out, const fx_png_text *t)
{
    const size_t key = strlen(t->key) + 1, text = strlen(t->text);
    png_save_uint_32(out, (png_uint_32)(key + text));
    memcpy(out + 4, "tEXt", 4);
    memcpy(out + 8, t->key, key);
    memcpy(out + 8 + key, t->text, text);
    uint8_t *end = out + 8 + key + text;
    png_save_uint_32(end, (png_uint_32)crc32(0, out + 4, (uInt)(4 + key + text)));
    return end + 4;
}

fx_status fx_png_encode_with(const uint8_t *rgb, int64_t width, int64_t height, const fx_png_text *text,
                             int texts, uint8_t **png, size_t *bytes)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB};
    size_t remarks = 0;
    *png = NULL;
    FX_REQUIRE(width >= 1 && height >= 1 && width <= MAX_SIDE && height <= MAX_SIDE, FX_EARG,
               "PNG: a picture of %lld x %lld pixels", (long long)width, (long long)height);
    for (int i = 0; i < texts; i++) {
        FX_TRY(check_text(&text[i]));
        remarks += chunk_bytes(&text[i]);
    }
    image.width = (png_uint_32)width;
    image.height = (png_uint_32)height;

    uint8_t *file = NULL;
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    FX_TRY(FX_ALLOC(file, size + remarks));
    /* The picture goes behind the room for the remarks; then its header moves to the front. */
    if (!png_image_write_to_memory(&image, file + remarks, &size, 0, rgb, 0, NULL)) {
        fx_free(file);
        return fx_fail(FX_EIO, "PNG: %s", image.message);
    }
    memmove(file, file + remarks, HEADER);
    uint8_t *at = file + HEADER;
    for (int i = 0; i < texts; i++)
        at = put_text(at, &text[i]);
    *png = file;
    *bytes = size + remarks;
    return FX_OK;
}

fx_status fx_png_encode(const uint8_t *rgb, int64_t width, int64_t height, uint8_t **png, size_t *bytes)
{
    return fx_png_encode_with(rgb, width, height, NULL, 0, png, bytes);
}

fx_status fx_png_write(const char *file, const uint8_t *rgb, int64_t width, int64_t height,
                       const fx_png_text *text, int texts)
{
    uint8_t *png = NULL;
    size_t bytes = 0;
    FX_TRY_CTX(fx_png_encode_with(rgb, width, height, text, texts, &png, &bytes), "%s", file);
    const fx_status status = fx_write_text(file, (const char *)png, bytes);
    fx_free(png);
    return status;
}
