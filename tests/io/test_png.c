/* test_png.c: pictures read back by libpng's full reader, which the writer does not use: pixels,
 * remarks and their order; equal bytes; what is refused.
 *
 * Planted errors, each caught: the checksum over the data alone (remarks_are_read_back: libpng refuses
 * the chunk), the header not moved (remarks_are_read_back), width and height exchanged
 * (pixels_are_read_back), the upper bound of a side left out (refusals), keys of 80 characters accepted
 * (refusals). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/png.h"

enum { MOST_PIXELS = 64 * 64, MOST_TEXTS = 4 };

typedef struct picture {
    uint8_t rgb[MOST_PIXELS * 3];
    int64_t width, height;
    char text[MOST_TEXTS][2][128];
    int texts;
    bool bad; /* libpng raised an error */
} picture;

/* A source in memory; warnings of the reader (a wrong checksum in a remark) count as errors. */
typedef struct source {
    const uint8_t *at, *end;
} source;

static void take(png_structp png, png_bytep out, size_t size)
{
    source *s = png_get_io_ptr(png);
    if ((size_t)(s->end - s->at) < size) png_error(png, "cut off");
    memcpy(out, s->at, size);
    s->at += size;
}

static void raise(png_structp png, png_const_charp message)
{
    (void)message;
    png_longjmp(png, 1);
}

static void decode(const uint8_t *bytes, size_t size, picture *p)
{
    source from = {bytes, bytes + size};
    memset(p, 0, sizeof *p);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, raise, raise);
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png))) {
        p->bad = true;
        png_destroy_read_struct(&png, &info, NULL);
        return;
    }
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_read_fn(png, &from, take);
    png_read_info(png, info);
    p->width = png_get_image_width(png, info);
    p->height = png_get_image_height(png, info);
    if (png_get_bit_depth(png, info) != 8 || png_get_color_type(png, info) != PNG_COLOR_TYPE_RGB)
        png_error(png, "not 8-bit RGB");
    if (p->width * p->height > MOST_PIXELS) png_error(png, "too large for this test");
    for (int64_t row = 0; row < p->height; row++)
        png_read_row(png, p->rgb + row * p->width * 3, NULL);
    png_read_end(png, info);
    png_textp text = NULL;
    p->texts = png_get_text(png, info, &text, NULL);
    for (int i = 0; i < p->texts && i < MOST_TEXTS; i++) {
        snprintf(p->text[i][0], sizeof p->text[i][0], "%s", text[i].key);
        snprintf(p->text[i][1], sizeof p->text[i][1], "%s", text[i].text);
    }
    png_destroy_read_struct(&png, &info, NULL);
    p->bad = from.at != from.end;
}

static void fill(uint8_t *rgb, int64_t width, int64_t height)
{
    for (int64_t i = 0; i < width * height * 3; i++)
        rgb[i] = (uint8_t)(i * i * 37 + 11 * i);
}

static uint8_t rgb[MOST_PIXELS * 3];
static picture back;

static void pixels_are_read_back(void **state)
{
    (void)state;
    static const int64_t sides[][2] = {{1, 1}, {1, 7}, {7, 1}, {3, 5}, {64, 64}, {33, 17}};
    for (size_t k = 0; k < sizeof sides / sizeof *sides; k++) {
        const int64_t width = sides[k][0], height = sides[k][1];
        uint8_t *png = NULL, *again = NULL;
        size_t bytes = 0, bytes_again = 0;
        fill(rgb, width, height);
        assert_int_equal(fx_png_encode(rgb, width, height, &png, &bytes), FX_OK);
        decode(png, bytes, &back);
        assert_false(back.bad);
        assert_int_equal(back.width, width);
        assert_int_equal(back.height, height);
        assert_memory_equal(back.rgb, rgb, (size_t)(width * height * 3));
        assert_int_equal(back.texts, 0);
        assert_int_equal(fx_png_encode(rgb, width, height, &again, &bytes_again), FX_OK);
        assert_int_equal(bytes, bytes_again);
        assert_memory_equal(png, again, bytes);
        fx_free(png);
        fx_free(again);
    }
}

