/* eval_table.h: an array of records as a table of doubles with named columns. Private to src/eval. */
#ifndef FX_EVAL_TABLE_H
#define FX_EVAL_TABLE_H

#include <stddef.h>

#include "flexhpc/eval_file.h"
#include "flexhpc/io.h"

typedef enum fx_column_kind { FX_REAL, FX_INTEGER, FX_TASK, FX_TRUTH } fx_column_kind;

typedef struct fx_column {
    const char *name;
    size_t offset; /* of the member in its record */
    fx_column_kind kind;
} fx_column;

/* Records of `size` bytes: `members` of them are columns, then `values` doubles, one array. */
typedef struct fx_layout {
    const char *dataset;
    const fx_column *member;
    int members;
    const char *const *value; /* names */
    int values;
    size_t size, values_at;
} fx_layout;

/* A dataset (count, columns) float64 with the attribute `columns`. Local. */
fx_status fx_table_write(fx_h5 *f, const fx_layout *layout, const void *records, int64_t count);

/* Reads at most `most` records, into *records or, where that is NULL, into memory that the caller
 * frees. Columns are found by name: reals that the file lacks are NaN, others stay 0. FX_EVALUE where
 * columns have no names. Local. */
fx_status fx_table_read(fx_h5 *f, const fx_layout *layout, int64_t most, void **records,
                        int64_t *count);

/* The statistics and signs of a file whose rows are known (eval_results.c). Local. */
fx_status fx_eval_write_results(fx_h5 *f, const fx_eval_file *file);
fx_status fx_eval_read_results(fx_h5 *f, fx_eval_file *file);

#endif
