/* eval_file.c: `eval-PACK.h5` written and read. One table a dataset says which column holds which
 * member, for both sides. */
#include "flexhpc/eval_file.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "eval_table.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { MOST_SAMPLES = 1 << 28 };

#define AT(member) offsetof(fx_sample_score, member)
static const fx_column sample_columns[] = {
    {"task", AT(task), FX_TASK},       {"reynolds", AT(reynolds), FX_REAL},
    {"index", AT(index), FX_INTEGER},  {"block", AT(block), FX_INTEGER},
    {"rfne", AT(rfne), FX_REAL},       {"floor", AT(floor[0]), FX_REAL},
    {"floor2", AT(floor[1]), FX_REAL}, {"correlation", AT(correlation), FX_REAL},
    {"loss", AT(loss), FX_REAL},
};
#undef AT
#define AT(member) offsetof(fx_eval_row, member)
static const fx_column row_columns[] = {
    {"task", AT(score.task), FX_TASK},
    {"reynolds", AT(score.reynolds), FX_REAL},
    {"count", AT(score.count), FX_INTEGER},
    {"blocks", AT(score.blocks), FX_INTEGER},
    {"rfne", AT(score.rfne), FX_REAL},
    {"rfne_error", AT(score.rfne_error), FX_REAL},
    {"rfne_low", AT(score.rfne_low), FX_REAL},
    {"rfne_high", AT(score.rfne_high), FX_REAL},
    {"floor", AT(score.floor[0]), FX_REAL},
    {"floor2", AT(score.floor[1]), FX_REAL},
    {"ratio", AT(score.ratio), FX_REAL},
    {"ratio_low", AT(score.ratio_low), FX_REAL},
    {"ratio_high", AT(score.ratio_high), FX_REAL},
    {"correlation", AT(score.correlation), FX_REAL},
    {"published", AT(score.published), FX_REAL},
    {"natural95", AT(score.natural95), FX_REAL},
    {"seen", AT(seen), FX_TRUTH},
    {"fine_scales", AT(fine_scales), FX_REAL},
};
#undef AT

static const fx_layout samples_layout = {.dataset = "samples",
                                         .member = sample_columns,
                                         .members = sizeof sample_columns / sizeof *sample_columns,
                                         .value = fx_metric_names,
                                         .values = FX_METRICS,
                                         .size = sizeof(fx_sample_score),
                                         .values_at = offsetof(fx_sample_score, value)};
