/* columns.h: sums over the rows of a matrix: bias gradients. */
#ifndef FX_COLUMNS_H
#define FX_COLUMNS_H

#include "ops.h"

/* Floats of scratch that fx_column_sums needs. */
size_t fx_column_scratch(int64_t columns);

/* out[c] = or += sum over r of x[r][c], in an order that doesn't depend on the number of threads. */
void fx_column_sums(const float *x, int64_t rows, int64_t columns, float *scratch, float *out,
                    unsigned adds);

#endif
