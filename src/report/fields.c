/* fields.c: fields as pictures: the colour map and rows of pictures that share one scale.
 *
 * The colour map is diverging, by formula in OKLCH (B. Ottosson, "A perceptual color space for image
 * processing", 2020): for a value v in [-1, 1] and s = |v| lightness 0.97 - 0.60 s, chroma 0.40 s (1 -
 * 0.72 s), hue 255 degrees (blue) below 0 and 40 degrees (red-orange) above so equal steps look equal,
 * both sides are equally dark, and blue against orange is told apart by nearly everybody. The whole map
 * lies inside sRGB. */
#include "text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/png.h"

enum { COLOURS = 511 }; /* odd: 0 has a colour of its own */
static const double PI = 3.14159265358979323846, CEILING = 0.998;

static uint8_t to_byte(double linear)
{
    const double c = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
    return (uint8_t)lround(255 * fmin(fmax(c, 0), 1));
}

void fx_colour_of(double value, uint8_t rgb[3])
{
    const double v = fmin(fmax(value, -1), 1), s = fabs(v);
    const double L = 0.97 - 0.60 * s, C = 0.40 * s * (1 - 0.72 * s),
                 hue = (v < 0 ? 255 : 40) * PI / 180;
    const double a = C * cos(hue), b = C * sin(hue);
    const double l = pow(L + 0.3963377774 * a + 0.2158037573 * b, 3);
    const double m = pow(L - 0.1055613458 * a - 0.0638541728 * b, 3);
    const double t = pow(L - 0.0894841775 * a - 1.2914855480 * b, 3);
    rgb[0] = to_byte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * t);
    rgb[1] = to_byte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * t);
    rgb[2] = to_byte(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * t);
}

