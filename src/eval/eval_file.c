/* eval_file.c: `eval-PACK.h5` written and read. One table a dataset says which column holds which
 * member, for both sides. */
#include "flexhpc/eval_file.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { MOST_SAMPLES = 1 << 28, COLUMNS_MAX = FX_H5_NAMES };

typedef enum kind { REAL, INTEGER, TASK, TRUTH } kind;

typedef struct column {
    const char *name;
    size_t offset;
    kind kind;
} column;

#define AT(member) offsetof(fx_sample_score, member)
static const column sample_columns[] = {
    {"task", AT(task), TASK},       {"reynolds", AT(reynolds), REAL},
    {"index", AT(index), INTEGER},  {"block", AT(block), INTEGER},
    {"rfne", AT(rfne), REAL},       {"floor", AT(floor[0]), REAL},
    {"floor2", AT(floor[1]), REAL}, {"correlation", AT(correlation), REAL},
    {"loss", AT(loss), REAL},
};
#undef AT
#define AT(member) offsetof(fx_eval_row, member)
static const column row_columns[] = {
    {"task", AT(score.task), TASK},
    {"reynolds", AT(score.reynolds), REAL},
    {"count", AT(score.count), INTEGER},
    {"blocks", AT(score.blocks), INTEGER},
    {"rfne", AT(score.rfne), REAL},
    {"rfne_error", AT(score.rfne_error), REAL},
    {"rfne_low", AT(score.rfne_low), REAL},
    {"rfne_high", AT(score.rfne_high), REAL},
    {"floor", AT(score.floor[0]), REAL},
    {"floor2", AT(score.floor[1]), REAL},
    {"ratio", AT(score.ratio), REAL},
    {"ratio_low", AT(score.ratio_low), REAL},
    {"ratio_high", AT(score.ratio_high), REAL},
    {"correlation", AT(score.correlation), REAL},
    {"seen", AT(seen), TRUTH},
    {"fine_scales", AT(fine_scales), REAL},
};
#undef AT

/* A table as it lies in memory: `members` of records of `size` bytes, then `values` doubles of each. */
typedef struct layout {
    const char *dataset;
    const column *member;
    int members;
    const char *const *value; /* names */
    int values;
    size_t size, values_at;
} layout;

static const layout samples_layout = {.dataset = "samples",
                                      .member = sample_columns,
                                      .members = sizeof sample_columns / sizeof *sample_columns,
                                      .value = fx_metric_names,
                                      .values = FX_METRICS,
                                      .size = sizeof(fx_sample_score),
                                      .values_at = offsetof(fx_sample_score, value)};
static const layout rows_layout = {.dataset = "scores",
                                   .member = row_columns,
                                   .members = sizeof row_columns / sizeof *row_columns,
                                   .size = sizeof(fx_eval_row)};

fx_status fx_eval_file_list(const char *folder, char ***names, int *count)
{
    int kept = 0;
    FX_TRY(fx_list_dir(folder, ".h5", names, count));
    for (int i = 0; i < *count; i++)
        if (strncmp((*names)[i], "eval-", 5) == 0) (*names)[kept++] = (*names)[i];
    *count = kept;
    return FX_OK;
}

/* ---- Tables. */

static double get(const void *record, const column *c)
{
    const char *at = (const char *)record + c->offset;
    switch (c->kind) {
    case INTEGER:
        return (double)*(const int64_t *)(const void *)at;
    case TASK:
        return (double)*(const fx_task *)(const void *)at;
    case TRUTH:
        return *(const bool *)(const void *)at;
    default:
        return *(const double *)(const void *)at;
    }
}

static void put(void *record, const column *c, double value)
{
    char *at = (char *)record + c->offset;
    switch (c->kind) {
    case INTEGER:
        *(int64_t *)(void *)at = (int64_t)value;
        return;
    case TASK:
        *(fx_task *)(void *)at = value > 0 ? FX_FC : FX_SR;
        return;
    case TRUTH:
        *(bool *)(void *)at = value > 0;
        return;
    default:
        *(double *)(void *)at = value;
    }
}

static column column_of(const layout *l, int c)
{
    if (c < l->members) return l->member[c];
    return (column){l->value[c - l->members], l->values_at + sizeof(double) * (size_t)(c - l->members),
                    REAL};
}

static fx_status write_table(fx_h5 *f, const layout *l, const void *records, int64_t count)
{
    const int columns = l->members + l->values;
    const char *names[COLUMNS_MAX];
    double *table = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(table, count * columns + 1));
    for (int c = 0; c < columns; c++) {
        const column at = column_of(l, c);
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
static fx_status find_columns(fx_h5 *f, const layout *l, int64_t columns, int *to)
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

/* Reads into *records, which the caller frees, or into what it points to where there are `most`. */
static fx_status read_table(fx_h5 *f, const layout *l, int64_t most, void **records, int64_t *count)
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
            const column at = column_of(l, c);
            if (at.kind == REAL) put(record, &at, NAN);
        }
        for (int64_t k = 0; k < shape.dim[1]; k++) {
            if (to[k] < 0) continue;
            const column at = column_of(l, to[k]);
            put(record, &at, table[i * shape.dim[1] + k]);
        }
    }
    *count = shape.dim[0];
