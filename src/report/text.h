/* text.h: HTML as a growing text. Sticky error: the first failure is kept in `status`, later calls do
 * nothing. Private to the report. */
#ifndef FLEXHPC_REPORT_TEXT_H
#define FLEXHPC_REPORT_TEXT_H

#include <stdint.h>

#include "flexhpc/error.h"
#include "flexhpc/report.h"

/* Zero-initialised is empty; bytes is NUL-terminated once something was added. */
typedef struct text {
    char *bytes;
    size_t length, capacity;
    fx_status status;
} text;

/* As printf; what is formatted must be safe: numbers and our own words. */
void fx_text_add(text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Any text, NULL included, safe between tags and in quoted attributes: the five characters of markup
 * are escaped, control characters and bytes that are not UTF-8 become U+FFFD. */
void text_escaped(text *t, const char *any);

/* Base64 (RFC 4648, padded). */
void text_base64(text *t, const void *bytes, size_t count);
void fx_text_free(text *t);

/* A number of `digits` decimals with a true minus sign; an en dash where it is not finite. */
void text_number(text *t, double value, int digits);

/* " low-high" in small print; nothing where they are not finite. */
void text_interval(text *t, double low, double high, int digits);

/* A page from its title to below its summary, and its end, which writes it to `path` and frees it. */
void page_begin(text *t, const char *title, const char *summary); /* html.c */
fx_status page_end(text *t, const char *path);

/* Of pictures (fields.c): the end of the scale for `count` values; a data URI of `field`, or of `field
 * - minus`, in colours from -scale to scale, black where it is not finite, and how many values are not;
 * the scale as a bar whose name in the page is PREFIX ID. */
fx_status picture_scale(const float *field, int64_t count, double *scale);
void picture_encode(text *t, const float *field, const float *minus, int64_t height, int64_t width,
                    double scale);
int64_t picture_not_finite(const float *field, const float *minus, int64_t count);
void picture_bar(text *t, double scale, const char *prefix, int id);

/* Opens an item of a list of findings; "</span></li>" ends it. */
void finding_open(text *t, fx_mark mark); /* findings.c */

/* The sections of the page, each in its own file. `id` makes the names inside the page unique. */
void chart_write(text *t, const fx_chart *chart);              /* curves.c */
void charts_write(text *t, const fx_chart *chart, int charts); /* html.c */
void panel_write(text *t, const fx_panel *panel, int id);      /* fields.c */
void fx_colour_of(double value, uint8_t rgb[3]);       /* fields.c: value -1 to 1, 0 is nearly white */
void findings_write(text *t, const fx_report *report); /* findings.c */
void signs_write(text *t, const fx_report *report, fx_task task); /* signs.c */
void cards_write(text *t, const fx_report *report);               /* findings.c */
void score_tables_write(text *t, const fx_report *report);        /* tables.c */
void rollouts_write(text *t, const fx_report *report);            /* rollouts.c */
void measures_write(text *t, const fx_report *report);            /* measures.c */
void grids_write(text *t, const fx_report *report);               /* grids.c */
void ranks_write(text *t, const fx_report *report);               /* ranks.c */
const char *task_title(fx_task task);                             /* tables.c */
/* "bicubic interpolation"; tables.c */
const char *floor_name(const fx_report *report, fx_task task, int floor);
extern const char *const report_style[]; /* style.c: rules, ended by NULL */

#endif
