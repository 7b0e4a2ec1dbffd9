/* table.c: rows of a result, one JSON object each, as an aligned table for a reader or as CSV (RFC 4180
 * without quotes: values are numbers and our own words). */
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/json.h"
#include "flexhpc/mem.h"

enum { CELL = 64 };

/* A cell: numbers as short as `digits` allow. */
static void cell_write(const json_t *value, int digits, char out[CELL])
{
    if (json_is_string(value))
        snprintf(out, CELL, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, CELL, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(out, CELL, "%.*g", digits, json_real_value(value));
    else
        snprintf(out, CELL, "-");
}

static int width_of(const json_t *rows, const char *column, int digits)
{
    size_t index, width = strlen(column);
    const json_t *row;
    char cell[CELL];
    json_array_foreach(rows, index, row)
    {
        cell_write(json_object_get(row, column), digits, cell);
        if (strlen(cell) > width) width = strlen(cell);
    }
    return (int)width;
}

void fx_table_print(FILE *out, const json_t *rows, const char *const *columns)
{
    enum { DIGITS = 5 };
    size_t index;
    const json_t *row;
    char cell[CELL];
    for (const char *const *c = columns; *c; c++)
        fprintf(out, "%s%*s", c == columns ? "" : "  ", width_of(rows, *c, DIGITS), *c);
    fputc('\n', out);
    json_array_foreach(rows, index, row)
    {
        for (const char *const *c = columns; *c; c++) {
            cell_write(json_object_get(row, *c), DIGITS, cell);
            fprintf(out, "%s%*s", c == columns ? "" : "  ", width_of(rows, *c, DIGITS), cell);
        }
        fputc('\n', out);
    }
}

fx_status fx_table_csv(const char *file, const json_t *rows, const char *const *columns)
{
    enum { DIGITS = 9 };
    size_t index, count = 0, used = 0;
    const json_t *row;
    char cell[CELL], *text = NULL;
    while (columns[count])
        count++;
    FX_TRY(FX_ALLOC(text, (json_array_size(rows) + 1) * count * (CELL + 1) + 1));
    for (size_t c = 0; c < count; c++)
        used += (size_t)snprintf(text + used, CELL + 1, "%s%c", columns[c], c + 1 < count ? ',' : '\n');
    json_array_foreach(rows, index, row) for (size_t c = 0; c < count; c++)
    {
        cell_write(json_object_get(row, columns[c]), DIGITS, cell);
        used += (size_t)snprintf(text + used, CELL + 1, "%s%c", cell, c + 1 < count ? ',' : '\n');
    }
    const fx_status status = fx_write_text(file, text, used);
    fx_free(text);
    return status;
}