done:
    fx_free(table);
    return status;
}

/* ---- Spectra and examples: dataset GROUP/K/NAME. */

static const char *const SPECTRUM[] = {"k", "model", "truth"}, *const PANEL[] = {"input", "model",
                                                                                 "truth"};

static fx_status write_square(fx_h5 *f, const char *group, int k, const char *name, fx_h5_type type,
                              int rank, int64_t n, const void *data)
{
    char path[48];
    FX_TRY(fx_print(path, sizeof path, "%s/%d/%s", group, k, name));
    FX_TRY(fx_h5_dataset(f, path, (fx_h5_shape){rank, {n, n}, type}, NULL));
    return fx_h5_write(f, path, NULL, NULL, type, data);
}

static fx_status write_pictures(fx_h5 *f, int k, const fx_eval_row *r)
{
    const double *spectrum[] = {r->k, r->model, r->truth};
    const float *panel[] = {r->input, r->estimate, r->target};
    char path[48];
    for (int i = 0; i < 3 && r->shells > 0; i++)
        FX_TRY(write_square(f, "spectrum", k, SPECTRUM[i], FX_H5_F64, 1, r->shells, spectrum[i]));
    if (r->side == 0) return FX_OK;
    for (int i = 0; i < 3; i++)
        FX_TRY(write_square(f, "panel", k, PANEL[i], FX_H5_F32, 2, r->side, panel[i]));
    FX_TRY(fx_print(path, sizeof path, "panel/%d/input", k));
    FX_TRY(fx_h5_set_text(f, path, "title", r->title));
    return fx_h5_set_text(f, path, "input_label", r->input_label);
}

/* Sets *n to 0 where the file has none. */
static fx_status read_square(fx_eval_file *file, fx_h5 *f, const char *group, int k, const char *name,
                             fx_h5_type type, int rank, int64_t *n, void **out)
{
    char path[48];
    fx_h5_shape shape;
    *n = 0;
    FX_TRY(fx_print(path, sizeof path, "%s/%d/%s", group, k, name));
    if (!fx_h5_exists(f, path)) return FX_OK;
    FX_TRY(fx_h5_describe(f, path, &shape));
    FX_REQUIRE(shape.rank == rank && shape.dim[0] > 0 && shape.dim[0] <= 1 << 14 &&
                   (rank == 1 || shape.dim[1] == shape.dim[0]),
               FX_EVALUE, "%s: of another shape", path);
    const size_t count = (size_t)(rank == 1 ? shape.dim[0] : shape.dim[0] * shape.dim[0]);
    *out = fx_pool_calloc(file->pool, count, type == FX_H5_F64 ? sizeof(double) : sizeof(float));
    if (!*out) return FX_ENOMEM;
    *n = shape.dim[0];
    return fx_h5_read(f, path, NULL, NULL, type, *out);
}

static fx_status read_set(fx_eval_file *file, fx_h5 *f, const char *group, int k,
                          const char *const *names, fx_h5_type type, int rank, int64_t *n, void **out)
{
    for (int i = 0; i < 3; i++) {
        int64_t size = 0;
        FX_TRY(read_square(file, f, group, k, names[i], type, rank, &size, &out[i]));
        if (i == 0) *n = size;
        FX_REQUIRE(size == *n, FX_EVALUE, "%s/%d: arrays of different sizes", group, k);
    }
    return FX_OK;
}

static fx_status read_text(fx_eval_file *file, fx_h5 *f, const char *path, const char *name,
                           const char **out)
{
    char text[256];
    FX_TRY(fx_h5_get_text(f, path, name, text, sizeof text));
    return (*out = fx_pool_print(file->pool, "%s", text)) ? FX_OK : FX_ENOMEM;
}

static fx_status read_pictures(fx_eval_file *file, fx_h5 *f, int k, fx_eval_row *r)
{
    void *x[3];
    char path[48];
    FX_TRY(read_set(file, f, "spectrum", k, SPECTRUM, FX_H5_F64, 1, &r->shells, x));
    if (r->shells > 0) r->k = x[0], r->model = x[1], r->truth = x[2];
    FX_TRY(read_set(file, f, "panel", k, PANEL, FX_H5_F32, 2, &r->side, x));
    if (r->side == 0) return FX_OK;
    r->input = x[0], r->estimate = x[1], r->target = x[2];
    FX_TRY(fx_print(path, sizeof path, "panel/%d/input", k));
    FX_TRY(read_text(file, f, path, "title", &r->title));
    return read_text(file, f, path, "input_label", &r->input_label);
}

/* ---- The file. */

#define AT(member) offsetof(fx_eval_file, member)
static const struct {
    const char *name;
    size_t offset, size; /* size 0: an int64_t */
} attributes[] = {
    {"pack", AT(pack), sizeof((fx_eval_file *)0)->pack},
    {"name", AT(name), sizeof((fx_eval_file *)0)->name},
    {"checkpoint", AT(checkpoint), sizeof((fx_eval_file *)0)->checkpoint},
    {"step", AT(step), 0},
    {"sample_steps", AT(sample_steps), 0},
    {"members", AT(members), 0},
    {"patches", AT(patches), 0},
    {"seed", AT(seed), 0},
};
#undef AT
enum { ATTRIBUTES = sizeof attributes / sizeof *attributes };

