/* curves.c: line charts as SVG inside a figure: axes, ticks, logarithmic scales, a legend with one
 * colour and one dash pattern a curve. Long curves are thinned to the extremes of short stretches, so
 * that no spike is lost. Coordinates: x to the right, y down, in units of the view box. */
#include "text.h"

#include <math.h>
#include <stdlib.h>

#include "flexhpc/io.h"

enum { WIDTH = 460, HEIGHT = 280, LEFT = 58, RIGHT = 14, TOP = 28, BOTTOM = 42 };
enum {
    COLOURS = FX_COMPARED_MAX + 1,
    STRETCHES = 300,
    DOTS_MAX = 40,
    TICKS_MAX = 64,
    CAP = 3,
    LEGEND_ROW = 17
};
static const double DECADES = 10; /* a logarithmic axis shows no more below its top */

typedef struct axis {
    bool log;
    double low, high;  /* values at its ends */
    double start, end; /* their coordinates */
    double tick[TICKS_MAX];
    int ticks;
    int exponent; /* of the tick labels' common power of ten; 0: plain numbers */
} axis;

static bool shown(const axis *a, double v)
{
    return isfinite(v) && (!a->log || v > 0);
}

static double place(const axis *a, double v)
{
    const double part =
        a->log ? log(v / a->low) / log(a->high / a->low) : (v - a->low) / (a->high - a->low);
    return a->start + fmin(fmax(part, -9), 9) * (a->end - a->start);
}

static void add_tick(axis *a, double v)
{
    const double slack = a->log ? 0 : 1e-9 * (a->high - a->low);
    if (a->ticks < TICKS_MAX && v >= a->low - slack && v <= a->high + slack) a->tick[a->ticks++] = v;
}