static int by_value(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

/* The end of the scale: the 99.8th percentile of the absolute values that are finite, up to the next
 * number of two digits; 1 for a field that is 0. */
fx_status picture_scale(const float *field, int64_t count, double *scale)
{
    float *size = NULL;
    int64_t finite = 0;
    FX_TRY(FX_ALLOC(size, count));
    for (int64_t i = 0; i < count; i++)
        if (isfinite(field[i])) size[finite++] = fabsf(field[i]);
    qsort(size, (size_t)finite, sizeof *size, by_value);
    const double end = finite ? size[(int64_t)(CEILING * (double)(finite - 1))] : 0;
    fx_free(size);
    const double unit = end > 0 ? pow(10, floor(log10(end)) - 1) : 1;
    *scale = end > 0 ? ceil(end / unit - 1e-9) * unit : 1;
    return FX_OK;
}

static void make_map(uint8_t map[COLOURS][3])
{
    for (int i = 0; i < COLOURS; i++)
        fx_colour_of(2.0 * i / (COLOURS - 1) - 1, map[i]);
}

/* The colour of a value that is not NaN, in units of the scale. */
static const uint8_t *colour_in(uint8_t map[COLOURS][3], double v)
{
    return map[lround((fmin(fmax(v, -1), 1) + 1) / 2 * (COLOURS - 1))];
}

fx_status fx_field_png(const char *path, const float *field, int64_t height, int64_t width)
{
    uint8_t *rgb = NULL, map[COLOURS][3];
    double scale = 1;
    fx_status status = FX_OK;
    make_map(map);
    FX_TRY(picture_scale(field, height * width, &scale));
    FX_TRY(FX_ALLOC(rgb, 3 * height * width));
    for (int64_t i = 0; i < height * width; i++)
        if (isfinite(field[i])) memcpy(rgb + 3 * i, colour_in(map, (double)field[i] / scale), 3);
    status = fx_png_write(path, rgb, width, height, NULL, 0);
    fx_free(rgb);
    return status;
}

static fx_status check(const fx_panel *p)
{
    FX_REQUIRE(p->input && p->model && p->truth && p->side > 0 && p->input_side > 0 &&
                   p->side <= 1 << 14 && p->input_side <= 1 << 14,
               FX_EARG, "pictures of %lld^2 and %lld^2 pixels", (long long)p->input_side,
               (long long)p->side);
    FX_REQUIRE(p->zoom_side >= 0 && p->zoom_x >= 0 && p->zoom_y >= 0 &&
                   p->zoom_x + p->zoom_side <= p->side && p->zoom_y + p->zoom_side <= p->side,
               FX_EARG, "the zoom of %lld at (%lld, %lld) leaves a picture of %lld^2 pixels",
               (long long)p->zoom_side, (long long)p->zoom_x, (long long)p->zoom_y, (long long)p->side);
    return FX_OK;
}

typedef struct strip {
    uint8_t *rgb;
    int64_t width, side,
        times; /* of the strip; of a picture in it; pixels of it a pixel of the truth */
    double scale;
} strip;

/* Picture number `place` of a strip: `field`, of any side, or `field - minus`. */
static fx_status put_field(const strip *s, int place, const float *field, const float *minus,
                           int64_t side, uint8_t map[COLOURS][3])
{
    enum { GAP = 2 };
    for (int64_t y = 0; y < s->side; y++)
        for (int64_t x = 0; x < s->side; x++) {
            const int64_t at = y * side / s->side * side + x * side / s->side;
            const double v = ((double)field[at] - (minus ? (double)minus[at] : 0)) / s->scale;
            FX_REQUIRE(!isnan(v), FX_EVALUE, "pixel %lld of a picture is NaN", (long long)at);
            memcpy(s->rgb + 3 * (y * s->width + place * (s->side + GAP) + x), colour_in(map, v), 3);
        }
    return FX_OK;
}

fx_status fx_panel_png(const fx_panel *p, uint8_t **png, size_t *bytes, int64_t *width, int64_t *height)
{
    enum { PICTURES = 4, GAPS = 6, WIDE = 128 };
    uint8_t map[COLOURS][3];
    strip s = {.times = p->side > 0 && p->side < WIDE ? WIDE / p->side : 1};
    *png = NULL;
    FX_TRY(check(p));
    FX_TRY(picture_scale(p->truth, p->side * p->side, &s.scale));
    make_map(map);
    s.side = s.times * p->side;
    *width = s.width = PICTURES * s.side + GAPS;
    *height = s.side;
    FX_TRY(FX_ALLOC(s.rgb, 3 * s.width * s.side));
    memset(s.rgb, 0xff, (size_t)(3 * s.width * s.side));
    fx_status status = put_field(&s, 0, p->input, NULL, p->input_side, map);
    if (status == FX_OK) status = put_field(&s, 1, p->model, NULL, p->side, map);
    if (status == FX_OK) status = put_field(&s, 2, p->truth, NULL, p->side, map);
    if (status == FX_OK) status = put_field(&s, 3, p->model, p->truth, p->side, map);
    if (status == FX_OK) status = fx_png_encode(s.rgb, s.width, s.side, png, bytes);
    fx_free(s.rgb);
    return status;
}

int64_t picture_not_finite(const float *field, const float *minus, int64_t count)
{
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++)
        found += !isfinite(field[i]) || (minus && !isfinite(minus[i]));
    return found;
}

/* A data URI of `field`, or of `field - minus`, in colours from -scale to scale. */
static fx_status encode(text *t, const float *field, const float *minus, int64_t height, int64_t width,
                        double scale)
{
    fx_status status = FX_OK;
    uint8_t *rgb = NULL, *png = NULL, map[COLOURS][3];
    size_t bytes = 0;
    make_map(map);
    FX_TRY_DONE(FX_ALLOC(rgb, 3 * height * width));
    for (int64_t i = 0; i < height * width; i++) {
        const double v = ((double)field[i] - (minus ? (double)minus[i] : 0)) / scale;
        if (isfinite(v)) memcpy(rgb + 3 * i, colour_in(map, v), 3);
    }
    FX_TRY_DONE(fx_png_encode(rgb, width, height, &png, &bytes));
    fx_text_add(t, "data:image/png;base64,");
    text_base64(t, png, bytes);
    status = t->status;
done:
    fx_free(rgb);
    fx_free(png);
    return status;
}

void picture_encode(text *t, const float *field, const float *minus, int64_t height, int64_t width,
                    double scale)
{
    if (t->status == FX_OK) t->status = encode(t, field, minus, height, width, scale);
}

typedef struct picture {
    const char *label;
    const float *field, *minus;
    int64_t side;
} picture;

/* Pictures are drawn in pixels of the truth, whatever their own size; the zoom shows the same picture
 * through a smaller view box. */
