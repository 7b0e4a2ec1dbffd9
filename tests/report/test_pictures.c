/* test_pictures.c: the report's colour map against CIE lightness, the scale of its pictures, and values
 * in them that are not finite.
 *
 * Planted errors, each caught: a hue on the wrong side (colour_map), chroma too large for sRGB
 * (colour_map), the scale from the error (pictures_share_a_scale), a picture with NaN that ends the
 * page, infinity not counted, the truth's not counted in the error, NaN for the error's RFNE
 * (not_finite). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/report.h"
#include "flexhpc/str.h"
#include "report/text.h"

static double linear(uint8_t c)
{
    const double s = c / 255.0;
    return s <= 0.04045 ? s / 12.92 : pow((s + 0.055) / 1.055, 2.4);
}

/* CIE L* of a colour. */
static double lightness(const uint8_t c[3])
{
    const double y = 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
    return y > 0.008856 ? 116 * cbrt(y) - 16 : 903.3 * y;
}

/* Lightness falls steadily and alike on both sides; blue below, red above; no channel cut off at 0, so
 * no colour left sRGB. */
static void colour_map(void **state)
{
    (void)state;
    uint8_t low[3], high[3];
    double above = 200;
    fx_colour_of(0, high);
    assert_true(lightness(high) > 95);
    for (int i = 1; i <= 20; i++) {
        fx_colour_of(-i / 20.0, low);
        fx_colour_of(i / 20.0, high);
        assert_true(fabs(lightness(low) - lightness(high)) < 6);
        assert_true(lightness(high) < above - 1.5 && lightness(high) > above - 200 / i);
        assert_true(low[2] > low[0] + 2 * i && high[0] > high[2] + 2 * i);
        for (int c = 0; c < 3; c++)
            assert_true(low[c] > 0 && high[c] > 0 && (i < 2 || (low[c] < 255 && high[c] < 255)));
        above = lightness(high);
    }
    assert_true(above < 40 && above > 20);
    fx_colour_of(7, low);
    assert_memory_equal(low, high, 3);
}

static void page_of(const fx_report *report, text *page)
{
    char path[FX_PATH_MAX];
    assert_int_equal(fx_path(path, "%s/tests/report-%d.html", FX_BINARY_DIR, (int)getpid()), FX_OK);
    assert_int_equal(fx_report_write(report, path), FX_OK);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char piece[4096];
    while (fgets(piece, sizeof piece, file))
        fx_text_add(page, "%s", piece);
    fclose(file);
    unlink(path);
    assert_int_equal(page->status, FX_OK);
}

/* The bar names the end of the scale, which comes from the truth: 2.0 here, whatever the error. */
static void pictures_share_a_scale(void **state)
{
    (void)state;
    static float t[16], m[16];
    for (int i = 0; i < 16; i++)
        t[i] = i % 2 ? 2.0f : -1.0f, m[i] = 50;
    const fx_panel panel = {.title = "p",
                            .input_label = "i",
                            .input = t,
                            .model = m,
                            .truth = t,
                            .input_side = 4,
                            .side = 4};
    const fx_report report = {.title = "t", .panel = &panel, .panels = 1};
    text page = {0};
    page_of(&report, &page);
    assert_non_null(strstr(page.bytes, "\xe2\x89\xa5 2</text>"));
    assert_null(strstr(page.bytes, "5</text>"));
    fx_text_free(&page);
}

/* Values that are not finite are counted above the picture; the page, and the other pictures, are
 * there. */
static void not_finite(void **state)
{
    (void)state;
    enum { PANELS = 2, SIZE = 16 };
    static float input[SIZE], truth[PANELS][SIZE], model[PANELS][SIZE];
    fx_panel panel[PANELS];
    text page = {0};
    for (int i = 0; i < PANELS * SIZE; i++)
        truth[i / SIZE][i % SIZE] = 1.0f + (float)(i % SIZE), model[i / SIZE][i % SIZE] = 2;
    truth[0][0] = INFINITY;
    truth[1][1] = model[1][2] = NAN;
    model[1][3] = -INFINITY;
    for (int i = 0; i < PANELS; i++)
        panel[i] = (fx_panel){.title = "p",
                              .input_label = "i",
                              .input = input,
                              .model = model[i],
                              .truth = truth[i],
                              .input_side = 4,
                              .side = 4};
    const fx_report report = {.title = "t", .panel = panel, .panels = PANELS, .config = "the end"};
    page_of(&report, &page);
    const char *at = page.bytes;
    const struct {
        const char *label;
        int bad;
    } wanted[] = {{"i", 0}, {"model", 0}, {"truth", 1}, {"error", 1},
                  {"i", 0}, {"model", 2}, {"truth", 1}, {"error", 3}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char words[128] = "";
        if (wanted[i].bad > 0)
            snprintf(words, sizeof words,
                     "; <b class=\"bad\">%d of 16 values are not finite</b>: black", wanted[i].bad);
        char caption[192];
        snprintf(caption, sizeof caption, "<figcaption>%s%s</figcaption>", wanted[i].label, words);
        at = strstr(at, "<figcaption>");
        assert_non_null(at);
        if (strncmp(at, caption, strlen(caption)) != 0) fail_msg("%.100s, not %s", at, caption);
        at = strstr(at, "href=\"data:image/png;base64,");
        assert_non_null(at);
    }
    assert_non_null(strstr(at, "the end"));
    fx_text_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colour_map),
        cmocka_unit_test(pictures_share_a_scale),
        cmocka_unit_test(not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
