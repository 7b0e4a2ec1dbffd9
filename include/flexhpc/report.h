/* report.h: what a run was and how good it is, as one HTML file: no network, no scripts, pictures
 * inside, readable on a phone, in light and dark. The caller fills plain structs and keeps what they
 * point to; every text is escaped, so names may come from anywhere. Whatever is NULL or 0 is left out,
 * so a run that failed early has a report too. Includes eval.h, signatures.h. */
#ifndef FLEXHPC_REPORT_H
#define FLEXHPC_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "flexhpc/eval.h"
#include "flexhpc/signatures.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A row of the facts: what was trained, on what, where, for how long. */
typedef struct fx_fact {
    const char *key, *value;
} fx_fact;

typedef enum fx_mark { FX_MARK_NOTE, FX_MARK_GOOD, FX_MARK_BAD } fx_mark;

/* One sentence of the verdict. Those about scores the report finds itself; the caller adds what else
 * went right or wrong. */
typedef struct fx_finding {
    fx_mark mark;
    const char *text;
} fx_finding;

/* A row of the tables of scores. */
typedef struct fx_report_score {
    fx_score score;
    bool seen;          /* the model was trained on this Reynolds number */
    double fine_scales; /* fx_band.energy of the model above the wave numbers that its input resolves;
                           NaN: not measured */
} fx_report_score;

/* A rank's own seconds of a step: without what it waited for other ranks. */
typedef struct fx_report_rank {
    int rank;
    const char *host;
    double mean, worst, slowest; /* slowest: share of the steps in which it was, 0 to 1 */
} fx_report_rank;

/* A line of a chart; points that are not finite are gaps. */
typedef struct fx_curve {
    const char *name;
    const double *x, *y;
    int64_t count;
} fx_curve;

/* A line chart. A logarithmic axis drops values that are not positive. */
typedef struct fx_chart {
    const char *title, *x_label, *y_label;
    const char *note; /* a sentence below, or NULL */
    bool log_x, log_y;
    int64_t smooth; /* above 1: the curves are drawn pale, their means over so many points on top */
    const fx_curve *curve;
    int curves;
    const double *const *low, *const *high; /* by curve: ends of its error bars, or both NULL */
    bool bars; /* the first curve as bars from 0, each a unit of x wide; y is linear */
} fx_chart;

/* A row of pictures: input, model, truth, and the error model - truth, which is computed. All share one
 * colour scale, symmetric about 0, that ends at the 99.8th percentile of |truth|. */
typedef struct fx_panel {
    const char *title;          /* "Re 700 (unseen), super-resolution, t = 3.2" */
    const char *input_label;    /* "input, every 4th pixel", "last snapshot" */
    const float *input;         /* (input_side, input_side) */
    const float *model, *truth; /* (side, side) */
    int64_t input_side, side;
    int64_t zoom_x, zoom_y,
        zoom_side; /* a square of the truth, in pixels, shown larger; zoom_side 0: none */
    bool folded;   /* shown after the others, when the reader asks for it */
} fx_panel;

/* A forecast of many snapshots: truth, model and error at some leads, in one colour scale. */
typedef struct fx_rollout {
    const char *title;
    int64_t height, width;
    int frames;
    const double *lead; /* by frame: time, or snapshots, after the newest input */
    const float *truth,
        *model; /* (frames, height, width); a frame of the truth that is NaN is not known */
} fx_rollout;

/* Writes a field (height, width) as a PNG in these colours, from -end to end, the 99.8th percentile of
 * its absolute values; what is not finite is black. Local. */
fx_status fx_field_png(const char *path, const float *field, int64_t height, int64_t width);

/* Input, model, truth and error of a panel side by side as one PNG in these colours, each at least 64
 * pixels wide; *png is freed with fx_free. Errors are fx_report_write's, and FX_EVALUE when a picture
 * holds NaN. Local. */
fx_status fx_panel_png(const fx_panel *panel, uint8_t **png, size_t *bytes, int64_t *width,
                       int64_t *height);

/* A table of any kind: texts, row by row. */
typedef struct fx_report_table {
    const char *title, *note; /* note: a sentence below, or NULL */
    const char *const *column;
    int columns;
    const char *const *cell;
    int rows;
    bool words; /* the last column holds words, and more than a line of them */
} fx_report_table;

typedef struct fx_report {
    const char *title;
    const char *summary; /* one or two sentences: what was trained on what, and whether it finished */
    const fx_fact *fact;
    int facts;
    const fx_finding *finding;
    int findings;
    bool bilinear; /* interpolation, not bicubic, is the floor of super-resolution: data.upsampling */
    double goal;   /* the ratio of RFNE to the floor's that the run was to reach; 0: none */
    const fx_report_score *score; /* sorted as fx_scores_summarise gives them */
    int scores;
    const fx_sign *sign; /* failure signatures that fired */
    int signs;
    const fx_report_table *table;
    int tables;
    const fx_panel *panel;
    int panels;
    const fx_rollout *rollout;
    int rollouts;
    int lead; /* the panel that is shown in small at the top; -1: none */
    const fx_chart *chart;
    int charts;
    const fx_report_rank *rank;   /* slowest first */
    int ranks;                    /* below 2: no table */
    double rank_median;           /* of their means */
    int64_t rank_steps;           /* that the means are of */
    const char *paragraphs_title; /* NULL: what such a model can and cannot show */
    const char *const *paragraph; /* what such a model can and can not show */
    int paragraphs;
    const char *config;      /* YAML, or NULL */
    const char *environment; /* of the newest start: where the ranks ran, libraries; or NULL */
    const char *commands;    /* of all starts, or NULL */
} fx_report;

/* Writes the report; an older one is replaced in one step, or kept when this fails. FX_EARG when a
 * panel's sizes can't be. What is not finite in a picture of a panel is black there, and the words
 * above it say how many values are not. Local: one rank writes. */
fx_status fx_report_write(const fx_report *report, const char *path);

/* ---- Several runs side by side; the first is what the others are held against. */
enum { FX_COMPARED_MAX = 6 };

typedef struct fx_compared_cell {
    fx_score score; /* count 0: not evaluated here */
    double ratio, ratio_low,
        ratio_high; /* RFNE over the first run's on the same samples; NaN: not the same, or too few */
} fx_compared_cell;

typedef struct fx_compared_row {
    fx_task task;
    const char *name; /* of the evaluations (eval.name); NULL: they have none */
    double reynolds;
    bool seen;
    fx_compared_cell cell[FX_COMPARED_MAX];
} fx_compared_row;

typedef struct fx_compared_fact {
    const char *key, *value[FX_COMPARED_MAX]; /* NULL: not known */
} fx_compared_fact;

typedef struct fx_comparison {
    const char *title, *summary;
    const char *name[FX_COMPARED_MAX];
    int runs;                   /* from 2 */
    const fx_compared_row *row; /* by task, name (NULL first), then Reynolds number */
    int rows;
    const fx_compared_fact *fact;
    int facts;
    const fx_compared_fact *key; /* of the configuration, where it differs */
    int keys;
    const fx_chart *chart; /* curve i of a chart is run i's, as its colour says */
    int charts;
    const char *const *note; /* what is wrong with files of the runs, a line each */
    int notes;
} fx_comparison;

/* Writes the page as fx_report_write does; FX_EARG when the number of runs can't be. Local. */
fx_status fx_comparison_write(const fx_comparison *comparison, const char *path);

/* One chart as an SVG file of its own. Local. */
fx_status fx_chart_write(const fx_chart *chart, const char *path);

#ifdef __cplusplus
}
#endif
#endif
