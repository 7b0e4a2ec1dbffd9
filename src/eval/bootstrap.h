/* bootstrap.h: block bootstrap of anything that follows from means of columns. Private to src/eval. */
#ifndef FX_BOOTSTRAP_H
#define FX_BOOTSTRAP_H

#include <stdint.h>

#include "flexhpc/error.h"

enum { FX_BOOTSTRAP_MOST = 64 };

/* `count` rows of `width` numbers; NaN cells are left out of their column's mean. Rows of one block
 * are correlated, and drawn together. */
typedef struct fx_columns {
    const double *cell;   /* (count, width) */
    const int64_t *block; /* (count) */
    int64_t count, width;
} fx_columns;

/* What is wanted: `outs` numbers, at most FX_BOOTSTRAP_MOST, from the means of the columns. */
typedef struct fx_question {
    void (*answer)(const void *context, const double *mean, double *out);
    const void *context;
    int outs;
} fx_question;

/* The answer for all rows, and the ends of its 95 % percentile intervals (NaN with fewer than two
 * blocks, and where a resample has no answer); *blocks: how many there are. `seed` fixes what is drawn,
 * the same for equal numbers of blocks. Local. */
fx_status fx_block_bootstrap(const fx_columns *columns, uint64_t seed, const fx_question *question,
                             double *value, double *low, double *high, int64_t *blocks);

/* The quantile of sorted values, linear between them. Local. */
double fx_quantile(const double *sorted, int64_t count, double q);

/* qsort's order of doubles. */
int fx_by_value(const void *left, const void *right);

#endif