static void remarks_are_read_back(void **state)
{
    (void)state;
    static const fx_png_text text[] = {
        {"Title", "vorticity"}, {"Comment", "Re 1000\nt = 3.2"}, {"Source", ""}};
    uint8_t *png = NULL;
    size_t bytes = 0;
    fill(rgb, 9, 4);
    assert_int_equal(fx_png_encode_with(rgb, 9, 4, text, 3, &png, &bytes), FX_OK);
    decode(png, bytes, &back);
    assert_false(back.bad);
    assert_memory_equal(back.rgb, rgb, 9 * 4 * 3);
    assert_int_equal(back.texts, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(back.text[i][0], text[i].key);
        assert_string_equal(back.text[i][1], text[i].text);
    }
    fx_free(png);
}

static void files(void **state)
{
    (void)state;
    char folder[] = "/tmp/fx_png_XXXXXX", path[FX_PATH_MAX];
    static const fx_png_text text[] = {{"Software", "flexhpc"}};
    char *content = NULL;
    size_t size = 0;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(fx_path(path, "%s/a.png", folder), FX_OK);
    fill(rgb, 16, 8);
    assert_int_equal(fx_png_write(path, rgb, 16, 8, text, 1), FX_OK);
    assert_int_equal(fx_read_text(path, 1 << 20, &content, &size), FX_OK);
    decode((const uint8_t *)content, size, &back);
    assert_false(back.bad);
    assert_memory_equal(back.rgb, rgb, 16 * 8 * 3);
    assert_string_equal(back.text[0][1], "flexhpc");
    fx_free(content);

    assert_int_equal(fx_png_write(path, rgb, 0, 8, text, 1), FX_EARG); /* the old file stays */
    assert_non_null(strstr(fx_error_message(), "a.png: PNG: a picture of 0 x 8 pixels"));
    assert_true(fx_file_exists(path));
    assert_int_equal(fx_remove(path), FX_OK);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(fx_png_write(path, rgb, 16, 8, text, 1), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "a.png"));
}

static void expect_refused(int64_t width, int64_t height, const char *key, const char *words)
{
    const fx_png_text text = {key, words};
    uint8_t *png = rgb; /* must be overwritten */
    size_t bytes = 0;
    assert_int_equal(fx_png_encode_with(rgb, width, height, &text, 1, &png, &bytes), FX_EARG);
    assert_null(png);
}

static void refusals(void **state)
{
    (void)state;
    char key[81];
    memset(key, 'k', sizeof key);
    key[80] = '\0';
    expect_refused(0, 1, "k", "t");
    expect_refused(1, 0, "k", "t");
    expect_refused(-1, 1, "k", "t");
    expect_refused(65537, 1, "k", "t");
    expect_refused(1, INT64_MAX, "k", "t");
    expect_refused(1, 1, "", "t");
    expect_refused(1, 1, key, "t");
    expect_refused(1, 1, " k", "t");
    expect_refused(1, 1, "k ", "t");
    expect_refused(1, 1, "k\n", "t");
    expect_refused(1, 1, "k", "\033[31m");
    expect_refused(1, 1, "k", "\xc3\xa9");
    uint8_t *png = NULL;
    size_t bytes = 0;
    key[79] = '\0'; /* the longest that fits */
    assert_int_equal(fx_png_encode_with(rgb, 1, 1, &(fx_png_text){key, "t"}, 1, &png, &bytes), FX_OK);
    decode(png, bytes, &back);
    assert_false(back.bad);
    assert_string_equal(back.text[0][0], key);
    fx_free(png);
}

static void no_memory(void **state)
{
    (void)state;
    uint8_t *png = rgb;
    size_t bytes = 0;
    fx_mem_fail_after(1);
    assert_int_equal(fx_png_encode(rgb, 4, 4, &png, &bytes), FX_ENOMEM);
    fx_mem_fail_after(0);
    assert_null(png);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_are_read_back),
        cmocka_unit_test(remarks_are_read_back),
        cmocka_unit_test(files),
        cmocka_unit_test(refusals),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