/* The step 1, 2 or 5 times a power of ten that makes about `wanted` ticks. */
static double step_of(double range, int wanted)
{
    const double raw = range / wanted, unit = pow(10, floor(log10(raw))), part = raw / unit;
    return unit * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static void log_ticks(axis *a, double decades, int wanted)
{
    static const double few[] = {1}, some[] = {1, 2, 5}, many[] = {1, 2, 3, 5, 7};
    const double *at = decades < 1.3 ? many : decades < 2.2 ? some : few;
    const int count = decades < 1.3 ? 5 : decades < 2.2 ? 3 : 1, every = (int)ceil(decades / wanted);
    for (int d = (int)floor(log10(a->low)); d <= (int)ceil(log10(a->high)); d++)
        for (int i = 0; i < count && (count > 1 || d % every == 0); i++)
            add_tick(a, at[i] * pow(10, d));
}

/* Widens a range that can not be divided: no point at all, one value, more decades than are worth
 * showing. */
static void set_range(axis *a)
{
    if (!(a->low <= a->high)) a->low = a->log ? 0.1 : 0, a->high = 1;
    if (a->log) {
        a->low = fmax(a->low, a->high / pow(10, DECADES)) / 1.04;
        a->high *= 1.04;
    } else if (a->high - a->low <= 1e-12 * fmax(fabs(a->low), fabs(a->high))) {
        const double half = a->low > 0 || a->low < 0 ? 0.1 * fabs(a->low) : 1;
        a->low -= half;
        a->high += half;
    }
}

/* Range and ticks. `round` widens a linear axis to whole steps. */
static void set_axis(axis *a, bool round, int wanted)
{
    set_range(a);
    const double decades = a->log ? log10(a->high / a->low) : 0,
                 step = step_of(a->high - a->low, wanted);
    if (round && !a->log) {
        a->low = floor(a->low / step + 1e-9) * step;
        a->high = ceil(a->high / step - 1e-9) * step;
    }
    if (decades >= 0.7)
        log_ticks(a, decades, wanted);
    else
        for (double i = ceil(a->low / step - 1e-9); i <= a->high / step + 1e-9; i++)
            add_tick(a, i * step);
    double largest = 0, smallest = INFINITY;
    for (int i = 0; i < a->ticks; i++) {
        const double size = fabs(a->tick[i]);
        largest = fmax(largest, size);
        if (size > 1e-9 * step || a->log) smallest = fmin(smallest, size);
    }
    if (smallest < 1e-3 || largest >= 1e5) a->exponent = (int)floor(log10(largest) + 1e-9);
}

static void stretch(axis *a, double v)
{
    if (!shown(a, v)) return;
    a->low = fmin(a->low, v);
    a->high = fmax(a->high, v);
}

static void fit_axes(const fx_chart *chart, axis *x, axis *y)
{
    *x = (axis){
        .log = chart->log_x, .low = INFINITY, .high = -INFINITY, .start = LEFT, .end = WIDTH - RIGHT};
    *y = (axis){
        .log = chart->log_y, .low = INFINITY, .high = -INFINITY, .start = HEIGHT - BOTTOM, .end = TOP};
    for (int c = 0; c < chart->curves; c++)
        for (int64_t i = 0; i < chart->curve[c].count; i++) {
            const double u = chart->curve[c].x[i], v = chart->curve[c].y[i];
            if (!shown(x, u) || !shown(y, v)) continue;
            stretch(x, u);
            stretch(y, v);
            if (chart->low) stretch(y, chart->low[c][i]);
            if (chart->high) stretch(y, chart->high[c][i]);
            if (!chart->bars) continue;
            stretch(x, u - 0.5);
            stretch(x, u + 0.5);
            stretch(y, 0);
        }
    set_axis(x, false, 5);
    set_axis(y, true, 6);
}

/* A plain number where the axis has no exponent; otherwise, with raised exponents, 10^-4 or 2 10^-4 on
 * a logarithmic axis and 0.2 10^-3 on a linear one, where all have the same power. */
static void label_write(text *t, const axis *a, double v)
{
    const double size = fabs(v), zero = 1e-9 * (a->high - a->low);
    const char *minus = v < 0 ? "\xe2\x88\x92" : "";
    if (!a->log && size < zero) {
        fx_text_add(t, "0");
        return;
    }
    const int exponent = a->log && a->exponent != 0 ? (int)floor(log10(size) + 1e-9) : a->exponent;
    if (exponent == 0) {
        fx_text_add(t, "%s%.6g", minus, size);
        return;
    }
    const double mantissa = size / pow(10, exponent);
    fx_text_add(t, "%s", minus);
    if (!a->log || fabs(mantissa - 1) > 1e-6) fx_text_add(t, "%.3g\xc2\xb7", mantissa);
    fx_text_add(t, "10<tspan dy=\"-4\" class=\"raised\">%s%d</tspan>",
                exponent < 0 ? "\xe2\x88\x92" : "", abs(exponent));
}

static void axes_write(text *t, const fx_chart *chart, const axis *x, const axis *y)
{
    for (int i = 0; i < y->ticks; i++) {
        const double at = place(y, y->tick[i]);
        fx_text_add(
            t, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">",
            LEFT, at, WIDTH - RIGHT, LEFT - 7, at + 4);
        label_write(t, y, y->tick[i]);
        fx_text_add(t, "</text>\n");
    }
    for (int i = 0; i < x->ticks; i++) {
        const double at = place(x, x->tick[i]);
        fx_text_add(
            t,
            "<path class=\"tick\" d=\"M%.1f %dv4\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">",
            at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 17);
        label_write(t, x, x->tick[i]);
        fx_text_add(t, "</text>\n");
    }
    fx_text_add(t,
                "<path class=\"axis\" d=\"M%d %dH%d\"/><text class=\"name\" x=\"%d\" y=\"%d\" "
                "text-anchor=\"middle\">",
                LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6);
    text_escaped(t, chart->x_label);
    fx_text_add(t, "</text><text class=\"name\" x=\"4\" y=\"13\">");
    text_escaped(t, chart->y_label);
    fx_text_add(t, "</text>\n");
}

/* A polyline that breaks at what can not be shown. A point alone is a dot: a line of no length with
 * round ends. */
typedef struct pen {
    text *t;
    const axis *x, *y;
    bool down;
} pen;

static void draw_to(pen *p, double u, double v)
{
    if (!shown(p->x, u) || !shown(p->y, v)) {
        p->down = false;
        return;
    }
    fx_text_add(p->t, "%s%.1f %.1f", p->down ? "L" : "M", place(p->x, u), place(p->y, v));
    p->down = true;
}

/* Two points of a curve, in the order of x; -1: none. */
static void draw_extremes(pen *p, const fx_curve *c, int64_t low, int64_t high)
{
    const int64_t first = low < high ? low : high, second = low < high ? high : low;
    if (first < 0) return;
    draw_to(p, c->x[first], c->y[first]);
    if (second != first) draw_to(p, c->x[second], c->y[second]);
}

/* The lowest and the highest point of points first .. next - 1; one that can not be shown breaks the
 * line. */
static void draw_stretch(pen *p, const fx_curve *c, int64_t first, int64_t next)
{
    int64_t low = -1, high = -1;
    for (int64_t i = first; i < next; i++) {
        if (!shown(p->x, c->x[i]) || !shown(p->y, c->y[i])) {
            draw_extremes(p, c, low, high);
            p->down = false;
            low = high = -1;
            continue;
        }
        if (low < 0 || c->y[i] < c->y[low]) low = i;
        if (high < 0 || c->y[i] > c->y[high]) high = i;
    }
    draw_extremes(p, c, low, high);
}

static void draw_curve(pen *p, const fx_curve *c)
{
    const int64_t stretches = c->count > 2 * STRETCHES ? STRETCHES : c->count;
    for (int64_t s = 0; s < stretches; s++)
        draw_stretch(p, c, s * c->count / stretches, (s + 1) * c->count / stretches);
}

/* Few points are dots: lines of no length with round ends. */
static void draw_dots(text *t, const fx_curve *c, const axis *x, const axis *y)
{
    for (int64_t i = 0; i < c->count; i++)
        if (shown(x, c->x[i]) && shown(y, c->y[i]))
            fx_text_add(t, "M%.1f %.1fh0", place(x, c->x[i]), place(y, c->y[i]));
}

static void draw_histogram(text *t, const fx_curve *c, const axis *x, const axis *y)
{
    const double wide = 0.86; /* of a unit */
    for (int64_t i = 0; i < c->count; i++) {
        if (!shown(x, c->x[i]) || !shown(y, c->y[i])) continue;
        const double left = place(x, c->x[i] - wide / 2), right = place(x, c->x[i] + wide / 2),
                     top = place(y, fmax(c->y[i], 0)), bottom = place(y, fmin(c->y[i], 0));
        fx_text_add(t, "<rect class=\"bin\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                    left, top, right - left, bottom - top);
    }
}

/* Vertical lines with caps. */
static void draw_bars(text *t, const fx_curve *c, const double *low, const double *high, const axis *x,
                      const axis *y)
{
    for (int64_t i = 0; i < c->count; i++) {
        if (!shown(x, c->x[i]) || !shown(y, low[i]) || !shown(y, high[i])) continue;
        const double at = place(x, c->x[i]), bottom = place(y, low[i]), top = place(y, high[i]);
        fx_text_add(t, "M%.1f %.1fh%dM%.1f %.1fV%.1fM%.1f %.1fh%d", at - CAP, bottom, 2 * CAP, at,
                    bottom, top, at - CAP, top, 2 * CAP);
    }
}

/* Means over `width` points around evenly spaced places; only whole windows, but for the ends. */
static void draw_means(pen *p, const fx_curve *c, int64_t width)
{
    const int64_t places = c->count > STRETCHES ? STRETCHES : c->count;
    for (int64_t s = 0; s < places; s++) {
        const int64_t middle = places > 1 ? s * (c->count - 1) / (places - 1) : 0;
        double sum = 0, count = 0;
        for (int64_t i = middle - width / 2; i <= middle + width / 2; i++)
            if (i >= 0 && i < c->count && shown(p->y, c->y[i])) sum += c->y[i], count += 1;
        draw_to(p, c->x[middle], count > 0 ? sum / count : NAN);
    }
}

static void legend_write(text *t, const fx_chart *chart)
{
    fx_text_add(t, "<div class=\"legend\">");
    for (int c = 0; c < chart->curves; c++) {
        fx_text_add(
            t,
            "<span><svg viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"line s%d\" d=\"M1 "
            "4H25\"/></svg>",
            c % COLOURS);
        text_escaped(t, chart->curve[c].name);
        fx_text_add(t, "</span>");
    }
    fx_text_add(t, "</div>");
}

/* Axes and curves, in units of the view box. */
static void plot_write(text *t, const fx_chart *chart)
{
    axis x, y;
    fit_axes(chart, &x, &y);
    axes_write(t, chart, &x, &y);
    fx_text_add(t, "<svg width=\"%d\" height=\"%d\">\n", WIDTH,
                HEIGHT - BOTTOM + 1); /* cuts what lies below the axis */
    for (int c = 0; c < chart->curves; c++) {
        pen p = {.t = t, .x = &x, .y = &y};
        if (chart->bars && c == 0) {
            draw_histogram(t, &chart->curve[c], &x, &y);
            continue;
        }
        fx_text_add(t, "<path class=\"line s%d%s\" d=\"", c % COLOURS,
                    chart->smooth > 1 ? " pale" : "");
        draw_curve(&p, &chart->curve[c]);
        fx_text_add(t, "\"/>\n");
        if (chart->curve[c].count > DOTS_MAX) continue;
        fx_text_add(t, "<path class=\"dots s%d\" d=\"", c % COLOURS);
        draw_dots(t, &chart->curve[c], &x, &y);
        fx_text_add(t, "\"/>\n");
        if (!chart->low || !chart->high) continue;
        fx_text_add(t, "<path class=\"bars s%d\" d=\"", c % COLOURS);
        draw_bars(t, &chart->curve[c], chart->low[c], chart->high[c], &x, &y);
        fx_text_add(t, "\"/>\n");
    }
    for (int c = 0; chart->smooth > 1 && c < chart->curves; c++) {
        pen p = {.t = t, .x = &x, .y = &y};
        fx_text_add(t, "<path class=\"line s%d\" d=\"", c % COLOURS);
        draw_means(&p, &chart->curve[c], chart->smooth);
        fx_text_add(t, "\"/>\n");
    }
    fx_text_add(t, "</svg>");
}

void chart_write(text *t, const fx_chart *chart)
{
    fx_text_add(t, "<figure class=\"chart\"><figcaption>");
    text_escaped(t, chart->title);
    fx_text_add(t, "</figcaption>");
    if (chart->curves > 1) legend_write(t, chart);
    fx_text_add(t, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    text_escaped(t, chart->title);
    fx_text_add(t, "\">\n");
    plot_write(t, chart);
    fx_text_add(t, "</svg>");
    if (chart->note) {
        fx_text_add(t, "<p class=\"note\">");
        text_escaped(t, chart->note);
        fx_text_add(t, "</p>");
    }
    fx_text_add(t, "</figure>\n");
}

/* Title and legend, a row each, above the plot. */
fx_status fx_chart_write(const fx_chart *chart, const char *path)
{
    text t = {0};
    const int head = LEGEND_ROW * (chart->curves + 1) + 6;
    fx_text_add(&t,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 %d %d\" "
                "font-family=\"sans-serif\">\n<style>\n",
                WIDTH, HEIGHT + head);
    for (const char *const *rule = report_style; *rule; rule++)
        fx_text_add(&t, "%s\n", *rule);
    fx_text_add(&t,
                "</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"var(--card)\"/>\n"
                "<text class=\"name\" x=\"4\" y=\"%d\">",
                LEGEND_ROW);
    text_escaped(&t, chart->title);
    fx_text_add(&t, "</text>\n");
    for (int c = 0; c < chart->curves; c++) {
        const int y = LEGEND_ROW * (c + 2);
        fx_text_add(&t, "<path class=\"line s%d\" d=\"M%d %dh26\"/><text x=\"%d\" y=\"%d\">",
                    c % COLOURS, LEFT, y - 4, LEFT + 34, y);
        text_escaped(&t, chart->curve[c].name);
        fx_text_add(&t, "</text>\n");
    }
    fx_text_add(&t, "<svg y=\"%d\" width=\"%d\" height=\"%d\">\n", head, WIDTH, HEIGHT);
    plot_write(&t, chart);
    fx_text_add(&t, "</svg></svg>\n");
    fx_status status = t.status;
    if (status == FX_OK) status = fx_write_text(path, t.bytes, t.length);
    fx_text_free(&t);
    return status;
}