static const fx_layout rows_layout = {.dataset = "scores",
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

/* ---- Arrays of a row: dataset GROUP/K/NAME. Equal counts are of one group. */

#define AT(member) offsetof(fx_eval_row, member)
static const struct array {
    const char *group, *name;
    size_t offset, count; /* of the pointer, and of the member that says how many */
    fx_h5_type type;
    int rank; /* 2: a square */
} arrays[] = {
    {"spectrum", "k", AT(k), AT(shells), FX_H5_F64, 1},
    {"spectrum", "model", AT(model), AT(shells), FX_H5_F64, 1},
    {"spectrum", "truth", AT(truth), AT(shells), FX_H5_F64, 1},
    {"spectrum", "error", AT(error), AT(shells), FX_H5_F64, 1},
    {"values", "w", AT(w), AT(bins), FX_H5_F64, 1},
    {"values", "model", AT(pdf_model), AT(bins), FX_H5_F64, 1},
    {"values", "truth", AT(pdf_truth), AT(bins), FX_H5_F64, 1},
    {"ranks", "share", AT(rank_share), AT(ranks), FX_H5_F64, 1},
    {"leads", "rfne", AT(lead_score[FX_LEAD_RFNE]), AT(leads), FX_H5_F64, 1},
    {"leads", "correlation", AT(lead_score[FX_LEAD_CORRELATION]), AT(leads), FX_H5_F64, 1},
    {"leads", "persistence", AT(lead_score[FX_LEAD_PERSISTENCE]), AT(leads), FX_H5_F64, 1},
    {"leads", "mean_rfne", AT(lead_score[FX_LEAD_MEAN_RFNE]), AT(leads), FX_H5_F64, 1},
    {"leads", "energy", AT(lead_score[FX_LEAD_ENERGY]), AT(leads), FX_H5_F64, 1},
    {"leads", "truth_energy", AT(lead_score[FX_LEAD_TRUTH_ENERGY]), AT(leads), FX_H5_F64, 1},
    {"leads", "enstrophy", AT(lead_score[FX_LEAD_ENSTROPHY]), AT(leads), FX_H5_F64, 1},
    {"leads", "truth_enstrophy", AT(lead_score[FX_LEAD_TRUTH_ENSTROPHY]), AT(leads), FX_H5_F64, 1},
    {"panel", "input", AT(input), AT(side), FX_H5_F32, 2},
    {"panel", "model", AT(estimate), AT(side), FX_H5_F32, 2},
    {"panel", "truth", AT(target), AT(side), FX_H5_F32, 2},
};
#undef AT
enum { ARRAYS = sizeof arrays / sizeof *arrays };

static const void **pointer_of(fx_eval_row *r, const struct array *a)
{
    return (const void **)(void *)((char *)r + a->offset);
}

static int64_t *count_of(fx_eval_row *r, const struct array *a)
{
    return (int64_t *)(void *)((char *)r + a->count);
}

static fx_status write_arrays(fx_h5 *f, int k, fx_eval_row *r)
{
    char path[48];
    for (int i = 0; i < ARRAYS; i++) {
        const struct array *a = &arrays[i];
        const int64_t n = *count_of(r, a);
        if (n == 0) continue;
        FX_TRY(fx_print(path, sizeof path, "%s/%d/%s", a->group, k, a->name));
        FX_TRY(fx_h5_dataset(f, path, (fx_h5_shape){a->rank, {n, n}, a->type}, NULL));
        FX_TRY(fx_h5_write(f, path, NULL, NULL, a->type, *pointer_of(r, a)));
    }
    if (r->side == 0) return FX_OK;
    FX_TRY(fx_print(path, sizeof path, "panel/%d/input", k));
    FX_TRY(fx_h5_set_text(f, path, "title", r->title));
    return fx_h5_set_text(f, path, "input_label", r->input_label);
}

static fx_status read_array(fx_eval_file *file, fx_h5 *f, const char *path, const struct array *a,
                            fx_eval_row *r)
{
    fx_h5_shape shape;
    int64_t *n = count_of(r, a);
    FX_TRY(fx_h5_describe(f, path, &shape));
    FX_REQUIRE(shape.rank == a->rank && shape.dim[0] > 0 && shape.dim[0] <= 1 << 14 &&
                   (a->rank == 1 || shape.dim[1] == shape.dim[0]) && (*n == 0 || *n == shape.dim[0]),
               FX_EVALUE, "%s: of another shape", path);
    void *data =
        fx_pool_calloc(file->pool, (size_t)(a->rank == 1 ? shape.dim[0] : shape.dim[0] * shape.dim[0]),
                       a->type == FX_H5_F64 ? sizeof(double) : sizeof(float));
    if (!data) return FX_ENOMEM;
    *n = shape.dim[0];
    *pointer_of(r, a) = data;
    return fx_h5_read(f, path, NULL, NULL, a->type, data);
}

static fx_status read_text(fx_eval_file *file, fx_h5 *f, const char *path, const char *name,
                           const char **out)
{
    char text[256];
    FX_TRY(fx_h5_get_text(f, path, name, text, sizeof text));
    return (*out = fx_pool_print(file->pool, "%s", text)) ? FX_OK : FX_ENOMEM;
}

static fx_status read_arrays(fx_eval_file *file, fx_h5 *f, int k, fx_eval_row *r)
{
    char path[48];
    for (int i = 0; i < ARRAYS; i++) {
        const struct array *a = &arrays[i];
        FX_TRY(fx_print(path, sizeof path, "%s/%d/%s", a->group, k, a->name));
        if (fx_h5_exists(f, path)) FX_TRY(read_array(file, f, path, a, r));
        FX_REQUIRE(*count_of(r, a) == 0 || *pointer_of(r, a), FX_EVALUE, "%s: is not there", path);
    }
    if (r->side == 0) return FX_OK;
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
    FX_TRY(fx_h5_set_text(f, "/", "asked", file->asked));
    FX_TRY(fx_h5_set_int(f, "/", "pack_hash", file->pack_hash));
    return fx_h5_set_ints(f, "/", "periodic", (const int64_t[]){file->periodic[0], file->periodic[1]},
                          2);
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
    double periodic[2] = {1, 1};
    int count;
    if (fx_h5_has_attribute(f, "/", "asked"))
        FX_TRY(fx_h5_get_text(f, "/", "asked", file->asked, sizeof file->asked));
    if (fx_h5_has_attribute(f, "/", "pack_hash"))
        FX_TRY(fx_h5_get_int(f, "/", "pack_hash", &file->pack_hash));
    if (fx_h5_has_attribute(f, "/", "periodic"))
        FX_TRY(fx_h5_get_reals(f, "/", "periodic", periodic, 2, &count));
    for (int i = 0; i < 2; i++)
        file->periodic[i] = periodic[i] == 1;
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
    for (int k = 0; k < file->rows; k++) {
        fx_eval_row row = file->row[k];
        FX_TRY_DONE(write_arrays(f, k, &row));
    }
    FX_TRY_DONE(fx_eval_write_results(f, file));
    FX_TRY_DONE(fx_table_write(f, &samples_layout, file->samples.row, file->samples.count));
    FX_TRY_DONE(fx_table_write(f, &rows_layout, file->row, file->rows));
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
    FX_TRY(fx_table_read(f, &rows_layout, FX_EVALUATION_ROWS, &rows, &count));
    out->rows = (int)count;
    const fx_status status = fx_table_read(f, &samples_layout, MOST_SAMPLES, &samples, &count);
    out->samples = (fx_scores){.row = samples, .count = count, .capacity = (size_t)count + 1};
    FX_TRY(status);
    FX_TRY(fx_eval_read_results(f, out));
    for (int k = 0; k < out->rows; k++)
        FX_TRY(read_arrays(out, f, k, &out->row[k]));
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
