/* eval_results.c: the statistics and signs of an evaluation's file. */
#include <math.h>
#include <string.h>

#include "eval_table.h"
#include "flexhpc/eval_file.h"
#include "flexhpc/mem.h"

/* ---- Statistics: (rows, FX_STATISTICS, 3), the value and the ends of its interval. */

static fx_status write_statistics(fx_h5 *f, const fx_eval_file *file)
{
    double *cell = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(cell, 3 * FX_STATISTICS * file->rows + 1));
    for (int k = 0; k < file->rows; k++)
        for (int s = 0; s < FX_STATISTICS; s++) {
            const fx_score *score = &file->row[k].score;
            double *at = cell + 3 * (k * FX_STATISTICS + s);
            at[0] = score->value[s], at[1] = score->low[s], at[2] = score->high[s];
        }
    FX_TRY_DONE(fx_h5_dataset(f, "statistics",
                              (fx_h5_shape){3, {file->rows, FX_STATISTICS, 3}, FX_H5_F64}, NULL));
    FX_TRY_DONE(fx_h5_write(f, "statistics", NULL, NULL, FX_H5_F64, cell));
    FX_TRY_DONE(fx_h5_set_names(f, "statistics", "columns", fx_statistic_names, FX_STATISTICS));
done:
    fx_free(cell);
    return status;
}

/* The statistics that the file has, by name; the others are NaN. */
static fx_status read_statistics(fx_h5 *f, fx_eval_file *file)
{
    fx_h5_name name[FX_H5_NAMES];
    fx_h5_shape shape;
    double *cell = NULL;
    int named = 0;
    for (int k = 0; k < file->rows; k++)
        for (int s = 0; s < FX_STATISTICS; s++)
            file->row[k].score.value[s] = file->row[k].score.low[s] = file->row[k].score.high[s] = NAN;
    if (!fx_h5_exists(f, "statistics")) return FX_OK;
    FX_TRY(fx_h5_describe(f, "statistics", &shape));
    FX_TRY(fx_h5_get_names(f, "statistics", "columns", name, &named));
    FX_REQUIRE(shape.rank == 3 && shape.dim[0] == file->rows && shape.dim[1] == named &&
                   shape.dim[2] == 3,
               FX_EVALUE, "statistics: of another shape");
    FX_TRY(FX_ALLOC(cell, 3 * named * file->rows + 1));
    const fx_status status = fx_h5_read(f, "statistics", NULL, NULL, FX_H5_F64, cell);
    for (int c = 0; c < named && status == FX_OK; c++)
        for (int s = 0; s < FX_STATISTICS; s++)
            for (int k = 0; k < file->rows && strcmp(name[c].text, fx_statistic_names[s]) == 0; k++) {
                fx_score *score = &file->row[k].score;
                const double *at = cell + 3 * (k * named + c);
                score->value[s] = at[0], score->low[s] = at[1], score->high[s] = at[2];
            }
    fx_free(cell);
    return status;
}

/* ---- Signs: a table, and the names of the signatures by their numbers. */

#define AT(member) offsetof(fx_sign, member)
static const fx_column sign_columns[] = {
    {"signature", AT(signature), FX_INTEGER},
    {"task", AT(task), FX_TASK},
    {"reynolds", AT(reynolds), FX_REAL},
    {"number", AT(number), FX_REAL},
    {"limit", AT(limit), FX_REAL},
};
#undef AT
static const fx_layout signs_layout = {.dataset = "signs",
                                       .member = sign_columns,
                                       .members = sizeof sign_columns / sizeof *sign_columns,
                                       .size = sizeof(fx_sign)};

static fx_status write_signs(fx_h5 *f, const fx_eval_file *file)
{
    const char *names[FX_SIGNATURES];
    for (int k = 0; k < FX_SIGNATURES; k++)
        names[k] = fx_signature_table[k].name;
    FX_TRY(fx_table_write(f, &signs_layout, file->sign, file->signs));
    return fx_h5_set_names(f, "signs", "signatures", names, FX_SIGNATURES);
}

/* Signatures that only another version knows are left out. */
static fx_status read_signs(fx_h5 *f, fx_eval_file *file)
{
    fx_h5_name name[FX_H5_NAMES];
    void *signs = file->sign;
    int64_t count = 0;
    int named = 0;
    if (!fx_h5_exists(f, "signs")) return FX_OK;
    FX_TRY(fx_table_read(f, &signs_layout, FX_SIGNS_MAX, &signs, &count));
    FX_TRY(fx_h5_get_names(f, "signs", "signatures", name, &named));
    for (int64_t i = 0; i < count; i++) {
        const fx_sign s = file->sign[i];
        for (int k = 0; k < FX_SIGNATURES && s.signature >= 0 && s.signature < named; k++) {
            if (strcmp(fx_signature_table[k].name, name[s.signature].text) != 0) continue;
            file->sign[file->signs] = s;
            file->sign[file->signs++].signature = k;
            break;
        }
    }
    return FX_OK;
}

fx_status fx_eval_write_results(fx_h5 *f, const fx_eval_file *file)
{
    FX_TRY(write_statistics(f, file));
    return write_signs(f, file);
}

fx_status fx_eval_read_results(fx_h5 *f, fx_eval_file *file)
{
    FX_TRY(read_statistics(f, file));
    return read_signs(f, file);
}