static fx_status write_attributes(fx_h5 *f, const fx_eval_file *file)
{
    for (int i = 0; i < ATTRIBUTES; i++) {
        const char *at = (const char *)file + attributes[i].offset;
        FX_TRY(attributes[i].size
                   ? fx_h5_set_text(f, "/", attributes[i].name, at)
                   : fx_h5_set_int(f, "/", attributes[i].name, *(const int64_t *)(const void *)at));
    }
    return FX_OK;
}

static fx_status read_attributes(fx_h5 *f, fx_eval_file *file)
{
    FX_REQUIRE(fx_h5_has_attribute(f, "/", "pack"), FX_EVALUE,
               "does not say what it evaluates: an older flexhpc wrote it; evaluate again");
    for (int i = 0; i < ATTRIBUTES; i++) {
        char *at = (char *)file + attributes[i].offset;
        FX_TRY(attributes[i].size ? fx_h5_get_text(f, "/", attributes[i].name, at, attributes[i].size)
                                  : fx_h5_get_int(f, "/", attributes[i].name, (int64_t *)(void *)at));
    }
    return FX_OK;
}

/* FX_ECONFIG where the file is there and another evaluation's. What can't be read is replaced. */
static fx_status check_owner(const char *path, const char *pack, const char *name)
{
    fx_eval_file there = {.step = 0};
    fx_h5 *f = NULL;
    if (!fx_file_exists(path)) return FX_OK;
    fx_status status = fx_h5_open(path, FX_H5_OURS, &f);
    if (status == FX_OK) status = read_attributes(f, &there);
    fx_h5_abandon(&f);
    if (status != FX_OK) {
        fx_error_clear();
        return FX_OK;
    }
    FX_REQUIRE(strcmp(there.pack, pack) == 0 && strcmp(there.name, name) == 0, FX_ECONFIG,
               "%s: holds pack %s, name \"%s\": choose another eval.name", path, there.pack,
               there.name);
    return FX_OK;
}

fx_status fx_eval_file_path(const char *folder, const char *pack, const char *name,
                            char out[FX_PATH_MAX])
{
    const char *slash = strrchr(pack, '/'), *last = slash && slash[1] ? slash + 1 : pack;
    FX_REQUIRE(fx_is_plain_name(last), FX_ECONFIG, "data.path: %s does not end in a plain name", pack);
    FX_REQUIRE(!name[0] || fx_is_plain_name(name), FX_ECONFIG,
               "eval.name: %s: letters, digits, '.', '_' and '-' alone, no '.' in front", name);
    FX_TRY(fx_path(out, "%s/eval-%s%s%s.h5", folder, last, name[0] ? "-" : "", name));
    return check_owner(out, last, name);
}

fx_status fx_eval_file_write(const fx_eval_file *file, const char *path)
{
    char part[FX_PATH_MAX];
    fx_h5 *f = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_path(part, "%s.part", path));
    FX_TRY_DONE(fx_h5_create(NULL, part, &f));
    FX_TRY_DONE(write_attributes(f, file));
    for (int k = 0; k < file->rows; k++)
        FX_TRY_DONE(write_pictures(f, k, &file->row[k]));
    FX_TRY_DONE(write_table(f, &samples_layout, file->samples.row, file->samples.count));
    FX_TRY_DONE(write_table(f, &rows_layout, file->row, file->rows));
    FX_TRY_DONE(fx_h5_close(&f));
    FX_TRY_DONE(fx_commit(part, path));
done:
    fx_h5_abandon(&f);
    return status;
}

static fx_status read_all(fx_h5 *f, fx_eval_file *out)
{
    void *rows = out->row, *samples = NULL;
    int64_t count = 0;
    FX_TRY(read_attributes(f, out));
    FX_TRY(read_table(f, &rows_layout, FX_EVALUATION_ROWS, &rows, &count));
    out->rows = (int)count;
    const fx_status status = read_table(f, &samples_layout, MOST_SAMPLES, &samples, &count);
    out->samples = (fx_scores){.row = samples, .count = count, .capacity = (size_t)count + 1};
    FX_TRY(status);
    for (int k = 0; k < out->rows; k++)
        FX_TRY(read_pictures(out, f, k, &out->row[k]));
    return FX_OK;
}

fx_status fx_eval_file_read(const char *path, fx_eval_file *out)
{
    fx_h5 *f = NULL;
    fx_status status = FX_OK;
    memset(out, 0, sizeof *out);
    FX_TRY(fx_pool_create(&out->pool));
    FX_TRY(fx_h5_open(path, FX_H5_OURS, &f));
    status = read_all(f, out);
    fx_h5_abandon(&f);
    return status == FX_EVALUE ? fx_context(status, "%s", path) : status; /* others name it */
}

void fx_eval_file_free(fx_eval_file *file)
{
    fx_scores_free(&file->samples);
    fx_pool_free(&file->pool);
}
