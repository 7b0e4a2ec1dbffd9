/* columns.c: the rows are cut into PARTS pieces, summed each and then in order: every piece reads whole
 * rows. */
#include "columns.h"

#include <string.h>

enum { PARTS = 64 };

size_t fx_column_scratch(int64_t columns)
{
    return (size_t)(PARTS * columns);
}

void fx_column_sums(const float *x, int64_t rows, int64_t columns, float *scratch, float *out,
                    unsigned adds)
{
    const int64_t size = (rows + PARTS - 1) / PARTS;
#pragma omp parallel for
    for (int64_t i = 0; i < PARTS; i++) {
        float *sum = scratch + i * columns;
        memset(sum, 0, sizeof *sum * (size_t)columns);
        for (int64_t r = i * size; r < (i + 1) * size && r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                sum[c] += x[r * columns + c];
    }
    for (int64_t c = 0; c < columns; c++) {
        double sum = 0;
        for (int64_t i = 0; i < PARTS; i++)
            sum += scratch[i * columns + c];
        fx_put(&out[c], (float)sum, adds);
    }
}
