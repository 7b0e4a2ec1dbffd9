/* sample.c: flexhpc sample: what a trained model makes of patches of a pack, as an HDF5 file for other
 * programs: `sr_input`, `sr_model`, `sr_truth` and the same of `fc` (sample, y, x) float32 in the units
 * of the source, `reynolds` (sample); `sample`, `y`, `x` are dimension scales. The input of sr is the
 * interpolated image (data.upsampling), that of fc the last snapshot. The samples are those of an
 * evaluation. */
#include "evaluate.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { FIELDS = 3 };
static const char *const FIELD[FIELDS] = {"input", "model", "truth"};

typedef struct writer {
    fx_h5 *file;
    fx_evaluation *e;
    double reynolds[FX_EVALUATION_ROWS]; /* evaluated ones, in the order of the file */
    int count;
    float *field; /* scratch, (S, S) */
} writer;

static fx_status field_name(char out[32], int task, int k)
{
    return fx_print(out, 32, "%s_%s", fx_task_names[task], FIELD[k]);
}

static fx_status write_reynolds(writer *w)
{
    static const char *const dims[] = {"sample"};
    const int64_t each = w->e->config->eval_patches, samples = w->count * each;
    double *values = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(values, samples));
    for (int64_t i = 0; i < samples; i++)
        values[i] = w->reynolds[i / each];
    FX_TRY_DONE(fx_h5_dataset(w->file, "reynolds", (fx_h5_shape){1, {samples}, FX_H5_F64}, NULL));
    FX_TRY_DONE(fx_h5_write(w->file, "reynolds", NULL, NULL, FX_H5_F64, values));
    FX_TRY_DONE(fx_h5_name_dims(w->file, "reynolds", dims));
done:
    fx_free(values);
    return status;
}

static fx_status lay_out(writer *w)
{
    static const char *const dims[] = {"sample", "y", "x"};
    const int64_t side = w->e->trained->options.model.image,
                  samples = w->count * w->e->config->eval_patches;
    const fx_h5_shape shape = {3, {samples, side, side}, FX_H5_F32};
    FX_TRY(fx_h5_set_int(w->file, "/", "step", w->e->trained->progress.step));
    FX_TRY(fx_h5_set_int(w->file, "/", "sample_steps", w->e->config->sample_steps));
    FX_TRY(fx_h5_index(w->file, "sample", samples));
    FX_TRY(fx_h5_index(w->file, "y", side));
    FX_TRY(fx_h5_index(w->file, "x", side));
    FX_TRY(write_reynolds(w));
    for (int task = 0; task < 2; task++)
        for (int k = 0; k < FIELDS && fx_trained_has(w->e->trained, (fx_task)task); k++) {
            char name[32];
            FX_TRY(field_name(name, task, k));
            FX_TRY(fx_h5_dataset(w->file, name, shape, NULL));
            FX_TRY(fx_h5_name_dims(w->file, name, dims));
        }
    return FX_OK;
}

static fx_status keep(void *self, const fx_sample_score *s, const float *input, const float *estimate,
                      const float *target)
{
    writer *w = self;
    const float *fields[FIELDS] = {input, estimate, target};
    const int64_t side = w->e->trained->options.model.image, count[3] = {1, side, side};
    const float scale = (float)w->e->unit;
    int r = 0;
    while (r < w->count - 1 && w->reynolds[r] != s->reynolds)
        r++;
    const int64_t offset[3] = {r * w->e->config->eval_patches + s->index, 0, 0};
    for (int k = 0; k < FIELDS; k++) {
        char name[32];
        for (int64_t i = 0; i < side * side; i++)
            w->field[i] = scale * fields[k][i];
        FX_TRY(field_name(name, (int)s->task, k));
        FX_TRY(fx_h5_write(w->file, name, offset, count, FX_H5_F32, w->field));
    }
    return FX_OK;
}

fx_status fx_sample_file(const fx_config *config, const char *folder, const char *out)
{
    char part[FX_PATH_MAX];
    writer w = {0};
    fx_status status = FX_OK;
    FX_TRY(fx_path(part, "%s.part", out));
    FX_TRY_DONE(fx_evaluation_open(fx_comm_self(), config, folder, &w.e));
    FX_TRY_DONE(FX_ALLOC(w.field, w.e->trained->pixels));
    for (int r = 0; r < w.e->reynolds; r++)
        if (fx_evaluates(w.e, r))
            w.reynolds[w.count++] = fx_pack_manifest(w.e->pack)->reynolds[r].reynolds;
    FX_TRY_DONE(fx_h5_create(NULL, part, &w.file));
    FX_TRY_DONE(lay_out(&w));
    w.e->keep = keep;
    w.e->keeper = &w;
    FX_TRY_DONE(fx_evaluation_run(w.e));
    FX_TRY_DONE(fx_h5_close(&w.file));
    FX_TRY_DONE(fx_commit(part, out));
done:
    fx_h5_abandon(&w.file);
    fx_evaluation_close(&w.e);
    fx_free(w.field);
    return status;
}
