/* eval_table.c: records to and from tables. */
#include "eval_table.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "flexhpc/model.h"
#include "flexhpc/mem.h"

static double get(const void *record, const fx_column *c)
{
    const char *at = (const char *)record + c->offset;
    switch (c->kind) {
    case FX_INTEGER:
        return (double)*(const int64_t *)(const void *)at;
    case FX_TASK:
        return (double)*(const fx_task *)(const void *)at;
    case FX_TRUTH:
        return *(const bool *)(const void *)at;
    default:
        return *(const double *)(const void *)at;
    }
}

static void put(void *record, const fx_column *c, double value)
{
    char *at = (char *)record + c->offset;
    switch (c->kind) {
    case FX_INTEGER:
        *(int64_t *)(void *)at = (int64_t)value;
        return;
    case FX_TASK:
        *(fx_task *)(void *)at = value > 0 ? FX_FC : FX_SR;
        return;
    case FX_TRUTH:
        *(bool *)(void *)at = value > 0;
        return;
    default:
        *(double *)(void *)at = value;
    }
}

static fx_column column_of(const fx_layout *l, int c)
{
    if (c < l->members) return l->member[c];
    return (fx_column){l->value[c - l->members],
                       l->values_at + sizeof(double) * (size_t)(c - l->members), FX_REAL};
}

fx_status fx_table_write(fx_h5 *f, const fx_layout *l, const void *records, int64_t count)
{
    const int columns = l->members + l->values;
    const char *names[FX_H5_NAMES];
    double *table = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(table, count * columns + 1));
    for (int c = 0; c < columns; c++) {
        const fx_column at = column_of(l, c);
        names[c] = at.name;
        for (int64_t i = 0; i < count; i++)
            table[i * columns + c] = get((const char *)records + (size_t)i * l->size, &at);
    }
    FX_TRY_DONE(fx_h5_dataset(f, l->dataset, (fx_h5_shape){2, {count, columns}, FX_H5_F64}, NULL));
    FX_TRY_DONE(fx_h5_write(f, l->dataset, NULL, NULL, FX_H5_F64, table));
    FX_TRY_DONE(fx_h5_set_names(f, l->dataset, "columns", names, columns));
done:
    fx_free(table);
    return status;
}

/* Where each of the file's columns goes; -1: nowhere here. */
static fx_status find_columns(fx_h5 *f, const fx_layout *l, int64_t columns, int *to)
{
    fx_h5_name name[FX_H5_NAMES];
    int named = 0;
    FX_REQUIRE(fx_h5_has_attribute(f, l->dataset, "columns"), FX_EVALUE,
               "%s: its columns have no names: an older flexhpc wrote it; evaluate again", l->dataset);
    FX_TRY(fx_h5_get_names(f, l->dataset, "columns", name, &named));
    FX_REQUIRE(named == columns, FX_EVALUE, "%s: %lld columns, names of %d", l->dataset,
               (long long)columns, named);
    for (int k = 0; k < named; k++) {
        to[k] = -1;
        for (int c = 0; c < l->members + l->values; c++)
            if (strcmp(column_of(l, c).name, name[k].text) == 0) to[k] = c;
    }
    return FX_OK;
}

fx_status fx_table_read(fx_h5 *f, const fx_layout *l, int64_t most, void **records, int64_t *count)
{
    fx_h5_shape shape;
    int to[FX_H5_NAMES];
    double *table = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_h5_describe(f, l->dataset, &shape));
    FX_REQUIRE(shape.rank == 2 && shape.dim[0] <= most && shape.dim[1] <= FX_H5_NAMES, FX_EVALUE,
               "%s: no table of at most %lld rows", l->dataset, (long long)most);
    FX_TRY(find_columns(f, l, shape.dim[1], to));
    FX_TRY_DONE(FX_ALLOC(table, shape.dim[0] * shape.dim[1] + 1));
    FX_TRY_DONE(fx_h5_read(f, l->dataset, NULL, NULL, FX_H5_F64, table));
    if (!*records) *records = fx_calloc((size_t)shape.dim[0] + 1, l->size);
    if (!*records) status = FX_ENOMEM;
    if (status != FX_OK) goto done;
    for (int64_t i = 0; i < shape.dim[0]; i++) {
        char *record = (char *)*records + (size_t)i * l->size;
        for (int c = 0; c < l->members + l->values; c++) {
            const fx_column at = column_of(l, c);
            if (at.kind == FX_REAL) put(record, &at, NAN);
        }
        for (int64_t k = 0; k < shape.dim[1]; k++) {
            if (to[k] < 0) continue;
            const fx_column at = column_of(l, to[k]);
            put(record, &at, table[i * shape.dim[1] + k]);
        }
    }
    *count = shape.dim[0];
done:
    fx_free(table);
    return status;
}