static void picture_write(text *t, const fx_panel *p, const picture *what, const char *id, double scale)
{
    const double line = (double)p->side / 160;
    const long long pixels = what->side * what->side,
                    bad = picture_not_finite(what->field, what->minus, pixels);
    fx_text_add(t, "<figure><figcaption>");
    text_escaped(t, what->label);
    if (bad > 0)
        fx_text_add(t, "; <b class=\"bad\">%lld of %lld values are not finite</b>: black", bad, pixels);
    fx_text_add(t, "</figcaption><svg viewBox=\"0 0 %lld %lld\" role=\"img\" aria-label=\"",
                (long long)p->side, (long long)p->side);
    text_escaped(t, what->label);
    fx_text_add(t, "\"><image id=\"%s\" width=\"%lld\" height=\"%lld\" href=\"", id, (long long)p->side,
                (long long)p->side);
    picture_encode(t, what->field, what->minus, what->side, what->side, scale);
    fx_text_add(t, "\"/>");
    if (p->zoom_side > 0)
        fx_text_add(
            t,
            "<rect x=\"%lld\" y=\"%lld\" width=\"%lld\" height=\"%lld\" fill=\"none\" stroke=\"#111\" "
            "stroke-width=\"%.2f\"/>",
            (long long)p->zoom_x, (long long)p->zoom_y, (long long)p->zoom_side,
            (long long)p->zoom_side, line);
    fx_text_add(t, "</svg>");
    if (p->zoom_side > 0)
        fx_text_add(t,
                    "<svg class=\"zoom\" viewBox=\"%lld %lld %lld %lld\" aria-hidden=\"true\"><use "
                    "href=\"#%s\"/></svg>",
                    (long long)p->zoom_x, (long long)p->zoom_y, (long long)p->zoom_side,
                    (long long)p->zoom_side, id);
    fx_text_add(t, "</figure>\n");
}

/* The scale as a gradient of 33 stops, with the numbers at its ends and in the middle. */
void picture_bar(text *t, double scale, const char *prefix, int id)
{
    enum { STOPS = 33 };
    fx_text_add(t,
                "<svg class=\"bar\" viewBox=\"0 0 300 30\" role=\"img\" aria-label=\"colour scale of "
                "vorticity from %.4g to "
                "%.4g\"><defs><linearGradient id=\"%s%d-bar\">",
                -scale, scale, prefix, id);
    for (int i = 0; i < STOPS; i++) {
        uint8_t c[3];
        fx_colour_of(2.0 * i / (STOPS - 1) - 1, c);
        fx_text_add(t, "<stop offset=\"%.4f\" stop-color=\"#%02x%02x%02x\"/>", (double)i / (STOPS - 1),
                    c[0], c[1], c[2]);
    }
    fx_text_add(
        t,
        "</linearGradient></defs><rect x=\"1\" y=\"1\" width=\"298\" height=\"11\" rx=\"2\" "
        "fill=\"url(#%s%d-bar)\"/>"
        "<text x=\"1\" y=\"26\">\xe2\x89\xa4 \xe2\x88\x92%.4g</text><text x=\"150\" y=\"26\" "
        "text-anchor=\"middle\">0</text><text x=\"299\" y=\"26\" text-anchor=\"end\">\xe2\x89\xa5 "
        "%.4g</text></svg>\n",
        prefix, id, scale, scale);
}

void panel_write(text *t, const fx_panel *p, int id)
{
    double scale = 1;
    if (t->status == FX_OK) t->status = check(p);
    if (t->status == FX_OK) t->status = picture_scale(p->truth, p->side * p->side, &scale);
    if (t->status != FX_OK) return;

    char error[64] = "error", name[32];
    const double rfne = fx_rfne(p->model, p->truth, p->side * p->side);
    if (isfinite(rfne)) snprintf(error, sizeof error, "error, RFNE %.3f", rfne);
    const picture row[] = {
        {p->input_label, p->input, NULL, p->input_side},
        {"model", p->model, NULL, p->side},
        {"truth", p->truth, NULL, p->side},
        {error, p->model, p->truth, p->side},
    };
    fx_text_add(t, "<section class=\"panel\" id=\"p%d\"><h3>", id);
    text_escaped(t, p->title);
    fx_text_add(t, "</h3><div class=\"pictures\">\n");
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        snprintf(name, sizeof name, "p%d-%zu", id, i);
        picture_write(t, p, &row[i], name, scale);
    }
    fx_text_add(t, "</div>");
    picture_bar(t, scale, "p", id);
    fx_text_add(t, "</section>\n");
}
